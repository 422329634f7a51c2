/**
 * The store's clock, as far as this process can tell it from answers. Due times are the store's; timers are armed by our own wall.
 *
 * An answer shows the store's time at some moment between question and answer, so it bounds the difference of the two clocks from both
 * sides. What is believed is kept for as long as no answer contradicts it: on the store's own machine the difference stays exactly 0,
 * however long an answer took, and taking the middle of each round trip would be wrong by half of it. One that is contradicted, for a store elsewhere or
 * after a step of either clock, becomes the middle of what the answer allows.
 */
import type { Clock } from "../../kit/clock.ts";

export class StoreClock {
  readonly #clock: Pick<Clock, "wallMs">;
  #aheadMs = 0;

  constructor(clock: Pick<Clock, "wallMs">) {
    this.#clock = clock;
  }

  /** How far the store's clock is ahead of ours. */
  get aheadMs(): number {
    return this.#aheadMs;
  }

  nowMs(): number {
    return this.#clock.wallMs() + this.#aheadMs;
  }

  /** What our wall shows when the store's clock shows `storeMs`. */
  wallOf(storeMs: number): number {
    return storeMs - this.#aheadMs;
  }

  /** The store showed `storeMs` after our wall had shown `askedMs`, and before now. */
  learn(storeMs: number, askedMs: number): void {
    const least = storeMs - this.#clock.wallMs();
    const most = storeMs - askedMs;
    // Our own wall stepped back meanwhile: such an answer bounds nothing.
    if (least > most) return;
    if (this.#aheadMs < least || this.#aheadMs > most) this.#aheadMs = Math.round((least + most) / 2);
  }
}
