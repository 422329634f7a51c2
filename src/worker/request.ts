/**
 * One execution of a broker's message: who acknowledges, who records, in which order (PROTOCOL 6).
 *
 * Early acknowledgement (Celery's default) happens when a process has taken the job, so a message that only waits here is
 * still the broker's. A retry is stored as RETRY and written to the schedule before the message is acknowledged: whatever
 * dies, one of the two holds it.
 */

import { toFailure } from "../app/failure.ts";
import type { Delivery } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import type { Logger } from "../kit/log.ts";
import type { Job, Outcome, Pool, Run } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Aftermath } from "./aftermath.ts";
import { failureOfEnding } from "./failures.ts";
import { LOSS_LIMIT, type Losses } from "./losses.ts";
import type { NextRuns } from "./next-run.ts";
import { CONNECTION_LOST, isWorkersOwn } from "./own-ends.ts";
import type { Past } from "./past.ts";
import { Receipt } from "./receipt.ts";
import type { Recorder } from "./record.ts";
import { shown } from "./record.ts";
import type { Refusals } from "./refusals.ts";
import { ABORT_GRACE_MS } from "./remote-control.ts";
import type { Revoked } from "./revoked.ts";
import { isLoss, type Settlement, settlementOf } from "./settlement.ts";
import type { Waiting } from "./slots.ts";
import type { Strategy } from "./strategy.ts";
import type { TaskEvents } from "./task-events.ts";

export interface RequestContext {
  readonly pool: Pool;
  readonly recorder: Recorder;
  readonly aftermath: Aftermath;
  readonly nextRuns: NextRuns;
  readonly refusals: Refusals;
  readonly revoked: Revoked;
  readonly past: Past;
  readonly losses: Losses;
  readonly events: TaskEvents;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostname: string;
  /** Wait again for a slot: its process died before the job began. */
  again(request: Request): void;
  /** It is done with, whatever came of it. */
  finished(request: Request): void;
}

const REFUSED_PAUSE_MS = 1_000;

export class Request implements Waiting {
  readonly message: TaskMessage;
  readonly receipt: Receipt;
  readonly strategy: Strategy;
  /** Its queue: where it goes back to, and where its next run waits. */
  readonly queue: string;
  readonly #context: RequestContext;
  /** Settles when it is known whether it is revoked. */
  readonly #checked: Promise<void>;
  #run: Run | undefined;
  #ending = false;

  constructor(message: TaskMessage, delivery: Delivery, strategy: Strategy, context: RequestContext) {
    this.message = message;
    this.receipt = new Receipt(delivery);
    this.queue = delivery.queue;
    this.strategy = strategy;
    this.#context = context;
    this.#checked = context.revoked.hold(message);
    context.recorder.cameFrom(message, delivery.routingKey);
    this.#checked.then(
      () => {
        if (this.unwanted === undefined) context.events.tell("received", message);
      },
      // Looked at when it has its slot.
      () => undefined,
    );
  }

  /** Its job is with the pool. */
  get running(): boolean {
    return this.#run !== undefined;
  }

  /** Why it is not to start, as far as is known. */
  get unwanted(): "revoked" | "expired" | undefined {
    const { clock, revoked } = this.#context;
    if (this.message.expiresMs !== undefined && clock.wallMs() > this.message.expiresMs) return "expired";
    return revoked.has(this.message) ? "revoked" : undefined;
  }

  async start(): Promise<void> {
    const { pool, clock, log, past, aftermath } = this.#context;
    try {
      await this.#checked;
      const how = this.unwanted;
      if (how !== undefined) {
        await this.#discard(how);
        return;
      }
      if (this.strategy.policy.acksLate && this.receipt.delivery.redelivered) {
        const before = await past.successOf(this.message);
        if (before !== undefined) {
          log.info(`Task ${shown(this.message)} Task already completed successfully.`);
          await aftermath.resumed(this.message, before);
          await this.receipt.ack();
          this.#finish();
          return;
        }
      }
      const startedMs = clock.monoMs();
      const run = pool.submit(this.#job());
      this.#run = run;
      void this.#follow(run, startedMs).catch((error) => {
        log.critical(`Task ${shown(this.message)} could not be settled`, { error });
        this.#finish();
      });
    } catch (error) {
      // The store or the pool refused, and nothing was started. A pause, or the broker would hand it out again at once.
      log.error(`Task ${shown(this.message)} could not be started; its message goes back to the queue`, { error });
      void sleep(REFUSED_PAUSE_MS, clock).then(() => this.giveBack());
    }
  }

  /** Back to the broker. */
  async giveBack(): Promise<void> {
    await this.receipt.requeue();
    this.#finish();
  }

  /** End the run that is in progress. */
  end(reason: string, graceMs: number, signal?: NodeJS.Signals): void {
    this.#ending = true;
    this.#run?.abort(reason, graceMs, signal);
  }

  async #discard(how: "revoked" | "expired"): Promise<void> {
    const { recorder, events } = this.#context;
    await recorder.revoked(this.message, this.strategy.task, how);
    await this.receipt.ack();
    events.tell("revoked", this.message, how);
    this.#finish();
  }

  #finish(): void {
    const { revoked, past, finished } = this.#context;
    revoked.drop(this.message);
    // Acknowledged to nobody: when it comes again, it is known not to need another run.
    if (this.receipt.orphaned && this.receipt.acknowledged) past.inDoubt(this.message);
    finished(this);
  }

  #job(): Job {
    const { delivery } = this.receipt;
    return {
      message: this.strategy.withLimits(this.message),
      hostname: this.#context.hostname,
      ...this.#context.recorder.jobOptions(this.message, this.strategy.task),
      deliveryInfo: {
        exchange: delivery.exchange,
        routingKey: delivery.routingKey,
        priority: this.message.priority ?? null,
        redelivered: delivery.redelivered,
      },
    };
  }

  async #follow(run: Run, startedMs: number): Promise<void> {
    const { clock, revoked, events } = this.#context;
    const stopListening = revoked.running(this.message, () => this.end("terminated", ABORT_GRACE_MS));
    void run.outcome.then(stopListening);
    const pid = await run.accepted;
    if (pid !== undefined) {
      if (!this.strategy.policy.acksLate) await this.receipt.ack();
      events.tell("started", this.message, pid);
    }
    const outcome = await run.outcome;
    this.#run = undefined;
    await this.#conclude(outcome, clock.monoMs() - startedMs);
  }

  async #conclude(outcome: Outcome, runtimeMs: number): Promise<void> {
    const { aftermath, past, events } = this.#context;
    const { task } = this.strategy;
    if (outcome.kind === "crashed" && !outcome.started && !this.receipt.acknowledged && !this.#ending) {
      return this.#context.again(this);
    }
    if (outcome.kind === "aborted" && isWorkersOwn(outcome.reason)) return this.#givenUp(outcome.reason);
    if (outcome.kind === "retry") return this.#retry(outcome, runtimeMs);
    let settlement = this.#settlementOf(outcome);
    if (settlement === "requeue" && isLoss(outcome)) {
      if (await this.#endsTooOften(outcome)) settlement = "reject";
      else if (outcome.kind === "crashed") {
        // As in Celery nothing is stored: it is as if it had not run.
        this.#context.log.error(
          `Task ${shown(this.message)} lost its process (${outcome.reason}); its message goes back to the queue`,
        );
        return this.#giveBackAfterRun();
      }
    }
    const known = await aftermath.ended(this.message, task, outcome, runtimeMs);
    if (known.kind === "succeeded") past.succeeded(this.message);
    const refused = await this.#settle(known === outcome ? settlement : this.#settlementOf(known), known);
    this.#tell(known, runtimeMs);
    if (refused !== undefined) events.tell("rejected", this.message, refused === "requeue");
    this.#finish();
  }

  #settlementOf(outcome: Outcome): Settlement {
    return this.strategy.policy.acksLate && !this.receipt.acknowledged
      ? settlementOf(outcome, this.strategy.policy)
      : "ack";
  }

  /** Answers how it was refused; undefined: it was not. */
  async #settle(settlement: Settlement, outcome: Outcome): Promise<"requeue" | "reject" | undefined> {
    const { refusals, log } = this.#context;
    switch (settlement) {
      case "requeue":
        await this.receipt.requeue();
        return "requeue";
      case "reject":
        return (await refusals.afterRun(this.message, this.receipt.delivery, outcome)) ? "reject" : "requeue";
      case "ack":
        if (outcome.kind === "rejected" && outcome.requeue) {
          log.warn(
            `Task ${shown(this.message)} does not run again: it was acknowledged before it ran (acksLate is false)`,
          );
        }
        await this.receipt.ack();
        return undefined;
    }
  }

  /** Counted for the message, in whatever worker it ran: one that ends every process is not given back for ever. */
  async #endsTooOften(outcome: Outcome): Promise<boolean> {
    const { losses, log } = this.#context;
    const count = await losses.count(this.message);
    if (count < LOSS_LIMIT) return false;
    const why = failureOfEnding(outcome)?.text ?? outcome.kind;
    log.error(`Task ${shown(this.message)} ended its process ${count} times (${why}): it is kept in quarantine`);
    return true;
  }

  async #retry(outcome: Extract<Outcome, { kind: "retry" }>, runtimeMs: number): Promise<void> {
    const { aftermath, nextRuns, events, log } = this.#context;
    const { task, policy } = this.strategy;
    // Stored before the next run can begin: the other way round it would overwrite what that one ends with.
    await aftermath.ended(this.message, task, outcome, runtimeMs);
    try {
      await nextRuns.send(this.message, outcome, this.queue, policy.acksLate);
    } catch (error) {
      log.error(`The next run of task ${shown(this.message)} could not be sent`, { error });
      return this.#conclude({ kind: "failed", error: toFailure(error), expected: false }, runtimeMs);
    }
    await this.receipt.ack();
    events.tell("retried", this.message, outcome.error);
    this.#finish();
  }

  /** The worker ended the run for its own sake. A late acknowledgement says that the work was not done: the message is for another worker. */
  async #givenUp(reason: string): Promise<void> {
    const { recorder, events } = this.#context;
    const { task } = this.strategy;
    events.tell("cancelled", this.message);
    if (!this.receipt.acknowledged) {
      if (reason === CONNECTION_LOST) await recorder.cancelled(this.message, task, reason);
      return this.#giveBackAfterRun();
    }
    await recorder.lost(this.message, task, "the worker was stopped cold while the task ran");
    this.#finish();
  }

  async #giveBackAfterRun(): Promise<void> {
    await this.receipt.requeue();
    this.#context.events.tell("rejected", this.message, true);
    this.#finish();
  }

  #tell(outcome: Outcome, runtimeMs: number): void {
    const { events } = this.#context;
    if (outcome.kind === "succeeded") events.tell("succeeded", this.message, outcome.result, runtimeMs);
    else if (outcome.kind === "aborted") events.tell("revoked", this.message, "terminated");
    const failure = failureOfEnding(outcome);
    if (failure !== undefined) events.tell("failed", this.message, failure);
  }
}
