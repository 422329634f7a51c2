/**
 * The arithmetic of rules of iCalendar. The package rrule-temporal expands them, on a clock that is never changed; what becomes of times that the
 * zone's clocks leave out or show twice is decided as for cron (`readings.ts`), so that the same words mean the same in both.
 *
 * An optional peer, loaded on first use. Why this one: docs/decisions/recurrence-rules.md.
 */
import { InvalidInputError, MissingPeerError, messageOf } from "../../kit/errors.ts";
import { textOf } from "../../kit/printable.ts";
import type { Rule } from "../recurrence.ts";
import { fixedTimes, type Readings, realTime } from "./readings.ts";
import { type Freq, parseRruleText, type RruleText } from "./rrule-text.ts";
import type { Evaluator } from "./rule.ts";
import { zoneOf } from "./zone.ts";

/** As many years, months, weeks … are looked through for the next occurrence. */
const MAX_PERIODS: Readonly<Record<Freq, number>> = {
  YEARLY: 100,
  MONTHLY: 1_000,
  WEEKLY: 4_000,
  DAILY: 20_000,
  HOURLY: 5_000,
  MINUTELY: 5_000,
  SECONDLY: 5_000,
};
/** Two years of a rule that names each day and as many times of it as it may. At some 28 µs each, it is half a second at most. */
const MAX_CANDIDATES = 20_000;
const MAX_KEPT = 256;
const SECOND_MS = 1_000;
const DAY_MS = 86_400_000;
const NOTHING =
  "names no time, or not as many as its COUNT, as far as was looked: look at its BY parts, its UNTIL and its EXDATE";

const kept = new Map<string, Evaluator>();

/**
 * @throws {InvalidInputError} it is no rule, or yields nothing, or there is no such zone
 * @throws {MissingPeerError}
 */
export async function rruleEvaluator({ rrule, timezone }: Extract<Rule, { kind: "rrule" }>): Promise<Evaluator> {
  const name = `${timezone}\n${rrule}`;
  let evaluator = kept.get(name);
  if (evaluator === undefined) {
    const text = parseRruleText(rrule, { given: timezone });
    evaluator = evaluatorFor(text, await loadRruleTemporal());
    if (kept.size >= MAX_KEPT) kept.clear();
    kept.set(name, evaluator);
  }
  return evaluator;
}

type Package = typeof import("rrule-temporal");

function evaluatorFor(rule: RruleText, { RRuleTemporal }: Package): Evaluator {
  const zone = zoneOf(rule.timezone);
  // "Every 90 minutes" is time that passes; "hourly" and "at half past, each hour" is what the clocks show.
  const elapses = ["HOURLY", "MINUTELY", "SECONDLY"].includes(rule.freq) && !rule.hasByHour && rule.interval > 1;
  const dates = (readings: readonly number[]) =>
    readings.map((reading) => basic(elapses ? zone.firstAt(reading).ms : reading)).join(",");
  const rruleString = [
    elapses ? `DTSTART;TZID=${zone.name}:${basic(rule.startMs).slice(0, -1)}` : `DTSTART:${basic(rule.startMs)}`,
    `RRULE:${rule.parts}`,
    ...(rule.moreMs.length === 0 ? [] : [`RDATE:${dates(rule.moreMs)}`]),
    ...(rule.exceptMs.length === 0 ? [] : [`EXDATE:${dates(rule.exceptMs)}`]),
  ].join("\n");
  const limits = { maxIterations: MAX_PERIODS[rule.freq], maxCandidateEvaluations: MAX_CANDIDATES, cache: false };
  let found: Readings;
  let first: number | undefined;
  try {
    const expander = new RRuleTemporal({ rruleString, strict: true, ...limits });
    found =
      rule.count === undefined
        ? {
            nextAfter: (ms) => expander.next(new Date(ms))?.epochMilliseconds,
            newestUpTo: (ms) => {
              try {
                return expander.previous(new Date(ms), true)?.epochMilliseconds;
              } catch {
                // It gives up in a gap of some thousand hours or minutes, which it leaps over on its way forward.
                return searchBack((each) => expander.next(new Date(each))?.epochMilliseconds, rule.startMs, ms);
              }
            },
          }
        : listed(expander.all().map((each) => each.epochMilliseconds));
    first = found.nextAfter(-1);
  } catch (cause) {
    const why = messageOf(cause);
    throw new InvalidInputError(
      `rrule ${show(rule.text)} ${/^Maximum /.test(why) ? NOTHING : `is no rule: ${textOf(why, 160)}`}`,
      { cause },
    );
  }
  const lastMs = elapses && rule.untilMs !== undefined ? zone.firstAt(rule.untilMs).ms : (rule.untilMs ?? Infinity);
  if (first === undefined || first > lastMs) {
    throw new InvalidInputError(`rrule ${show(rule.text)} ${NOTHING}`);
  }
  const readings = upTo(lastMs, found);
  if (elapses) return { ...readings, movedByGap: () => false, timezone: zone.name };
  const byClock = !["HOURLY", "MINUTELY", "SECONDLY"].includes(rule.freq) || rule.hasByHour;
  return byClock ? fixedTimes(readings, zone) : realTime(readings, zone);
}

/** The newest in `[startMs, ms]`, found by asking what follows: back in growing steps until something does, then by halves, to the second. */
function searchBack(nextAfter: (ms: number) => number | undefined, startMs: number, ms: number): number | undefined {
  const foundFrom = (each: number) => {
    const next = nextAfter(each);
    return next !== undefined && next <= ms ? next : undefined;
  };
  const first = Math.floor(startMs / SECOND_MS) * SECOND_MS - SECOND_MS;
  let after = Math.floor(ms / SECOND_MS) * SECOND_MS;
  let newest: number | undefined;
  for (let backMs = DAY_MS; newest === undefined && after > first; backMs *= 2) {
    after = Math.max(first, after - backMs);
    newest = foundFrom(after);
  }
  if (newest === undefined) return undefined;
  // None is later than `until`.
  for (let until = ms; until > newest; ) {
    const middle = Math.max(newest, Math.floor((newest + until) / 2 / SECOND_MS) * SECOND_MS);
    const later = foundFrom(middle);
    if (later === undefined) until = middle;
    else newest = later;
  }
  return newest;
}

/** Nothing after the last. And where the package gives up, hundreds of years ahead, there is nothing either: the rule did come once. */
function upTo(lastMs: number, inner: Readings): Readings {
  const orNone = (find: () => number | undefined) => {
    try {
      return find();
    } catch {
      return undefined;
    }
  };
  return {
    nextAfter(ms) {
      if (ms >= lastMs) return undefined;
      const next = orNone(() => inner.nextAfter(ms));
      // Whatever the package answers: the next is later (I15).
      return next !== undefined && next > ms && next <= lastMs ? next : undefined;
    },
    newestUpTo: (ms) => orNone(() => inner.newestUpTo(Math.min(ms, lastMs))),
  };
}

function listed(times: readonly number[]): Readings {
  const sorted = [...new Set(times)].sort((a, b) => a - b);
  return {
    nextAfter: (ms) => sorted.find((each) => each > ms),
    newestUpTo: (ms) => sorted.findLast((each) => each <= ms),
  };
}

/** "20270101T090000Z" */
function basic(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
}

function show(text: string): string {
  return textOf(JSON.stringify(text), 160);
}

async function loadRruleTemporal(): Promise<Package> {
  try {
    return await import("rrule-temporal");
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new MissingPeerError("rrule-temporal", "a rule of iCalendar (lovage/rrule)", { cause: error });
  }
}
