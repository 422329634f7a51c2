/**
 * When something recurs: a rule, evaluated. Pure arithmetic, told the time; the work of a call is bounded whatever the rule says and
 * however long nobody asked.
 *
 * A rule of iCalendar needs a package that is loaded on first use, so an evaluator is had for a promise; from then on all is synchronous.
 */
import { InvalidInputError } from "../../kit/errors.ts";
import type { Definition, Rule } from "../recurrence.ts";
import { cronEvaluator } from "./cron.ts";

/** The nominal times of a rule, strictly ascending, each once. */
export interface Evaluator {
  /** The first that is later than `ms` (I15); undefined: there is none. */
  nextAfter(ms: number): number | undefined;
  /** The newest that is not later than `ms`; undefined: there is none. */
  newestUpTo(ms: number): number | undefined;
  /** Whether the occurrence at `ms` stands for one that the clocks left out: it is the first moment after their gap. */
  movedByGap(ms: number): boolean;
  /** IANA zone of the clocks that it goes by. */
  readonly timezone: string;
}

/** What of a definition says when it recurs. */
export type Recurring = Pick<Definition, "rule" | "fromMs" | "untilMs">;

/** The end of the year 9999: further than ISO 8601 has four digits. */
export const LAST_NOMINAL_MS = 253_402_300_799_999;
/** Ten times a second. What is wanted more often is a loop, not a schedule. */
export const MIN_EVERY_MS = 100;

/**
 * What works the rule out, within its bounds.
 *
 * @throws {InvalidInputError} the rule is none, or can never come; names the pattern, the field, the rule and the remedy
 * @throws {MissingPeerError} it is a rule of iCalendar, and rrule-temporal is not installed
 */
export async function evaluatorOf(recurring: Recurring): Promise<Evaluator> {
  const { rule } = recurring;
  if (rule.kind !== "rrule") return evaluatorNow({ ...recurring, rule });
  const { rruleEvaluator } = await import("./rrule.ts");
  return withinBounds(await rruleEvaluator(rule), recurring);
}

/** The same at once, for the rules that need nothing loaded. @throws {InvalidInputError} */
export function evaluatorNow(recurring: Recurring & { readonly rule: Exclude<Rule, { kind: "rrule" }> }): Evaluator {
  const { rule } = recurring;
  return withinBounds(rule.kind === "every" ? everyEvaluator(rule) : cronEvaluator(rule), recurring);
}

function everyEvaluator({ everyMs, anchorMs }: Extract<Rule, { kind: "every" }>): Evaluator {
  if (!Number.isSafeInteger(everyMs) || everyMs < MIN_EVERY_MS) {
    throw new InvalidInputError(
      `every must be at least ${MIN_EVERY_MS} ms, in whole milliseconds, not ${String(everyMs)} ms: for more than that, let one call do several rounds`,
    );
  }
  if (!Number.isSafeInteger(anchorMs) || Math.abs(anchorMs) > LAST_NOMINAL_MS) {
    throw new InvalidInputError(
      `every must be counted from a moment before the year 10000, not ${String(anchorMs)} ms`,
    );
  }
  const upTo = (ms: number) => (ms < anchorMs ? undefined : anchorMs + Math.floor((ms - anchorMs) / everyMs) * everyMs);
  return {
    nextAfter(ms) {
      const newest = upTo(ms);
      return newest === undefined ? anchorMs : newest + everyMs;
    },
    newestUpTo: upTo,
    movedByGap: () => false,
    timezone: "UTC",
  };
}

/** Also what keeps those inside from times that no calendar has: they are asked for 1970 to 9999. */
function withinBounds(inner: Evaluator, { fromMs = 0, untilMs = LAST_NOMINAL_MS }: Recurring): Evaluator {
  const [first, last] = [Math.max(fromMs, 0), Math.min(untilMs, LAST_NOMINAL_MS)];
  return {
    ...inner,
    nextAfter(ms) {
      if (!(ms < last)) return undefined;
      const next = inner.nextAfter(Math.max(ms, first - 1));
      return next !== undefined && next <= last ? next : undefined;
    },
    newestUpTo(ms) {
      if (!(ms >= first)) return undefined;
      const newest = inner.newestUpTo(Math.min(ms, last));
      return newest !== undefined && newest >= first ? newest : undefined;
    },
  };
}
