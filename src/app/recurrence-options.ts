/**
 * What users say of something that recurs, as what the schedule keeps of it: `{ every: "10m" }`, `{ cron: "0 9 * * MON-FRI", timezone:
 * "Europe/Berlin" }`, `rrule("…")`, and what is to happen with the occurrences that nobody could start in time.
 *
 * It checks words. Whether a rule can come at all is seen when it is evaluated (`evaluatorOf`, `firstPlan`), before anything is kept.
 */
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { type Moment, parseMomentMs } from "../kit/moment.ts";
import { textOf } from "../kit/printable.ts";
import type { Overlap } from "../schedule/callback.ts";
import { MAX_CATCH_UP } from "../schedule/recurrence/plan.ts";
import { parseRruleText } from "../schedule/recurrence/rrule-text.ts";
import type { Recurring } from "../schedule/recurrence/rule.ts";
import type { Definition, Rule } from "../schedule/recurrence.ts";
import { checkNames } from "./option-names.ts";

interface Bounds {
  /** No occurrence before it. With `every`: the first, unless it has passed; then those after it count from it. */
  readonly startAt?: Moment;
  /** No occurrence after it; one at the moment itself is the last. */
  readonly until?: Moment;
}

/** In real time, whatever the clocks do. */
export interface Every extends Bounds {
  /** At least 100 ms. The first is so long from now, unless `startAt` says when. */
  readonly every: Duration;
  /** IANA zone of a `startAt` or `until` without an offset. */
  readonly timezone?: string;
}

export interface Cron extends Bounds {
  /**
   * Five fields (minute, hour, day of month, month, day of week), six with seconds first, or a nickname such as "@daily". With both a day of
   * month and a day of week, a date that fits either will do, as in cron; `+` before the day of week asks for both.
   */
  readonly cron: string;
  /** IANA zone by whose clocks it goes. Default: the app's, else UTC. */
  readonly timezone?: string;
}

/** Made by `rrule` of `lovage/rrule`. */
export interface RRule extends Bounds {
  /** RFC 5545: a DTSTART and an RRULE, and EXDATE and RDATE if wanted. */
  readonly rrule: string;
  /** IANA zone by whose clocks it goes, if DTSTART does not say (TZID, or "Z"). Default: the app's, else UTC. */
  readonly timezone?: string;
}

/** When something recurs. */
export type Recurs = Every | Cron | RRule;

export interface RecurrencePolicy {
  /**
   * What happens to occurrences that nobody could start in time, because the workers were down or busy. "coalesce" (default): one run, of the
   * newest. `{ all: n }`: the newest n, at most 100; "all": the newest 100. "skip": none that is later than `misfireGrace`.
   */
  readonly misfire?: "coalesce" | "skip" | "all" | { readonly all: number };
  /** With misfire "skip": how late an occurrence may still start. Default 0 s (which allows for a second). */
  readonly misfireGrace?: Duration;
  /** When the one before has not ended: "allow" (default: run beside it), "skip", or "queue" (run after it). */
  readonly overlap?: Overlap;
  /** Each occurrence is due up to so much after its nominal time, but before the next. Default 0 s. */
  readonly jitter?: Duration;
}

/**
 * @param nowMs what `every` counts from when no start is given
 * @param timezone of the app; default "UTC"
 * @throws {InvalidInputError} names the option, the rule and the remedy
 */
export function recurringOf(
  when: Recurs,
  { nowMs, timezone = "UTC" }: { nowMs: number; timezone?: string },
): Recurring {
  if (typeof when !== "object" || when === null) {
    throw new InvalidInputError(
      `when it recurs must be { every }, { cron } or rrule("…"), not ${textOf(when, 80)}: write { every: "10m" } or { cron: "0 9 * * *" }`,
    );
  }
  const kinds = (["every", "cron", "rrule"] as const).filter((kind) => kind in when);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) {
    throw new InvalidInputError(
      `when it recurs must have one of every, cron and rrule, not ${kinds.length === 0 ? "none" : kinds.join(" and ")} of them`,
    );
  }
  checkNames(when, [kind, "timezone", "startAt", "until"], `{ ${kind} }`);
  const zone = when.timezone === undefined ? {} : { timezone: when.timezone };
  const fromMs = momentOf(when.startAt, "startAt", zone);
  const untilMs = momentOf(when.until, "until", zone);
  if (fromMs !== undefined && untilMs !== undefined && untilMs < fromMs) {
    throw new InvalidInputError("until is before startAt: give a later until, or none");
  }
  return {
    rule: ruleOf(when, fromMs ?? nowMs, timezone),
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(untilMs === undefined ? {} : { untilMs }),
  };
}

/** @throws {InvalidInputError} */
export function policyOf(policy: RecurrencePolicy): Pick<Definition, "misfire" | "overlap" | "jitterMs"> {
  const { misfire = "coalesce", misfireGrace, overlap = "allow", jitter = 0 } = policy;
  if (!["allow", "skip", "queue"].includes(overlap)) {
    throw new InvalidInputError(
      `overlap must be "allow", "skip" or "queue", not ${textOf(JSON.stringify(overlap), 80)}`,
    );
  }
  return { misfire: misfireOf(misfire, misfireGrace), overlap, jitterMs: parseDurationMs(jitter, "jitter") };
}

function misfireOf(
  misfire: NonNullable<RecurrencePolicy["misfire"]>,
  grace: Duration | undefined,
): Definition["misfire"] {
  if (misfire === "skip") {
    return { kind: "skip", graceMs: grace === undefined ? 0 : parseDurationMs(grace, "misfireGrace") };
  }
  if (grace !== undefined) {
    throw new InvalidInputError('misfireGrace goes with misfire "skip": leave it out, or say misfire: "skip"');
  }
  if (misfire === "coalesce") return { kind: "coalesce" };
  if (misfire === "all") return { kind: "all", limit: MAX_CATCH_UP };
  const limit = typeof misfire === "object" && misfire !== null ? misfire.all : undefined;
  if (typeof limit === "number" && Number.isSafeInteger(limit) && limit >= 1 && limit <= MAX_CATCH_UP) {
    return { kind: "all", limit };
  }
  throw new InvalidInputError(
    `misfire must be "coalesce", "skip", "all" or { all: 1 … ${MAX_CATCH_UP} }, not ${textOf(JSON.stringify(misfire), 80)}`,
  );
}

function ruleOf(when: Recurs, anchorMs: number, appZone: string): Rule {
  if ("every" in when) return { kind: "every", everyMs: parseDurationMs(when.every, "every"), anchorMs };
  if ("cron" in when) return { kind: "cron", cron: when.cron, timezone: when.timezone ?? appZone };
  const { text, timezone } = parseRruleText(when.rrule, { given: when.timezone, fallback: appZone });
  return { kind: "rrule", rrule: text, timezone };
}

function momentOf(moment: Moment | undefined, what: string, zone: { timezone?: string }): number | undefined {
  return moment === undefined ? undefined : parseMomentMs(moment, { what, ...zone });
}
