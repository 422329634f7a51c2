/** How a row leaves a state: it ends, or is given back. Everything that runs in the file's thread comes here for it. */
import type { Db } from "../../../sqlite/tables.ts";
import type { EndState } from "../../callback.ts";
import { keepMsOf } from "../../rules.ts";
import type { StoreLimits } from "../../store.ts";
import { moved } from "./counts.ts";
import { addTags, isRevoked, removeTags } from "./put.ts";
import { idOf, RUNNING, SCHEDULED, stateNumber, type WAITING } from "./rows.ts";

export interface End {
  /** Number of the state that it is in. */
  readonly from: number;
  readonly to: EndState;
  readonly reason: string | null;
  readonly keyed: boolean;
}

export function endRow(db: Db, ns: number, n: number, end: End, limits: StoreLimits, nowMs: number): void {
  const to = stateNumber(end.to);
  db.sql(
    "UPDATE callbacks SET state = ?, ended = ?, reason = ?, forget = ?, lease = NULL, owner = NULL, abort = 0 WHERE n = ?",
  ).run(to, nowMs, end.reason, nowMs + keepMsOf(end.keyed, limits), n);
  moved(ns, end.from, to);
}

/** A running one goes back to where it can be claimed, without its lease; due then. */
export function giveBack(
  db: Db,
  ns: number,
  row: { readonly n: number; readonly due: number; readonly tags: string | null },
  to: { readonly state: typeof SCHEDULED | typeof WAITING; readonly due: number },
): void {
  // A claim that never began leaves no trace.
  const claimed = to.state === SCHEDULED ? "claimed = NULL, " : "";
  db.sql(`UPDATE callbacks SET ${claimed}state = ?, due = ?, lease = NULL, owner = NULL, abort = 0 WHERE n = ?`).run(
    to.state,
    to.due,
    row.n,
  );
  moveTags(db, ns, row, to.due);
  moved(ns, RUNNING, to.state);
}

/** One that was never claimed is due then instead. */
export function moveDue(
  db: Db,
  ns: number,
  row: { readonly n: number; readonly due: number; readonly tags: string | null },
  to: { readonly dueMs: number; readonly graceMs: number; readonly flags: number },
): void {
  db.sql("UPDATE callbacks SET due = ?, grace = ?, flags = ? WHERE n = ?").run(to.dueMs, to.graceMs, to.flags, row.n);
  moveTags(db, ns, row, to.dueMs);
}

/** Tags are kept in due order. */
export function moveTags(
  db: Db,
  ns: number,
  row: { readonly n: number; readonly due: number; readonly tags: string | null },
  due: number,
): void {
  if (row.tags === null || row.due === due) return;
  removeTags(db, ns, row.n, row.due, row.tags);
  addTags(db, ns, row.n, due, row.tags);
}

/** Its end was asked for while it ran: it must not run again. */
export function isUnwanted(
  db: Db,
  ns: number,
  row: { readonly n: number; readonly salt: number; readonly abort: number; readonly task_id: string | null },
  nowMs: number,
): boolean {
  return row.abort !== 0 || isRevoked(db, ns, row.task_id ?? idOf(row.n, row.salt), nowMs);
}
