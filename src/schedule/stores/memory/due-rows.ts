/** What waits to be due, in a queue for each queue of tasks, so that who serves some of them passes over nothing of the others. */
import type { MemoryRow } from "./row.ts";
import { RowQueue } from "./row-queue.ts";

export class DueRows {
  readonly #byQueue = new Map<string, RowQueue<MemoryRow>>();

  /** The first, of the queues that `serves` lets through; without it, of all. */
  first(serves?: (queue: string) => boolean): MemoryRow | undefined {
    let first: MemoryRow | undefined;
    for (const [queue, rows] of this.#byQueue) {
      if (serves !== undefined && !serves(queue)) continue;
      const row = rows.peek();
      if (row === undefined) continue;
      if (first === undefined || row.dueMs < first.dueMs || (row.dueMs === first.dueMs && row.n < first.n)) first = row;
    }
    return first;
  }

  add(row: MemoryRow): void {
    const { queue } = row;
    let rows = this.#byQueue.get(queue);
    if (rows === undefined) {
      rows = new RowQueue((each) => (isDue(each) && each.queue === queue ? each.dueMs : undefined));
      this.#byQueue.set(queue, rows);
    }
    rows.add(row);
  }

  /** The row has left, or is about to be added anew. @param queue that it was added to */
  drop(queue: string): void {
    const rows = this.#byQueue.get(queue);
    rows?.drop();
    // Workers may name queues of their own: those that are empty are not kept.
    if (rows?.peek() === undefined) this.#byQueue.delete(queue);
  }
}

function isDue({ state }: MemoryRow): boolean {
  return state === "scheduled" || state === "waiting";
}
