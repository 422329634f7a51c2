/**
 * What comes next of a recurrence: which occurrences to put, worked out from its definition and the time. Pure. (SEMANTICS G13)
 *
 * Normally that is one: the following occurrence, put when the one before it comes. After a downtime it is also what the misfire policy
 * makes of those that were missed. They are found from now backwards, so the work is that of the policy's limit, whatever was missed.
 *
 * Nothing that is in the schedule already has to be taken back: each occurrence carries the policy as its own rule, "do not run when so
 * many newer ones are due", and so decides for itself when it is claimed.
 */
import { showMs } from "../../kit/duration.ts";
import { InvalidInputError } from "../../kit/errors.ts";
import { textOf } from "../../kit/printable.ts";
import type { Definition, NewOccurrence, Plan, Recurrence, RecurringMisfire, Rule } from "../recurrence.ts";
import { fateWhenDue } from "../rules.ts";
import { fingerprint } from "./fingerprint.ts";
import { jitterOf } from "./jitter.ts";
import { type Evaluator, LAST_NOMINAL_MS } from "./rule.ts";

/** As many missed occurrences are made up for at most: a plan is one change of the store, and should be a short one. */
export const MAX_CATCH_UP = 100;

/**
 * Of a new definition: the first occurrence later than now. What its rule names before now is not made up for.
 *
 * @param key of the recurrence, if it has one: what its jitter is told apart by
 * @throws {InvalidInputError} there is no occurrence to come, or the policy is not what it may be
 */
export function firstPlan(definition: Definition, evaluator: Evaluator, nowMs: number, key?: string): Plan {
  checkPolicy(definition);
  const first = evaluator.nextAfter(nowMs);
  if (first === undefined) throw neverComes(definition, nowMs);
  return planOf([first], definition, evaluator, dueOf(definition, evaluator, key));
}

/**
 * Of an active recurrence whose `nextMs` has come: those missed since, as far as its policy runs them, and the following.
 * With a time before `nextMs`: the following alone.
 */
export function nextPlan(recurrence: Recurrence, evaluator: Evaluator, nowMs: number): Plan {
  const { definition, nextMs, key } = recurrence;
  if (nextMs === undefined) throw new InvalidInputError(`recurrence ${recurrence.id} is not active: resume it first`);
  const due = dueOf(definition, evaluator, key);
  const nominals = missedSince(nextMs, nowMs, definition, evaluator, due);
  const following = evaluator.nextAfter(Math.max(nowMs, nextMs));
  if (following !== undefined) nominals.push(following);
  return planOf(nominals, definition, evaluator, due);
}

/** Of a paused recurrence: the first occurrence later than now. What came during the pause is not made up for. */
export function resumePlan({ definition, key }: Recurrence, evaluator: Evaluator, nowMs: number): Plan {
  const next = evaluator.nextAfter(nowMs);
  return planOf(next === undefined ? [] : [next], definition, evaluator, dueOf(definition, evaluator, key));
}

/**
 * Nominal times in `(sinceMs, nowMs]` that the policy has run: ascending. The one of `sinceMs` is in the schedule already. The newest of
 * them may have to wait for its jitter: then it is not missed, and those that are come beside it.
 */
function missedSince(sinceMs: number, nowMs: number, definition: Definition, evaluator: Evaluator, due: Due): number[] {
  const { misfire } = definition;
  let most = misfire.kind === "skip" ? MAX_CATCH_UP : limitOf(misfire);
  const missed: number[] = [];
  for (let each = evaluator.newestUpTo(nowMs); missed.length < most; each = evaluator.newestUpTo(each - 1)) {
    if (each === undefined || each <= sinceMs) break;
    if (missed.length === 0 && due(each) > nowMs) most += 1;
    if (misfire.kind === "skip") {
      const row = {
        attempts: 0,
        nominalMs: each,
        dueMs: due(each),
        expiresMs: null,
        misfire: "skip",
        graceMs: misfire.graceMs,
      } as const;
      if (fateWhenDue(row, nowMs) !== undefined) break; // it would not run, nor would those before it
    }
    missed.push(each);
  }
  return missed.reverse();
}

function planOf(nominals: readonly number[], definition: Definition, evaluator: Evaluator, due: Due): Plan {
  const { misfire } = definition;
  const { expiresAfterMs } = definition.call;
  // What follows the last of them decides, too, when it is stale.
  const known = [...nominals];
  const nominalAt = (index: number): number | undefined => {
    while (known.length <= index) {
      const next = evaluator.nextAfter(known[known.length - 1] ?? Infinity);
      if (next === undefined) return undefined;
      known.push(next);
    }
    return known[index];
  };
  const occurrences = nominals.map((nominalMs, i): NewOccurrence => {
    const dueMs = due(nominalMs);
    return {
      nominalMs,
      dueMs,
      ...(expiresAfterMs === undefined ? {} : { expiresMs: nominalMs + expiresAfterMs }),
      ...(misfire.kind === "skip"
        ? { misfire: "skip", graceMs: misfire.graceMs }
        : staleAt(nominalAt(i + limitOf(misfire)), dueMs, due)),
    };
  });
  return { nextMs: nominals.at(-1) ?? null, occurrences };
}

/** The row's own rule: it does not run once the occurrence so many places after it is due, too. The last ones always run. */
function staleAt(newerMs: number | undefined, dueMs: number, due: Due): Pick<NewOccurrence, "misfire" | "graceMs"> {
  if (newerMs === undefined) return { misfire: "fire", graceMs: 0 };
  return { misfire: "skip", graceMs: Math.max(0, due(newerMs) - dueMs - 1) };
}

/** When the occurrence of a nominal time is due. */
type Due = (nominalMs: number) => number;

/**
 * With its jitter, but always before the following nominal time, however large the jitter: occurrences keep their order, no two fall on each
 * other, and one is due before the next is put.
 */
function dueOf(definition: Definition, evaluator: Evaluator, key: string | undefined): Due {
  const { jitterMs } = definition;
  if (jitterMs === 0) return (nominalMs) => nominalMs;
  const identity = key ?? fingerprint(definition);
  return (nominalMs) => {
    const following = evaluator.nextAfter(nominalMs);
    const roomMs = following === undefined ? jitterMs : Math.min(jitterMs, following - nominalMs - 1);
    return nominalMs + jitterOf(identity, nominalMs, roomMs);
  };
}

function limitOf(misfire: Exclude<RecurringMisfire, { kind: "skip" }>): number {
  return misfire.kind === "all" ? misfire.limit : 1;
}

function checkPolicy({ misfire, jitterMs, call: { expiresAfterMs } }: Definition): void {
  if (misfire.kind === "all") {
    const { limit } = misfire;
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_CATCH_UP) {
      throw new InvalidInputError(`misfire all must be a whole number from 1 to ${MAX_CATCH_UP}, not ${String(limit)}`);
    }
  }
  if (misfire.kind === "skip") checkSpan(misfire.graceMs, "misfireGrace");
  checkSpan(jitterMs, "jitter");
  if (expiresAfterMs !== undefined && expiresAfterMs <= jitterMs) {
    throw new InvalidInputError(
      `expires (${showMs(expiresAfterMs)}) must be longer than jitter (${showMs(jitterMs)}): both count from the nominal time, and some would expire before they are due`,
    );
  }
}

function checkSpan(ms: number, what: string): void {
  if (Number.isSafeInteger(ms) && ms >= 0 && ms <= LAST_NOMINAL_MS) return;
  throw new InvalidInputError(`${what} must be a whole number of milliseconds from 0 on, not ${String(ms)}`);
}

function neverComes({ rule, fromMs, untilMs }: Definition, nowMs: number): InvalidInputError {
  const shown = showRule(rule);
  const since = `after ${isoOf(Math.max(nowMs, (fromMs ?? nowMs) - 1))}`;
  return new InvalidInputError(
    untilMs === undefined
      ? `${shown} has no occurrence ${since}: there is nothing left to call`
      : `${shown} has no occurrence ${since} and up to its until, ${isoOf(untilMs)}: give a later until, or none`,
  );
}

/** The rule as it was asked for, for an error. */
function showRule(rule: Rule): string {
  if (rule.kind === "every") return `every ${showMs(rule.everyMs)}`;
  return `${rule.kind} ${textOf(JSON.stringify(rule.kind === "cron" ? rule.cron : rule.rrule), 200)} in ${rule.timezone}`;
}

function isoOf(ms: number): string {
  return Math.abs(ms) <= LAST_NOMINAL_MS ? new Date(ms).toISOString() : `${ms} ms`;
}
