/** What waits to be due, within the reach of an owner, in due order. Runs in the file's thread. */
import type { Db } from "../../../sqlite/tables.ts";
import { COLUMNS, type RowTuple, SCHEDULED, WAITING } from "./rows.ts";
import type { Reach } from "./serving.ts";

const STATES = [SCHEDULED, WAITING] as const;

/** Index, condition and values of each walk that the reach takes in one state. */
function waysOf(
  reach: Reach,
): readonly (readonly [index: string, where: string, values: readonly [] | readonly [string]])[] {
  switch (reach.from) {
    case "every queue":
      return [["by_state", "", []]];
    case "some":
      return [["by_state", " AND queue IN (SELECT value FROM json_each(?))", [reach.queues]]];
    case "all but":
      return [["by_state", " AND queue NOT IN (SELECT value FROM json_each(?))", [reach.queues]]];
    case "queues":
      return reach.queues.map((queue) => ["by_queue", " AND state <= 1 AND queue = ?", [queue]]);
  }
}

/** When the first is due; null: nothing waits. */
export function firstDue(db: Db, ns: number, reach: Reach): number | null {
  let first: number | null = null;
  for (const [index, where, values] of waysOf(reach)) {
    for (const state of STATES) {
      const due = db
        .sql(
          `SELECT due FROM callbacks INDEXED BY ${index} WHERE ns = ? AND state = ${state}${where} ORDER BY due LIMIT 1`,
        )
        .get(ns, ...values)?.due as number | undefined;
      if (due !== undefined && (first === null || due < first)) first = due;
    }
  }
  return first;
}

/** Those that are due, merged from the walks. To be closed before anything is changed: open statements read on. */
export class DueRows {
  readonly #walks: Iterator<RowTuple>[] = [];
  /** The next row of each walk; undefined: it is over. */
  readonly #heads: (RowTuple | undefined)[] = [];

  constructor(db: Db, ns: number, reach: Reach, nowMs: number) {
    for (const [way, [index, where, values]] of waysOf(reach).entries()) {
      for (const state of STATES) {
        // Walks go on side by side, so each has a statement of its own: the texts differ.
        const query = `SELECT ${COLUMNS} FROM callbacks INDEXED BY ${index}
          WHERE ns = ? AND state = ${state}${where} AND due <= ? ORDER BY due, n -- ${way}`;
        const walk = db.rows(query).iterate(ns, ...values, nowMs) as unknown as Iterator<RowTuple>;
        this.#walks.push(walk);
        this.#heads.push(nextOf(walk));
      }
    }
  }

  /** The next one; undefined: there is none. */
  take(): RowTuple | undefined {
    const heads = this.#heads;
    let first: RowTuple | undefined;
    let at = -1;
    for (let i = 0; i < heads.length; i++) {
      const head = heads[i];
      if (head === undefined || (first !== undefined && !isBefore(head, first))) continue;
      first = head;
      at = i;
    }
    if (first !== undefined) heads[at] = nextOf(this.#walks[at] as Iterator<RowTuple>);
    return first;
  }

  get over(): boolean {
    return this.#heads.every((head) => head === undefined);
  }

  close(): void {
    for (const walk of this.#walks) walk.return?.();
  }
}

function nextOf(walk: Iterator<RowTuple>): RowTuple | undefined {
  const { done, value } = walk.next();
  return done === true ? undefined : value;
}

function isBefore(a: RowTuple, b: RowTuple): boolean {
  return a[3] < b[3] || (a[3] === b[3] && a[0] < b[0]);
}
