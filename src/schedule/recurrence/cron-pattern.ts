/**
 * A cron pattern, read: its times of day, and which dates it means. Croner reads the fields and knows the calendar (L, W, #, the last Friday);
 * what it lets pass is refused here first, with the field and the remedy.
 *
 * Day of month and day of week: as in cron, a date that fits either will do when both are given, and `+` before the day of week asks for both.
 * (docs/decisions/recurrence-rules.md)
 */
import { CronDate, CronPattern as CronerPattern } from "croner";
import { InvalidInputError, messageOf } from "../../kit/errors.ts";
import { textOf } from "../../kit/printable.ts";

const DAY_MS = 86_400_000;
/** A pattern that anybody means is shorter; a longer one only costs. */
const MAX_CHARS = 256;
const NICKNAMES: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};
const MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec";
const DAYS = "sun|mon|tue|wed|thu|fri|sat";

interface Field {
  readonly name: string;
  /** One item of its list, in lower case. */
  readonly item: RegExp;
  readonly min: number;
  readonly max: number;
  readonly allowed: string;
}

function field(name: string, [min, max]: readonly [number, number], allowed: string, value: string, more = ""): Field {
  const range = `(?:${value})-(?:${value})(?:/\\d{1,2})?`;
  return { name, item: new RegExp(`^(?:\\*(?:/\\d{1,2})?|${value}|${range}${more})$`), min, max, allowed };
}

const NUMBER = "\\d{1,2}";
const DAY = `\\d|${DAYS}`;
const FIELDS: readonly Field[] = [
  field("second", [0, 59], "0-59", NUMBER),
  field("minute", [0, 59], "0-59", NUMBER),
  field("hour", [0, 23], "0-23", NUMBER),
  field(
    "day of month",
    [1, 31],
    "1-31, L (the last), 15W (the weekday nearest to the 15th), LW alone (the last weekday)",
    NUMBER,
    "|l|\\d{1,2}w",
  ),
  field("month", [1, 12], "1-12, JAN-DEC", `${NUMBER}|${MONTHS}`),
  field("day of week", [0, 7], "0-7, SUN-SAT, 5#2 (the second Friday), 5L (the last)", DAY, `|(?:${DAY})(?:#[1-5]|l)`),
];

export interface CronPattern {
  /** Ascending. */
  readonly hours: readonly number[];
  readonly minutes: readonly number[];
  readonly seconds: readonly number[];
  /** Every so many hours, rather than at fixed times of the day: it follows real time where the clocks are changed. */
  readonly followsRealTime: boolean;
  /** Months that may have a day of it, by number from 0. */
  readonly months: readonly boolean[];
  /** The days of the month that it means, as bits: the first is 1. @param month from 0 */
  daysOf(year: number, month: number): number;
  /** Its date fields, for an error. */
  readonly dates: string;
}

/** @throws {InvalidInputError} names the pattern, the field, the rule and the remedy */
export function parseCronPattern(text: string): CronPattern {
  const fields = fieldsOf(text);
  let read: CronerPattern;
  try {
    read = new CronerPattern(fields.join(" "), undefined, { mode: "6-part" });
  } catch (cause) {
    const why = messageOf(cause).replace(/^CronPattern: /, "");
    throw new InvalidInputError(`cron ${show(text)} is no pattern: ${textOf(why, 160)}`, { cause });
  }
  // It has no years; ten thousand flags would be most of what a pattern takes up.
  read.year = [];
  const [, , hour = "", dayOfMonth = "", month = "", dayOfWeek = ""] = fields;
  const hours = numbersOf(read.hour);
  const wild = hour.split(",").some((item) => item.startsWith("*")) || hours.length === 24;
  return {
    hours,
    minutes: numbersOf(read.minute),
    seconds: numbersOf(read.second),
    followsRealTime: wild,
    months: read.month.map((each) => each === 1),
    daysOf: (year, of) => daysOf(read, year, of),
    dates: `day of month ${show(dayOfMonth)}, month ${show(month)} and day of week ${show(dayOfWeek)}`,
  };
}

/** Six fields, checked one by one, lower case, names and all. */
function fieldsOf(text: unknown): string[] {
  if (typeof text !== "string")
    throw new InvalidInputError(`cron must be a text such as "0 9 * * MON-FRI", not ${typeof text}`);
  const lower = text
    .slice(0, MAX_CHARS + 1)
    .trim()
    .toLowerCase();
  if (lower.length > MAX_CHARS) {
    throw new InvalidInputError(`cron ${show(text)} is longer than ${MAX_CHARS} characters: use ranges and steps`);
  }
  const nickname = lower.startsWith("@") ? NICKNAMES[lower] : undefined;
  if (lower.startsWith("@") && nickname === undefined) {
    const known = Object.keys(NICKNAMES).join(", ");
    throw new InvalidInputError(
      `cron ${show(text)} is no nickname that can be scheduled: use ${known}, or five fields`,
    );
  }
  const given = (nickname ?? lower).split(/\s+/).filter((each) => each !== "");
  if (given.length !== 5 && given.length !== 6) {
    throw new InvalidInputError(
      `cron ${show(text)} has ${given.length} fields: use five (minute, hour, day of month, month, day of week), or six with seconds first`,
    );
  }
  if (given.length === 5) given.unshift("0");
  return given.map((each, i) => checkField(each, FIELDS[i] as Field, text));
}

function checkField(given: string, { name, item, min, max, allowed }: Field, text: string): string {
  const both = name === "day of week" && given.startsWith("+");
  // "?" is Quartz's word for a star. "*/1" is a star, too: a date field that means every day leaves the other one to decide.
  const items = (both ? given.slice(1) : given).split(",").map((each) => each.replace(/^(?:\?|\*\/1)$/, "*"));
  if (name === "day of month" && given === "lw") return given;
  const wrong = items.find((each) => !item.test(each) || !inRange(each, min, max));
  if (wrong !== undefined) {
    throw new InvalidInputError(
      `cron ${show(text)}: the field ${name} has ${show(wrong)} in it; use ${allowed}, and of these lists (1,2), ranges upwards (1-5) and steps (*/2, 1-9/2)`,
    );
  }
  return `${both ? "+" : ""}${items.includes("*") ? "*" : items.join(",")}`;
}

/** Its numbers are the field's, a range goes upwards, and a step is at least 1. */
function inRange(item: string, min: number, max: number): boolean {
  const [range = "", step = "1"] = item.split("/");
  const numbers = (range.split("#")[0] ?? "").match(/\d+/g)?.map(Number) ?? [];
  const [low = min, high = low] = numbers;
  return low >= min && high <= max && low <= high && Number(step) >= 1 && Number(step) <= max;
}

function daysOf(read: CronerPattern, year: number, month: number): number {
  const first = Date.UTC(year, month, 1);
  const days = Math.round((Date.UTC(year, month + 1, 1) - first) / DAY_MS);
  const [hour = 0, minute = 0, second = 0] = [read.hour, read.minute, read.second].map((each) => each.indexOf(1));
  // Of a date's times any that fits the other fields will do to ask whether the date does.
  const timeMs = ((hour * 60 + minute) * 60 + second) * 1_000;
  let bits = 0;
  for (let day = 0; day < days; day++) {
    const date = new CronDate(new Date(first + day * DAY_MS + timeMs), 0);
    if (date.match(read, { domAndDow: false })) bits |= 1 << day;
  }
  return bits;
}

function numbersOf(flags: readonly number[]): number[] {
  return flags.flatMap((flag, i) => (flag === 1 ? [i] : []));
}

function show(text: string): string {
  return textOf(JSON.stringify(text), 80);
}
