/**
 * From what clocks show to moments: the occurrences of a rule that names local times. One of two ways (docs/decisions/recurrence-rules.md):
 * fixed times of the day come once each day that has them in any way; what comes every so often follows real time.
 *
 * A *reading* is what a clock on the wall shows, as the milliseconds that it would be in UTC.
 */
import type { Evaluator } from "./rule.ts";
import { MAX_SHIFT_MS, type Zone } from "./zone.ts";

/** The readings that a rule names, on clocks that are never changed. Strictly ascending. */
export interface Readings {
  nextAfter(readingMs: number): number | undefined;
  newestUpTo(readingMs: number): number | undefined;
}

/**
 * Each reading of the pattern once, at the first moment that the clocks have come so far: in a gap that is the first after it (once, however
 * many readings the gap swallowed), in an overlap the first pass.
 */
export function fixedTimes(readings: Readings, zone: Zone): Evaluator {
  return {
    nextAfter: (ms) => firstAt(readings.nextAfter(zone.latestReadingMs(ms)), zone),
    newestUpTo: (ms) => firstAt(readings.newestUpTo(zone.latestReadingMs(ms)), zone),
    movedByGap(ms) {
      const reading = ms + zone.offsetMs(ms);
      return readings.newestUpTo(reading) !== reading;
    },
    timezone: zone.name,
  };
}

function firstAt(readingMs: number | undefined, zone: Zone): number | undefined {
  return readingMs === undefined ? undefined : zone.firstAt(readingMs).ms;
}

/** Whenever the clocks show a reading of the pattern: not at all in a gap, twice in an overlap. */
export function realTime(readings: Readings, zone: Zone): Evaluator {
  return {
    nextAfter(ms) {
      let stretch = zone.stretchAt(ms);
      let afterMs = ms;
      for (;;) {
        const reading = readings.nextAfter(afterMs + stretch.offsetMs);
        if (reading === undefined) return undefined;
        const next = reading - stretch.offsetMs;
        if (next < stretch.toMs) return next;
        // Not in this stretch. Before that reading come only those that an overlap shows again, soon: look there, else go on near it.
        const soon = stretch.toMs - afterMs < MAX_SHIFT_MS;
        const startMs = soon ? stretch.toMs : Math.max(stretch.toMs, reading - 2 * MAX_SHIFT_MS);
        stretch = zone.stretchAt(startMs);
        afterMs = startMs - 1;
      }
    },
    newestUpTo(ms) {
      let stretch = zone.stretchAt(ms);
      let upToMs = ms;
      for (;;) {
        const reading = readings.newestUpTo(upToMs + stretch.offsetMs);
        if (reading === undefined) return undefined;
        const newest = reading - stretch.offsetMs;
        if (newest >= stretch.fromMs) return newest;
        const soon = upToMs - stretch.fromMs < MAX_SHIFT_MS;
        const endMs = soon ? stretch.fromMs - 1 : Math.min(stretch.fromMs - 1, reading + 2 * MAX_SHIFT_MS);
        stretch = zone.stretchAt(endMs);
        upToMs = endMs;
      }
    },
    movedByGap: () => false,
    timezone: zone.name,
  };
}
