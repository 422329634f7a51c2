/**
 * Tells the file what became of messages in hand. Those of one go travel together and share a commit. What the file does not
 * take is told again until it is known, for a message that is done with must not come again because a disk was full for a
 * moment. Telling it twice is harmless: see `schema.ts`.
 */
import { FullJitterBackoff } from "../../kit/backoff.ts";
import type { Clock, Timeout } from "../../kit/clock.ts";
import type { SqliteCaller } from "../../sqlite/file.ts";
import type { SettleRow } from "./rows.ts";
import type { tables } from "./tables.ts";

const BATCH_ROWS = 1_000;
const RETRY = { firstMs: 50, capMs: 2_000 } as const;

interface Batch {
  readonly rows: SettleRow[];
  /** Queues that get a message back. */
  readonly back: Set<string>;
  readonly told: PromiseWithResolvers<void>;
  readonly backoff: FullJitterBackoff;
  wait: Timeout | undefined;
  failed: boolean;
}

export interface SettlerOptions {
  readonly ops: SqliteCaller<(typeof tables)["ops"]>;
  readonly clock: Clock;
  /** Something was handed over; `back` are the queues that get a message back. */
  readonly onSent: (back: ReadonlySet<string>) => void;
  /** A commit failed; it is tried again. */
  readonly onTrouble: (error: unknown) => void;
  /** What had failed is known now. */
  readonly onRecovery: () => void;
}

export class Settler {
  readonly #options: SettlerOptions;
  readonly #unknown = new Set<Batch>();
  #batch: Batch | undefined;
  #troubled = 0;
  #ended = false;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** How many the file did not take so far. They are in hand as far as it knows. */
  get troubled(): number {
    return this.#troubled;
  }

  /** Resolves when it is committed, or when the connection has ended. Never rejects. */
  add(row: SettleRow, backTo: string | undefined): Promise<void> {
    const batch = this.#batch ?? this.#begin();
    batch.rows.push(row);
    if (backTo !== undefined) batch.back.add(backTo);
    if (batch.rows.length >= BATCH_ROWS) this.flush();
    return batch.told.promise;
  }

  /** Hand over what there is, now. */
  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    this.#unknown.add(batch);
    this.#send(batch);
  }

  /** Nothing is tried again from now on. Answers what is not known to be told: whoever gives back the rest tells it first. */
  end(): SettleRow[] {
    this.flush();
    this.#ended = true;
    const rows: SettleRow[] = [];
    for (const batch of this.#unknown) {
      rows.push(...batch.rows);
      if (batch.wait === undefined) continue;
      batch.wait.cancel();
      this.#close(batch);
    }
    return rows;
  }

  #begin(): Batch {
    const batch: Batch = {
      rows: [],
      back: new Set(),
      told: Promise.withResolvers(),
      backoff: new FullJitterBackoff(RETRY),
      wait: undefined,
      failed: false,
    };
    this.#batch = batch;
    queueMicrotask(() => {
      if (this.#batch === batch) this.flush();
    });
    return batch;
  }

  #send(batch: Batch): void {
    batch.wait = undefined;
    this.#options.ops.call("settle", batch.rows, { bytes: batch.rows.length * 64 }).then(
      () => this.#close(batch),
      (error: unknown) => this.#retry(batch, error),
    );
    this.#options.onSent(batch.back);
  }

  #retry(batch: Batch, error: unknown): void {
    if (!batch.failed) this.#troubled += batch.rows.length;
    batch.failed = true;
    this.#options.onTrouble(error);
    if (this.#ended) this.#close(batch);
    // Somebody waits for it, as for any answer of the file: the process stays alive.
    else batch.wait = this.#options.clock.timeout(() => this.#send(batch), batch.backoff.nextMs());
  }

  #close(batch: Batch): void {
    this.#unknown.delete(batch);
    batch.told.resolve();
    if (!batch.failed) return;
    this.#troubled -= batch.rows.length;
    if (!this.#ended) this.#options.onRecovery();
  }
}
