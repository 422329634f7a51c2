/** How a claimed run ended, and what is given back unstarted. The token decides, never the state alone. Runs in the file's thread. */
import type { Db } from "../../../sqlite/tables.ts";
import type { EndState } from "../../callback.ts";
import { type Fate, fateOfCrash, fateOfLoss, fateOfRetry, isOutdated, keepMsOf, stateOfReleased } from "../../rules.ts";
import type { StoreLimits } from "../../store.ts";
import { moved } from "./counts.ts";
import { endRow, giveBack, isUnwanted } from "./ends.ts";
import { setBody } from "./put.ts";
import { recurrenceOf } from "./recurrence-rows.ts";
import {
  ABORT_REQUESTED,
  ABORT_TAKEN,
  FLAG_FAIL_WHEN_LOST,
  idOf,
  type RowTuple,
  RUNNING,
  rowOf,
  SCHEDULED,
  stateNumber,
  WAITING,
} from "./rows.ts";
import { passTurn, Turns } from "./turns.ts";

/** A claim, as the thread needs it. */
export type ClaimTuple = readonly [n: number, salt: number, token: number, recurrence: string | null];

export type EndTuple =
  | readonly ["succeeded", reason?: undefined]
  | readonly ["failed" | "stopped" | "crashed" | "lost", reason: string]
  | readonly ["retry", due: number, task: string, retries: number, more: string | null, body: string];

export interface SettleParams {
  readonly ns: number;
  readonly claim: ClaimTuple;
  readonly end: EndTuple;
  readonly limits: StoreLimits;
}

interface HeldRow {
  readonly n: number;
  readonly salt: number;
  readonly flags: number;
  readonly crashes: number;
  readonly losses: number;
  readonly attempts: number;
  readonly abort: number;
  readonly due: number;
  readonly key: string | null;
  readonly task_id: string | null;
  readonly tags: string | null;
  readonly recurrence: string | null;
  readonly generation: number | null;
}

/**
 * The row as it stands now; null: the lease was lost. For a run that simply ended, the moment alone: the caller knows the rest.
 */
export function settle(db: Db, { ns, claim, end, limits }: SettleParams, nowMs: number): RowTuple | number | null {
  if (end[0] === "succeeded" || end[0] === "failed" || end[0] === "stopped") {
    if (!endHeld(db, ns, claim, end[0], end[1] ?? null, limits, nowMs)) return null;
    passTurn(db, ns, claim[3]);
    return nowMs;
  }
  const row = held(db, ns, claim);
  if (row === undefined) return null;
  switch (end[0]) {
    case "crashed":
    case "lost": {
      const crashed = end[0] === "crashed";
      const crashes = row.crashes + (crashed ? 1 : 0);
      const losses = row.losses + (crashed ? 0 : 1);
      db.sql("UPDATE callbacks SET crashes = ?, losses = ? WHERE n = ?").run(crashes, losses, row.n);
      const onLost = (row.flags & FLAG_FAIL_WHEN_LOST) === 0 ? "rerun" : "fail";
      const lost = { onLost, crashes, losses, unwanted: isUnwanted(db, ns, row, nowMs) } as const;
      const fate = crashed ? fateOfCrash(lost, limits, end[1]) : fateOfLoss(lost, limits, end[1]);
      meet(db, ns, row, fate, limits, nowMs, nowMs);
      break;
    }
    case "retry": {
      const [, due, task, retries, more, body] = end;
      const fate = fateOfRetry(isUnwanted(db, ns, row, nowMs));
      if (fate.state === "waiting") {
        db.sql("UPDATE callbacks SET task = ?, retries = ?, more = ? WHERE n = ?").run(task, retries, more, row.n);
        setBody(db, row.n, body);
      }
      meet(db, ns, row, fate, limits, nowMs, due);
    }
  }
  return rowOf(db, row.n);
}

/** The plain end of a run, in one statement: most runs end so. False: the lease was lost. */
function endHeld(
  db: Db,
  ns: number,
  [n, salt, token]: ClaimTuple,
  state: EndState,
  reason: string | null,
  limits: StoreLimits,
  nowMs: number,
): boolean {
  const to = stateNumber(state);
  const { changes } = db
    .sql(
      `UPDATE callbacks SET state = ?, ended = ?, reason = ?, forget = CASE WHEN key IS NULL THEN ? ELSE ? END,
         lease = NULL, owner = NULL, abort = 0
       WHERE n = ? AND salt = ? AND ns = ? AND token = ? AND state = ${RUNNING}`,
    )
    .run(to, nowMs, reason, nowMs + keepMsOf(false, limits), nowMs + keepMsOf(true, limits), n, salt, ns, token);
  if (changes === 0) return false;
  moved(ns, RUNNING, to);
  return true;
}

function meet(db: Db, ns: number, row: HeldRow, fate: Fate, limits: StoreLimits, nowMs: number, dueMs: number): void {
  if (fate.state === "waiting") {
    giveBack(db, ns, row, { state: WAITING, due: dueMs });
    return;
  }
  endRow(db, ns, row.n, { from: RUNNING, to: fate.state, reason: fate.reason, keyed: row.key !== null }, limits, nowMs);
  passTurn(db, ns, row.recurrence);
}

export function release(
  db: Db,
  { ns, claims, limits }: { readonly ns: number; readonly claims: readonly ClaimTuple[]; readonly limits: StoreLimits },
  nowMs: number,
): null {
  const turns = new Turns();
  for (const claim of claims) {
    const row = held(db, ns, claim);
    if (row === undefined) continue;
    const attempts = row.attempts - 1;
    db.sql("UPDATE callbacks SET attempts = ? WHERE n = ?").run(attempts, row.n);
    const state = stateOfReleased(attempts, isUnwanted(db, ns, row, nowMs) || (attempts === 0 && isPast(db, ns, row)));
    if (state === "scheduled" || state === "waiting") {
      giveBack(db, ns, row, { state: state === "scheduled" ? SCHEDULED : WAITING, due: row.due });
    } else {
      endRow(db, ns, row.n, { from: RUNNING, to: state, reason: null, keyed: row.key !== null }, limits, nowMs);
    }
    if (state !== "waiting") turns.note(row.recurrence);
  }
  turns.pass(db, ns);
  return null;
}

/** It is an occurrence of what was replaced or paused meanwhile. */
function isPast(db: Db, ns: number, { recurrence, generation }: HeldRow): boolean {
  if (recurrence === null || generation === null) return false;
  return isOutdated(generation, recurrenceOf(db, ns, recurrence));
}

/** For each claim: when its lease ends now; null: it was lost. */
export function renew(
  db: Db,
  { ns, claims, leaseMs }: { readonly ns: number; readonly claims: readonly ClaimTuple[]; readonly leaseMs: number },
  nowMs: number,
): (number | null)[] {
  const untilMs = nowMs + leaseMs;
  const extend = db.sql(
    `UPDATE callbacks SET lease = ? WHERE n = ? AND salt = ? AND ns = ? AND token = ? AND state = ${RUNNING}`,
  );
  return claims.map(([n, salt, token]) => (extend.run(untilMs, n, salt, ns, token).changes === 1 ? untilMs : null));
}

/** Abort requests for what this owner runs, each once. */
export function takeAborts(
  db: Db,
  { ns, owner }: { readonly ns: number; readonly owner: string },
): { readonly id: string; readonly token: number }[] {
  const rows = db
    .sql(
      `SELECT n, salt, token FROM callbacks INDEXED BY by_lease WHERE ns = ? AND lease IS NOT NULL AND abort = ${ABORT_REQUESTED}
         AND owner = (SELECT owners.n FROM owners WHERE owners.name = ?)`,
    )
    .all(ns, owner) as unknown as { n: number; salt: number; token: number }[];
  for (const row of rows) db.sql(`UPDATE callbacks SET abort = ${ABORT_TAKEN} WHERE n = ?`).run(row.n);
  return rows.map(({ n, salt, token }) => ({ id: idOf(n, salt), token }));
}

function held(db: Db, ns: number, [n, salt, token]: ClaimTuple): HeldRow | undefined {
  return db
    .sql(
      `SELECT n, salt, flags, crashes, losses, attempts, abort, due, key, task_id, tags, recurrence, generation
       FROM callbacks
       WHERE n = ? AND salt = ? AND ns = ? AND token = ? AND state = ${RUNNING}`,
    )
    .get(n, salt, ns, token) as HeldRow | undefined;
}
