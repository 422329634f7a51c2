/**
 * What a running task knows of its run: `currentTask()`. Carried by AsyncLocalStorage, so that it is there after every
 * await of the handler, and in nothing that another run started.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Duration } from "../kit/duration.ts";
import { ContractError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { DeliveryInfo } from "../pool/pool.ts";
import type { ResultTuple } from "../protocol/result.ts";

/** The request as Celery exposes it (PROTOCOL 5.5), in camelCase. */
export interface TaskRequest {
  readonly id: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** 0 for the first run. */
  readonly retries: number;
  readonly expires?: Date;
  /** Seconds. */
  readonly timeLimit?: number;
  readonly softTimeLimit?: number;
  readonly rootId?: string;
  readonly parentId?: string;
  readonly group?: string;
  readonly groupIndex?: number;
  readonly correlationId?: string;
  readonly replyTo?: string;
  readonly origin?: string;
  /** Node name of the worker. */
  readonly hostname: string;
  readonly deliveryInfo?: DeliveryInfo;
  /** Headers that Celery does not define. */
  readonly headers: Readonly<Record<string, unknown>>;
}

/**
 * Identifies this run among all runs of one callback (SEMANTICS G8): a store that remembers the highest token refuses
 * what a stalled, older run writes late.
 */
export interface Fence {
  /** Id of the callback. */
  readonly id: string;
  readonly attempt: number;
  readonly token: number;
}

/** Celery's `retry` options in camelCase. What is left out is as in this run. */
export interface RetryOptions {
  /** Default: the task's `defaultRetryDelay`. */
  readonly countdown?: Duration;
  readonly eta?: Date | string;
  /** Arguments of the next run. Default: those of this one. */
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Overrides the task's `maxRetries`. */
  readonly maxRetries?: number | null;
  /** Why; stored with the RETRY state, and thrown when no retry is left. Celery: `exc`. */
  readonly cause?: unknown;
  /** Send the next run to this queue; where no worker of this kind serves it, as an ordinary message with an eta. */
  readonly queue?: string;
  readonly exchange?: string;
  readonly routingKey?: string;
  /** 0 … 255. */
  readonly priority?: number;
  /** Latest start: a duration from now, or a moment (Date, or ISO 8601). */
  readonly expires?: Duration | Date;
  readonly timeLimit?: Duration;
  readonly softTimeLimit?: Duration;
  /** Over the headers of your own that the message has; Celery's names are refused. */
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly ignoreResult?: boolean;
  /** Name shown in logs in place of the task's. */
  readonly shadow?: string;
}

export interface TaskContext {
  readonly request: TaskRequest;
  /** Aborted by a revoke with terminate, by `cancel({ running: "abort" })`, by the soft limit, and at a cold stop. */
  readonly signal: AbortSignal;
  /** Set when a callback of the schedule runs. */
  readonly fence?: Fence;
  readonly log: Logger;
  /** Run the task again later. Always throws: what it throws must leave the handler. */
  retry(options?: RetryOptions): never;
  /** Store a custom state with its meta: what `AsyncResult.status` and `info` show meanwhile. */
  updateState(state: string, meta?: unknown): Promise<void>;
}

/** The same, seen from inside. */
export interface RunningTask extends TaskContext {
  /** The task sent another one: it is among the children of its result. */
  addChild(tuple: ResultTuple): void;
}

/** One for the process, also when two copies of the package are loaded: a global command and the project's own library. */
const SLOT: unique symbol = Symbol.for("lovage.currentTask");
const shared = globalThis as { [SLOT]?: AsyncLocalStorage<RunningTask> };
shared[SLOT] ??= new AsyncLocalStorage<RunningTask>();
const storage = shared[SLOT];

export class NoCurrentTaskError extends ContractError {
  readonly code = "ERR_NO_CURRENT_TASK";
}

/** The running task's context. @throws {NoCurrentTaskError} called outside a task's handler */
export function currentTask(): TaskContext {
  const context = storage.getStore();
  if (context === undefined) {
    throw new NoCurrentTaskError("currentTask() was called outside a running task; call it inside a task's handler");
  }
  return context;
}

/** The same, or undefined outside a task: what a producer uses to set the parent of what it sends. */
export function currentTaskOrNone(): RunningTask | undefined {
  return storage.getStore();
}

export function runInTask<T>(context: RunningTask, run: () => T): T {
  return storage.run(context, run);
}
