/**
 * The clocks of an IANA zone, both ways, and exactly: which reading they show at a moment, and which moment a reading is. Intl knows the
 * offset of one moment only; here it is asked once a week of time, and the changes between are looked for and kept.
 *
 * A *reading* is what a clock on the wall shows, as the milliseconds that it would be in UTC. A *stretch* is a time of one offset. Readings in
 * a gap belong to no moment; those of an overlap belong to two.
 */
import { InvalidInputError } from "../../kit/errors.ts";

/** `[fromMs, toMs)`, in which the clocks are `offsetMs` ahead of UTC. Its neighbours may have the same offset. */
export interface Stretch {
  readonly fromMs: number;
  readonly toMs: number;
  readonly offsetMs: number;
}

/** The first moment whose reading is so late; `inGap`: the clocks never show the reading itself. */
export interface FirstAt {
  readonly ms: number;
  readonly inGap: boolean;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** No zone is, was or sets itself further from UTC, or changes by more. (Samoa left out a whole day.) */
export const MAX_SHIFT_MS = 26 * HOUR_MS;
/** The nearest two changes of any zone since 1970 are a week apart, and no two such cancel each other out. (test/unit/schedule/zone.test.ts) */
const STEP_MS = 3 * DAY_MS;
/** Stretches are looked up by blocks of about a year. */
const BLOCK_MS = 123 * STEP_MS;
/** Users name zones: bounds, so that a hostile list of names, or a walk through the ages, does not grow this. */
const MAX_ZONES = 64;
const MAX_BLOCKS = 32;

const zones = new Map<string, Zone>();

/** @throws {InvalidInputError} there is no such zone */
export function zoneOf(name: string): Zone {
  let zone = zones.get(name);
  if (zone === undefined) {
    zone = new Zone(name);
    if (zones.size >= MAX_ZONES) zones.clear();
    zones.set(name, zone);
  }
  return zone;
}

export class Zone {
  readonly name: string;
  /** Null: it is UTC. */
  readonly #format: Intl.DateTimeFormat | null;
  readonly #blocks = new Map<number, readonly Stretch[]>();

  /** @throws {InvalidInputError} */
  constructor(name: string) {
    this.name = name;
    try {
      const format = new Intl.DateTimeFormat("en-US", { timeZone: name, timeZoneName: "longOffset" });
      this.#format = /^(?:UTC|GMT|Etc\/(?:UTC|GMT))$/.test(format.resolvedOptions().timeZone) ? null : format;
    } catch (cause) {
      const shown = JSON.stringify(String(name).slice(0, 60));
      throw new InvalidInputError(`timezone ${shown} is unknown: use an IANA name such as "Europe/Berlin" or "UTC"`, {
        cause,
      });
    }
  }

  offsetMs(ms: number): number {
    return this.stretchAt(ms).offsetMs;
  }

  stretchAt(ms: number): Stretch {
    if (this.#format === null) return UTC;
    const stretches = this.#block(Math.floor(ms / BLOCK_MS));
    for (const stretch of stretches) if (ms < stretch.toMs) return stretch;
    return UTC; // not reached: the stretches of a block cover it
  }

  /** The latest reading that the clocks have shown up to and at `ms`: in the second pass of an overlap, the last of the first. */
  latestReadingMs(ms: number): number {
    let stretch = this.stretchAt(ms);
    let latest = ms + stretch.offsetMs;
    while (ms - stretch.fromMs < MAX_SHIFT_MS) {
      const before = this.stretchAt(stretch.fromMs - 1);
      latest = Math.max(latest, stretch.fromMs + before.offsetMs - 1);
      stretch = before;
    }
    return latest;
  }

  /** The first moment at which the clocks show `readingMs`; in a gap, the first after it. */
  firstAt(readingMs: number): FirstAt {
    let stretch = this.stretchAt(readingMs - MAX_SHIFT_MS);
    for (;;) {
      const ms = Math.max(stretch.fromMs, readingMs - stretch.offsetMs);
      if (ms < stretch.toMs) return { ms, inGap: ms + stretch.offsetMs !== readingMs };
      stretch = this.stretchAt(stretch.toMs);
    }
  }

  #block(index: number): readonly Stretch[] {
    let block = this.#blocks.get(index);
    if (block === undefined) {
      block = this.#readBlock(index * BLOCK_MS);
      if (this.#blocks.size >= MAX_BLOCKS) this.#blocks.clear();
      this.#blocks.set(index, block);
    }
    return block;
  }

  #readBlock(startMs: number): Stretch[] {
    const stretches: Stretch[] = [];
    const endMs = startMs + BLOCK_MS;
    let fromMs = startMs;
    let offsetMs = this.#readOffsetMs(startMs);
    for (let atMs = startMs + STEP_MS; ; atMs += STEP_MS) {
      const before = offsetMs;
      const after = this.#readOffsetMs(Math.min(atMs, endMs - 1));
      if (after !== before) {
        const changeMs = this.#changeMs(atMs - STEP_MS, Math.min(atMs, endMs - 1), before);
        stretches.push({ fromMs, toMs: changeMs, offsetMs: before });
        fromMs = changeMs;
        offsetMs = after;
      }
      if (atMs >= endMs) break;
    }
    stretches.push({ fromMs, toMs: endMs, offsetMs });
    return stretches;
  }

  /** The first moment in `(low, high]` with another offset than that of `low`. */
  #changeMs(low: number, high: number, offsetMs: number): number {
    let [last, first] = [low, high];
    while (first - last > 1) {
      const middle = Math.floor((last + first) / 2);
      if (this.#readOffsetMs(middle) === offsetMs) last = middle;
      else first = middle;
    }
    return first;
  }

  #readOffsetMs(ms: number): number {
    // "3/28/2027, GMT+02:00", and "GMT" alone where it is 0.
    const text = this.#format?.format(ms) ?? "";
    const [, sign, hours = "0", minutes = "0", seconds = "0"] = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(text) ?? [];
    const size = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000;
    return sign === "-" ? -size : size;
  }
}

const UTC: Stretch = { fromMs: -Infinity, toMs: Infinity, offsetMs: 0 };
