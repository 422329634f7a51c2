/** Finding a callback, cancelling, moving, revoking. Runs in the file's thread. */
import type { Db } from "../../../sqlite/tables.ts";
import type { CancelAnswer, RescheduleAnswer } from "../../callback.ts";
import { answerOfCancel, answerOfRevoke, keepMsOf } from "../../rules.ts";
import type { StoreLimits } from "../../store.ts";
import { moved } from "./counts.ts";
import { endRow, moveTags } from "./ends.ts";
import {
  ABORT_REQUESTED,
  ABORT_TAKEN,
  FLAG_HELD,
  idOf,
  parseId,
  type RowTuple,
  RUNNING,
  rowOf,
  SCHEDULED,
  stateName,
  stateNumber,
  type TargetTuple,
  WAITING,
} from "./rows.ts";
import { passTurn, Turns } from "./turns.ts";

const CANCELLED = stateNumber("cancelled");

export interface Found {
  readonly n: number;
  readonly salt: number;
  readonly state: number;
  readonly attempts: number;
  readonly due: number;
  readonly key: string | null;
  readonly tags: string | null;
  readonly recurrence: string | null;
}

export const FOUND = "n, salt, state, attempts, due, key, tags, recurrence";

/** The row of this id; or the live one that has the key, else the last that had it. */
function find(db: Db, ns: number, target: TargetTuple): Found | undefined {
  if (target.length === 2) {
    return db.sql(`SELECT ${FOUND} FROM callbacks WHERE n = ? AND salt = ? AND ns = ?`).get(...target, ns) as
      | Found
      | undefined;
  }
  return (db
    .sql(`SELECT ${FOUND} FROM callbacks INDEXED BY by_live_key WHERE ns = ? AND key = ? AND state <= 2`)
    .get(ns, target[0]) ??
    db
      .sql(
        `SELECT ${FOUND} FROM callbacks INDEXED BY by_ended_key WHERE ns = ? AND key = ? AND state > 2 ORDER BY n DESC LIMIT 1`,
      )
      .get(ns, target[0])) as Found | undefined;
}

export interface CancelParams {
  readonly ns: number;
  readonly target: TargetTuple;
  readonly abort: boolean;
  readonly limits: StoreLimits;
}

export function cancel(db: Db, { ns, target, abort, limits }: CancelParams, nowMs: number): CancelAnswer {
  if (target.length === 2 && cancelScheduled(db, ns, target, limits, nowMs)) {
    return answerOfCancel(idOf(...target), "scheduled");
  }
  const row = find(db, ns, target);
  if (row === undefined) return { answer: "unknown" };
  cancelRow(db, ns, row, { abort, reason: null }, limits, nowMs);
  if (row.state === WAITING) passTurn(db, ns, row.recurrence);
  return answerOfCancel(idOf(row.n, row.salt), stateName(row.state));
}

/** The plain case, in one statement; false: it is none. */
function cancelScheduled(
  db: Db,
  ns: number,
  [n, salt]: readonly [number, number],
  limits: StoreLimits,
  nowMs: number,
): boolean {
  const { changes } = db
    .sql(
      `UPDATE callbacks SET state = ${CANCELLED}, ended = ?, forget = CASE WHEN key IS NULL THEN ? ELSE ? END
       WHERE n = ? AND salt = ? AND ns = ? AND state = ${SCHEDULED}`,
    )
    .run(nowMs, nowMs + keepMsOf(false, limits), nowMs + keepMsOf(true, limits), n, salt, ns);
  if (changes === 0) return false;
  moved(ns, SCHEDULED, CANCELLED);
  return true;
}

/** What cancel does to it, in whatever state it is found. @param how.reason of its recurrence; null: it was cancelled by itself */
export function cancelRow(
  db: Db,
  ns: number,
  row: Found,
  how: { readonly abort: boolean; readonly reason: string | null },
  limits: StoreLimits,
  nowMs: number,
): void {
  const keyed = row.key !== null;
  if (row.state === SCHEDULED) {
    endRow(db, ns, row.n, { from: SCHEDULED, to: "cancelled", reason: how.reason, keyed }, limits, nowMs);
  } else if (row.state === WAITING) {
    const reason = how.reason ?? "it was cancelled before it ran again";
    endRow(db, ns, row.n, { from: WAITING, to: "stopped", reason, keyed }, limits, nowMs);
  } else if (row.state === RUNNING && how.abort) {
    db.sql(`UPDATE callbacks SET abort = ${ABORT_REQUESTED} WHERE n = ? AND abort <> ${ABORT_TAKEN}`).run(row.n);
  }
}

export interface RescheduleParams {
  readonly ns: number;
  readonly target: TargetTuple;
  readonly dueMs?: number;
  readonly byMs?: number;
  /** The due time stays within ± this. */
  readonly lastMs: number;
}

export function reschedule(db: Db, { ns, target, dueMs, byMs, lastMs }: RescheduleParams): RescheduleAnswer {
  const row = find(db, ns, target);
  if (row === undefined) return { answer: "unknown" };
  const id = idOf(row.n, row.salt);
  if (row.state !== SCHEDULED) return { answer: "too_late", id, state: stateName(row.state) };
  const due = dueMs ?? Math.min(Math.max(row.due + (byMs ?? 0), -lastMs), lastMs);
  db.sql(`UPDATE callbacks SET due = ?, token = token + 1, flags = flags & ~${FLAG_HELD} WHERE n = ?`).run(due, row.n);
  moveTags(db, ns, row, due);
  return { answer: "rescheduled", id, dueMs: due };
}

export function get(db: Db, { ns, target }: { readonly ns: number; readonly target: TargetTuple }): RowTuple | null {
  const row = find(db, ns, target);
  return row === undefined ? null : rowOf(db, row.n);
}

export interface RevokeParams {
  readonly ns: number;
  readonly taskId: string;
  readonly untilMs: number;
  readonly abort: boolean;
  readonly limits: StoreLimits;
}

/** Cancel what carries the task id, and leave a tombstone for what is still on its way. */
export function revoke(db: Db, { ns, taskId, untilMs, abort, limits }: RevokeParams, nowMs: number): CancelAnswer {
  if (untilMs > nowMs) {
    db.sql(
      `INSERT INTO tombstones (ns, task_id, until) VALUES (?, ?, ?)
       ON CONFLICT (ns, task_id) DO UPDATE SET until = max(until, excluded.until)`,
    ).run(ns, taskId, untilMs);
  }
  const rows = db
    .sql(`SELECT ${FOUND} FROM callbacks INDEXED BY by_task_id WHERE ns = ? AND task_id = ?`)
    .all(ns, taskId) as unknown as Found[];
  const own = ownRow(db, ns, taskId);
  if (own !== undefined) rows.push(own);
  rows.sort((a, b) => a.n - b.n);
  const turns = new Turns();
  for (const row of rows) {
    cancelRow(db, ns, row, { abort, reason: null }, limits, nowMs);
    if (row.state === WAITING) turns.note(row.recurrence);
  }
  turns.pass(db, ns);
  return answerOfRevoke(
    rows.map((row) => ({ id: idOf(row.n, row.salt), state: stateName(row.state), attempts: row.attempts })),
  );
}

/** The row whose own id is the task id: it carries no other. */
function ownRow(db: Db, ns: number, taskId: string): Found | undefined {
  const target = parseId(taskId);
  if (target === undefined) return undefined;
  return db
    .sql(`SELECT ${FOUND} FROM callbacks WHERE n = ? AND salt = ? AND ns = ? AND task_id IS NULL`)
    .get(...target, ns) as Found | undefined;
}

/** Those of the task ids for which a tombstone stands. */
export function revoked(
  db: Db,
  { ns, taskIds }: { readonly ns: number; readonly taskIds: readonly string[] },
  nowMs: number,
): string[] {
  const find = db.sql("SELECT 1 FROM tombstones WHERE ns = ? AND task_id = ? AND until > ?");
  return taskIds.filter((taskId) => find.get(ns, taskId, nowMs) !== undefined);
}
