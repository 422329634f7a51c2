/** What is done to recurrences. What is decided is decided by `recurrence-rules.ts`. Runs in the file's thread. */
import type { Db } from "../../../sqlite/tables.ts";
import type { CancelAnswer, NewCallback } from "../../callback.ts";
import {
  callbackOfOccurrence,
  type Definition,
  type NewRecurrence,
  type Plan,
  type PutRecurrenceAnswer,
} from "../../recurrence.ts";
import {
  answerOfCancelRecurrence,
  CANCELLED,
  outcomeOfAdvance,
  outcomeOfPause,
  outcomeOfPut,
  outcomeOfResume,
  REPLACED,
  PAUSED as WHY_PAUSED,
} from "../../recurrence-rules.ts";
import type { ChangeAnswer } from "../../recurrence-store.ts";
import { keepMsOf } from "../../rules.ts";
import type { StoreLimits } from "../../store.ts";
import { cancelRow, FOUND, type Found } from "./cancel.ts";
import { liveCount } from "./counts.ts";
import { insertOccurrence } from "./put.ts";
import {
  ACTIVE,
  ENDED,
  idOfRecurrence,
  PAUSED,
  RECURRENCE_COLUMNS,
  type RecurrenceRow,
  stateOf,
} from "./recurrence-rows.ts";
import { ABORT_UNWANTED, putTupleOf, RUNNING, SCHEDULED, type TargetTuple } from "./rows.ts";

/** A plan, with the random part of an id for each of its occurrences. */
export interface SaltedPlan extends Plan {
  readonly salts: readonly number[];
}

interface Common {
  readonly ns: number;
  readonly limits: StoreLimits;
}

export interface OfTarget extends Common {
  readonly target: TargetTuple;
}

export interface PutRecurrenceParams extends Common {
  readonly salt: number;
  readonly key: string | null;
  readonly onConflict: NonNullable<NewRecurrence["onConflict"]>;
  readonly fingerprint: string;
  /** JSON. */
  readonly definition: string;
  readonly plan: SaltedPlan;
}

/** "full": the limit is reached, and nothing was added. */
export function putRecurrence(db: Db, params: PutRecurrenceParams, nowMs: number): PutRecurrenceAnswer | "full" {
  const { ns, salt, key, fingerprint, definition, plan, limits } = params;
  const holder = key === null ? undefined : liveOf(db, ns, key);
  const put = outcomeOfPut(holder, params);
  let row = holder;
  if (holder === undefined) {
    if (limits.maxPending > 0 && liveCount(db, ns) + plan.occurrences.length > limits.maxPending) return "full";
    row = db
      .sql(
        `INSERT INTO recurrences (salt, ns, key, definition, fingerprint, created) VALUES (?, ?, ?, ?, ?, ?)
         RETURNING ${RECURRENCE_COLUMNS}`,
      )
      .get(salt, ns, key, definition, fingerprint, nowMs) as unknown as RecurrenceRow;
  } else if (put === "replaced") {
    cancelUnstarted(db, ns, holder, REPLACED, limits, nowMs);
    row = db
      .sql(
        `UPDATE recurrences SET definition = ?, fingerprint = ?, generation = generation + 1 WHERE n = ?
         RETURNING ${RECURRENCE_COLUMNS}`,
      )
      .get(definition, fingerprint, holder.n) as unknown as RecurrenceRow;
  }
  const stands = row as RecurrenceRow; // found, or made
  if (put === "added" || put === "replaced") follow(db, ns, stands, plan, limits, nowMs);
  const next = put === "added" || put === "replaced" ? plan.nextMs : stands.next;
  return {
    put,
    id: idOfRecurrence(stands),
    generation: stands.generation,
    ...(next === null ? {} : { nextMs: next }),
  };
}

export function getRecurrence(
  db: Db,
  { ns, target }: { readonly ns: number; readonly target: TargetTuple },
): RecurrenceRow | null {
  return find(db, ns, target) ?? null;
}

/** Of one state, in the order they were added. */
export function listRecurrences(
  db: Db,
  { ns, states, after, limit }: { ns: number; states: readonly number[]; after: number; limit: number },
): RecurrenceRow[] {
  const query = db.sql(
    `SELECT ${RECURRENCE_COLUMNS} FROM recurrences INDEXED BY recurrences_by_state WHERE ns = ? AND state = ? AND n > ? ORDER BY n LIMIT ?`,
  );
  const rows = states.flatMap((state) => query.all(ns, state, after, limit) as unknown as RecurrenceRow[]);
  return rows.sort((a, b) => a.n - b.n).slice(0, limit);
}

export function dueRecurrences(
  db: Db,
  { ns, limit }: { readonly ns: number; readonly limit: number },
  nowMs: number,
): RecurrenceRow[] {
  return db
    .sql(
      `SELECT ${RECURRENCE_COLUMNS} FROM recurrences INDEXED BY recurrences_by_next WHERE ns = ? AND next <= ? ORDER BY next, n LIMIT ?`,
    )
    .all(ns, nowMs, limit) as unknown as RecurrenceRow[];
}

export interface AdvanceParams extends OfTarget {
  readonly from: { readonly generation: number; readonly nextMs: number };
  readonly plan: SaltedPlan;
}

export function advance(db: Db, { ns, target, from, plan, limits }: AdvanceParams, nowMs: number): ChangeAnswer {
  const row = find(db, ns, target);
  if (row === undefined) return { answer: "unknown" };
  const answer = outcomeOfAdvance(stateOf(row), from);
  if (answer === "changed") follow(db, ns, row, plan, limits, nowMs);
  return { answer, id: idOfRecurrence(row) };
}

export function pause(db: Db, { ns, target, limits }: OfTarget, nowMs: number): ChangeAnswer {
  const row = find(db, ns, target);
  if (row === undefined) return { answer: "unknown" };
  const answer = outcomeOfPause(stateOf(row).state);
  if (answer === "changed") {
    cancelUnstarted(db, ns, row, WHY_PAUSED, limits, nowMs);
    db.sql(`UPDATE recurrences SET state = ${PAUSED}, next = NULL WHERE n = ?`).run(row.n);
  }
  return { answer, id: idOfRecurrence(row) };
}

export interface ResumeParams extends OfTarget {
  readonly generation: number;
  readonly plan: SaltedPlan;
}

export function resume(db: Db, { ns, target, generation, plan, limits }: ResumeParams, nowMs: number): ChangeAnswer {
  const row = find(db, ns, target);
  if (row === undefined) return { answer: "unknown" };
  const answer = outcomeOfResume(stateOf(row), generation);
  if (answer === "changed") {
    db.sql("UPDATE recurrences SET generation = generation + 1 WHERE n = ?").run(row.n);
    follow(db, ns, { ...row, generation: row.generation + 1 }, plan, limits, nowMs);
  }
  return { answer, id: idOfRecurrence(row) };
}

export function cancelRecurrence(
  db: Db,
  { ns, target, abort, limits }: OfTarget & { readonly abort: boolean },
  nowMs: number,
): CancelAnswer {
  const row = find(db, ns, target);
  if (row === undefined) return { answer: "unknown" };
  const live = liveOccurrences(db, ns, row);
  const found = {
    state: stateOf(row).state,
    started: row.started !== 0,
    running: live.some(({ state }) => state === RUNNING),
  };
  // Nothing that is held is left, so nobody's turn comes.
  for (const each of live) {
    if (each.state === RUNNING) {
      db.sql(`UPDATE callbacks SET abort = ${ABORT_UNWANTED} WHERE n = ? AND abort = 0`).run(each.n);
    }
    cancelRow(db, ns, each, { abort, reason: CANCELLED }, limits, nowMs);
  }
  if (found.state !== "ended") end(db, row, limits, nowMs);
  return answerOfCancelRecurrence(idOfRecurrence(row), found);
}

export function hasOldRecurrences(db: Db, ns: number, nowMs: number): boolean {
  return (
    db
      .sql("SELECT 1 FROM recurrences INDEXED BY recurrences_by_forget WHERE ns = ? AND forget <= ? LIMIT 1")
      .get(ns, nowMs) !== undefined
  );
}

/** Remove those past retention; how many. */
export function forgetRecurrences(db: Db, ns: number, limit: number, nowMs: number): number {
  const rows = db
    .sql(
      "SELECT n FROM recurrences INDEXED BY recurrences_by_forget WHERE ns = ? AND forget <= ? ORDER BY forget, n LIMIT ?",
    )
    .all(ns, nowMs, limit) as unknown as { n: number }[];
  for (const { n } of rows) db.sql("DELETE FROM recurrences WHERE n = ?").run(n);
  return rows.length;
}

/** By its id; or by its key: the one that has not ended, else the last that had it. */
function find(db: Db, ns: number, target: TargetTuple): RecurrenceRow | undefined {
  if (target.length === 2) {
    return db
      .sql(`SELECT ${RECURRENCE_COLUMNS} FROM recurrences WHERE n = ? AND salt = ? AND ns = ?`)
      .get(...target, ns) as RecurrenceRow | undefined;
  }
  return (liveOf(db, ns, target[0]) ??
    db
      .sql(
        `SELECT ${RECURRENCE_COLUMNS} FROM recurrences INDEXED BY recurrences_by_ended_key
         WHERE ns = ? AND key = ? AND state > ${PAUSED} ORDER BY n DESC LIMIT 1`,
      )
      .get(ns, target[0])) as RecurrenceRow | undefined;
}

function liveOf(db: Db, ns: number, key: string): RecurrenceRow | undefined {
  return db
    .sql(
      `SELECT ${RECURRENCE_COLUMNS} FROM recurrences INDEXED BY recurrences_by_live_key WHERE ns = ? AND key = ? AND state <= ${PAUSED}`,
    )
    .get(ns, key) as RecurrenceRow | undefined;
}

/** Be active, with the plan's occurrences; or ended, when there is no further one. */
function follow(
  db: Db,
  ns: number,
  row: RecurrenceRow,
  { nextMs, occurrences, salts }: SaltedPlan,
  limits: StoreLimits,
  nowMs: number,
): void {
  const definition: Definition = JSON.parse(row.definition);
  const { overlap } = definition;
  const recurrence = idOfRecurrence(row);
  for (const [i, each] of occurrences.entries()) {
    const callback: NewCallback = callbackOfOccurrence(definition, each);
    const { nominalMs } = each;
    const name = { recurrence, generation: row.generation, nominalMs, overlap };
    insertOccurrence(db, ns, putTupleOf(callback, salts[i] as number), name, nowMs);
  }
  if (nextMs === null) end(db, row, limits, nowMs);
  else db.sql(`UPDATE recurrences SET state = ${ACTIVE}, next = ? WHERE n = ?`).run(nextMs, row.n);
}

function end(db: Db, row: RecurrenceRow, limits: StoreLimits, nowMs: number): void {
  const forget = nowMs + keepMsOf(row.key !== null, limits);
  db.sql(`UPDATE recurrences SET state = ${ENDED}, next = NULL, ended = ?, forget = ? WHERE n = ?`).run(
    nowMs,
    forget,
    row.n,
  );
}

function liveOccurrences(db: Db, ns: number, row: RecurrenceRow): Found[] {
  return db
    .sql(
      `SELECT ${FOUND} FROM callbacks INDEXED BY by_recurrence WHERE ns = ? AND recurrence = ? AND state <= ${RUNNING}`,
    )
    .all(ns, idOfRecurrence(row)) as unknown as Found[];
}

function cancelUnstarted(
  db: Db,
  ns: number,
  row: RecurrenceRow,
  reason: string,
  limits: StoreLimits,
  nowMs: number,
): void {
  for (const each of liveOccurrences(db, ns, row)) {
    if (each.state === SCHEDULED) cancelRow(db, ns, each, { abort: false, reason }, limits, nowMs);
  }
}
