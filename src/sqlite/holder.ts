/**
 * Holds the connection in the file's thread, and replaces it after an I/O error.
 *
 * After the first I/O error nothing further is acknowledged until the file was opened anew, checked whole, and its log
 * brought into it (SEMANTICS I13). A damaged file stays refused: only a person can act.
 */
import { systemClock } from "../kit/clock.ts";
import type { LovageError } from "../kit/errors.ts";
import { StoreCorruptError, StoreUnavailableError } from "../kit/store-errors.ts";
import type { Durability } from "./channel.ts";
import { Connection } from "./connection.ts";
import type { SqliteTables } from "./tables.ts";

/** Between two attempts to open the file again. */
const REOPEN_MS = 1_000;

export class Holder {
  readonly path: string;
  readonly #lockWaitMs: number;
  readonly #tables: SqliteTables[] = [];
  readonly #note: (text: string) => void;
  #durability: Durability;
  #connection: Connection | undefined;
  #trouble: LovageError | undefined;
  #retryAtMs = 0;
  #closed = false;

  constructor(options: { path: string; durability: Durability; lockWaitMs: number }, note: (text: string) => void) {
    this.path = options.path;
    this.#durability = options.durability;
    this.#lockWaitMs = options.lockWaitMs;
    this.#note = note;
    this.#connection = this.#open(true, false);
  }

  /** The connection, in working order. @throws why there is none */
  use(): Connection {
    if (this.#connection !== undefined) {
      if (this.#connection.isInPlace()) return this.#connection;
      this.poison(
        new StoreUnavailableError(`${this.path} was removed or replaced while in use: put it back, or restart`),
      );
    }
    if (this.#closed || this.#trouble instanceof StoreCorruptError || systemClock.monoMs() < this.#retryAtMs) {
      throw this.#trouble ?? new StoreUnavailableError(`${this.path} is closed`);
    }
    try {
      this.#connection = this.#open(false, true);
      for (const tables of this.#tables) this.#connection.migrate(tables);
      this.#note(`${this.path} was opened again and found in order`);
      this.#trouble = undefined;
      return this.#connection;
    } catch (thrown) {
      this.#drop();
      this.#retryAtMs = systemClock.monoMs() + REOPEN_MS;
      this.#trouble = thrown as LovageError; // Connection throws nothing else
      throw thrown;
    }
  }

  /** The connection if there is one, in whatever order. */
  get current(): Connection | undefined {
    return this.#connection;
  }

  /** Nothing is acknowledged any more until the file was opened and checked again. */
  poison(reason: LovageError): void {
    this.#drop();
    this.#trouble = reason;
    this.#retryAtMs = systemClock.monoMs() + REOPEN_MS;
    this.#note(reason.message);
  }

  load(tables: SqliteTables): void {
    this.use().migrate(tables);
    this.#tables.push(tables);
  }

  setDurability(durability: Durability): void {
    this.#durability = durability;
    this.#connection?.setDurability(durability);
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #open(create: boolean, suspicious: boolean): Connection {
    const connection = new Connection({
      path: this.path,
      durability: this.#durability,
      lockWaitMs: this.#lockWaitMs,
      create,
      suspicious,
    });
    for (const note of connection.notes) this.#note(note);
    return connection;
  }

  #drop(): void {
    this.#connection?.close();
    this.#connection = undefined;
  }
}
