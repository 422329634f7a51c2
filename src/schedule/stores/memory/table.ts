/** The rows of the memory store: found by id, by key, by task id and by what is to happen next, and counted by state. */
import { type CallbackState, isLive, type NewCallback } from "../../callback.ts";
import type { Target } from "../../store.ts";
import { DueRows } from "./due-rows.ts";
import { Occurrences } from "./occurrences.ts";
import type { MemoryRow } from "./row.ts";
import { RowQueue } from "./row-queue.ts";

export class MemoryTable {
  readonly occurrences = new Occurrences();
  readonly #rows = new Map<string, MemoryRow>();
  /** The live row of each key, and the last that had it. */
  readonly #liveByKey = new Map<string, MemoryRow>();
  readonly #lastByKey = new Map<string, MemoryRow>();
  /** Only what was taken over can be asked for by a task id that is not its own id. */
  readonly #byTaskId = new Map<string, Set<MemoryRow>>();
  readonly #counts = new Map<CallbackState, number>();
  readonly #due = new DueRows();
  readonly #ended = new RowQueue<MemoryRow>((row) => row.forgetMs);
  readonly #running = new Set<MemoryRow>();

  /** The first that may be removed. */
  get firstEnded(): MemoryRow | undefined {
    return this.#ended.peek();
  }

  get running(): Iterable<MemoryRow> {
    return this.#running;
  }

  get rows(): Iterable<MemoryRow> {
    return this.#rows.values();
  }

  get liveCount(): number {
    return this.#countOf("scheduled") + this.#countOf("waiting") + this.#countOf("running");
  }

  /** The first that is scheduled or waiting, in the queues that `serves` lets through. */
  firstDue(serves?: (queue: string) => boolean): MemoryRow | undefined {
    return this.#due.first(serves);
  }

  counts(): Partial<Record<CallbackState, number>> {
    return Object.fromEntries([...this.#counts].filter(([, count]) => count > 0));
  }

  add(row: MemoryRow): void {
    this.#rows.set(row.id, row);
    if (row.key !== undefined) this.#liveByKey.set(row.key, row);
    this.#count(row.state, 1);
    this.#index(row);
    this.#due.add(row);
    this.occurrences.add(row);
  }

  /** Give a scheduled row another due time, or another call. */
  change(row: MemoryRow, change: () => void): void {
    const { queue } = row;
    this.#unindex(row);
    change();
    this.#index(row);
    this.#due.drop(queue);
    this.#due.add(row);
  }

  /** Bring the row into the state; its times (`dueMs`, `forgetMs`) are those of the new state already. */
  move(row: MemoryRow, state: CallbackState): void {
    const before = row.state;
    this.#count(before, -1);
    row.state = state;
    this.#count(state, 1);
    if (isDue(before)) this.#due.drop(row.queue);
    if (isDue(state)) this.#due.add(row);
    if (state === "running") this.#running.add(row);
    else this.#running.delete(row);
    if (!isLive(state)) this.#retire(row);
  }

  remove(row: MemoryRow): void {
    row.forgetMs = undefined;
    this.#ended.drop();
    this.#rows.delete(row.id);
    this.#unindex(row);
    this.occurrences.remove(row);
    if (row.key !== undefined && this.#lastByKey.get(row.key) === row) this.#lastByKey.delete(row.key);
    this.#count(row.state, -1);
  }

  find(target: Target): MemoryRow | undefined {
    if ("id" in target) return this.#rows.get(target.id);
    return this.#liveByKey.get(target.key) ?? this.#lastByKey.get(target.key);
  }

  liveOf(key: string): MemoryRow | undefined {
    return this.#liveByKey.get(key);
  }

  /** The callbacks that carry the task id, oldest first. */
  allOf(taskId: string): MemoryRow[] {
    const rows = [...(this.#byTaskId.get(taskId) ?? [])];
    const own = this.#rows.get(taskId);
    if (own !== undefined && own.takenOver === undefined) rows.push(own);
    return rows.sort((a, b) => a.n - b.n);
  }

  /** The row of the message that was taken over with this task id and these retries. */
  takenOver(taskId: string, retries: number): MemoryRow | undefined {
    for (const row of this.#byTaskId.get(taskId) ?? []) if (row.takenOver?.retries === retries) return row;
    return undefined;
  }

  /** How many rows these would make: one whose key or whose message has a row already makes none. */
  addedBy(callbacks: readonly NewCallback[]): number {
    const keys = new Set<string>();
    const adds = callbacks.filter(({ taskId, key, message }) => {
      if (taskId !== undefined && this.takenOver(taskId, message.retries) !== undefined) return false;
      return key === undefined || (this.liveOf(key) === undefined && !keys.has(key) && keys.add(key));
    });
    return adds.length;
  }

  /** The row is live no more: its key is free, and it may be removed some day. */
  #retire(row: MemoryRow): void {
    this.#ended.add(row);
    this.occurrences.retire(row);
    if (row.key === undefined) return;
    this.#liveByKey.delete(row.key);
    const last = this.#lastByKey.get(row.key);
    if (last === undefined || last.n < row.n) this.#lastByKey.set(row.key, row);
  }

  #index(row: MemoryRow): void {
    if (row.takenOver === undefined) return;
    const rows = this.#byTaskId.get(row.takenOver.taskId) ?? new Set();
    this.#byTaskId.set(row.takenOver.taskId, rows.add(row));
  }

  #unindex(row: MemoryRow): void {
    if (row.takenOver === undefined) return;
    const rows = this.#byTaskId.get(row.takenOver.taskId);
    if (rows?.delete(row) && rows.size === 0) this.#byTaskId.delete(row.takenOver.taskId);
  }

  #count(state: CallbackState, by: number): void {
    this.#counts.set(state, this.#countOf(state) + by);
  }

  #countOf(state: CallbackState): number {
    return this.#counts.get(state) ?? 0;
  }
}

function isDue(state: CallbackState): boolean {
  return state === "scheduled" || state === "waiting";
}
