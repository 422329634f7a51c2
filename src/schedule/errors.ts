/** What goes wrong with the schedule, the same for every store. Codes stand in `docs/errors.md`. */
import { LostError, UnavailableError } from "../kit/errors.ts";

/** The lease ran out and another worker took the callback: this run must not be recorded. */
export class LeaseLostError extends LostError {
  readonly code = "ERR_LEASE_LOST";
  readonly id: string;

  constructor(id: string, options?: ErrorOptions) {
    super(`the lease on callback ${JSON.stringify(id)} was lost before it was settled`, options);
    this.id = id;
  }
}

/** There are as many live callbacks as the limit allows; none of this call was added. */
export class BackpressureError extends UnavailableError {
  readonly code = "ERR_BACKPRESSURE";
  readonly limit: number;

  constructor(limit: number, options?: ErrorOptions) {
    super(
      `the schedule holds its limit of ${limit} live callbacks: wait until some have ended, or raise maxPending`,
      options,
    );
    this.limit = limit;
  }
}
