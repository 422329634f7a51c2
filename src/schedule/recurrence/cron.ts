/**
 * The arithmetic of cron patterns by the clocks of a zone. Croner says which dates a pattern means (`cron-pattern.ts`); the search, and what
 * becomes of times that the clocks leave out or show twice (`readings.ts`), are ours.
 *
 * Not croner's own `nextRun` and `previousRuns` (10.0.1): where the clocks are set back, its next time may lie before what it was asked for,
 * and an hourly pattern loses the second pass; the one before a 29th of February is not found; and a pattern that cannot come may end in a stack
 * overflow. (docs/decisions/recurrence-rules.md)
 */
import { InvalidInputError } from "../../kit/errors.ts";
import { textOf } from "../../kit/printable.ts";
import type { Rule } from "../recurrence.ts";
import { type CronPattern, parseCronPattern } from "./cron-pattern.ts";
import { fixedTimes, type Readings, realTime } from "./readings.ts";
import type { Evaluator } from "./rule.ts";
import { zoneOf } from "./zone.ts";

const DAY_MS = 86_400_000;
/** No pattern that ever comes is longer away: a 29th of February on one day of the week, across a century without a leap day. */
const MAX_GAP_YEARS = 41;
const MAX_MONTHS = MAX_GAP_YEARS * 12;
/** For whether a pattern ever comes: the calendar repeats itself, so any time will do. */
const SOME_READING_MS = 1_767_225_600_000;
const MAX_KEPT = 256;
const MAX_MONTHS_KEPT = 24;

const kept = new Map<string, Evaluator>();

/** @throws {InvalidInputError} it is no pattern, or never comes, or there is no such zone */
export function cronEvaluator({ cron, timezone }: Extract<Rule, { kind: "cron" }>): Evaluator {
  const name = `${timezone}\n${cron}`;
  let evaluator = kept.get(name);
  if (evaluator === undefined) {
    const zone = zoneOf(timezone);
    const pattern = parseCronPattern(cron);
    const readings = new CronReadings(pattern);
    if (readings.nextAfter(SOME_READING_MS) === undefined) {
      throw new InvalidInputError(
        `cron ${textOf(JSON.stringify(cron), 80)} never comes: no date has ${pattern.dates}; correct the day or the month`,
      );
    }
    evaluator = pattern.followsRealTime ? realTime(readings, zone) : fixedTimes(readings, zone);
    if (kept.size >= MAX_KEPT) kept.clear();
    kept.set(name, evaluator);
  }
  return evaluator;
}

/** The readings that a pattern means, on clocks that are never changed. Bounded: at most 41 years are looked through, by months. */
class CronReadings implements Readings {
  readonly #pattern: CronPattern;
  readonly #months = new Map<number, number>();

  constructor(pattern: CronPattern) {
    this.#pattern = pattern;
  }

  nextAfter(readingMs: number): number | undefined {
    const fromMs = Math.floor(readingMs / 1_000) * 1_000 + 1_000;
    const dayMs = Math.floor(fromMs / DAY_MS) * DAY_MS;
    const date = new Date(dayMs);
    let month = date.getUTCFullYear() * 12 + date.getUTCMonth();
    const today = date.getUTCDate() - 1;
    let days = this.#daysOf(month) & (-1 << today);
    if ((days >> today) & 1) {
      const time = timeFrom(this.#pattern, (fromMs - dayMs) / 1_000);
      if (time !== undefined) return dayMs + time * 1_000;
      days &= ~(1 << today);
    }
    for (let left = MAX_MONTHS; days === 0; left--) {
      if (left === 0) return undefined;
      month += 1;
      days = this.#daysOf(month);
    }
    const first = 31 - Math.clz32(days & -days);
    return startOf(month) + first * DAY_MS + (timeFrom(this.#pattern, 0) ?? 0) * 1_000;
  }

  newestUpTo(readingMs: number): number | undefined {
    const toMs = Math.floor(readingMs / 1_000) * 1_000;
    const dayMs = Math.floor(toMs / DAY_MS) * DAY_MS;
    const date = new Date(dayMs);
    let month = date.getUTCFullYear() * 12 + date.getUTCMonth();
    const today = date.getUTCDate() - 1;
    let days = this.#daysOf(month) & ~(-2 << today);
    if ((days >> today) & 1) {
      const time = timeUpTo(this.#pattern, (toMs - dayMs) / 1_000);
      if (time !== undefined) return dayMs + time * 1_000;
      days &= ~(1 << today);
    }
    for (let left = MAX_MONTHS; days === 0; left--) {
      if (left === 0) return undefined;
      month -= 1;
      days = this.#daysOf(month);
    }
    const last = 31 - Math.clz32(days);
    return startOf(month) + last * DAY_MS + (timeUpTo(this.#pattern, 86_399) ?? 0) * 1_000;
  }

  /** @param month counted from the year 0 */
  #daysOf(month: number): number {
    if (!this.#pattern.months[month % 12]) return 0;
    let days = this.#months.get(month);
    if (days === undefined) {
      days = this.#pattern.daysOf(Math.floor(month / 12), month % 12);
      if (this.#months.size >= MAX_MONTHS_KEPT) this.#months.clear();
      this.#months.set(month, days);
    }
    return days;
  }
}

function startOf(month: number): number {
  return Date.UTC(Math.floor(month / 12), month % 12, 1);
}

/** The first time of day at or after `second`, in seconds. */
function timeFrom({ hours, minutes, seconds }: CronPattern, second: number): number | undefined {
  const [hour, minute] = [Math.floor(second / 3_600), Math.floor(second / 60) % 60];
  const [firstMinute = 0, firstSecond = 0] = [minutes[0], seconds[0]];
  for (const h of hours) {
    if (h < hour) continue;
    if (h > hour) return (h * 60 + firstMinute) * 60 + firstSecond;
    for (const m of minutes) {
      if (m < minute) continue;
      if (m > minute) return (h * 60 + m) * 60 + firstSecond;
      const s = seconds.find((each) => each >= second % 60);
      if (s !== undefined) return (h * 60 + m) * 60 + s;
    }
  }
  return undefined;
}

/** The last time of day at or before `second`, in seconds. */
function timeUpTo({ hours, minutes, seconds }: CronPattern, second: number): number | undefined {
  const [hour, minute] = [Math.floor(second / 3_600), Math.floor(second / 60) % 60];
  const [lastMinute = 0, lastSecond = 0] = [minutes.at(-1), seconds.at(-1)];
  for (const h of hours.toReversed()) {
    if (h > hour) continue;
    if (h < hour) return (h * 60 + lastMinute) * 60 + lastSecond;
    for (const m of minutes.toReversed()) {
      if (m > minute) continue;
      if (m < minute) return (h * 60 + m) * 60 + lastSecond;
      const s = seconds.findLast((each) => each <= second % 60);
      if (s !== undefined) return (h * 60 + m) * 60 + s;
    }
  }
  return undefined;
}
