/**
 * Where code runs. A pool has a fixed number of slots; each runs one job at a time. Contract of `solo.ts` and `prefork/`.
 */
import type { TaskMessage } from "../protocol/message.ts";
import type { ExceptionDocument, ResultTuple } from "../protocol/result.ts";
import type { Destination } from "./asks.ts";

/** One run of a task. */
export interface Job {
  readonly message: TaskMessage;
  /** Node name of the worker. */
  readonly hostname: string;
  /** Where it came from: PROTOCOL 5.5. */
  readonly deliveryInfo?: DeliveryInfo;
  /** Store STARTED before the handler runs. */
  readonly trackStarted?: boolean;
  /** What the run stores carries name, arguments, worker, retries and queue, too. */
  readonly resultExtended?: boolean;
  /** Set when it runs a callback: what the handler sees as its fence (SEMANTICS G8). */
  readonly fence?: { readonly id: string; readonly attempt: number; readonly token: number };
}

export interface DeliveryInfo {
  readonly exchange: string;
  readonly routingKey: string;
  readonly priority: number | null;
  readonly redelivered: boolean;
}

/** How a run ended, and what it sent meanwhile. Texts are JSON in Python's dialect, ready for the result document. */
export type Outcome = Ending & {
  /** A tuple for each task that the run sent, in order. Absent: none. */
  readonly children?: readonly ResultTuple[];
};

export type Ending =
  | { readonly kind: "succeeded"; readonly result: string }
  | { readonly kind: "failed"; readonly error: TaskFailure; readonly expected: boolean }
  /** The task asked to run again. `body` and `retries` are those of the next run. */
  | {
      readonly kind: "retry";
      readonly etaMs: number;
      readonly body: string;
      readonly retries: number;
      readonly error: TaskFailure;
      /** What of its message is another than in this run; absent: nothing. */
      readonly changes?: RetryChanges;
      /** Where the task sends it; absent: to where this run came from. */
      readonly to?: Destination;
    }
  | { readonly kind: "ignored" }
  | { readonly kind: "rejected"; readonly requeue: boolean; readonly reason: string }
  /** The process died under it; `started` false: before the handler's first instruction. */
  | { readonly kind: "crashed"; readonly reason: string; readonly started: boolean }
  /** The hard limit ended it. */
  | { readonly kind: "timed-out"; readonly limitMs: number }
  /** Ended on request (revoke with terminate, abort, cold shutdown). */
  | { readonly kind: "aborted"; readonly reason: string };

/** What a task may change of its message when it asks to run again. */
export type RetryChanges = Partial<
  Pick<
    TaskMessage,
    | "argsRepr"
    | "kwargsRepr"
    | "expiresMs"
    | "hardLimitMs"
    | "softLimitMs"
    | "priority"
    | "headers"
    | "ignoreResult"
    | "shadow"
  >
>;

/** The reason of `aborted` when `stop` ran out of patience: nobody asked for the end of this one run. */
export const POOL_STOPPED = "the pool was stopped";

export interface TaskFailure {
  readonly exception: ExceptionDocument;
  /** One line for logs. */
  readonly text: string;
  readonly traceback: string | null;
}

/** A run in progress. */
export interface Run {
  readonly job: Job;
  /** Resolves with the pid when the job reached its process, before the handler's first instruction. Never rejects; undefined when it ended before. */
  readonly accepted: Promise<number | undefined>;
  /** Never rejects. */
  readonly outcome: Promise<Outcome>;
  /**
   * Ask it to end: AbortSignal to the handler, then after `graceMs` the process is killed (prefork). Solo can only ask.
   * Twice is once, unless the grace is shorter.
   *
   * @param signal what the process is sent when the grace is over; default SIGKILL. Another than that is followed by SIGKILL.
   */
  abort(reason: string, graceMs: number, signal?: NodeJS.Signals): void;
}

/** What the pool asks of the worker on a task's behalf; see `asks.ts` for the table. */
export type AskHandler = (op: string, params: unknown) => Promise<unknown>;

export interface Pool {
  readonly implementation: "solo" | "prefork" | "threads";
  /** Number of slots. */
  readonly size: number;
  /** Slots that can take a job now. */
  readonly free: number;
  /** Pids of the processes that run jobs; the own one for solo. */
  readonly pids: readonly number[];
  /** Resolves when every slot can take a job. @throws {ChildBootError} the user's app does not load; shows its own stack */
  start(): Promise<void>;
  /** Start the job now. @throws {PoolBusyError} no slot is free: look at `free` first */
  submit(job: Job): Run;
  /** Called whenever a slot becomes free, and when `pids` changes. Answers how to stop. */
  onFree(listener: () => void): () => void;
  /** Resolves when the pool cannot go on (three children in a row that could not load the app). */
  readonly broken: Promise<Error>;
  /**
   * Warm: wait for what runs, up to `timeoutMs`, then end it (`aborted`, POOL_STOPPED). No process of the pool is left
   * afterwards. Twice is once, unless the second has less patience.
   */
  stop(timeoutMs: number): Promise<void>;
}
