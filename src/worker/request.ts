/**
 * One execution of a broker's message: who acknowledges, who records, what is parked, in which order (PROTOCOL 6).
 *
 * Early acknowledgement (Celery's default) happens when a process has taken the job, so a message that only waits here is
 * still the broker's. A retry is stored as RETRY and written to the schedule before the message is acknowledged: whatever
 * dies, one of the two holds it.
 */
import type { Delivery } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import type { Logger } from "../kit/log.ts";
import type { Job, Outcome, Pool, Run } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { NewCallback } from "../schedule/callback.ts";
import { isWorkersOwn } from "./fire.ts";
import type { Recorder } from "./record.ts";
import { shown } from "./record.ts";
import type { Revoked } from "./revoked.ts";
import type { Waiting } from "./slots.ts";
import type { Strategy } from "./strategy.ts";

export interface RequestContext {
  readonly pool: Pool;
  readonly recorder: Recorder;
  readonly revoked: Revoked;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostname: string;
  /** Write to the schedule; resolves when it is durable, tries again while the store is away, rejects when the worker stops. */
  park(callback: NewCallback): Promise<void>;
  /** Wait again for a slot: its process died before the job began. */
  again(request: Request): void;
  /** It is done with, whatever came of it. */
  finished(request: Request): void;
}

export interface RequestPolicy {
  readonly acksLate: boolean;
  readonly rejectOnWorkerLost: boolean;
}

const REFUSED_PAUSE_MS = 1_000;

export class Request implements Waiting {
  readonly message: TaskMessage;
  readonly delivery: Delivery;
  readonly #strategy: Strategy;
  readonly #context: RequestContext;
  /** Settles when it is known whether it is revoked. */
  readonly #checked: Promise<void>;
  #acknowledged = false;
  #run: Run | undefined;
  #ending = false;

  constructor(message: TaskMessage, delivery: Delivery, strategy: Strategy, context: RequestContext) {
    this.message = message;
    this.delivery = delivery;
    this.#strategy = strategy;
    this.#context = context;
    this.#checked = context.revoked.hold(message.id);
    context.recorder.cameFrom(message, delivery.routingKey);
    // Looked at when it has its slot.
    this.#checked.catch(() => undefined);
  }

  /** Its job is with the pool. */
  get running(): boolean {
    return this.#run !== undefined;
  }

  async start(): Promise<void> {
    const { pool, recorder, clock, log } = this.#context;
    try {
      await this.#checked;
      const how = this.#discarded();
      if (how !== undefined) {
        await recorder.revoked(this.message, this.#strategy.task, how);
        await this.#ack();
        this.#finish();
        return;
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

  /** Back to the broker, unstarted. */
  async giveBack(): Promise<void> {
    await this.delivery.requeue();
    this.#finish();
  }

  /** End the run that is in progress. */
  end(reason: string, graceMs: number): void {
    this.#ending = true;
    this.#run?.abort(reason, graceMs);
  }

  #discarded(): "revoked" | "expired" | undefined {
    const { clock, revoked } = this.#context;
    if (this.message.expiresMs !== undefined && clock.wallMs() > this.message.expiresMs) return "expired";
    return revoked.has(this.message.id) ? "revoked" : undefined;
  }

  #finish(): void {
    this.#context.revoked.drop(this.message.id);
    this.#context.finished(this);
  }

  #job(): Job {
    return {
      message: this.#strategy.withLimits(this.message),
      hostname: this.#context.hostname,
      ...this.#context.recorder.jobOptions(this.message, this.#strategy.task),
      deliveryInfo: {
        exchange: this.delivery.exchange,
        routingKey: this.delivery.routingKey,
        priority: this.message.priority ?? null,
        redelivered: this.delivery.redelivered,
      },
    };
  }

  async #follow(run: Run, startedMs: number): Promise<void> {
    const { clock } = this.#context;
    const pid = await run.accepted;
    if (pid !== undefined && !this.#strategy.policy.acksLate) await this.#ack();
    const outcome = await run.outcome;
    this.#run = undefined;
    await this.#settle(outcome, clock.monoMs() - startedMs);
  }

  async #settle(outcome: Outcome, runtimeMs: number): Promise<void> {
    const { recorder, log } = this.#context;
    switch (outcome.kind) {
      case "crashed":
        if (!outcome.started && !this.#acknowledged && !this.#ending) return this.#context.again(this);
        if (this.#givesBackWhenLost()) {
          log.error(
            `Task ${shown(this.message)} lost its process (${outcome.reason}); its message goes back to the queue`,
          );
          return this.giveBack();
        }
        break;
      case "aborted":
        // A late acknowledgement says that the work was not done: the message is for another worker.
        if (isWorkersOwn(outcome.reason)) {
          if (!this.#acknowledged) return this.giveBack();
          await recorder.lost(this.message, this.#strategy.task, "the worker was stopped cold while the task ran");
          return this.#finish();
        }
        break;
      case "rejected":
        await recorder.ended(this.message, this.#strategy.task, outcome, runtimeMs);
        await (outcome.requeue ? this.delivery.requeue() : this.delivery.reject());
        return this.#finish();
      case "retry":
        await recorder.ended(this.message, this.#strategy.task, outcome, runtimeMs);
        await this.#context.park(this.#next(outcome));
        await this.#ack();
        return this.#finish();
      default:
        break;
    }
    await recorder.ended(this.message, this.#strategy.task, outcome, runtimeMs);
    await this.#ack();
    this.#finish();
  }

  #givesBackWhenLost(): boolean {
    return this.#strategy.policy.acksLate && this.#strategy.policy.rejectOnWorkerLost && !this.#acknowledged;
  }

  /** The next try, as a callback that every worker sees. */
  #next(outcome: Extract<Outcome, { kind: "retry" }>): NewCallback {
    return parked(
      { ...this.message, retries: outcome.retries, body: outcome.body },
      outcome.etaMs,
      this.delivery.queue,
      this.#strategy.policy.acksLate,
    );
  }

  async #ack(): Promise<void> {
    if (this.#acknowledged) return;
    this.#acknowledged = true;
    await this.delivery.ack();
  }
}

/**
 * A message as a callback of the schedule, recognised when it comes again by its task id and retries. A lost run follows
 * the task, as Celery's users expect: acknowledged late, it runs again; early, it does not (SEMANTICS G4).
 */
export function parked(message: TaskMessage, dueMs: number, queue: string, acksLate: boolean): NewCallback {
  const { id, etaMs: _eta, expiresMs, ...rest } = message;
  return {
    taskId: id,
    dueMs,
    queue,
    onLost: acksLate ? "rerun" : "fail",
    message: rest,
    ...(expiresMs === undefined ? {} : { expiresMs }),
  };
}
