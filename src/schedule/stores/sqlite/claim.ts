/** Claiming what is due, and giving back or ending what was lost. Runs in the file's thread. */
import { aliveSql, ownerNumber } from "../../../sqlite/owners-tables.ts";
import type { Db } from "../../../sqlite/tables.ts";
import { fateOfLoss, fateWhenDue } from "../../rules.ts";
import type { StoreLimits } from "../../store.ts";
import { moved } from "./counts.ts";
import { endRow, giveBack, isUnwanted } from "./ends.ts";
import { COLUMNS, FLAG_FAIL_WHEN_LOST, FLAG_SKIP, type RowTuple, RUNNING, SCHEDULED, WAITING } from "./rows.ts";

export interface ClaimParams {
  readonly ns: number;
  readonly owner: string;
  readonly limit: number;
  readonly leaseMs: number;
  readonly limits: StoreLimits;
}

/** Rows as they stand after the operation. */
export interface ClaimAnswer {
  readonly claimed: readonly RowTuple[];
  /** Ended, or given back. */
  readonly ended: readonly RowTuple[];
}

/** What a claim may end or pass over beside what it claims, so that one pass stays short. */
const PASS = 1_000;

export function claimDue(db: Db, params: ClaimParams, nowMs: number): ClaimAnswer {
  const { ns, owner, limit, leaseMs, limits } = params;
  if (limit === 0) return { claimed: [], ended: [] };
  const ended = recoverExpired(db, ns, PASS, limits, nowMs);
  const { due, over } = lookAtDue(db, ns, limit, nowMs);
  for (const { row, state, reason } of over) {
    endRow(db, ns, row[0], { from: row[2], to: state, reason, keyed: row[13] !== null }, limits, nowMs);
    ended.push(rowOf(db, row[0]));
  }
  if (due.length === 0) return { claimed: [], ended };
  const ownerN = ownerNumber(db, owner);
  const claim = db.sql(
    `UPDATE callbacks SET state = ${RUNNING}, token = token + 1, attempts = attempts + 1, abort = 0, claimed = ?, lease = ?,
       owner = ? WHERE n = ?`,
  );
  const leaseUntil = nowMs + leaseMs;
  const claimed = due.map((row): RowTuple => {
    claim.run(nowMs, leaseUntil, ownerN, row[0]);
    moved(ns, row[2], RUNNING);
    return claimedTuple(row, nowMs, leaseUntil);
  });
  return { claimed, ended };
}

/** The row as the claim left it: known without reading it again. */
function claimedTuple(row: RowTuple, nowMs: number, leaseUntil: number): RowTuple {
  const after = [...row] as unknown as { -readonly [K in keyof RowTuple]: RowTuple[K] };
  after[2] = RUNNING;
  after[4] += 1;
  after[5] += 1;
  after[10] = nowMs;
  after[11] = leaseUntil;
  return after as unknown as RowTuple;
}

interface Over {
  readonly row: RowTuple;
  readonly state: Parameters<typeof endRow>[3]["to"];
  readonly reason: string | null;
}

/** What is due, earliest first: at most `limit` to claim, and those met on the way that must not start any more. */
function lookAtDue(db: Db, ns: number, limit: number, nowMs: number): { due: RowTuple[]; over: Over[] } {
  const due: RowTuple[] = [];
  const over: Over[] = [];
  const query = `SELECT ${COLUMNS} FROM callbacks INDEXED BY by_state WHERE ns = ? AND state = ? AND due <= ? ORDER BY due, n`;
  // Two walks along the index, merged. The texts differ, so that each has a statement of its own.
  const scheduled = db.rows(query).iterate(ns, SCHEDULED, nowMs) as unknown as Iterator<RowTuple>;
  const waiting = db.rows(`${query} -- waiting`).iterate(ns, WAITING, nowMs) as unknown as Iterator<RowTuple>;
  let a = scheduled.next();
  let b = waiting.next();
  while (due.length < limit && over.length < PASS && !(a.done === true && b.done === true)) {
    const takeA = b.done === true || (a.done !== true && isBefore(a.value, b.value));
    const row = (takeA ? a : b).value as RowTuple;
    const fate = fateWhenDue(dueRow(row), nowMs);
    if (fate === undefined) due.push(row);
    else if (fate.state !== "waiting") over.push({ row, state: fate.state, reason: fate.reason });
    if (takeA) a = scheduled.next();
    else b = waiting.next();
  }
  // A statement that is still being read would hold up the commit.
  scheduled.return?.();
  waiting.return?.();
  return { due, over };
}

function dueRow(row: RowTuple) {
  return {
    attempts: row[5],
    dueMs: row[3],
    expiresMs: row[8],
    misfire: (row[6] & FLAG_SKIP) === 0 ? ("fire" as const) : ("skip" as const),
    graceMs: row[7],
  };
}

function isBefore(a: RowTuple, b: RowTuple): boolean {
  return a[3] < b[3] || (a[3] === b[3] && a[0] < b[0]);
}

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
}

const LOST_COLUMNS = "n, salt, ns, flags, crashes, losses, abort, due, key, task_id, tags";

/** Give back or end those whose lease has run out. */
export function recoverExpired(db: Db, ns: number, limit: number, limits: StoreLimits, nowMs: number): RowTuple[] {
  const rows = db
    .sql(
      `SELECT ${LOST_COLUMNS} FROM callbacks INDEXED BY by_lease WHERE ns = ? AND lease <= ? ORDER BY lease, n LIMIT ?`,
    )
    .all(ns, nowMs, limit) as unknown as LostRow[];
  return rows.map((row) => recover(db, row, limits, nowMs));
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
  const recovered = recoverExpired(db, ns, limit, limits, nowMs);
  if (recovered.length >= limit) return recovered;
  const rows = db
    .sql(
      `SELECT ${LOST_COLUMNS} FROM callbacks INDEXED BY by_lease
       WHERE ns = ? AND lease IS NOT NULL AND NOT ${aliveSql("callbacks.owner")} ORDER BY lease, n LIMIT ?`,
    )
    .all(ns, limit - recovered.length) as unknown as LostRow[];
  for (const row of rows) recovered.push(recover(db, row, limits, nowMs));
  return recovered;
}

function recover(db: Db, row: LostRow, limits: StoreLimits, nowMs: number): RowTuple {
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
  }
  return rowOf(db, row.n);
}

export function rowOf(db: Db, n: number): RowTuple {
  return db.rows(`SELECT ${COLUMNS} FROM callbacks WHERE n = ?`).get(n) as unknown as RowTuple;
}
