/**
 * No await without an end (SEMANTICS I16): what is asked of a store, a broker or a child is waited for under a deadline.
 */
import type { Clock, Timeout } from "./clock.ts";
import { showMs } from "./duration.ts";
import { TimeoutError } from "./errors.ts";

/** Longer than this a timeout cannot be; a longer wait is made of several. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * What `promise` gives, if it comes within `ms`; Infinity waits for ever. The promise itself goes on: give what makes it an
 * AbortSignal where it should not.
 *
 * @param what what is waited for, as the subject of a sentence: "the broker's answer"
 * @throws {TimeoutError} it did not come in time; whether it still does is not known
 */
export function withDeadline<T>(promise: PromiseLike<T>, ms: number, clock: Clock, what: string): Promise<T> {
  if (ms === Number.POSITIVE_INFINITY) return Promise.resolve(promise);
  return new Promise((resolve, reject) => {
    const timer = wait(ms, clock, true, () => {
      reject(new TimeoutError(`${what} did not come within ${showMs(ms)}`));
    });
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}

/**
 * Resolves after at least `ms`. With a signal: rejects with its reason as soon as it is aborted.
 * @param options.ref false: the wait does not keep the process alive
 */
export function sleep(
  ms: number,
  clock: Clock,
  signal?: AbortSignal,
  options?: { readonly ref?: boolean },
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = wait(ms, clock, options?.ref ?? true, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** A timeout that is not early, and may be longer than Node's. */
function wait(ms: number, clock: Clock, ref: boolean, done: () => void): Timeout {
  const dueMs = clock.monoMs() + Math.max(0, ms);
  let timeout: Timeout;
  const arm = () => {
    const leftMs = Math.ceil(dueMs - clock.monoMs());
    timeout = clock.timeout(() => (clock.monoMs() < dueMs ? arm() : done()), clamp(leftMs), { ref });
  };
  arm();
  return { cancel: () => timeout.cancel() };
}

function clamp(ms: number): number {
  return Math.min(Math.max(0, ms), MAX_TIMEOUT_MS);
}
