/** Writes callbacks to the schedule, however often that takes: what waits for it holds its message. */
import { FullJitterBackoff } from "../kit/backoff.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import type { Logger } from "../kit/log.ts";
import type { NewCallback, PutAnswer } from "../schedule/callback.ts";

export interface ParkingOptions {
  /** Durable when it resolves. */
  readonly put: (callbacks: readonly NewCallback[]) => Promise<PutAnswer[]>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A store that is away or full is tried again after up to this long; meanwhile its messages hold the prefetch window. */
const RETRY = { firstMs: 100, capMs: 5_000 } as const;

export class Parking {
  readonly #options: ParkingOptions;
  readonly #givenUp = new AbortController();

  constructor(options: ParkingOptions) {
    this.#options = options;
  }

  /** Aborted when the worker waits no more. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal;
  }

  /** Rejects when the worker stops. */
  readonly park = async (callback: NewCallback): Promise<PutAnswer> => {
    const { put, clock, log } = this.#options;
    const backoff = new FullJitterBackoff(RETRY);
    for (;;) {
      try {
        const [answer] = await put([callback]);
        if (answer !== undefined) return answer;
      } catch (error) {
        log.error(`The schedule does not take callback ${callback.message.task}[${callback.taskId}]`, { error });
      }
      await sleep(backoff.nextMs(), clock, this.#givenUp.signal);
    }
  };

  /** Give up what waits for a store that does not answer. */
  giveUp(): void {
    this.#givenUp.abort();
  }
}
