/**
 * How many rows are in each state: counted as they move, added up in memory for a group of operations, and written once when the
 * group commits. So a limit and a status call cost no scan of 10^6 rows.
 */
import type { Db } from "../../../sqlite/tables.ts";
import { RUNNING, STATE_NAMES } from "./rows.ts";

const STATES = STATE_NAMES.length;

/** By ns * STATES + state. */
const changes = new Map<number, number>();

/** A row came into the state (+1), or left it (-1). */
export function count(ns: number, state: number, by: number): void {
  const at = ns * STATES + state;
  changes.set(at, (changes.get(at) ?? 0) + by);
}

export function moved(ns: number, from: number, to: number): void {
  count(ns, from, -1);
  count(ns, to, 1);
}

/** Rows in each state, by its number, what this group changed counted in. */
export function countsOf(db: Db, ns: number): number[] {
  const counts = new Array<number>(STATES).fill(0);
  for (const row of db.rows("SELECT state, n FROM counters WHERE ns = ?").all(ns) as unknown as [number, number][]) {
    counts[row[0]] = row[1];
  }
  for (let state = 0; state < STATES; state++) {
    counts[state] = (counts[state] as number) + (changes.get(ns * STATES + state) ?? 0);
  }
  return counts;
}

export function liveCount(db: Db, ns: number): number {
  return countsOf(db, ns)
    .slice(0, RUNNING + 1)
    .reduce((sum, n) => sum + n, 0);
}

export const group = {
  reset(): void {
    changes.clear();
  },
  flush(db: Db): void {
    for (const [at, by] of changes) {
      if (by === 0) continue;
      db.sql(
        "INSERT INTO counters (ns, state, n) VALUES (?, ?, ?) ON CONFLICT (ns, state) DO UPDATE SET n = n + excluded.n",
      ).run(Math.floor(at / STATES), at % STATES, by);
    }
    changes.clear();
  },
};
