/**
 * Time of one event loop: any number of waiting callbacks over one armed Node timeout.
 *
 * Never early: Node wakes up to 2 ms before a delay has passed, so each wake looks at the clock and arms again what is not
 * due yet. Beyond 24.8 days, where `setTimeout` would fire at once: armed at most one hour ahead. What waits by the wall
 * follows it when it is stepped; what waits by a delay does not notice. However much is due at once, the event loop gets
 * its turn after each `MAX_PER_TURN` callbacks.
 */
import type { Clock, Timeout } from "../kit/clock.ts";
import { ClosedError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { DeadlineHeap, type Handle, MAX_PRIORITY } from "./heap.ts";

export interface HubOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** True: what waits keeps the process alive. Default false. */
  readonly ref?: boolean;
  /** How often the wall is compared with the monotonic clock while something depends on it. Default 1,000 ms. */
  readonly clockCheckMs?: number;
  /** Run the function when the event loop has come round to it: `setImmediate`, unless a simulator owns the loop. */
  readonly onNextTurn?: (fn: () => void) => void;
}

export interface HubEntryOptions {
  /** Whole, -255 … 255: among entries due at the same moment the lower number goes first. Default 0. */
  readonly priority?: number;
  /** Counts it while it waits: how many of the hub's entries are the caller's. */
  readonly tally?: Tally;
}

export interface Tally {
  size: number;
}

/** A callback that waits in the hub. */
export interface HubEntry {
  /** It will not run, and takes up no place any more. Twice, or after it ran: nothing. */
  cancel(): void;
  /** True while it waits. */
  readonly active: boolean;
}

/** A longer difference than this between the two clocks' progress is a step, and not drift. (SEMANTICS 1) */
export const CLOCK_STEP_MS = 250;
const MAX_PER_TURN = 128;
const MAX_AHEAD_MS = 3_600_000;
const DEFAULT_CHECK_MS = 1_000;

export class Hub {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ref: boolean;
  readonly #checkMs: number;
  readonly #onNextTurn: (fn: () => void) => void;
  /** Due by the monotonic clock, and by the wall. */
  readonly #byMono = new DeadlineHeap<Entry>();
  readonly #byWall = new DeadlineHeap<Entry>();
  readonly #stepListeners = new Set<(stepMs: number) => void>();
  #armed: Timeout | null = null;
  /** When the armed timeout wakes, monotonic; Infinity when none is armed. */
  #armedForMs = Number.POSITIVE_INFINITY;
  /** Another wake comes with the next turn of the event loop. */
  #turning = false;
  #running = false;
  #stopped = false;
  /** Of what nobody counts. */
  readonly #tally: Tally = { size: 0 };
  /** Readings of both clocks, taken together. */
  #seenWallMs: number;
  #seenMonoMs: number;
  readonly #onCancel = () => {
    // An idle hub holds no timeout: it must not keep the process alive.
    if (this.#idle && !this.#running) this.#disarm();
  };

  constructor(options: HubOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#ref = options.ref ?? false;
    this.#checkMs = Math.min(options.clockCheckMs ?? DEFAULT_CHECK_MS, MAX_AHEAD_MS);
    this.#onNextTurn = options.onNextTurn ?? setImmediate;
    this.#seenWallMs = this.#clock.wallMs();
    this.#seenMonoMs = this.#clock.monoMs();
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Callbacks that wait. */
  get size(): number {
    return this.#byMono.size + this.#byWall.size;
  }

  /**
   * Run `fn` once, when `delayMs` of monotonic time have passed; a negative delay counts as 0. What it throws, or its promise
   * rejects with, is logged.
   *
   * @throws {ClosedError} the hub was stopped
   */
  afterMs(delayMs: number, fn: () => unknown, options?: HubEntryOptions): HubEntry {
    const dueMs = this.#clock.monoMs() + Math.max(0, delayMs);
    const entry = this.#add(this.#byMono, dueMs, fn, options);
    if (dueMs < this.#armedForMs && !this.#running) this.#arm();
    return entry;
  }

  /**
   * Run `fn` once, when the wall shows `wallMs` or later: now, if it does. It follows the wall when that is stepped, within
   * `clockCheckMs`.
   *
   * @throws {ClosedError} the hub was stopped
   */
  atWallMs(wallMs: number, fn: () => unknown, options?: HubEntryOptions): HubEntry {
    // The first entry by the wall: steps before now are none of its business.
    if (!this.#watchesWall) this.#readClocks();
    const entry = this.#add(this.#byWall, wallMs, fn, options);
    if (!this.#running) this.#arm();
    return entry;
  }

  /**
   * Be told when the wall was stepped by more than 250 ms, with the size of the step (negative: back), within `clockCheckMs`
   * of it. Answers how to stop.
   */
  onClockStep(listener: (stepMs: number) => void): () => void {
    if (!this.#watchesWall) this.#readClocks();
    // Each subscription apart, though the function be the same.
    const each = (stepMs: number) => listener(stepMs);
    this.#stepListeners.add(each);
    if (!this.#stopped && !this.#running) this.#arm();
    return () => {
      this.#stepListeners.delete(each);
      this.#onCancel();
    };
  }

  /** Run `fn` in the next turn of the event loop, when all that this one still holds is done. It cannot be taken back. */
  nextTurn(fn: () => void): void {
    this.#onNextTurn(fn);
  }

  /** Drop all that waits. Nothing runs any more, nothing can be added. Twice is once. */
  stop(): void {
    this.#stopped = true;
    this.#disarm();
    this.#byMono.clear();
    this.#byWall.clear();
    this.#stepListeners.clear();
  }

  get #idle(): boolean {
    return this.size === 0 && this.#stepListeners.size === 0;
  }

  get #watchesWall(): boolean {
    return this.#byWall.size > 0 || this.#stepListeners.size > 0;
  }

  #add(heap: DeadlineHeap<Entry>, dueMs: number, fn: () => unknown, options: HubEntryOptions | undefined): Entry {
    if (this.#stopped) throw new ClosedError("the hub was stopped: nothing can wait in it any more");
    const priority = options?.priority ?? 0;
    if (!(Number.isInteger(priority) && Math.abs(priority) <= MAX_PRIORITY) || !Number.isFinite(dueMs)) {
      throw new RangeError(`a timer needs a moment and a whole priority of -255 … 255, not ${dueMs} and ${priority}`);
    }
    return new Entry(heap, dueMs, priority, fn, options?.tally ?? this.#tally, this.#onCancel);
  }

  /** Make sure that a timeout wakes in time for whatever comes next. One that wakes too soon does no harm. */
  #arm(): void {
    const nowMs = this.#clock.monoMs();
    let wakeMs = Math.min(this.#byMono.nextMs ?? Number.POSITIVE_INFINITY, nowMs + MAX_AHEAD_MS);
    if (this.#watchesWall) {
      wakeMs = Math.min(wakeMs, nowMs + this.#checkMs);
      const wallNextMs = this.#byWall.nextMs;
      if (wallNextMs !== undefined) wakeMs = Math.min(wakeMs, nowMs + wallNextMs - this.#clock.wallMs());
    }
    if (wakeMs >= this.#armedForMs || this.#turning) return;
    this.#armed?.cancel();
    this.#armedForMs = wakeMs;
    // Rounded up: Node cuts a fraction off.
    const delayMs = Math.max(0, Math.ceil(wakeMs - nowMs));
    this.#armed = this.#clock.timeout(() => this.#wake(), delayMs, { ref: this.#ref });
  }

  #disarm(): void {
    this.#armed?.cancel();
    this.#armed = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
  }

  #wake(): void {
    this.#armed = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    this.#turning = false;
    if (this.#stopped) return;
    this.#running = true;
    const monoMs = this.#clock.monoMs();
    const wallMs = this.#clock.wallMs();
    this.#noticeStep(wallMs, monoMs);
    let left = MAX_PER_TURN;
    for (let entry = this.#takeDue(monoMs, wallMs); entry !== undefined; entry = this.#takeDue(monoMs, wallMs)) {
      this.#run(entry);
      if (--left === 0) break;
    }
    this.#running = false;
    if (this.#stopped) return;
    if (left === 0) {
      this.#turning = true;
      this.#onNextTurn(() => this.#wake());
    } else if (!this.#idle) this.#arm();
  }

  /** What is due, the longest overdue first. Readings of one wake: what it adds for now waits for the next. */
  #takeDue(monoMs: number, wallMs: number): Entry | undefined {
    const monoLateMs = monoMs - (this.#byMono.nextMs ?? Number.POSITIVE_INFINITY);
    const wallLateMs = wallMs - (this.#byWall.nextMs ?? Number.POSITIVE_INFINITY);
    return wallLateMs > monoLateMs ? this.#byWall.takeDue(wallMs) : this.#byMono.takeDue(monoMs);
  }

  #run(entry: Entry): void {
    try {
      const result = entry.run();
      if (isThenable(result)) result.then(undefined, (error) => this.#failed(error));
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#log.error("Error in timer", { error });
  }

  #noticeStep(wallMs: number, monoMs: number): void {
    const stepMs = Math.round(wallMs - this.#seenWallMs - (monoMs - this.#seenMonoMs));
    this.#seenWallMs = wallMs;
    this.#seenMonoMs = monoMs;
    if (Math.abs(stepMs) <= CLOCK_STEP_MS) return;
    for (const listener of [...this.#stepListeners]) {
      try {
        listener(stepMs);
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  #readClocks(): void {
    this.#seenWallMs = this.#clock.wallMs();
    this.#seenMonoMs = this.#clock.monoMs();
  }
}

class Entry implements HubEntry {
  readonly #heap: DeadlineHeap<Entry>;
  readonly #handle: Handle;
  readonly #tally: Tally;
  readonly #onCancel: () => void;
  /** null: it ran or was cancelled, and keeps nothing alive any more. */
  #fn: (() => unknown) | null;

  constructor(
    heap: DeadlineHeap<Entry>,
    dueMs: number,
    priority: number,
    fn: () => unknown,
    tally: Tally,
    onCancel: () => void,
  ) {
    this.#heap = heap;
    this.#fn = fn;
    this.#tally = tally;
    this.#onCancel = onCancel;
    this.#handle = heap.add(dueMs, this, priority);
    tally.size += 1;
  }

  get active(): boolean {
    return this.#fn !== null && this.#heap.has(this.#handle);
  }

  cancel(): void {
    if (!this.#heap.cancel(this.#handle)) return;
    this.#fn = null;
    this.#tally.size -= 1;
    this.#onCancel();
  }

  /** Called once, when it was taken from the heap. */
  run(): unknown {
    const fn = this.#fn;
    this.#fn = null;
    this.#tally.size -= 1;
    return fn?.();
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
