/**
 * Durations as users write them, in milliseconds as the code counts them. Used at the edges only.
 *
 * A number is seconds, as everywhere in Celery; a text may carry its unit. Always rounded up to a whole millisecond: what
 * is asked to wait never waits less.
 */
import { InvalidInputError } from "./errors.ts";

/** Seconds, fractions allowed; or a text with units: "1500ms", "90s", "5m", "2h30m", "3d", "1w", ISO 8601 "PT5M". */
export type Duration = number | string;

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const PART = /(\d+(?:\.\d+)?)(ms|[smhdw])\s*/y;
const ISO =
  /^P(?:([\d.,]+)W|(?:([\d.,]+)Y)?(?:([\d.,]+)M)?(?:([\d.,]+)D)?(?:T(?:([\d.,]+)H)?(?:([\d.,]+)M)?(?:([\d.,]+)S)?)?)$/;
/** As far as a Date reaches. */
const MAX_MS = 8_640_000_000_000_000;
/** 31 years in seconds; as milliseconds since 1970, a moment of 1970: no countdown that anybody means. */
const SURELY_NO_SECONDS = 1_000_000_000;
/** Ten years, and the leap days in them. */
export const DEFAULT_MAX_COUNTDOWN_MS = 3_653 * 86_400_000;

const HOW = 'a number is seconds; a text carries units, such as "1500ms", "90s", "2h30m", "3d" or "PT5M"';

/**
 * @param what name of the option or argument, for the error
 * @throws {InvalidInputError} not a duration, or negative
 */
export function parseDurationMs(value: Duration, what: string): number {
  if (typeof value === "number") return fromSeconds(value, what);
  if (typeof value !== "string") throw refused(value, what, `must be a duration: ${HOW}`);
  const text = value.trim();
  if (/^\d+(?:\.\d+)?$/.test(text)) return fromSeconds(Number(text), what);
  const ms = text.startsWith("P") ? fromIso(text, value, what) : fromUnits(text);
  if (ms === undefined) throw refused(value, what, `must be a duration: ${HOW}`);
  return wholeMs(ms, value, what);
}

/** Like `parseDurationMs`, for a move in time: a sign is allowed, "+2h" or "-30m" or -1800. */
export function parseOffsetMs(value: Duration, what: string): number {
  if (typeof value === "number") return value < 0 ? -fromSeconds(-value, what) : fromSeconds(value, what);
  if (typeof value !== "string") return parseDurationMs(value, what);
  const text = value.trim();
  const ms = parseDurationMs(text.replace(/^[+-]/, ""), what);
  return text.startsWith("-") && ms !== 0 ? -ms : ms;
}

/**
 * The time from now to a start, as given to `countdown`. Refuses what is meant as milliseconds, or as a moment.
 *
 * @throws {InvalidInputError} not a duration, negative, or longer than `maxMs` (default ten years)
 */
export function countdownMs(
  value: Duration,
  options: { readonly maxMs?: number; readonly what?: string } = {},
): number {
  const { maxMs = DEFAULT_MAX_COUNTDOWN_MS, what = "countdown" } = options;
  if (Number(value) >= SURELY_NO_SECONDS) {
    throw new InvalidInputError(`${what} is in seconds; for a moment use eta (it was ${show(value)})`);
  }
  const ms = parseDurationMs(value, what);
  if (ms > maxMs) {
    throw new InvalidInputError(
      `${what} ${show(value)} is longer than maxCountdown (${showMs(maxMs)}): ${what} is in seconds; for a moment use eta, or raise maxCountdown`,
    );
  }
  return ms;
}

/** A length of time for people: "250 ms", "1.5 s", "2 h 30 m", "3 d". */
export function showMs(ms: number): string {
  if (!Number.isFinite(ms)) return String(ms);
  if (Math.abs(ms) < 1_000) return `${Math.round(ms)} ms`;
  if (Math.abs(ms) < 60_000) return `${Math.round(ms / 10) / 100} s`;
  let left = Math.round(Math.abs(ms) / 1_000);
  const parts: string[] = [];
  for (const [unit, seconds] of [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
    ["s", 1],
  ] as const) {
    const count = Math.floor(left / seconds);
    left -= count * seconds;
    // Two parts tell enough.
    if (count > 0 && parts.length < 2) parts.push(`${count} ${unit}`);
  }
  return (ms < 0 ? "-" : "") + parts.join(" ");
}

function fromSeconds(seconds: number, what: string): number {
  if (!Number.isFinite(seconds)) throw refused(seconds, what, `must be a finite number of seconds`);
  if (seconds < 0) throw refused(seconds, what, "must not be negative");
  return wholeMs(seconds * 1_000, seconds, what);
}

/** "2h30m": each unit once, in any order. */
function fromUnits(text: string): number | undefined {
  const seen = new Set<string>();
  let ms = 0;
  PART.lastIndex = 0;
  while (PART.lastIndex < text.length) {
    const match = PART.exec(text);
    if (match === null) return undefined;
    const [, count = "", unit = ""] = match;
    if (seen.has(unit)) return undefined;
    seen.add(unit);
    ms += Number(count) * (UNIT_MS[unit] ?? Number.NaN);
  }
  return seen.size === 0 ? undefined : ms;
}

/** "PT5M", "P1DT2H", "P2W". */
function fromIso(text: string, value: Duration, what: string): number | undefined {
  const match = ISO.exec(text);
  if (match === null) return undefined;
  const [, weeks, years, months, days, hours, minutes, seconds] = match;
  if (years !== undefined || months !== undefined) {
    throw refused(value, what, "must not count years or months: they differ in length; use days");
  }
  const parts = [weeks, days, hours, minutes, seconds];
  const sizes = [UNIT_MS.w, UNIT_MS.d, UNIT_MS.h, UNIT_MS.m, UNIT_MS.s];
  const last = parts.findLastIndex((part) => part !== undefined);
  if (last < 0 || text.endsWith("T")) return undefined;
  let ms = 0;
  for (const [i, part] of parts.entries()) {
    if (part === undefined) continue;
    // A fraction may stand in the smallest part only.
    if (!(i === last ? /^\d+(?:[.,]\d+)?$/ : /^\d+$/).test(part)) return undefined;
    ms += Number(part.replace(",", ".")) * (sizes[i] ?? Number.NaN);
  }
  return ms;
}

/** Rounded up, but not because of binary fractions: 1.1 s is 1,100 ms and not 1,101. */
function wholeMs(ms: number, value: Duration, what: string): number {
  if (!(ms <= MAX_MS)) throw refused(value, what, "is too long: at most 100,000,000 days");
  const up = Math.ceil(ms < 1e12 ? Math.round(ms * 1_000) / 1_000 : ms);
  return up === 0 && ms > 0 ? 1 : up;
}

function refused(value: unknown, what: string, rule: string): InvalidInputError {
  return new InvalidInputError(`${what} ${show(value)} ${rule}`);
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return typeof value === "object" && value !== null ? "(an object)" : String(value);
}
