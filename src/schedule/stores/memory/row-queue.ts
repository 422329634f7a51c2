/**
 * The rows of the memory store in the order of a time of theirs, earliest first; equal times in the order the rows were made.
 *
 * A row is never taken out of the middle: one that left, or that was moved, is passed over when it comes up, and swept out
 * when such leftovers outnumber the rest. So adding, moving and dropping cost O(log n) and O(1).
 */
export interface Queued {
  /** Order of making. */
  readonly n: number;
}

interface Entry<Row> {
  readonly atMs: number;
  readonly row: Row;
}

const SWEEP_FROM = 64;

export class RowQueue<Row extends Queued> {
  readonly #timeOf: (row: Row) => number | undefined;
  #heap: Entry<Row>[] = [];
  #live = 0;

  /** @param timeOf when the row is to come up; undefined while it is not in this queue */
  constructor(timeOf: (row: Row) => number | undefined) {
    this.#timeOf = timeOf;
  }

  /** The row's time is now defined, or another one. */
  add(row: Row): void {
    const atMs = this.#timeOf(row);
    if (atMs === undefined) return;
    this.#live += 1;
    this.#push({ atMs, row });
  }

  /** The row has left, or is about to be added anew with another time. */
  drop(): void {
    this.#live -= 1;
    if (this.#heap.length > SWEEP_FROM && this.#heap.length > 2 * this.#live) this.#sweep();
  }

  /** The first row; undefined when there is none. */
  peek(): Row | undefined {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (this.#timeOf(first.row) === first.atMs) return first.row;
      this.#pop();
    }
    return undefined;
  }

  #sweep(): void {
    const entries = this.#heap.filter((entry) => this.#timeOf(entry.row) === entry.atMs);
    this.#heap = [];
    this.#live = 0;
    // A row that was moved away and back again has two entries that look alive.
    const seen = new Set<Row>();
    for (const entry of entries) {
      if (seen.has(entry.row)) continue;
      seen.add(entry.row);
      this.#live += 1;
      this.#push(entry);
    }
  }

  #push(entry: Entry<Row>): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Entry<Row>;
      if (!isBefore(entry, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      const right = heap[below + 1];
      if (right !== undefined && isBefore(right, heap[below] as Entry<Row>)) below += 1;
      const child = heap[below] as Entry<Row>;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore<Row extends Queued>(a: Entry<Row>, b: Entry<Row>): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.row.n < b.row.n);
}
