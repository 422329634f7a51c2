/** A recurrence as a row, and back. Used on both sides of the file's thread. */
import type { Db } from "../../../sqlite/tables.ts";
import { recurrenceId, withoutPrefix } from "../../ids.ts";
import type { Recurrence, RecurrenceState } from "../../recurrence.ts";
import { parseId } from "./rows.ts";

/** In the file a state is its number here. */
export const RECURRENCE_STATES = ["active", "paused", "ended"] as const satisfies readonly RecurrenceState[];
export const ACTIVE = 0;
export const PAUSED = 1;
export const ENDED = 2;

export interface RecurrenceRow {
  readonly n: number;
  readonly salt: number;
  readonly state: number;
  readonly key: string | null;
  readonly definition: string;
  readonly fingerprint: string;
  readonly generation: number;
  readonly next: number | null;
  readonly started: number;
  readonly created: number;
  readonly ended: number | null;
}

export const RECURRENCE_COLUMNS =
  "n, salt, state, key, definition, fingerprint, generation, next, started, created, ended";

/** What a decision about it looks at. */
export function stateOf({ state, generation, next }: Pick<RecurrenceRow, "state" | "generation" | "next">) {
  return { state: RECURRENCE_STATES[state] as RecurrenceState, generation, nextMs: next ?? undefined };
}

export function recurrenceFrom(row: RecurrenceRow): Recurrence {
  const { key, definition, started, created, ended } = row;
  const { state, generation, nextMs } = stateOf(row);
  return {
    id: idOfRecurrence(row),
    ...(key === null ? {} : { key }),
    state,
    definition: JSON.parse(definition),
    generation,
    ...(nextMs === undefined ? {} : { nextMs }),
    started: started !== 0,
    createdMs: created,
    ...(ended === null ? {} : { endedMs: ended }),
  };
}

export function idOfRecurrence({ n, salt }: { readonly n: number; readonly salt: number }): string {
  return recurrenceId(n, salt.toString(36));
}

/** Undefined: no id of a recurrence. */
export function parseRecurrenceId(id: string): readonly [n: number, salt: number] | undefined {
  const rest = withoutPrefix(id);
  return rest === undefined ? undefined : parseId(rest);
}

/** The state of an occurrence's recurrence; undefined: it is past retention. */
export function recurrenceOf(db: Db, ns: number, id: string) {
  const target = parseRecurrenceId(id);
  if (target === undefined) return undefined;
  const row = db
    .sql("SELECT state, generation, next FROM recurrences WHERE n = ? AND salt = ? AND ns = ?")
    .get(...target, ns) as Pick<RecurrenceRow, "state" | "generation" | "next"> | undefined;
  return row === undefined ? undefined : stateOf(row);
}

/** An occurrence of it was claimed: written once. */
export function noteStart(db: Db, ns: number, id: string): void {
  const target = parseRecurrenceId(id);
  if (target === undefined) return;
  db.sql("UPDATE recurrences SET started = 1 WHERE n = ? AND salt = ? AND ns = ? AND started = 0").run(...target, ns);
}
