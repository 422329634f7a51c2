/** Claiming what is due. Runs in the file's thread. */
import { ownerNumber } from "../../../sqlite/owners-tables.ts";
import type { Db } from "../../../sqlite/tables.ts";
import { type Fate, fateOfOverlap, fateWhenDue, type Hold } from "../../rules.ts";
import type { StoreLimits } from "../../store.ts";
import { moved } from "./counts.ts";
import { DueRows, firstDue } from "./due-rows.ts";
import { endRow, moveDue } from "./ends.ts";
import { recoverExpired } from "./lost.ts";
import { noteStart } from "./recurrence-rows.ts";
import {
  dueRowOf,
  FLAG_HELD,
  FLAG_OVERLAP_QUEUE,
  FLAG_OVERLAP_SKIP,
  overlapOf,
  type RowTuple,
  RUNNING,
  recurrenceIdOf,
  rowOf,
  SCHEDULED,
  WAITING,
} from "./rows.ts";
import { type Asking, type Reach, reachOf } from "./serving.ts";
import { Turns } from "./turns.ts";

export interface ClaimParams extends Asking {
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
  readonly upcoming: UpcomingTuple;
}

/** What is due next (null: nothing waits), and the store's clock. */
export type UpcomingTuple = readonly [due: number | null, now: number];

/** What a claim may end or pass over beside what it claims, so that one pass stays short. */
const PASS = 1_000;

export function claimDue(db: Db, params: ClaimParams, nowMs: number): ClaimAnswer {
  const { ns, limit, limits } = params;
  const ended = limit === 0 ? [] : recoverExpired(db, ns, PASS, limits, nowMs);
  // Not before: what was given back waits again, perhaps as the only one of its queue.
  const reach = reachOf(db, params);
  const claimed = limit === 0 ? [] : claimSome(db, params, reach, ended, nowMs);
  return { claimed, ended, upcoming: [firstDue(db, ns, reach), nowMs] };
}

export function upcoming(db: Db, asking: Asking, nowMs: number): UpcomingTuple {
  return [firstDue(db, asking.ns, reachOf(db, asking)), nowMs];
}

/** @param ended taken along: what ends on the way is added */
function claimSome(db: Db, params: ClaimParams, reach: Reach, ended: RowTuple[], nowMs: number): RowTuple[] {
  const { ns, limit, limits } = params;
  const claimed: RowTuple[] = [];
  const turns = new Turns();
  let claim: ((row: RowTuple) => RowTuple) | undefined;
  for (let passed = 0; ; ) {
    const { met, whole } = lookAtDue(db, ns, reach, { due: limit - claimed.length, over: PASS - passed }, nowMs);
    let overlapping = 0;
    // In their order, and each as the ones before it left things: of two occurrences that are due at once one may be claimed.
    for (const { row, fate } of met) {
      const decided = fate ?? decideOverlap(db, ns, row, nowMs);
      if (decided === undefined) {
        claim ??= claimer(db, params, nowMs);
        claimed.push(claim(row));
        continue;
      }
      passed += 1;
      if (fate === undefined) overlapping += 1;
      if (decided.state === "held") {
        moveDue(db, ns, dueAndTags(row), { ...decided, flags: row[6] | FLAG_HELD });
      } else if (decided.state !== "waiting") {
        const { state: to, reason } = decided;
        endRow(db, ns, row[0], { from: row[2], to, reason, keyed: row[13] !== null }, limits, nowMs);
        if (row[2] === WAITING) turns.note(recurrenceIdOf(row));
        ended.push(rowOf(db, row[0]));
      }
    }
    // Slots that overlapping occurrences left go to what is behind them.
    if (whole || overlapping === 0 || passed >= PASS) break;
  }
  turns.pass(db, ns);
  return claimed;
}

/** Of one whose overlap matters and that is due for the first time: undefined when it may start. */
function decideOverlap(db: Db, ns: number, row: RowTuple, nowMs: number): Fate | Hold | undefined {
  if ((row[6] & (FLAG_OVERLAP_SKIP | FLAG_OVERLAP_QUEUE)) === 0 || row[2] !== SCHEDULED) return undefined;
  const underWay = db
    .sql(
      `SELECT 1 FROM callbacks INDEXED BY by_recurrence WHERE ns = ? AND recurrence = ? AND state BETWEEN ${WAITING} AND ${RUNNING} LIMIT 1`,
    )
    .get(ns, recurrenceIdOf(row));
  return fateOfOverlap({ ...dueRowOf(row), overlap: overlapOf(row[6]) }, underWay !== undefined, nowMs);
}

function dueAndTags(row: RowTuple) {
  return { n: row[0], due: row[3], tags: row[16] };
}

function claimer(db: Db, { ns, owner, leaseMs }: ClaimParams, nowMs: number): (row: RowTuple) => RowTuple {
  const ownerN = ownerNumber(db, owner);
  const leaseUntil = nowMs + leaseMs;
  const claim = db.sql(
    `UPDATE callbacks SET state = ${RUNNING}, token = token + 1, attempts = attempts + 1, abort = 0, claimed = ?, lease = ?,
       owner = ? WHERE n = ?`,
  );
  return (row) => {
    claim.run(nowMs, leaseUntil, ownerN, row[0]);
    moved(ns, row[2], RUNNING);
    const recurrence = recurrenceIdOf(row);
    if (recurrence !== null) noteStart(db, ns, recurrence);
    if ((row[6] & FLAG_HELD) !== 0) {
      db.sql(`UPDATE callbacks SET flags = flags & ~${FLAG_HELD} WHERE n = ?`).run(row[0]);
    }
    return claimedTuple(row, nowMs, leaseUntil);
  };
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

interface Met {
  readonly row: RowTuple;
  /** Undefined: nothing but an overlap is in its way. */
  readonly fate: Fate | undefined;
}

/**
 * What is due, in order: at most so many that may be claimed, and so many that must not start any more.
 * @returns whole: there is nothing behind
 */
function lookAtDue(
  db: Db,
  ns: number,
  reach: Reach,
  most: { readonly due: number; readonly over: number },
  nowMs: number,
): { met: Met[]; whole: boolean } {
  const met: Met[] = [];
  const rows = new DueRows(db, ns, reach, nowMs);
  let over = 0;
  while (met.length - over < most.due && over < most.over) {
    const row = rows.take();
    if (row === undefined) break;
    const fate = fateWhenDue(dueRowOf(row), nowMs);
    met.push({ row, fate });
    if (fate !== undefined) over += 1;
  }
  const whole = rows.over;
  rows.close();
  return { met, whole };
}
