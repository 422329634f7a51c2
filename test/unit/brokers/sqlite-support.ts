/** Connections to a real embedded file whose answers a test can lose, or refuse before anything was done. */
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { BrokerConnection, Delivery } from "../../../src/brokers/broker.ts";
import { SqliteConnection } from "../../../src/brokers/sqlite/connection.ts";
import { tables } from "../../../src/brokers/sqlite/tables.ts";
import type { WireMessage, WireProperties } from "../../../src/protocol/message.ts";
import { openSqliteFile, type SqliteCaller, type SqliteFile } from "../../../src/sqlite/file.ts";
import { ownersTables } from "../../../src/sqlite/owners.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { atEnd } from "../../support/cleanup.ts";
import { tempDir } from "../../support/temp.ts";

export type Ops = SqliteCaller<(typeof tables)["ops"]>;

export interface Fault {
  /** Name of the operation that is to fail. */
  readonly op: string;
  readonly error: Error;
  /** True: it is done, and its answer lost. */
  readonly done: boolean;
  /** How often. */
  times: number;
}

/** The file, with faults. */
export class FaultyFile implements SqliteFile {
  readonly #file: SqliteFile;
  readonly #listeners = new Set<() => void>();
  readonly faults: Fault[] = [];
  /** Names of the operations that were asked for, in order. */
  readonly asked: string[] = [];
  isLost = false;

  constructor(file: SqliteFile) {
    this.#file = file;
  }

  get path() {
    return this.#file.path;
  }

  get durability() {
    return this.#file.durability;
  }

  use: SqliteFile["use"] = (wanted) => {
    const caller = this.#file.use(wanted);
    return {
      call: async (op, params, options) => {
        this.asked.push(op);
        const fault = this.faults.find((each) => each.op === op && each.times > 0);
        if (fault === undefined) return caller.call(op, params, options);
        fault.times -= 1;
        if (fault.done) await caller.call(op, params, options);
        throw fault.error;
      },
    };
  };

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** As after another process's commit. */
  change(): void {
    for (const listener of this.#listeners) listener();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

export interface Bench {
  readonly clock: FakeClock;
  readonly path: string;
  /** What was logged. */
  readonly warnings: string[];
  /** The tables without a connection: what is done by them is told to nobody, as by another process. */
  readonly ops: Ops;
  connect(prefetch?: number): Promise<{ connection: SqliteConnection; file: FaultyFile }>;
}

/** A file of the test's own, with a queue "q". Time stands still: nothing is polled unless the test moves the clock. */
export async function bench(t: TestContext): Promise<Bench> {
  const path = join(await tempDir(t), "broker.db");
  const clock = new FakeClock();
  const warnings: string[] = [];
  const open = () => openSqliteFile(path, { tables: [ownersTables, tables], durability: "process" });
  const file = await open();
  atEnd(t, () => file.close());
  const ops = file.use(tables);
  await ops.call("declare", "q");
  return {
    clock,
    path,
    warnings,
    ops,
    connect: async (prefetch = 0) => {
      const faulty = new FaultyFile(await open());
      const connection = new SqliteConnection(faulty, {
        url: "sqlite:test",
        open,
        clock,
        now: () => ({ nowMs: clock.wallMs() }),
        log: { warn: (text) => void warnings.push(text) },
      });
      atEnd(t, () => connection.close());
      await connection.setPrefetch(prefetch);
      return { connection, file: faulty };
    },
  };
}

export function wire(text: string, properties: WireProperties = {}): WireMessage {
  return { body: Buffer.from(text), properties, headers: { id: text } };
}

export async function publish(connection: BrokerConnection, texts: readonly string[], queue = "q"): Promise<void> {
  await Promise.all(texts.map((text) => connection.publish({ exchange: "", routingKey: queue }, wire(text))));
}

/** Add a message as another process does. */
export async function publishElsewhere(ops: Ops, text: string, queue = "q"): Promise<void> {
  const body = Buffer.from(text);
  await ops.call("publish", { rows: [[queue, "", 255, "{}", "{}", body.byteLength]], bodies: new Uint8Array(body) });
}

export function textOf(delivery: Delivery | undefined): string {
  return Buffer.from(delivery?.message.body ?? []).toString();
}

/** Deliveries in the order they came, and waiting for the next. */
export class Arrivals {
  readonly all: Delivery[] = [];
  #taken = 0;
  #wake: (() => void) | undefined;

  readonly receive = (delivery: Delivery): void => {
    this.all.push(delivery);
    this.#wake?.();
  };

  /** The next ones that nobody took. */
  async take(count: number): Promise<Delivery[]> {
    while (this.all.length < this.#taken + count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.all.slice(this.#taken, this.#taken + count);
    this.#taken += count;
    return taken;
  }
}

export function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}
