/** One reader's hold on a table of results: what it reads, what it watches, and what ends with it. */
import type { Clock } from "../kit/clock.ts";
import type { ResultDocument } from "../protocol/result.ts";
import { checkSweep, checkTaskId } from "./check.ts";
import { packResult, unpackResult } from "./packed.ts";
import type { ResultTable } from "./table.ts";
import type { Watch } from "./watchers.ts";

/** Removed by each that is kept, so that a program that never sweeps does not grow for ever. */
const SWEPT_BY_KEEP = 2;

export class TableHandle {
  readonly #table: ResultTable;
  readonly #clock: Clock;
  readonly #watches = new Set<Watch>();

  constructor(table: ResultTable, clock: Clock) {
    this.#table = table;
    this.#clock = clock;
  }

  /** Keep it for so long, ms (0 = for ever), and tell who watches. */
  keep(document: ResultDocument, expiresMs: number): void {
    const nowMs = this.#clock.wallMs();
    const { task_id: taskId, status } = document;
    const entry = this.#table.put(taskId, status, packResult(document), expiresMs, nowMs);
    this.#table.sweep(SWEPT_BY_KEEP, nowMs);
    if (entry !== undefined) this.#table.watchers.tell(taskId, entry.change, () => unpackResult(entry.packed));
  }

  has(taskId: string): boolean {
    return this.#table.find(taskId, this.#clock.wallMs()) !== undefined;
  }

  get(taskId: string): ResultDocument | undefined {
    checkTaskId(taskId);
    const entry = this.#table.find(taskId, this.#clock.wallMs());
    return entry === undefined ? undefined : unpackResult(entry.packed);
  }

  /** Told now what is there, and each change from now on. @throws what `onChange` throws at once; then nothing is watched */
  watch(taskId: string, onChange: (document: ResultDocument) => void): { stop(): void } {
    checkTaskId(taskId);
    const watch = this.#table.watchers.add(taskId, onChange);
    this.#watches.add(watch);
    const entry = this.#table.find(taskId, this.#clock.wallMs());
    try {
      if (entry !== undefined) watch.tell(entry.change, () => unpackResult(entry.packed));
    } catch (error) {
      this.#stop(watch);
      throw error;
    }
    return { stop: () => this.#stop(watch) };
  }

  forget(taskId: string): void {
    checkTaskId(taskId);
    this.#table.remove(taskId);
  }

  sweep(limit: number): number {
    checkSweep(limit);
    return this.#table.sweep(limit, this.#clock.wallMs());
  }

  /** Watch nothing more. */
  close(): void {
    for (const watch of this.#watches) this.#stop(watch);
  }

  #stop(watch: Watch): void {
    this.#watches.delete(watch);
    this.#table.watchers.remove(watch);
  }
}
