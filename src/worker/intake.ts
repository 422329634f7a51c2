/**
 * Takes deliveries in: decodes, refuses, parks or queues them for a slot (PROTOCOL 5). Nothing that arrives is dropped:
 * what cannot be run is in quarantine, on disk, before the broker is told (SEMANTICS G16); what is to run later is in the
 * schedule, on disk, before it is acknowledged (G14), so that no waiting task holds a message or memory.
 */
import type { Delivery } from "../brokers/broker.ts";
import { FullJitterBackoff } from "../kit/backoff.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import type { Logger } from "../kit/log.ts";
import { decodeTask } from "../protocol/decode.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Refusal } from "../protocol/refusal.ts";
import type { Quarantine } from "../quarantine/quarantine.ts";
import type { NewCallback, PutAnswer } from "../schedule/callback.ts";
import type { Recorder } from "./record.ts";
import { shown } from "./record.ts";
import { parked, Request, type RequestContext } from "./request.ts";
import type { Slots } from "./slots.ts";
import type { Strategies, Strategy } from "./strategy.ts";

export interface IntakeOptions {
  readonly strategies: Strategies;
  readonly slots: Slots;
  readonly quarantine: Quarantine;
  readonly recorder: Recorder;
  /** Write callbacks to the schedule, durably. */
  readonly put: (callbacks: readonly NewCallback[]) => Promise<PutAnswer[]>;
  readonly context: Omit<RequestContext, "again" | "finished" | "park">;
  readonly timezone: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A store that is away or full is tried again after up to this long; meanwhile its messages hold the prefetch window. */
const STORE_RETRY = { firstMs: 100, capMs: 5_000 } as const;

export class Intake {
  readonly #options: IntakeOptions;
  /** Every request that was taken in and is not done with. */
  readonly #requests = new Set<Request>();
  /** Decisions in progress: parking, refusing. */
  readonly #pending = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Requests in hand, waiting or running. */
  get requests(): ReadonlySet<Request> {
    return this.#requests;
  }

  /** A delivery of the broker's. Never throws. */
  readonly receive = (delivery: Delivery): void => {
    const { timezone, strategies, clock } = this.#options;
    const decoded = decodeTask(delivery.message, { timezone });
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
    this.#options.log.info(`Task ${shown(message)} received`);
    if (message.etaMs !== undefined && message.etaMs > clock.wallMs()) {
      this.#track(this.#park(delivery, message, message.etaMs, strategy));
    } else {
      this.#enqueue(message, delivery, strategy);
    }
  };

  /** Give back what has not started. Resolves when the broker has been told, or is gone. */
  async returnWaiting(): Promise<void> {
    const waiting = this.#options.slots.drain() as Request[];
    await Promise.all(waiting.map((each) => each.giveBack()));
  }

  /** Resolves when nothing is in hand any more. */
  async idle(): Promise<void> {
    while (this.#requests.size > 0 || this.#pending.size > 0) {
      await Promise.all([...this.#pending]);
      if (this.#requests.size > 0) await new Promise<void>((resolve) => this.#onceFinished.push(resolve));
    }
  }

  /** Give up what waits for a store that does not answer. */
  abandon(): void {
    this.#stopping.abort();
  }

  readonly #onceFinished: (() => void)[] = [];

  #enqueue(message: TaskMessage, delivery: Delivery, strategy: Strategy): void {
    const request = new Request(message, delivery, strategy, {
      ...this.#options.context,
      park: (callback) => this.#persist(callback).then(() => undefined),
      again: (again) => this.#options.slots.add(again),
      finished: (done) => {
        this.#requests.delete(done);
        for (const resolve of this.#onceFinished.splice(0)) resolve();
      },
    });
    this.#requests.add(request);
    this.#options.slots.add(request);
  }

  async #park(delivery: Delivery, message: TaskMessage, dueMs: number, strategy: Strategy): Promise<void> {
    const answer = await this.#persist(parked(message, dueMs, delivery.queue, strategy.policy.acksLate));
    if (answer.put === "revoked") await this.#options.recorder.revoked(message, strategy.task, "revoked");
    await delivery.ack();
  }

  /** Write it to the schedule, however often that takes. Rejects only when the worker stops. */
  async #persist(callback: NewCallback): Promise<PutAnswer> {
    const backoff = new FullJitterBackoff(STORE_RETRY);
    for (;;) {
      try {
        const [answer] = await this.#options.put([callback]);
        if (answer !== undefined) return answer;
      } catch (error) {
        this.#options.log.error(`The schedule does not take callback ${callback.message.task}[${callback.taskId}]`, {
          error,
        });
      }
      await sleep(backoff.nextMs(), this.#options.clock, this.#stopping.signal);
    }
  }

  async #refuse(delivery: Delivery, refusal: Refusal): Promise<void> {
    this.#options.log.error(`Refused a message from queue ${delivery.queue}: ${refusal.reason} (${refusal.code})`);
    await this.#quarantine(delivery, refusal.code, refusal.reason, refusal.task, refusal.id);
  }

  async #refuseUnknown(delivery: Delivery, message: TaskMessage): Promise<void> {
    const reason = `Received unregistered task of type ${JSON.stringify(message.task)}: no task of this worker's app has that name`;
    this.#options.log.error(reason);
    const kept = await this.#quarantine(delivery, "ERR_UNKNOWN_TASK", reason, message.task, message.id);
    if (kept) await this.#options.recorder.unknownTask(message);
  }

  /** On disk first, then rejected; if it cannot be kept, it goes back to the queue after a pause. */
  async #quarantine(
    delivery: Delivery,
    code: string,
    reason: string,
    task: string | undefined,
    taskId: string | undefined,
  ): Promise<boolean> {
    const { message, queue } = delivery;
    try {
      await this.#options.quarantine.add({
        code,
        reason,
        queue,
        properties: message.properties,
        headers: message.headers,
        body: message.body,
        ...(task === undefined ? {} : { task }),
        ...(taskId === undefined ? {} : { taskId }),
      });
    } catch (error) {
      this.#options.log.error("A refused message could not be kept in quarantine; it goes back to its queue", {
        error,
      });
      await sleep(STORE_RETRY.capMs, this.#options.clock, this.#stopping.signal).catch(() => undefined);
      await delivery.requeue();
      return false;
    }
    await delivery.reject();
    return true;
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error) => this.#options.log.error("A message could not be dealt with", { error }))
      .finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
  }
}
