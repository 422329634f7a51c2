/**
 * All time in Lovage comes from a clock that is handed in, so that tests and the simulator own it.
 * Two readings, never mixed: the wall is what is stored and sent, the monotonic one is what delays are measured by.
 */
export interface Clock {
  /** Whole milliseconds since 1970 (UTC). It may step, back too. */
  wallMs(): number;
  /** Milliseconds since some moment of this process, with fractions. It never steps. */
  monoMs(): number;
  /**
   * Run `fn` once, after about `delayMs` (0 … 2^31-1) of monotonic time. It may wake up to 2 ms early (Node rounds
   * down): whoever must not be early looks at the clock again. The process is kept alive unless `ref` is false.
   */
  timeout(fn: () => void, delayMs: number, options?: { readonly ref?: boolean }): Timeout;
}

/** A timeout that was set. */
export interface Timeout {
  /** It will not run. Calling it twice, or after it ran, does nothing. */
  cancel(): void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monoMs: () => performance.now(),
  timeout(fn, delayMs, options) {
    const handle = setTimeout(fn, delayMs);
    if (options?.ref === false) handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};
