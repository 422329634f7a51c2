/**
 * The results of one process, in memory: the reference of the contract, for tests and for programs that need no other process.
 * Backends opened with the same URL share their documents.
 */
import { type Clock, systemClock } from "../kit/clock.ts";
import { ClosedError, InvalidInputError } from "../kit/errors.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { ResultBackend } from "./backend.ts";
import { checkStore } from "./check.ts";
import { ResultTable } from "./table.ts";
import { TableHandle } from "./table-handle.ts";

export interface MemoryResultsOptions {
  /** Default: the machine's. */
  readonly clock?: Clock;
}

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
  readonly #handle: TableHandle;
  readonly #clock: Clock;
  #open = true;

  constructor(name: string, table: ResultTable, clock: Clock) {
    this.url = `memory://${name}`;
    this.#name = name;
    this.#table = table;
    this.#handle = new TableHandle(table, clock);
    this.#clock = clock;
  }

  async store(document: ResultDocument, expiresMs: number): Promise<void> {
    this.#checkOpen();
    checkStore(document, expiresMs);
    this.#handle.keep(document, expiresMs);
  }

  async get(taskId: string): Promise<ResultDocument | undefined> {
    this.#checkOpen();
    return this.#handle.get(taskId);
  }

  async watch(taskId: string, onChange: (document: ResultDocument) => void): Promise<{ stop(): void }> {
    this.#checkOpen();
    return this.#handle.watch(taskId, onChange);
  }

  async forget(taskId: string): Promise<void> {
    this.#checkOpen();
    this.#handle.forget(taskId);
  }

  async sweep(limit: number): Promise<number> {
    this.#checkOpen();
    return this.#handle.sweep(limit);
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#handle.close();
    this.#table.handles -= 1;
    // What is kept is kept for whoever opens this name next: closing a handle must not lose results.
    if (this.#table.handles === 0 && this.#table.isEmpty(this.#clock.wallMs())) tables.delete(this.#name);
  }

  #checkOpen(): void {
    if (!this.#open) throw new ClosedError(`the result backend ${this.url} was closed: open it again`);
  }
}
