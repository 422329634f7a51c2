/**
 * The broker in the embedded file: every process of the machine may open it, and none has to run. A publish resolves when it
 * is committed; those of one turn of the event loop share the commit.
 *
 * Each connection is an opening of the file of its own (they share the process's one thread), so that a connection that lost
 * its thread is replaced by the next one, as with any other broker.
 */
import { type Clock, systemClock } from "../kit/clock.ts";
import { withDeadline } from "../kit/deadline.ts";
import { ClosedError, TimeoutError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { openSqliteFile, type SqliteFile } from "../sqlite/file.ts";
import { ownersTables } from "../sqlite/owners.ts";
import type { Broker, BrokerConnection, BrokerTraits, ConnectOptions } from "./broker.ts";
import { BrokerUnavailableError } from "./errors.ts";
import { SqliteConnection } from "./sqlite/connection.ts";
import { tables } from "./sqlite/tables.ts";

export interface SqliteBrokerOptions {
  /** Default "strict". */
  readonly durability?: "strict" | "process";
  readonly log?: Pick<Logger, "warn">;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** How long to wait for another process's lock, ms. */
  readonly lockWaitMs?: number;
}

/**
 * Open the file, and make it if it is not there.
 *
 * @throws {StorePathError} {StoreCorruptError} {StoreSchemaError} {StoreUnavailableError} {StoreFullError} the file is left as it is
 */
export async function openSqliteBroker(path: string, options: SqliteBrokerOptions = {}): Promise<SqliteBroker> {
  return new SqliteBroker(await openFile(path, options), options);
}

export class SqliteBroker implements Broker {
  readonly url: string;
  /** Keeps the thread between connections. */
  readonly #file: SqliteFile;
  readonly #options: SqliteBrokerOptions;
  readonly #connections = new Set<SqliteConnection>();
  #open = true;

  constructor(file: SqliteFile, options: SqliteBrokerOptions) {
    this.url = `sqlite:${file.path}`;
    this.#file = file;
    this.#options = options;
  }

  get traits(): BrokerTraits {
    return {
      transport: "sqlite",
      durability: this.#file.durability,
      expires: false,
      priorities: "highest-first",
      fanout: false,
    };
  }

  async connect({ timeoutMs }: ConnectOptions): Promise<BrokerConnection> {
    if (!this.#open) throw new ClosedError(`the broker ${this.url} was closed: open it again`);
    const { clock = systemClock, log } = this.#options;
    const own = this.#options.clock;
    const connection = new SqliteConnection(await this.#openWithin(timeoutMs, clock), {
      url: this.url,
      open: () => openFile(this.#file.path, this.#options),
      clock,
      now: own === undefined ? () => ({}) : () => ({ nowMs: own.wallMs() }),
      log,
    });
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
    return connection;
  }

  /** Lose every connection opened here, as when the file's thread fails. For tests. */
  sever(): void {
    for (const connection of this.#connections) connection.lose(new Error("severed"));
  }

  async close(): Promise<void> {
    this.#open = false;
    await this.#file.close();
  }

  async #openWithin(timeoutMs: number, clock: Clock): Promise<SqliteFile> {
    const opening = this.#openChecked();
    try {
      return await withDeadline(opening, timeoutMs, clock, "the file's answer");
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      opening.then(
        (file) => file.close(),
        () => undefined,
      );
      throw new BrokerUnavailableError(
        `cannot connect to ${this.url}: no answer within ${timeoutMs / 1_000} s; another process may hold its lock`,
        { cause: error },
      );
    }
  }

  async #openChecked(): Promise<SqliteFile> {
    const file = await openFile(this.#file.path, this.#options);
    try {
      await file.use(tables).call("check", null);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }
}

function openFile(path: string, { durability, log, lockWaitMs }: SqliteBrokerOptions): Promise<SqliteFile> {
  return openSqliteFile(path, {
    tables: [ownersTables, tables],
    durability: durability ?? "strict",
    ...(log === undefined ? {} : { log }),
    ...(lockWaitMs === undefined ? {} : { lockWaitMs }),
  });
}
