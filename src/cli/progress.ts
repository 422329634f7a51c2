/** A line that tells how far a long operation has come: on a terminal, and only when it takes longer than two seconds. */
import type { Clock } from "../kit/clock.ts";

const QUIET_MS = 2_000;
/** Ten times a second is as much as anybody reads. */
const EVERY_MS = 100;
const CLEAR = "\r\u001b[K";

export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class Progress {
  readonly #output: ProgressOutput;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #shownMs = Number.NEGATIVE_INFINITY;

  /** @param output standard error, so that what is piped on stays clean */
  constructor(output: ProgressOutput, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
    this.#startedMs = clock.monoMs();
  }

  /** @param text made only when it is shown */
  show(text: () => string): void {
    const nowMs = this.#clock.monoMs();
    if (this.#output.isTTY !== true || nowMs - this.#startedMs < QUIET_MS || nowMs - this.#shownMs < EVERY_MS) return;
    this.#shownMs = nowMs;
    this.#output.write(CLEAR + text().slice(0, Math.max(1, (this.#output.columns ?? 80) - 1)));
  }

  /** Take the line away; twice is once. */
  end(): void {
    if (this.#shownMs === Number.NEGATIVE_INFINITY) return;
    this.#shownMs = Number.NEGATIVE_INFINITY;
    this.#output.write(CLEAR);
  }
}
