/**
 * What expires, earliest first: a binary heap. What is replaced or forgotten before its time is only marked; when the marked are
 * most of it, the heap is made anew, so it is never more than about twice what is kept.
 */
export interface Expiring {
  /** When it expires, ms by the wall; infinite: never. */
  readonly untilMs: number;
  /** It was removed. Set by `drop` and `take` only. */
  gone: boolean;
}

/** Below it, what is marked is not worth a pass. */
const MIN_GONE = 64;

export class ExpiryQueue<T extends Expiring> {
  #heap: T[] = [];
  #gone = 0;

  /** Entries in memory, marked ones among them. */
  get size(): number {
    return this.#heap.length;
  }

  add(entry: T): void {
    if (entry.untilMs === Number.POSITIVE_INFINITY) return;
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1);
  }

  /** It is removed before its time. Twice is once. */
  drop(entry: T): void {
    if (entry.gone) return;
    entry.gone = true;
    if (entry.untilMs === Number.POSITIVE_INFINITY) return;
    this.#gone += 1;
    if (this.#gone < MIN_GONE || this.#gone * 2 < this.#heap.length) return;
    this.#heap = this.#heap.filter((each) => !each.gone);
    this.#gone = 0;
    for (let i = (this.#heap.length >> 1) - 1; i >= 0; i--) this.#down(i);
  }

  /** Take the earliest that is past its time. */
  take(nowMs: number): T | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.untilMs > nowMs) return undefined;
      const last = this.#heap.pop() as T; // there is a first one
      if (last !== first) {
        this.#heap[0] = last;
        this.#down(0);
      }
      if (!first.gone) {
        first.gone = true;
        return first;
      }
      this.#gone -= 1;
    }
  }

  #up(from: number): void {
    const heap = this.#heap;
    const entry = heap[from] as T; // indices below are within the heap
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as T;
      if (parent.untilMs <= entry.untilMs) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const entry = heap[from] as T;
    let at = from;
    for (;;) {
      let next = at * 2 + 1;
      if (next >= heap.length) break;
      if (next + 1 < heap.length && (heap[next + 1] as T).untilMs < (heap[next] as T).untilMs) next += 1;
      const child = heap[next] as T;
      if (child.untilMs >= entry.untilMs) break;
      heap[at] = child;
      at = next;
    }
    heap[at] = entry;
  }
}
