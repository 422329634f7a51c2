/** Recurrences and small helpers for the tests of schedule stores. A store never looks at the rule: plans are written out by hand. */
import assert from "node:assert/strict";
import type { Callback } from "../schedule/callback.ts";
import type { Definition, NewOccurrence, NewRecurrence, Plan } from "../schedule/recurrence.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import { message } from "./schedule-fixtures.ts";

/** There is no further occurrence. */
export const NO_MORE: Plan = { nextMs: null, occurrences: [] };

export function definition(of: Partial<Definition> = {}, call: Partial<Definition["call"]> = {}): Definition {
  return {
    rule: { kind: "every", everyMs: 1_000, anchorMs: 0 },
    misfire: { kind: "coalesce" },
    overlap: "allow",
    jitterMs: 0,
    call: { queue: "celery", tags: [], message: message(), onLost: "rerun", ...call },
    ...of,
  };
}

export function occurrenceAt(nominalMs: number, of: Partial<NewOccurrence> = {}): NewOccurrence {
  return { nominalMs, dueMs: nominalMs, misfire: "fire", graceMs: 0, ...of };
}

/** These occurrences, of which the last is the next one. */
export function planOf(...occurrences: readonly (number | NewOccurrence)[]): Plan {
  const all = occurrences.map((each) => (typeof each === "number" ? occurrenceAt(each) : each));
  return { nextMs: all.at(-1)?.nominalMs ?? null, occurrences: all };
}

export function recurring(plan: Plan, of: Partial<NewRecurrence> = {}): NewRecurrence {
  return { definition: definition(), fingerprint: "one", plan, ...of };
}

/** Put one that makes a row; its id. */
export async function addRecurrence(
  store: ScheduleStore,
  plan: Plan,
  of: Partial<NewRecurrence> = {},
): Promise<string> {
  const { put, id } = await store.recurrences.put(recurring(plan, of));
  assert.equal(put, "added");
  return id;
}

/** Its occurrences, in due order. */
export async function occurrencesOf(store: ScheduleStore, id: string): Promise<readonly Callback[]> {
  const { callbacks, next } = await store.list({ recurrence: id, limit: 1_000 });
  assert.equal(next, undefined);
  return callbacks;
}

/** State, generation and nominal time (from `baseMs` on) of each of its occurrences, in the order of generation and time. */
export async function shownOf(store: ScheduleStore, id: string, baseMs: number): Promise<string[]> {
  const named = (await occurrencesOf(store, id)).flatMap(({ state, occurrence }) =>
    occurrence === undefined ? [] : [{ state, ...occurrence }],
  );
  named.sort((a, b) => a.generation - b.generation || a.nominalMs - b.nominalMs);
  return named.map(({ state, generation, nominalMs }) => `${generation}/${nominalMs - baseMs} ${state}`);
}
