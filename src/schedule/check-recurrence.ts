/** What a store is given about recurrences, checked before it touches anything: the same refusals, in the same words, in every store. */
import { InvalidInputError } from "../kit/errors.ts";
import { checkCount, checkLimit, checkMoment, checkName, checkNewCallbacks, checkOneOf, checkSpan } from "./check.ts";
import {
  callbackOfOccurrence,
  type Definition,
  type NewRecurrence,
  type Plan,
  type RecurrenceState,
} from "./recurrence.ts";
import type { RecurrenceQuery } from "./recurrence-store.ts";

/** Occurrences that one plan may put: one script of a server must stay short. */
export const MAX_OCCURRENCES = 1_000;

const STATES: readonly RecurrenceState[] = ["active", "paused", "ended"];

/** @throws {InvalidInputError} */
export function checkNewRecurrence(recurrence: NewRecurrence): void {
  const { key, onConflict, fingerprint, definition, plan } = recurrence;
  if (key !== undefined) checkName(key, "key");
  checkOneOf(onConflict, ["keep", "replace", "reject"], "onConflict");
  checkName(fingerprint, "fingerprint");
  checkDefinition(definition);
  checkPlan(plan);
}

/** What a store does by it; the rule's own fields are `rule.ts`'s to refuse. */
function checkDefinition(definition: Definition): void {
  const { overlap, call } = definition;
  checkOneOf(overlap, ["allow", "skip", "queue"], "overlap");
  if (call.expiresAfterMs !== undefined) checkSpan(call.expiresAfterMs, "expiresAfterMs");
  checkNewCallbacks([callbackOfOccurrence(definition, { nominalMs: 0, dueMs: 0, misfire: "fire", graceMs: 0 })]);
}

/**
 * @param afterMs nominal time of the newest occurrence there is: a plan goes on from there, never back (I15)
 * @throws {InvalidInputError}
 */
export function checkPlan(plan: Plan, afterMs = Number.NEGATIVE_INFINITY): void {
  const { nextMs, occurrences } = plan;
  if (occurrences.length > MAX_OCCURRENCES) {
    throw new InvalidInputError(
      `a plan puts at most ${MAX_OCCURRENCES} occurrences, not ${occurrences.length}: put the newest`,
    );
  }
  let last = afterMs;
  for (const [i, occurrence] of occurrences.entries()) {
    const { nominalMs, dueMs, expiresMs, misfire, graceMs } = occurrence;
    checkMoment(nominalMs, `occurrences[${i}].nominalMs`);
    checkMoment(dueMs, `occurrences[${i}].dueMs`);
    if (expiresMs !== undefined) checkMoment(expiresMs, `occurrences[${i}].expiresMs`);
    checkOneOf(misfire, ["fire", "skip"], `occurrences[${i}].misfire`);
    checkSpan(graceMs, `occurrences[${i}].graceMs`);
    if (nominalMs <= last) {
      throw new InvalidInputError(`occurrences[${i}].nominalMs must be later than ${last}, not ${nominalMs}`);
    }
    last = nominalMs;
  }
  if (nextMs === null || (occurrences.length > 0 && nextMs === last)) return;
  throw new InvalidInputError(`nextMs must be the nominal time of the last occurrence, or null, not ${String(nextMs)}`);
}

/** @throws {InvalidInputError} */
export function checkAdvance(from: { readonly generation: number; readonly nextMs: number }, plan: Plan): void {
  checkCount(from.generation, "generation");
  checkMoment(from.nextMs, "nextMs");
  checkPlan(plan, from.nextMs);
}

/** @throws {InvalidInputError} */
export function checkResume(generation: number, plan: Plan): void {
  checkCount(generation, "generation");
  checkPlan(plan);
}

/** The row behind which the page begins. @throws {InvalidInputError} */
export function checkRecurrenceQuery({ states, limit, cursor }: RecurrenceQuery): number {
  checkLimit(limit);
  for (const state of states ?? []) checkOneOf(state, STATES, "states");
  if (cursor === undefined) return 0;
  const row = /^[1-9]\d{0,15}$/.test(cursor) ? Number(cursor) : Number.NaN;
  if (Number.isSafeInteger(row)) return row;
  throw new InvalidInputError(`cursor ${JSON.stringify(cursor)} is none: give "next" of the page before`);
}

export function checkDueLimit(limit: number): void {
  checkCount(limit, "limit");
}

/** The states that a query asks for. */
export function statesOf({ states }: RecurrenceQuery): readonly RecurrenceState[] {
  return states ?? ["active", "paused"];
}
