/** Wakes a loop that waits. Rung while nobody waits, it wakes the next wait at once. */
import type { Clock } from "../../kit/clock.ts";

export class Bell {
  readonly #clock: Clock;
  #isRung = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#isRung = true;
    this.#wake?.();
  }

  /** Resolves when it was rung since the last wait, or after so long; Infinity waits for the bell alone. */
  wait(ms: number): Promise<void> {
    if (this.#isRung) {
      this.#isRung = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const timeout =
        ms === Number.POSITIVE_INFINITY ? undefined : this.#clock.timeout(() => this.#wake?.(), ms, { ref: false });
      this.#wake = () => {
        this.#wake = undefined;
        this.#isRung = false;
        timeout?.cancel();
        resolve();
      };
    });
  }
}
