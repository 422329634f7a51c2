/**
 * A rule of iCalendar (RFC 5545), read as text: DTSTART, one RRULE, and EXDATE and RDATE if wanted. What stands in it is checked here, with the
 * part and the remedy, before the package that expands it is asked: it lets pass what it does not know.
 */
import { InvalidInputError } from "../../kit/errors.ts";
import { suggest } from "../../kit/options.ts";
import { textOf } from "../../kit/printable.ts";
import { zoneOf } from "./zone.ts";

/** Times are readings of the zone's clocks: what they show, as if it were UTC. */
export interface RruleText {
  /** One property a line, as it was given, unfolded. */
  readonly text: string;
  readonly timezone: string;
  readonly freq: Freq;
  readonly interval: number;
  readonly count: number | undefined;
  readonly hasByHour: boolean;
  /** The RRULE without its UNTIL. */
  readonly parts: string;
  readonly startMs: number;
  readonly untilMs: number | undefined;
  readonly moreMs: readonly number[];
  readonly exceptMs: readonly number[];
}

export const FREQUENCIES = ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"] as const;
export type Freq = (typeof FREQUENCIES)[number];

const MAX_CHARS = 16_384;
/** All of them are worked out at once; an end further away is what UNTIL is for. */
const MAX_COUNT = 1_000;
/** More often than each hour is what HOURLY and MINUTELY are for. */
const MAX_TIMES_A_DAY = 24;

const WEEKDAY = "(?:MO|TU|WE|TH|FR|SA|SU)";
/** What each part of an RRULE may have: its pattern, and for numbers the range. */
const PARTS: Readonly<Record<string, { readonly item: RegExp; readonly allowed: string; readonly max?: number }>> = {
  FREQ: { item: new RegExp(`^(?:${FREQUENCIES.join("|")})$`), allowed: FREQUENCIES.join(", ") },
  INTERVAL: { item: /^0*[1-9]\d{0,5}$/, allowed: "1 … 999999" },
  COUNT: { item: /^0*[1-9]\d{0,3}$/, allowed: `1 … ${MAX_COUNT}; for an end further away use UNTIL`, max: MAX_COUNT },
  UNTIL: { item: /^[\dTZ]+$/, allowed: "a time such as 20271231T230000Z" },
  WKST: { item: new RegExp(`^${WEEKDAY}$`), allowed: "MO, TU, WE, TH, FR, SA, SU" },
  BYSECOND: { item: /^\d{1,2}$/, allowed: "0 … 59", max: 59 },
  BYMINUTE: { item: /^\d{1,2}$/, allowed: "0 … 59", max: 59 },
  BYHOUR: { item: /^\d{1,2}$/, allowed: "0 … 23", max: 23 },
  BYDAY: {
    item: new RegExp(`^(?:[+-]?[1-9]\\d?)?${WEEKDAY}$`),
    allowed: "MO … SU, 2MO (the second Monday), -1FR (the last Friday)",
  },
  BYMONTHDAY: { item: /^[+-]?0?[1-9]\d?$/, allowed: "1 … 31, -31 … -1", max: 31 },
  BYYEARDAY: { item: /^[+-]?0{0,2}[1-9]\d{0,2}$/, allowed: "1 … 366, -366 … -1", max: 366 },
  BYWEEKNO: { item: /^[+-]?0?[1-9]\d?$/, allowed: "1 … 53, -53 … -1", max: 53 },
  BYMONTH: { item: /^0?[1-9]\d?$/, allowed: "1 … 12", max: 12 },
  BYSETPOS: { item: /^[+-]?0{0,2}[1-9]\d{0,2}$/, allowed: "1 … 366, -366 … -1", max: 366 },
};
const SINGLE = new Set(["FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"]);

/**
 * @param zone what was given beside the text, and what holds when nothing says
 * @throws {InvalidInputError} names the part, the rule and the remedy
 */
export function parseRruleText(
  text: unknown,
  zone: { readonly given?: string | undefined; readonly fallback?: string } = {},
): RruleText {
  const lines = linesOf(text);
  const starts = lines.filter(({ name }) => name === "DTSTART");
  const rules = lines.filter(({ name }) => name === "RRULE");
  const [start, rule] = [starts[0], rules[0]];
  if (start === undefined || starts.length > 1) {
    throw wrong(text, `has ${starts.length} DTSTART: give one, such as "DTSTART;TZID=Europe/Berlin:20270101T090000"`);
  }
  if (rule === undefined || rules.length > 1) {
    throw wrong(text, `has ${rules.length} RRULE: give one, such as "RRULE:FREQ=MONTHLY;BYDAY=-1FR"`);
  }
  const timezone = zoneName(start, text, zone);
  const readings = ({ name, tzid, value }: Line) => readingOf(name, value, tzid ?? timezone, timezone, text);
  const parts = partsOf(rule.value, text);
  const until = parts.get("UNTIL");
  const count = parts.get("COUNT");
  if (until !== undefined && count !== undefined) throw wrong(text, "has both COUNT and UNTIL: give one of them");
  checkTimesADay(parts, text);
  return {
    text: lines.map((line) => line.text).join("\n"),
    timezone,
    freq: parts.get("FREQ") as Freq,
    interval: Number(parts.get("INTERVAL") ?? 1),
    count: count === undefined ? undefined : Number(count),
    hasByHour: parts.has("BYHOUR"),
    parts: [...parts].flatMap(([name, value]) => (name === "UNTIL" ? [] : [`${name}=${value}`])).join(";"),
    startMs: readings(start),
    untilMs: until === undefined ? undefined : readingOf("UNTIL", until, timezone, timezone, text),
    moreMs: listOf("RDATE", lines).map(readings),
    exceptMs: listOf("EXDATE", lines).map(readings),
  };
}

interface Line {
  readonly name: string;
  readonly tzid: string | undefined;
  readonly value: string;
  readonly text: string;
}

function linesOf(text: unknown): Line[] {
  if (typeof text !== "string") {
    throw new InvalidInputError(
      `rrule must be a text, not ${typeof text}: "DTSTART:…" and, on a line of its own, "RRULE:…"`,
    );
  }
  if (text.length > MAX_CHARS) throw wrong(text, `is longer than ${MAX_CHARS} characters`);
  return text
    .replace(/\r?\n[ \t]/g, "") // long lines may be folded
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .map((line) => {
      const [, name = "", params = "", value = ""] =
        /^([A-Za-z-]+)((?:;[^:;=]+=(?:"[^"]*"|[^:;"]*))*):(.*)$/.exec(line) ?? [];
      const upper = name.toUpperCase();
      if (!["DTSTART", "RRULE", "RDATE", "EXDATE"].includes(upper)) {
        throw wrong(
          text,
          `has a line ${show(line)}: use DTSTART:…, RRULE:…, EXDATE:… and RDATE:…, each on a line of its own`,
        );
      }
      const tzid = /;TZID=(?:"([^"]*)"|([^;:]*))/i.exec(params);
      return { name: upper, tzid: tzid?.[1] ?? tzid?.[2], value: value.trim().toUpperCase(), text: line };
    });
}

function listOf(name: string, lines: readonly Line[]): Line[] {
  return lines
    .filter((line) => line.name === name)
    .flatMap((line) => line.value.split(",").map((value) => ({ ...line, value })));
}

/** TZID says it, or "Z" does; else what was given beside it. Both, and different, is a mistake that nobody should have to find. */
function zoneName(
  start: Line,
  text: unknown,
  { given, fallback = "UTC" }: { readonly given?: string | undefined; readonly fallback?: string },
): string {
  const own = start.tzid ?? (start.value.endsWith("Z") ? "UTC" : undefined);
  if (own !== undefined && given !== undefined && own !== given) {
    throw wrong(text, `is in ${show(own)} by its DTSTART, and timezone is ${show(given)}: give one of them`);
  }
  const name = own ?? given ?? fallback;
  zoneOf(name);
  return name;
}

function partsOf(rule: string, text: unknown): Map<string, string> {
  const parts = new Map<string, string>();
  for (const part of rule.split(";")) {
    if (part === "") continue;
    const [, name = "", value = ""] = /^([^=]*)=(.*)$/.exec(part) ?? [];
    const known = Object.hasOwn(PARTS, name) ? PARTS[name] : undefined;
    if (known === undefined) {
      throw wrong(text, `has a part ${show(part)} that is not of RFC 5545${suggest(name, Object.keys(PARTS))}`);
    }
    if (parts.has(name)) throw wrong(text, `has ${name} twice: give it once, with a list if need be`);
    for (const item of SINGLE.has(name) ? [value] : value.split(",")) {
      const fits = known.item.test(item) && (known.max === undefined || Math.abs(Number(item)) <= known.max);
      if (!fits) throw wrong(text, `has ${name}=${show(item)}: use ${known.allowed}`);
    }
    parts.set(name, value);
  }
  if (!parts.has("FREQ")) throw wrong(text, `has no FREQ: use ${FREQUENCIES.join(", ")}`);
  return parts;
}

function checkTimesADay(parts: ReadonlyMap<string, string>, text: unknown): void {
  if (["HOURLY", "MINUTELY", "SECONDLY"].includes(parts.get("FREQ") ?? "")) return;
  const times = ["BYHOUR", "BYMINUTE", "BYSECOND"].reduce(
    (all, name) => all * (parts.get(name)?.split(",").length ?? 1),
    1,
  );
  if (times <= MAX_TIMES_A_DAY) return;
  throw wrong(text, `has ${times} times a day, more than ${MAX_TIMES_A_DAY}: use FREQ=HOURLY or FREQ=MINUTELY`);
}

const DATE_TIME = /^(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z)?)?$/;

/** What the clocks of `timezone` show when those of `tzid` show the value; or at its moment, where it has a "Z". */
function readingOf(name: string, value: string, tzid: string, timezone: string, text: unknown): number {
  const [, year, month, day, hour, minute = "0", second = "0", utc] = DATE_TIME.exec(value) ?? [];
  const date = Date.UTC(Number(year), Number(month) - 1, Number(day));
  const [h, m, s] = [Number(hour ?? 0), Number(minute), Number(second)];
  if (
    !(Number(year) >= 1970) || // or there is none
    new Date(date).toISOString().slice(0, 10) !== `${year}-${month}-${day}` ||
    h > 23 ||
    m > 59 ||
    s > 59
  ) {
    throw wrong(text, `has ${name} ${show(value)}: use a date and time from 1970 on, such as 20270101T090000`);
  }
  // The last day counts in full.
  if (hour === undefined) return name === "UNTIL" ? date + 86_399_000 : date;
  const reading = date + ((h * 60 + m) * 60 + s) * 1_000;
  if (utc === undefined && tzid === timezone) return reading;
  const ms = utc === undefined ? zoneOf(tzid).firstAt(reading).ms : reading;
  return ms + zoneOf(timezone).offsetMs(ms);
}

function wrong(text: unknown, why: string): InvalidInputError {
  return new InvalidInputError(`rrule ${show(String(text))} ${why}`);
}

function show(text: string): string {
  return textOf(JSON.stringify(text), 120);
}
