/** Giving back or ending what was lost: its lease ran out, or its owner is dead. Runs in the file's thread. */
import { aliveSql } from "../../../sqlite/owners-tables.ts";
import type { Db } from "../../../sqlite/tables.ts";
import { fateOfLoss } from "../../rules.ts";
import type { StoreLimits } from "../../store.ts";
import { endRow, giveBack, isUnwanted } from "./ends.ts";
import { FLAG_FAIL_WHEN_LOST, type RowTuple, RUNNING, rowOf, WAITING } from "./rows.ts";
import { Turns } from "./turns.ts";

interface LostRow {
  readonly n: number;
  readonly salt: number;
  readonly ns: number;
  readonly flags: number;
  readonly crashes: number;
  readonly losses: number;
  readonly abort: number;
  readonly due: number;
  readonly key: string | null;
  readonly task_id: string | null;
  readonly tags: string | null;
  readonly recurrence: string | null;
}

const LOST_COLUMNS = "n, salt, ns, flags, crashes, losses, abort, due, key, task_id, tags, recurrence";

/** Give back or end those whose lease has run out. */
export function recoverExpired(db: Db, ns: number, limit: number, limits: StoreLimits, nowMs: number): RowTuple[] {
  const turns = new Turns();
  const recovered = expired(db, ns, limit, nowMs).map((row) => recover(db, row, turns, limits, nowMs));
  turns.pass(db, ns);
  return recovered;
}

/** Whether `recoverLost` has anything to do. */
export function hasLost(db: Db, ns: number, nowMs: number): boolean {
  const lost = db.sql(
    `SELECT 1 FROM callbacks INDEXED BY by_lease
     WHERE ns = ? AND lease IS NOT NULL AND (lease <= ? OR NOT ${aliveSql("callbacks.owner")}) LIMIT 1`,
  );
  return lost.get(ns, nowMs) !== undefined;
}

/** Give back or end those whose lease has run out, or whose owner is dead. */
export function recoverLost(
  db: Db,
  { ns, limit, limits }: { readonly ns: number; readonly limit: number; readonly limits: StoreLimits },
  nowMs: number,
): RowTuple[] {
  const turns = new Turns();
  const recovered = expired(db, ns, limit, nowMs).map((row) => recover(db, row, turns, limits, nowMs));
  if (recovered.length < limit) {
    const rows = db
      .sql(
        `SELECT ${LOST_COLUMNS} FROM callbacks INDEXED BY by_lease
         WHERE ns = ? AND lease IS NOT NULL AND NOT ${aliveSql("callbacks.owner")} ORDER BY lease, n LIMIT ?`,
      )
      .all(ns, limit - recovered.length) as unknown as LostRow[];
    for (const row of rows) recovered.push(recover(db, row, turns, limits, nowMs));
  }
  turns.pass(db, ns);
  return recovered;
}

function expired(db: Db, ns: number, limit: number, nowMs: number): LostRow[] {
  return db
    .sql(
      `SELECT ${LOST_COLUMNS} FROM callbacks INDEXED BY by_lease WHERE ns = ? AND lease <= ? ORDER BY lease, n LIMIT ?`,
    )
    .all(ns, nowMs, limit) as unknown as LostRow[];
}

function recover(db: Db, row: LostRow, turns: Turns, limits: StoreLimits, nowMs: number): RowTuple {
  const losses = row.losses + 1;
  const fate = fateOfLoss(
    {
      onLost: (row.flags & FLAG_FAIL_WHEN_LOST) === 0 ? "rerun" : "fail",
      crashes: row.crashes,
      losses,
      unwanted: isUnwanted(db, row.ns, row, nowMs),
    },
    limits,
  );
  db.sql("UPDATE callbacks SET losses = ? WHERE n = ?").run(losses, row.n);
  if (fate.state === "waiting") {
    giveBack(db, row.ns, row, { state: WAITING, due: nowMs });
  } else {
    const end = { from: RUNNING, to: fate.state, reason: fate.reason, keyed: row.key !== null };
    endRow(db, row.ns, row.n, end, limits, nowMs);
    turns.note(row.recurrence);
  }
  return rowOf(db, row.n);
}
