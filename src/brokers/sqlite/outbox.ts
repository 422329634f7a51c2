/**
 * Messages on their way into the file. Those that are published in one go travel together: one call, and one run of bytes
 * for all bodies, not a call and a buffer each (docs/decisions/brokers.md).
 */
import type { SqliteCaller } from "../../sqlite/file.ts";
import type { PublishRow } from "./rows.ts";
import type { tables } from "./tables.ts";

/** A call larger than this would keep the others of its group waiting. */
const BATCH_BYTES = 256 * 1024;
const BATCH_ROWS = 500;
/** What a message writes beside its body. */
const ROW_BYTES = 512;

interface Batch {
  readonly rows: PublishRow[];
  readonly bodies: Uint8Array[];
  readonly sent: PromiseWithResolvers<readonly number[]>;
  bytes: number;
}

export class Outbox {
  readonly #ops: SqliteCaller<(typeof tables)["ops"]>;
  /** Called with the queues of what was just handed over: what is asked after it finds the messages. */
  readonly #onSent: (queues: ReadonlySet<string>) => void;
  #batch: Batch | undefined;

  constructor(ops: SqliteCaller<(typeof tables)["ops"]>, onSent: (queues: ReadonlySet<string>) => void) {
    this.#ops = ops;
    this.#onSent = onSent;
  }

  /** Resolves when it is committed: false means that there is no such queue. */
  async add(row: PublishRow, body: Uint8Array): Promise<boolean> {
    const batch = this.#batch ?? this.#begin();
    const index = batch.rows.push(row) - 1;
    batch.bodies.push(body);
    batch.bytes += body.byteLength;
    if (batch.rows.length >= BATCH_ROWS || batch.bytes >= BATCH_BYTES) this.flush();
    const unroutable = await batch.sent.promise;
    return unroutable.length === 0 || !unroutable.includes(index);
  }

  /** Hand over what there is, now. */
  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    const { rows, bytes } = batch;
    const bodies = Buffer.allocUnsafeSlow(bytes);
    let at = 0;
    for (const body of batch.bodies) {
      bodies.set(body, at);
      at += body.byteLength;
    }
    const options = { bytes: bytes + rows.length * ROW_BYTES };
    this.#ops.call("publish", { rows, bodies }, options).then(batch.sent.resolve, batch.sent.reject);
    this.#onSent(new Set(rows.map(([queue]) => queue)));
  }

  #begin(): Batch {
    const batch: Batch = { rows: [], bodies: [], sent: Promise.withResolvers(), bytes: 0 };
    this.#batch = batch;
    queueMicrotask(() => {
      if (this.#batch === batch) this.flush();
    });
    return batch;
  }
}
