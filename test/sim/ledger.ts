/** What handlers did, written down by themselves: it knows nothing of the scheduler. Survives the death of every process. */
import type { Trace } from "./trace.ts";
import { plain } from "./trace.ts";

export interface LedgerStart {
  readonly id: string;
  readonly token: number;
  readonly attempt: number;
  /** Which `put` made the call: the text in its message's body. */
  readonly mark: string;
  readonly worker: string;
  /** True time, and by the store's clock. */
  readonly atMs: number;
  readonly storeMs: number;
  readonly dueMs: number;
}

export class Ledger {
  readonly starts: LedgerStart[] = [];
  /** By id and token. */
  readonly ends = new Map<string, string>();
  readonly #trace: Trace;
  readonly #onStart: (start: LedgerStart) => void;

  constructor(trace: Trace, onStart: (start: LedgerStart) => void) {
    this.#trace = trace;
    this.#onStart = onStart;
  }

  start(start: LedgerStart): void {
    this.starts.push(start);
    this.#onStart(start);
    this.#trace.add(start.atMs, start.worker, `starts ${plain(start.id)}/${start.token} ${start.mark}`);
  }

  end(atMs: number, worker: string, id: string, token: number, how: string): void {
    this.ends.set(`${id}/${token}`, how);
    this.#trace.add(atMs, worker, `ends ${plain(id)}/${token} ${how}`);
  }
}
