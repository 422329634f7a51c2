/**
 * Takes deliveries in: decodes, refuses, parks or queues them for a slot (PROTOCOL 5). Nothing that arrives is dropped:
 * what cannot be run is in quarantine, on disk, before the broker is told (SEMANTICS G16); what is to run later is in the
 * schedule, on disk, before it is acknowledged (G14), so that no waiting task holds a message or memory.
 */
import type { Delivery } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import type { Logger } from "../kit/log.ts";
import type { Accepted } from "../protocol/content.ts";
import { decodeTask } from "../protocol/decode.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Refusal } from "../protocol/refusal.ts";
import type { NewCallback, PutAnswer } from "../schedule/callback.ts";
import { notRegistered } from "./failures.ts";
import { parked } from "./next-run.ts";
import { CONNECTION_LOST } from "./own-ends.ts";
import { runOf } from "./past.ts";
import { RateLimits } from "./rate-limits.ts";
import { type Recorder, shown } from "./record.ts";
import type { Refusals } from "./refusals.ts";
import { ABORT_GRACE_MS } from "./remote-control.ts";
import { Request, type RequestContext } from "./request.ts";
import type { Slots } from "./slots.ts";
import type { Strategies, Strategy } from "./strategy.ts";

export interface IntakeOptions {
  readonly strategies: Strategies;
  readonly slots: Slots;
  readonly refusals: Refusals;
  readonly recorder: Recorder;
  /** Write to the schedule; resolves when it is durable, tries again while the store is away, rejects when the worker stops. */
  readonly park: (callback: NewCallback) => Promise<PutAnswer>;
  readonly context: Omit<RequestContext, "again" | "finished">;
  /** End late-acknowledged runs when the connection is lost. */
  readonly cancelsWhenLost: boolean;
  readonly timezone: string;
  /** Content types that are read. */
  readonly accept: Accepted;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Intake {
  readonly #options: IntakeOptions;
  /** Every request that was taken in and is not done with. */
  readonly #requests = new Set<Request>();
  /** Decisions in progress: parking, refusing. */
  readonly #pending = new Set<Promise<void>>();
  readonly #rates: RateLimits<Request>;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#rates = new RateLimits(
      options.clock,
      (request) => options.slots.add(request),
      (request) => request.unwanted !== undefined,
    );
    for (const [task, { perSecond }] of options.strategies.tasks) this.#rates.set(task, perSecond);
  }

  /** So many starts a second from now on; undefined: no limit. For Celery's command `rate_limit`. */
  setRateLimit(task: string, perSecond: number | undefined): void {
    this.#rates.set(task, perSecond);
  }

  /** Whether a task that no message waits with may start now: it takes its token. */
  takeToken(task: string): boolean {
    return this.#rates.take(task);
  }

  /** Requests that wait for their rate: they hold their messages, and no slot. */
  get waitingForRate(): number {
    return this.#rates.waiting;
  }

  /** Requests in hand, waiting or running. */
  get requests(): ReadonlySet<Request> {
    return this.#requests;
  }

  /** A delivery of the broker's. Never throws. */
  readonly receive = (delivery: Delivery): void => {
    const { timezone, accept, strategies, clock, log } = this.#options;
    const decoded = decodeTask(delivery.message, { timezone, accept });
    if (!decoded.ok) {
      this.#track(this.#refuse(delivery, decoded.refusal));
      return;
    }
    const { message } = decoded;
    const strategy = strategies.get(message.task);
    if (strategy === undefined) {
      this.#track(this.#refuseUnknown(delivery, message));
      return;
    }
    if (delivery.redelivered && this.#recognise(message, delivery)) return;
    log.info(`Task ${shown(message)} received`);
    const nowMs = clock.wallMs();
    if (message.expiresMs !== undefined && nowMs > message.expiresMs) {
      this.#track(this.#expired(delivery, message, strategy));
    } else if (message.etaMs !== undefined && message.etaMs > nowMs) {
      this.#track(this.#park(delivery, message, message.etaMs, strategy));
    } else {
      this.#enqueue(message, delivery, strategy);
    }
  };

  /** What is in hand came by a connection that is lost now: the broker delivers it again, here or elsewhere. */
  connectionLost(): void {
    const { cancelsWhenLost } = this.#options;
    for (const request of this.#requests) {
      request.receipt.orphan();
      if (cancelsWhenLost && request.strategy.policy.acksLate && request.running) {
        request.end(CONNECTION_LOST, ABORT_GRACE_MS);
      }
    }
  }

  /** Give back what has not started. Resolves when the broker has been told, or is gone. */
  async returnWaiting(): Promise<void> {
    const waiting = [...(this.#options.slots.drain() as Request[]), ...this.#rates.drain()];
    await Promise.all(waiting.map((each) => each.giveBack()));
  }

  /** Resolves when nothing is in hand any more. */
  async idle(): Promise<void> {
    while (this.#requests.size > 0 || this.#pending.size > 0) {
      await Promise.all([...this.#pending]);
      if (this.#requests.size > 0) await new Promise<void>((resolve) => this.#onceFinished.push(resolve));
    }
  }

  readonly #onceFinished: (() => void)[] = [];

  /**
   * One that is in hand already, or has ended here while the connection was lost: it does not run twice.
   * True: this delivery needs nothing more.
   */
  #recognise(message: TaskMessage, delivery: Delivery): boolean {
    const { context, log } = this.#options;
    const run = runOf(message);
    for (const request of this.#requests) {
      if (!request.receipt.orphaned || runOf(request.message) !== run) continue;
      log.info(`Task ${shown(message)} was delivered again; it is in hand, and its run goes on`);
      this.#track(request.receipt.adopt(delivery));
      return true;
    }
    if (!context.past.takeInDoubt(message)) return false;
    log.info(`Task ${shown(message)} was delivered again; it has ended here, and is acknowledged`);
    this.#track(delivery.ack());
    return true;
  }

  async #expired(delivery: Delivery, message: TaskMessage, strategy: Strategy): Promise<void> {
    const { recorder, context } = this.#options;
    await recorder.revoked(message, strategy.task, "expired");
    await delivery.ack();
    context.events.tell("revoked", message, "expired");
  }

  #enqueue(message: TaskMessage, delivery: Delivery, strategy: Strategy): void {
    const { context, slots } = this.#options;
    const request = new Request(message, delivery, strategy, {
      ...context,
      again: (again) => slots.add(again),
      finished: (done) => {
        this.#requests.delete(done);
        for (const resolve of this.#onceFinished.splice(0)) resolve();
      },
    });
    this.#requests.add(request);
    this.#rates.add(message.task, request);
  }

  async #park(delivery: Delivery, message: TaskMessage, dueMs: number, strategy: Strategy): Promise<void> {
    const { recorder, context } = this.#options;
    const answer = await this.#options.park(parked(message, dueMs, delivery.queue, strategy.policy.acksLate));
    if (answer.put === "revoked") await recorder.revoked(message, strategy.task, "revoked");
    await delivery.ack();
    if (answer.put === "revoked") context.events.tell("revoked", message, "revoked");
    else context.events.tell("received", message);
  }

  async #refuse(delivery: Delivery, { code, reason, task, id }: Refusal): Promise<void> {
    this.#options.log.error(`Refused a message from queue ${delivery.queue}: ${reason} (${code})`);
    await this.#options.refusals.refuse(delivery, { code, reason, task, taskId: id });
  }

  async #refuseUnknown(delivery: Delivery, message: TaskMessage): Promise<void> {
    const { log, recorder, refusals, context } = this.#options;
    const reason = `Received unregistered task of type ${JSON.stringify(message.task)}: no task of this worker's app has that name`;
    log.error(reason);
    const why = { code: "ERR_UNKNOWN_TASK", reason, task: message.task, taskId: message.id };
    if (!(await refusals.refuse(delivery, why))) return;
    await recorder.unknownTask(message);
    context.events.tell("failed", message, notRegistered(message.task));
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error) => this.#options.log.error("A message could not be dealt with", { error }))
      .finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }
}
