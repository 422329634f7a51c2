/**
 * The life of each task, told as it happens: the seam for events (PROTOCOL 13), metrics and signals. Whoever listens hears of messages and of
 * callbacks alike, after what is told is done: the result is stored, and the broker told.
 *
 * The order is Celery's: `received`, then `started`, then one end; `retried` is the end of a run, and the next one is received anew. A task
 * that is revoked or has expired before it was received is told as `revoked` alone. A task in a store that others share (a callback) may be
 * received here and start elsewhere.
 */
import { toError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { TaskFailure } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";

export interface TaskListener {
  /** It is taken in: to be run now, or to wait in the schedule for its eta. */
  received?(message: TaskMessage): void;
  /** @param pid of the process that runs it */
  started?(message: TaskMessage, pid: number): void;
  /** @param result JSON text of what it returned */
  succeeded?(message: TaskMessage, result: string, runtimeMs: number): void;
  /** Also one that ran into its hard limit, whose process died, or that was rejected for good. */
  failed?(message: TaskMessage, failure: TaskFailure): void;
  /** Its message was refused to the broker: it goes back to its queue, or never comes again. */
  rejected?(message: TaskMessage, requeue: boolean): void;
  revoked?(message: TaskMessage, how: "revoked" | "expired" | "terminated"): void;
  retried?(message: TaskMessage, failure: TaskFailure): void;
  /** The worker gave its run up: a cold stop, or a lost connection. */
  cancelled?(message: TaskMessage): void;
}

type Told = { [Name in keyof TaskListener]-?: Parameters<NonNullable<TaskListener[Name]>> };

export class TaskEvents {
  readonly #listeners = new Set<TaskListener>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Answers how to stop listening. */
  listen(listener: TaskListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** One that throws is logged and keeps nobody else from being told. */
  tell<Name extends keyof Told>(name: Name, ...what: Told[Name]): void {
    if (this.#listeners.size === 0) return;
    for (const listener of this.#listeners) {
      try {
        (listener[name] as ((...what: Told[Name]) => void) | undefined)?.apply(listener, what);
      } catch (error) {
        this.#log.error(`A listener to tasks threw at "${name}"`, { error: toError(error) });
      }
    }
  }
}
