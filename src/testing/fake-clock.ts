/**
 * Time that a test owns. Nothing fires unless the test moves it, so a test never sleeps and never depends on the machine.
 *
 * By default a timeout fires exactly when it is due. `earlyWakeMs` makes it wake early, as Node does, for whoever
 * promises never to be early. `stepWall` steps the wall alone, as NTP and operators do.
 */
import type { Clock, Timeout } from "../kit/clock.ts";

export interface FakeClockOptions {
  /** The wall at the start: whole milliseconds since 1970, a Date, or what `new Date()` reads. Default 2030-01-01T00:00:00Z. */
  readonly wallMs?: number | Date | string;
  /** How early a timeout wakes, 0 … 2 ms. Default 0. */
  readonly earlyWakeMs?: number;
}

interface Pending {
  readonly dueMs: number;
  readonly fn: () => void;
}

/** Longest delay that Node's setTimeout keeps; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;
/** Timeouts that may run without time moving, before we say that this would go on for ever. */
const MAX_STILL = 100_000;
/** Turns of the event loop given to what calls `setImmediate`; a test that polls by it must not hold time up for ever. */
const MAX_TURNS = 10_000;

/** Taken at import: a test that fakes the globals must not stop this clock. */
const nextTurn = setImmediate;

export class FakeClock implements Clock {
  /** In due order; equal ones in the order they were set. */
  readonly #queue: Pending[] = [];
  readonly #earlyWakeMs: number;
  #monoMs = 0;
  #wallOffsetMs: number;
  /** Calls of `advance` run one after the other. */
  #tail: Promise<void> = Promise.resolve();

  constructor(options: FakeClockOptions = {}) {
    const wallMs = Math.floor(new Date(options.wallMs ?? "2030-01-01T00:00:00Z").getTime());
    if (!Number.isFinite(wallMs)) throw new RangeError(`FakeClock: ${String(options.wallMs)} is no moment`);
    const early = options.earlyWakeMs ?? 0;
    if (!(early >= 0 && early <= 2)) throw new RangeError(`FakeClock: earlyWakeMs is 0 … 2, not ${early}`);
    this.#wallOffsetMs = wallMs;
    this.#earlyWakeMs = early;
  }

  wallMs(): number {
    return this.#wallOffsetMs + Math.floor(this.#monoMs);
  }

  monoMs(): number {
    return this.#monoMs;
  }

  /** Timeouts that are set and have not run. */
  get pending(): number {
    return this.#queue.length;
  }

  /** In how many milliseconds the next timeout wakes; undefined when none is set. */
  get nextInMs(): number | undefined {
    const next = this.#queue[0];
    return next === undefined ? undefined : next.dueMs - this.#monoMs;
  }

  timeout(fn: () => void, delayMs: number): Timeout {
    // Node would take such a delay as 1 ms: a bug that a test should see.
    if (!(delayMs >= 0 && delayMs <= MAX_DELAY_MS)) {
      throw new RangeError(`a timeout's delay is 0 … ${MAX_DELAY_MS} ms, not ${delayMs}`);
    }
    // However early it wakes, a tenth of the delay passes: otherwise whoever re-arms would never get there.
    const waitMs = Math.max(delayMs - this.#earlyWakeMs, delayMs / 10);
    const entry: Pending = { dueMs: this.#monoMs + waitMs, fn };
    this.#queue.splice(this.#after(entry.dueMs), 0, entry);
    return { cancel: () => this.#drop(entry) };
  }

  /**
   * Let `ms` pass: run what becomes due, in order, each at its own moment, and let promises and turns of the event loop
   * settle before the next one. What they set is run too when it is due in time. Rejects with what a timeout's function threw.
   */
  advance(ms: number): Promise<void> {
    if (!(ms >= 0 && Number.isFinite(ms))) throw new RangeError(`FakeClock.advance: ${ms} is no time that can pass`);
    const run = this.#tail.then(() => this.#advance(ms));
    this.#tail = run.catch(() => undefined);
    return run;
  }

  /** Step the wall by `ms`, back if negative. What is monotonic, and every timeout, does not notice. */
  stepWall(ms: number): void {
    if (!Number.isSafeInteger(ms)) throw new RangeError(`FakeClock.stepWall: ${ms} is no whole number of milliseconds`);
    this.#wallOffsetMs += ms;
  }

  async #advance(ms: number): Promise<void> {
    const untilMs = this.#monoMs + ms;
    await settle();
    let still = 0;
    for (let next = this.#queue[0]; next !== undefined && next.dueMs <= untilMs; next = this.#queue[0]) {
      still = next.dueMs > this.#monoMs ? 0 : still + 1;
      if (still > MAX_STILL) throw new Error("FakeClock: a timeout sets itself again and again without time passing");
      this.#monoMs = Math.max(this.#monoMs, next.dueMs);
      this.#queue.shift();
      next.fn();
      await settle();
    }
    this.#monoMs = untilMs;
  }

  /** Index behind the last entry due at `dueMs` or before. */
  #after(dueMs: number): number {
    let low = 0;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#queue[middle]?.dueMs ?? 0) <= dueMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drop(entry: Pending): void {
    for (let i = this.#after(entry.dueMs) - 1; this.#queue[i]?.dueMs === entry.dueMs; i--) {
      if (this.#queue[i] === entry) {
        this.#queue.splice(i, 1);
        return;
      }
    }
  }
}

/** Resolves when promises have settled and no `setImmediate` waits: nothing further happens unless time passes or I/O ends. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < MAX_TURNS; turns++) {
    await new Promise<void>((resolve) => nextTurn(resolve));
    if (!process.getActiveResourcesInfo().includes("Immediate")) return;
  }
}
