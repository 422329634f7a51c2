/**
 * How long to wait before trying again: exponential, with a ceiling and full jitter, which spreads a crowd of clients that
 * lost the same server at the same moment (Brooker, "Exponential Backoff And Jitter", 2015).
 */

/** Evenly spread in [0, 1), as `Math.random`. Handed in, so that a test or the simulator owns it. */
export type Random = () => number;

export interface BackoffOptions {
  /** The wait before the first repetition, before jitter. It doubles each time. */
  readonly firstMs: number;
  /** The longest wait. */
  readonly capMs: number;
  /** Whole milliseconds spread over 0 … the wait; without it: exactly the wait. Default true. */
  readonly jitter?: boolean;
}

/** @param attempt 0 before the first repetition, then one more each time */
export function backoffMs(attempt: number, options: BackoffOptions, random: Random): number {
  const waitMs = Math.min(options.capMs, options.firstMs * 2 ** Math.max(0, attempt));
  return options.jitter === false ? waitMs : Math.floor(random() * (Math.floor(waitMs) + 1));
}

/** The waits of one series of attempts; `reset` when one succeeded. */
export class FullJitterBackoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #attempt = 0;

  constructor(options: BackoffOptions, random: Random = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  /** Attempts since the last reset. */
  get attempts(): number {
    return this.#attempt;
  }

  /** How long to wait now; the next wait is longer. */
  nextMs(): number {
    return backoffMs(this.#attempt++, this.#options, this.#random);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
