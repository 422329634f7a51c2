/**
 * Where the next run of a task goes that asked for one (PROTOCOL 12.1): a callback of the schedule, which every worker of it sees and anybody
 * can cancel; or, when it is addressed to a queue that this worker does not serve, an ordinary message with an eta. Durable in either case when
 * `send` resolves, so that the message of this run may be acknowledged then.
 */
import { UnavailableError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Ask, Destination } from "../pool/asks.ts";
import type { Outcome } from "../pool/pool.ts";
import { isBrokerHeader } from "../protocol/headers.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { NewCallback } from "../schedule/callback.ts";

export type RetryOutcome = Extract<Outcome, { kind: "retry" }>;

/** The message of the next run: all of this one's but what the task changed, and itself as the parent, as Celery has it. */
export function nextRunOf(message: TaskMessage, outcome: RetryOutcome): TaskMessage {
  const { etaMs, body, retries, changes } = outcome;
  const { headers, ...next } = { ...message, ...changes };
  const own = Object.entries(headers ?? {}).filter(([name]) => !isBrokerHeader(name));
  return {
    ...next,
    body,
    retries,
    etaMs,
    rootId: message.rootId ?? message.id,
    parentId: message.id,
    ...(own.length === 0 ? {} : { headers: Object.fromEntries(own) }),
  };
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

export interface NextRunsOptions {
  readonly ask: Ask;
  /** Write to the schedule; resolves when it is durable, tries again while the store is away, rejects when the worker stops. */
  readonly park: (callback: NewCallback) => Promise<unknown>;
  /** Queues that this worker consumes now. */
  readonly queues: ReadonlySet<string>;
  /** The queue that an exchange and key lead to, as far as the app knows. */
  readonly reachedBy: (exchange: string, routingKey: string) => string | undefined;
  readonly log: Logger;
}

export class NextRuns {
  readonly #options: NextRunsOptions;

  constructor(options: NextRunsOptions) {
    this.#options = options;
  }

  /** Whether the next run waits where this one came from, with nothing of it changed but its arguments. */
  staysWith({ to }: RetryOutcome, queue: string): boolean {
    return to === undefined || (isQueueAlone(to) && (to.queue ?? queue) === queue);
  }

  /**
   * Resolves when the next run is durable.
   * @param queue where this one came from
   * @throws {InvalidInputError} there is no such queue, and none is to be made
   */
  async send(message: TaskMessage, outcome: RetryOutcome, queue: string, acksLate: boolean): Promise<void> {
    const next = nextRunOf(message, outcome);
    const to = { queue, ...outcome.to };
    const served = isQueueAlone(to) && (to.queue === queue || this.#options.queues.has(to.queue));
    const at = served ? to.queue : await this.#publish(next, to);
    if (at !== undefined) await this.#options.park(parked(next, outcome.etaMs, at, acksLate));
  }

  /** Undefined: it is with the broker. A queue: that is away, and the schedule sends it there when it is due and the broker back. */
  async #publish(next: TaskMessage, to: Destination & { readonly queue: string }): Promise<string | undefined> {
    const { ask, reachedBy, log } = this.#options;
    try {
      await ask("publish", { message: next, to });
      return undefined;
    } catch (error) {
      const at = isQueueAlone(to) ? to.queue : reachedBy(to.exchange ?? "", to.routingKey ?? "");
      if (!(error instanceof UnavailableError) || at === undefined) throw error;
      log.warn(`The next run of ${next.task}[${next.id}] could not be sent to queue ${at}: it waits in the schedule`);
      return at;
    }
  }
}

function isQueueAlone({ exchange, routingKey }: Destination): boolean {
  return exchange === undefined && routingKey === undefined;
}
