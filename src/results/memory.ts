/**
 * The results of one process, in memory: the reference of the contract, for tests and for programs that need no other process.
 * Backends opened with the same URL share their documents.
 */
import { type Clock, systemClock } from "../kit/clock.ts";
import { ClosedError, InvalidInputError } from "../kit/errors.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { ResultBackend } from "./backend.ts";
import { checkStore, checkSweep, checkTaskId } from "./check.ts";
import { packResult, unpackResult } from "./packed.ts";
import { ResultTable } from "./table.ts";
import type { Watch } from "./watchers.ts";

export interface MemoryResultsOptions {
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** Removed by each store, so that a program that never sweeps does not grow for ever. */
const SWEPT_BY_STORE = 2;

/** The documents of every `memory://name` in use. */
const tables = new Map<string, ResultTable>();

/**
 * @param url `memory://name`; the name may be empty
 * @throws {InvalidInputError} the URL is another backend's
 */
export async function openMemoryResults(url: string, options: MemoryResultsOptions = {}): Promise<MemoryResults> {
  const name = /^memory:(?:\/\/)?([^?#]*)$/.exec(url)?.[1];
  if (name === undefined) {
    throw new InvalidInputError(
      `${JSON.stringify(url)} is no URL of the memory result backend: it has the form memory://name`,
    );
  }
  let table = tables.get(name);
  if (table === undefined) {
    table = new ResultTable();
    tables.set(name, table);
  }
  table.handles += 1;
  return new MemoryResults(name, table, options.clock ?? systemClock);
}

export class MemoryResults implements ResultBackend {
  readonly url: string;
  readonly #name: string;
  readonly #table: ResultTable;
  readonly #clock: Clock;
  readonly #watches = new Set<Watch>();
  #open = true;

  constructor(name: string, table: ResultTable, clock: Clock) {
    this.url = `memory://${name}`;
    this.#name = name;
    this.#table = table;
    this.#clock = clock;
  }

  async store(document: ResultDocument, expiresMs: number): Promise<void> {
    this.#checkOpen();
    checkStore(document, expiresMs);
    const nowMs = this.#clock.wallMs();
    const taskId = document.task_id;
    const entry = this.#table.put(taskId, document.status, packResult(document), expiresMs, nowMs);
    this.#table.sweep(SWEPT_BY_STORE, nowMs);
    if (entry !== undefined) this.#table.watchers.tell(taskId, entry.change, () => unpackResult(entry.packed));
  }

  async get(taskId: string): Promise<ResultDocument | undefined> {
    this.#checkOpen();
    checkTaskId(taskId);
    const entry = this.#table.find(taskId, this.#clock.wallMs());
    return entry === undefined ? undefined : unpackResult(entry.packed);
  }

  async watch(taskId: string, onChange: (document: ResultDocument) => void): Promise<{ stop(): void }> {
    this.#checkOpen();
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

  async forget(taskId: string): Promise<void> {
    this.#checkOpen();
    checkTaskId(taskId);
    this.#table.remove(taskId);
  }

  async sweep(limit: number): Promise<number> {
    this.#checkOpen();
    checkSweep(limit);
    return this.#table.sweep(limit, this.#clock.wallMs());
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    for (const watch of this.#watches) this.#stop(watch);
    this.#table.handles -= 1;
    // What is kept is kept for whoever opens this name next: closing a handle must not lose results.
    if (this.#table.handles === 0 && this.#table.isEmpty(this.#clock.wallMs())) tables.delete(this.#name);
  }

  #stop(watch: Watch): void {
    this.#watches.delete(watch);
    this.#table.watchers.remove(watch);
  }

  #checkOpen(): void {
    if (!this.#open) throw new ClosedError(`the result backend ${this.url} was closed: open it again`);
  }
}
