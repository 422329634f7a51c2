/** What a pool throws. */
import { ContractError, LostError, UnavailableError } from "../kit/errors.ts";

/** A job was submitted although every slot is taken. */
export class PoolBusyError extends UnavailableError {
  readonly code = "ERR_POOL_BUSY";

  constructor(size: number) {
    super(`none of the pool's ${size} slots can take a job now; look at pool.free before pool.submit`);
  }
}

/** A process of the pool did not get as far as running jobs. */
export class ChildBootError extends ContractError {
  readonly code = "ERR_CHILD_BOOT";
  /** Path of the user's file. */
  readonly appPath: string;
  /** Code of what was thrown there, "" when it had none. */
  readonly childCode: string;
  /** The user's own stack, as the child saw it; undefined when the process ended without a word. */
  readonly childStack: string | undefined;

  constructor(appPath: string, why: string, child: { readonly code?: string; readonly stack?: string } = {}) {
    super(`a pool process could not load ${appPath}: ${why}`);
    this.appPath = appPath;
    this.childCode = child.code ?? "";
    this.childStack = child.stack;
  }
}

/** The reason of a handler's `signal` when its run is to end: a revoke with terminate, `cancel({ running: "abort" })`, a cold stop. */
export class TaskAbortedError extends LostError {
  readonly code = "ERR_TASK_ABORTED";

  constructor(why: string) {
    super(why);
    // What fetch, timers and streams throw is told by this name, in Node as in the browser.
    this.name = "AbortError";
  }
}
