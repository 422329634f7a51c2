/**
 * Moments as text, ISO 8601 as Celery's own parser takes it: basic and extended forms, week and ordinal dates, a missing
 * time, missing seconds, `,` decimals, a space for the `T`, 24:00. Strict otherwise. Pure: no zone, no clock.
 *
 * Finer than a millisecond is rounded up, so that what waits for the moment is never early.
 */

export interface Iso8601 {
  /** Milliseconds since 1970 UTC; without an offset: as if the clock that was read were UTC's. */
  readonly ms: number;
  readonly hasOffset: boolean;
}

/** Why a text is no moment, as the end of a sentence: "… has no month 13". */
export interface NoIso8601 {
  readonly problem: string;
}

const DAY_MS = 86_400_000;
const DATE = /^(\d{4})(?:-(\d\d)(?:-(\d\d))?|(\d\d)(\d\d))?$/;
const WEEK = /^(\d{4})(-?)W(\d\d)(?:(-?)(\d))?$/;
const ORDINAL = /^(\d{4})-?(\d{3})$/;
const TIME = /^(\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?$/;
const OFFSET = /(Z|z|[+-]\d\d(?::?\d\d)?)$/;
/** No moment is written longer, nanoseconds and all. */
const MAX_CHARS = 64;

export function parseIso8601(text: string): Iso8601 | NoIso8601 {
  if (text === "") return { problem: "is empty" };
  if (text.length > MAX_CHARS) return { problem: "is too long for a moment" };
  const split = /^([0-9W-]+?)(?:[Tt ](.*))?$/s.exec(text);
  if (split === null) return { problem: "is not ISO 8601" };
  const [, dateText = "", timeAndOffset] = split;

  const dayMs = dateMs(dateText);
  if (typeof dayMs === "string") return { problem: dayMs };
  if (timeAndOffset === undefined) return { ms: dayMs, hasOffset: false };
  if (!/^\d{4}(?:-\d\d-\d\d|\d{4}|-?\d{3}|-?W\d\d-?\d)$/.test(dateText)) {
    return { problem: "has a time but no day" };
  }

  const offsetText = OFFSET.exec(timeAndOffset)?.[1];
  const timeText = offsetText === undefined ? timeAndOffset : timeAndOffset.slice(0, -offsetText.length);
  const timeMs = timeOfDayMs(timeText);
  if (typeof timeMs === "string") return { problem: timeMs };
  const offsetMs = offsetText === undefined ? 0 : zoneOffsetMs(offsetText);
  if (offsetMs === undefined) return { problem: `has no such offset as ${offsetText}` };
  return { ms: dayMs + timeMs - offsetMs, hasOffset: offsetText !== undefined };
}

/**
 * As Python's `datetime.isoformat` writes a moment in UTC: `2030-01-02T03:04:05.678000+00:00`, and without the fraction
 * where it is zero.
 */
export function isoFromMs(ms: number): string {
  const text = new Date(ms).toISOString(); // 2030-01-02T03:04:05.678Z
  const fraction = text.slice(-4, -1);
  return `${text.slice(0, -5)}${fraction === "000" ? "" : `.${fraction}000`}+00:00`;
}

/** Midnight of the day in ms, or what is wrong with it. */
function dateMs(text: string): number | string {
  const date = DATE.exec(text);
  if (date !== null) {
    const [, year = "", month, day, basicMonth, basicDay] = date;
    return calendarMs(Number(year), Number(month ?? basicMonth ?? 1), Number(day ?? basicDay ?? 1));
  }
  const week = WEEK.exec(text);
  if (week !== null) {
    const [, year = "", dash, number = "", dayDash, day] = week;
    if (day !== undefined && dash !== dayDash) return "mixes the basic and the extended form";
    return weekMs(Number(year), Number(number), Number(day ?? 1));
  }
  const ordinal = ORDINAL.exec(text);
  if (ordinal !== null) {
    const [, year = "", day = ""] = ordinal;
    return dayOfYearMs(Number(year), Number(day));
  }
  return "has a date that is not ISO 8601 (write it as 2030-01-02)";
}

function calendarMs(year: number, month: number, day: number): number | string {
  if (year < 1) return "has no year 0";
  if (month < 1 || month > 12) return `has no month ${month}`;
  const last = new Date(utcDayMs(year, month, 1) - DAY_MS).getUTCDate();
  if (day < 1 || day > last) return `has no day ${day}: that month has ${last}`;
  return utcDayMs(year, month - 1, day);
}

/** ISO week dates: week 1 is the one with the 4th of January, weeks begin on Monday. */
function weekMs(year: number, week: number, day: number): number | string {
  if (year < 1) return "has no year 0";
  if (day < 1 || day > 7) return `has no day ${day} of a week`;
  const firstMonday = (of: number) => {
    const fourth = utcDayMs(of, 0, 4);
    return fourth - ((new Date(fourth).getUTCDay() + 6) % 7) * DAY_MS;
  };
  const ms = firstMonday(year) + ((week - 1) * 7 + day - 1) * DAY_MS;
  if (week < 1 || ms >= firstMonday(year + 1)) return `has no week ${week}: not in that year`;
  return ms;
}

function dayOfYearMs(year: number, day: number): number | string {
  if (year < 1) return "has no year 0";
  const ms = utcDayMs(year, 0, 1) + (day - 1) * DAY_MS;
  return day < 1 || ms >= utcDayMs(year + 1, 0, 1) ? `has no day ${day} of that year` : ms;
}

/** `Date.UTC` takes the years 0 … 99 as 1900 …; this does not. Month 0 … 12. */
function utcDayMs(year: number, month: number, day: number): number {
  return new Date(0).setUTCFullYear(year, month, day);
}

/** Time since midnight, or what is wrong with it. */
function timeOfDayMs(text: string): number | string {
  const time = TIME.exec(text);
  const colons = text.split(":").length - 1;
  const [, hourText = "", minuteText, secondText, fraction] = time ?? [];
  const parts = [hourText, minuteText, secondText].filter((part) => part !== undefined).length;
  if (time === null || (colons !== 0 && colons !== parts - 1)) {
    return "has a time that is not ISO 8601 (write it as 03:04:05)";
  }
  const [hour, minute, second] = [Number(hourText), Number(minuteText ?? 0), Number(secondText ?? 0)];
  const fractionMs = fraction === undefined ? 0 : fractionUpMs(fraction);
  if (hour === 24 && minute === 0 && second === 0 && !/[1-9]/.test(fraction ?? "")) return DAY_MS;
  if (hour > 23) return `has no hour ${hour}`;
  if (minute > 59) return `has no minute ${minute}`;
  if (second > 59) return `has no second ${second}`;
  return ((hour * 60 + minute) * 60 + second) * 1_000 + fractionMs;
}

/** All digits count, also those that Python drops: up to the next millisecond if anything is left. */
function fractionUpMs(digits: string): number {
  const ms = Number(digits.slice(0, 3).padEnd(3, "0"));
  return /[1-9]/.test(digits.slice(3)) ? ms + 1 : ms;
}

function zoneOffsetMs(text: string): number | undefined {
  if (text === "Z" || text === "z") return 0;
  const hours = Number(text.slice(1, 3));
  const minutes = Number(text.slice(3).replace(":", "") || 0);
  if (hours > 23 || minutes > 59) return undefined;
  return (text.startsWith("-") ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}
