/** What comes next, for people: the nominal times with the offset that the zone's clocks have then. */
import { InvalidInputError } from "../../kit/errors.ts";
import type { Evaluator } from "./rule.ts";
import { zoneOf } from "./zone.ts";

export interface PreviewedTime {
  readonly nominalMs: number;
  /** ISO 8601, to the second (to the millisecond where it is not a whole one), with the offset: "2027-03-28T03:00:00+02:00". */
  readonly text: string;
  /** The clocks leave out the time that was asked for: this is the first moment after their gap. */
  readonly moved: boolean;
}

export const MAX_PREVIEW = 1_000;

/**
 * The next `count` nominal times after `afterMs`; fewer when there are no more. Jitter is not in them.
 * @throws {InvalidInputError} count is not 1 … 1,000
 */
export function preview(evaluator: Evaluator, afterMs: number, count: number): PreviewedTime[] {
  if (!Number.isSafeInteger(count) || count < 1 || count > MAX_PREVIEW) {
    throw new InvalidInputError(`a preview has 1 … ${MAX_PREVIEW} times, not ${String(count)}`);
  }
  const times: PreviewedTime[] = [];
  for (let ms = evaluator.nextAfter(afterMs); ms !== undefined && times.length < count; ms = evaluator.nextAfter(ms)) {
    times.push({ nominalMs: ms, text: zonedText(ms, evaluator.timezone), moved: evaluator.movedByGap(ms) });
  }
  return times;
}

/** A moment by the clocks of a zone, with their offset. */
export function zonedText(ms: number, timezone: string): string {
  const offsetMs = zoneOf(timezone).offsetMs(ms);
  const reading = new Date(ms + offsetMs)
    .toISOString()
    .slice(0, -1)
    .replace(/\.000$/, "");
  const size = Math.abs(offsetMs) / 1_000;
  const parts = [size / 3_600, (size / 60) % 60, size % 60].map((part) => String(Math.floor(part)).padStart(2, "0"));
  // Seconds were in use until 1972, in Liberia.
  return `${reading}${offsetMs < 0 ? "-" : "+"}${(parts[2] === "00" ? parts.slice(0, 2) : parts).join(":")}`;
}
