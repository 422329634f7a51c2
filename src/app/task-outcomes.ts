/**
 * What a handler may throw that is no failure. Celery's names. They are outcomes and not errors of ours: they carry no code,
 * and are errors only so that they can be thrown and have a stack if they end up where nobody expects them.
 */
import { UnavailableError } from "../kit/errors.ts";

/** Forget this run: no result is stored, the message is acknowledged. */
export class Ignore extends Error {
  constructor(message = "the task asked to be ignored") {
    super(message);
    this.name = "Ignore";
  }
}

/**
 * Refuse the message: given back to its queue with `requeue`, else dropped (to the dead-letter exchange, if there is one).
 * The broker sees it only with `acksLate`: without, the message was acknowledged before the run.
 */
export class Reject extends Error {
  readonly requeue: boolean;

  constructor(reason: string, { requeue = false }: { readonly requeue?: boolean } = {}) {
    super(reason);
    this.name = "Reject";
    this.requeue = requeue;
  }
}

/** The soft limit was reached: the reason of the handler's `signal`. A handler that cleans up and throws it, or what it caused, fails with it. */
export class SoftTimeLimitExceeded extends UnavailableError {
  readonly code = "ERR_SOFT_TIME_LIMIT";
}
