/**
 * Moments as users give them (`eta`), in integer milliseconds UTC, rounded up. A local time needs its zone: a text without
 * an offset means something else on each machine, the classic error of schedulers.
 */
import { InvalidInputError } from "./errors.ts";
import { parseIso8601 } from "./iso8601.ts";

/** `Temporal.Instant` and `Temporal.ZonedDateTime`, by what they have in common. */
export interface TemporalMoment {
  readonly epochNanoseconds: bigint;
}

/** A Date, a Temporal moment, or ISO 8601 text with an offset (or with a `timezone` given beside it). */
export type Moment = Date | string | TemporalMoment;

export interface MomentOptions {
  /** IANA name, such as "Europe/Berlin", of the place whose clock a text without an offset was read from. */
  readonly timezone?: string;
  /** Name of the argument, for the error. Default "eta". */
  readonly what?: string;
}

/** As far as a Date reaches. */
const MAX_MS = 8_640_000_000_000_000;
const DAY_MS = 86_400_000;
/** Zones are named by users: a bound keeps a hostile list of names from growing this. */
const MAX_ZONES = 64;
const zones = new Map<string, Intl.DateTimeFormat>();

/** @throws {InvalidInputError} it is no moment, has no offset and no zone, or the zone is unknown */
export function parseMomentMs(moment: Moment, options: MomentOptions = {}): number {
  const what = options.what ?? "eta";
  if (moment instanceof Date) return inRange(moment.getTime(), what, "an invalid Date");
  if (typeof moment === "string") return fromText(moment, options.timezone, what);
  const temporal = fromTemporal(moment, options.timezone, what);
  if (temporal !== undefined) return temporal;
  const hint = typeof moment === "number" ? "; for a time from now use countdown, in seconds" : "";
  throw new InvalidInputError(
    `${what} must be a moment: a Date, or ISO 8601 text with an offset such as "2030-01-02T03:04:05Z"; it was ${kindOf(moment)}${hint}`,
  );
}

/**
 * What the clocks of `timezone` showed as a moment. In the gap of a change to summer time: the first moment after it. Where
 * the clocks are set back, and the time comes twice: the earlier.
 *
 * @param localMs the reading, as if it were UTC
 */
export function zonedMs(localMs: number, timezone: string, what = "timezone"): number {
  const offsetMs = offsetReader(timezone, what);
  // No zone is more than a day from UTC, so the offset in force is that of the day before or of the day after.
  const before = offsetMs(localMs - DAY_MS);
  const after = offsetMs(localMs + DAY_MS);
  const candidates = [localMs - before, localMs - after].filter((ms) => ms + offsetMs(ms) === localMs);
  if (candidates.length > 0) return Math.min(...candidates);
  // In the gap. The change lies between the two readings of this time: look for the first moment whose clock is past it.
  let low = localMs - Math.max(before, after);
  let high = localMs - Math.min(before, after);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (middle + offsetMs(middle) > localMs) high = middle;
    else low = middle;
  }
  return high;
}

function fromText(text: string, timezone: string | undefined, what: string): number {
  const parsed = parseIso8601(text.trim());
  if ("problem" in parsed) {
    throw new InvalidInputError(
      `${what} ${show(text)} ${parsed.problem}: use ISO 8601 with an offset, such as "2030-01-02T03:04:05Z"`,
    );
  }
  if (parsed.hasOffset) return inRange(parsed.ms, what, show(text));
  if (timezone === undefined) {
    throw new InvalidInputError(
      `${what} ${show(text)} has no offset, so it is no moment: write "Z" or an offset such as "+01:00" behind it, or give timezone: "Europe/Berlin"`,
    );
  }
  return inRange(zonedMs(parsed.ms, timezone, "timezone"), what, show(text));
}

function fromTemporal(moment: unknown, timezone: string | undefined, what: string): number | undefined {
  if (typeof moment !== "object" || moment === null) return undefined;
  const nanoseconds = (moment as Partial<TemporalMoment>).epochNanoseconds;
  if (typeof nanoseconds === "bigint") {
    const down = nanoseconds / 1_000_000n;
    const up = nanoseconds % 1_000_000n > 0n ? down + 1n : down;
    return inRange(Number(up), what, "the Temporal moment");
  }
  const tag = (moment as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return tag === "Temporal.PlainDateTime" ? fromText(String(moment), timezone, what) : undefined;
}

function offsetReader(timezone: string, what: string): (ms: number) => number {
  let format = zones.get(timezone);
  if (format === undefined) {
    try {
      format = new Intl.DateTimeFormat("en-US", { timeZone: timezone, timeZoneName: "longOffset" });
    } catch (cause) {
      const name = show(String(timezone));
      throw new InvalidInputError(`${what} ${name} is unknown: use an IANA name such as "Europe/Berlin" or "UTC"`, {
        cause,
      });
    }
    if (zones.size >= MAX_ZONES) zones.clear();
    zones.set(timezone, format);
  }
  const reader = format;
  return (ms) => {
    if (Math.abs(ms) > MAX_MS) return 0;
    const name = reader.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value ?? "GMT";
    const [, sign, hours = "0", minutes = "0", seconds = "0"] = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(name) ?? [];
    const size = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000;
    return sign === "-" ? -size : size;
  };
}

function inRange(ms: number, what: string, shown: string): number {
  if (Math.abs(ms) <= MAX_MS) return ms;
  throw new InvalidInputError(`${what} is ${shown}: no moment that a Date can hold`);
}

function kindOf(value: unknown): string {
  if (value === null || typeof value !== "object") return typeof value === "string" ? show(value) : String(value);
  return "an object";
}

function show(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
