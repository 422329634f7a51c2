/**
 * `lovage/rrule`: what recurs by a rule of iCalendar (RFC 5545). Needs the package rrule-temporal, which is loaded when such a rule is first worked
 * out: by the process that declares it, and by each worker of its schedule.
 */
import type { RRule } from "./app/recurrence-options.ts";
import { InvalidInputError } from "./kit/errors.ts";

export type { RRule } from "./app/recurrence-options.ts";

/**
 * ```ts
 * await app.schedule.callRepeatedly(
 *   rrule("DTSTART;TZID=Europe/Berlin:20270101T090000\nRRULE:FREQ=MONTHLY;BYDAY=-1FR"), report.s(), { key: "monthly-report" });
 * ```
 *
 * @param text a DTSTART and one RRULE, each on a line of its own, and EXDATE and RDATE if wanted. DTSTART counts from where, and is an
 *   occurrence only if the rule names it
 * @param options.timezone IANA zone, if DTSTART names none; default: the app's
 * @throws {InvalidInputError} it is no text; what stands in it is checked when it is used
 */
export function rrule(text: string, options: Omit<RRule, "rrule"> = {}): RRule {
  if (typeof text !== "string") throw new InvalidInputError(`rrule must be a text, not ${typeof text}`);
  return { ...options, rrule: text };
}
