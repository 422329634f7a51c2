/** One moment in monotonic time that something must not outlive. Never early; any distance, beyond Node's 24.8 days too. */
import type { Clock, Timeout } from "../kit/clock.ts";

const LONGEST_MS = 2 ** 31 - 1;

export class Alarm {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #timeout: Timeout | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** Ring in `delayMs`, unless it rings sooner already. Infinity: no change. */
  within(delayMs: number): void {
    const atMs = this.#clock.monoMs() + Math.max(0, delayMs);
    if (!(atMs < this.#atMs)) return;
    this.#atMs = atMs;
    this.#arm();
  }

  /** It will not ring, until it is set anew. */
  clear(): void {
    this.#timeout?.cancel();
    this.#timeout = undefined;
    this.#atMs = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    this.#timeout?.cancel();
    const leftMs = Math.max(0, Math.ceil(this.#atMs - this.#clock.monoMs()));
    this.#timeout = this.#clock.timeout(() => this.#wake(), Math.min(leftMs, LONGEST_MS));
  }

  #wake(): void {
    if (this.#clock.monoMs() < this.#atMs) {
      this.#arm();
      return;
    }
    this.clear();
    this.#ring();
  }
}
