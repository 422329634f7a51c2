/**
 * Whose turn it is among the occurrences that are held (`overlap: "queue"`). An operation notes the recurrences of which it ended an
 * occurrence that had started, or gave one back unstarted; at its end the oldest that is held of each is due. Runs in the file's thread.
 */
import type { Db } from "../../../sqlite/tables.ts";
import { turnOfHeld } from "../../rules.ts";
import { moveDue } from "./ends.ts";
import { FLAG_HELD, FLAG_SKIP, SCHEDULED } from "./rows.ts";

interface HeldRow {
  readonly n: number;
  readonly nominal: number;
  readonly due: number;
  readonly grace: number;
  readonly flags: number;
  readonly tags: string | null;
}

export class Turns {
  /** Most operations have nothing to do with recurrences. */
  #recurrences: Set<string> | undefined;

  /** @param recurrence null: what ended is no occurrence */
  note(recurrence: string | null): void {
    if (recurrence === null) return;
    this.#recurrences ??= new Set();
    this.#recurrences.add(recurrence);
  }

  pass(db: Db, ns: number): void {
    for (const recurrence of this.#recurrences ?? []) {
      // With min(), SQLite takes the other columns from the row that has it.
      const row = db
        .sql(
          `SELECT n, min(nominal) AS nominal, due, grace, flags, tags FROM callbacks INDEXED BY by_recurrence
           WHERE ns = ? AND recurrence = ? AND state = ${SCHEDULED} AND flags & ${FLAG_HELD} <> 0`,
        )
        .get(ns, recurrence) as unknown as HeldRow | { readonly n: null };
      if (row.n === null) continue;
      const misfire = (row.flags & FLAG_SKIP) === 0 ? "fire" : "skip";
      const turn = turnOfHeld({ dueMs: row.due, graceMs: row.grace, misfire }, row.nominal);
      moveDue(db, ns, row, { ...turn, flags: row.flags & ~FLAG_HELD });
    }
  }
}

/** The turn after one end. */
export function passTurn(db: Db, ns: number, recurrence: string | null): void {
  if (recurrence === null) return;
  const turns = new Turns();
  turns.note(recurrence);
  turns.pass(db, ns);
}
