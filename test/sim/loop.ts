/**
 * The only order that there is in a simulated world: one queue of events by virtual time. Events of one process at one moment keep their order, those of
 * different processes come in an order that the seed decides.
 */
export interface LoopEvent {
  readonly atMs: number;
  /** Drawn once for each process. */
  readonly tie: number;
  readonly n: number;
  /** null: taken back. */
  fn: (() => void) | null;
}

export class Loop {
  #heap: LoopEvent[] = [];
  #made = 0;
  #nowMs = 0;
  /** Events that were run. */
  ran = 0;

  /** True time, ms since the world began; no clock of the world shows it. */
  get nowMs(): number {
    return this.#nowMs;
  }

  at(atMs: number, tie: number, fn: () => void): LoopEvent {
    const event: LoopEvent = { atMs: Math.max(atMs, this.#nowMs), tie, n: this.#made++, fn };
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as LoopEvent;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
    return event;
  }

  /** Run the next event; false when there is none. What it sets off in promises is the caller's to let settle. */
  step(): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return false;
      const { fn } = event;
      if (fn === null) continue;
      event.fn = null;
      this.#nowMs = event.atMs;
      this.ran += 1;
      fn();
      return true;
    }
  }

  #pop(): LoopEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      const right = heap[below + 1];
      if (right !== undefined && isBefore(right, heap[below] as LoopEvent)) below += 1;
      const child = heap[below] as LoopEvent;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: LoopEvent, b: LoopEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && (a.tie < b.tie || (a.tie === b.tie && a.n < b.n)));
}
