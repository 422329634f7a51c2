/**
 * The worker's timer, as the authors of bootsteps see it (`worker.timer`): in memory, of this process, gone with it. The verbs
 * are those of `app.schedule`, which is durable. A number is seconds, as everywhere in Celery.
 *
 * Celery (5.6.3 and later) clears its timer when the broker's connection is lost, with what users' steps had put into it;
 * this one belongs to the worker and goes on.
 */
import type { Clock } from "../kit/clock.ts";
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { type Moment, parseMomentMs } from "../kit/moment.ts";
import { textOf } from "../kit/printable.ts";
import { type Hub, type HubEntry, type HubEntryOptions, isThenable, type Tally } from "./hub.ts";

/** A function that waits to be called. */
export interface TimerEntry {
  /** It will not be called (again), and takes up no place any more. Twice is once. */
  cancel(): void;
  /** False after its call (unless repeated), and after `cancel`. */
  readonly active: boolean;
}

export interface TimerOptions {
  /** Whole, -255 … 255: among calls due at the same moment the lower number goes first. Default 0. */
  readonly priority?: number;
}

export interface CallAtOptions extends TimerOptions {
  /** IANA name of the zone of a moment without an offset. */
  readonly timezone?: string;
}

export class Timer {
  readonly #hub: Hub;
  readonly #clock: Clock;
  readonly #tally: Tally = { size: 0 };
  readonly #defaults: HubEntryOptions = { tally: this.#tally };

  constructor(hub: Hub, clock: Clock) {
    this.#hub = hub;
    this.#clock = clock;
  }

  /** Entries that are active. */
  get size(): number {
    return this.#hub.stopped ? 0 : this.#tally.size;
  }

  /**
   * Call `fn` once, when `delay` has passed by the monotonic clock; never early.
   * @throws {InvalidInputError} no duration, or negative
   */
  callAfter(delay: Duration, fn: () => unknown, options?: TimerOptions): TimerEntry {
    return this.#hub.afterMs(parseDurationMs(delay, "callAfter's delay"), callable(fn), this.#entryOptions(options));
  }

  /**
   * Call `fn` once, when the wall clock shows the moment; at once if it is past.
   * @throws {InvalidInputError} no moment, or one without an offset and a zone
   */
  callAt(moment: Moment, fn: () => unknown, options: CallAtOptions = {}): TimerEntry {
    const { timezone } = options;
    const wallMs = parseMomentMs(moment, { what: "callAt's moment", ...(timezone === undefined ? {} : { timezone }) });
    return this.#hub.atWallMs(wallMs, callable(fn), this.#entryOptions(options));
  }

  /**
   * Call `fn` again and again, first after one period. The period runs from the start of the call before; what was missed
   * is not made up for. An exception ends the one call and not the series. While a call's promise is pending the next one
   * waits: calls never overlap.
   *
   * @throws {InvalidInputError} no duration, or not longer than zero
   */
  callRepeatedly(period: Duration, fn: () => unknown, options: TimerOptions = {}): TimerEntry {
    const periodMs = parseDurationMs(period, "callRepeatedly's period");
    if (periodMs === 0) throw new InvalidInputError("callRepeatedly's period must be longer than 0 seconds");
    return new Repeated(this.#hub, this.#clock, callable(fn), periodMs, options, this.#tally);
  }

  #entryOptions(options: TimerOptions | undefined): HubEntryOptions {
    return options?.priority === undefined ? this.#defaults : { priority: options.priority, tally: this.#tally };
  }
}

class Repeated implements TimerEntry {
  readonly #hub: Hub;
  readonly #clock: Clock;
  readonly #fn: () => unknown;
  readonly #periodMs: number;
  readonly #options: HubEntryOptions;
  readonly #tally: Tally;
  readonly #run = () => this.#call();
  #waiting: HubEntry;
  #active = true;

  constructor(hub: Hub, clock: Clock, fn: () => unknown, periodMs: number, options: TimerOptions, tally: Tally) {
    this.#hub = hub;
    this.#clock = clock;
    this.#fn = fn;
    this.#periodMs = periodMs;
    // Counted here, from beginning to end, and not with each of its waits.
    this.#options = options.priority === undefined ? {} : { priority: options.priority };
    this.#tally = tally;
    this.#waiting = hub.afterMs(periodMs, this.#run, this.#options);
    tally.size += 1;
  }

  get active(): boolean {
    return this.#active;
  }

  cancel(): void {
    if (!this.#active) return;
    this.#active = false;
    this.#waiting.cancel();
    this.#tally.size -= 1;
  }

  /** The hub logs what it throws or rejects with. */
  #call(): unknown {
    const startedMs = this.#clock.monoMs();
    let result: unknown;
    try {
      result = this.#fn();
    } catch (error) {
      this.#again(startedMs);
      throw error;
    }
    if (isThenable(result)) return Promise.resolve(result).finally(() => this.#again(startedMs));
    this.#again(startedMs);
    return undefined;
  }

  #again(startedMs: number): void {
    if (!this.#active || this.#hub.stopped) return;
    const delayMs = startedMs + this.#periodMs - this.#clock.monoMs();
    this.#waiting = this.#hub.afterMs(delayMs, this.#run, this.#options);
  }
}

function callable(fn: unknown): () => unknown {
  if (typeof fn === "function") return fn as () => unknown;
  throw new InvalidInputError(`a timer calls a function; it was given ${textOf(fn, 80)}`);
}
