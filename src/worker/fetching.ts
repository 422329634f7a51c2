/**
 * Takes a message only when a slot is free for it (Celery's `worker_disable_prefetch`): for tasks so long or so unequal that a message should
 * wait at the broker, for whoever is free first, and not here behind a task that runs.
 *
 * No window says "none": while no slot is free nothing is consumed. Else the window is what runs unacknowledged and one more, and consuming
 * ends before the message that filled the last slot is acknowledged, so that the broker never sends one too many. It costs round trips
 * with every task, which is why it is not the default.
 */
import type { Logger } from "../kit/log.ts";

export interface FetchingOptions {
  /** Slots that a message would get at once. */
  readonly room: () => number;
  /** Messages that stay unacknowledged for long: those that run and are acknowledged late, or wait for their rate. */
  readonly held: () => number;
  /** Consume with this window from now on. */
  readonly consume: (window: number) => Promise<void>;
  /** Consume no more. What is asked for here is sent before anything that is asked for later. */
  readonly pause: () => Promise<void>;
  readonly log: Logger;
}

export class Fetching {
  readonly #options: FetchingOptions;
  /** What was asked for last; 0: nothing is consumed. Undefined: what was asked for failed. */
  #window: number | undefined = 0;
  #changing: Promise<void> | undefined;
  #noticed = false;
  #stopped = false;

  constructor(options: FetchingOptions) {
    this.#options = options;
  }

  /** @throws what `consume` throws: a queue is refused, say */
  async start(): Promise<void> {
    this.#changing = this.#follow();
    await this.#changing.finally(() => {
      this.#changing = undefined;
    });
    this.notice();
  }

  /**
   * Slots were taken or became free: follow. To less at once, before anything more is acknowledged; to more at the end of the turn, when
   * what has ended in it is counted no more: the broker would send for it a second time when it hears the acknowledgement.
   */
  readonly notice = (): void => {
    if (this.#wanted() < (this.#window ?? 0)) {
      this.#change();
    } else if (!this.#noticed) {
      this.#noticed = true;
      setImmediate(() => {
        this.#noticed = false;
        this.#change();
      });
    }
  };

  #change(): void {
    if (this.#stopped || this.#changing !== undefined || this.#wanted() === this.#window) return;
    this.#changing = this.#follow()
      .catch((error) => {
        // On a lost connection; the next one begins anew. Else it is tried again at the next change.
        this.#window = undefined;
        this.#options.log.error("What is consumed could not be changed", { error });
      })
      .finally(() => {
        this.#changing = undefined;
      });
  }

  /** Nothing more is changed after this resolves. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#changing?.catch(() => undefined);
  }

  async #follow(): Promise<void> {
    const { consume, pause } = this.#options;
    for (let wanted = this.#wanted(); !this.#stopped && wanted !== this.#window; wanted = this.#wanted()) {
      this.#window = wanted;
      await (wanted === 0 ? pause() : consume(wanted));
    }
  }

  #wanted(): number {
    return this.#options.room() > 0 ? this.#options.held() + 1 : 0;
  }
}
