/**
 * What a part of Lovage keeps in the embedded file: its tables and the operations on them.
 *
 * A module exports its `SqliteTables` under the name `tables`. The same module is imported twice: by the part that asks
 * (for the types and the address) and, by that address, into the file's thread, where the operations run. So it
 * imports nothing that is heavy.
 *
 * An operation is one synchronous function. It runs inside a transaction that it shares with the other operations of its
 * group; it is atomic all the same: when one throws, the group is rolled back and each of the others is run again by itself.
 * Therefore it may run twice, and must act on nothing but the database.
 */
import type { StatementSync } from "node:sqlite";

/** The connection, as an operation sees it. */
export interface Db {
  /** The statement of this text, compiled once for each connection. Use one text for one query: values are bound. */
  sql(text: string): StatementSync;
  /** The same, with rows as arrays of values: half the work for wide rows, in the thread and on the way out of it. */
  rows(text: string): StatementSync;
}

/** One operation. Parameters and answer are plain data (structured clone). */
export interface SqliteOp<Params, Answer> {
  /** False: it writes nothing, and a group of such operations needs no write lock and no fsync. */
  readonly writes: boolean;
  /** It adds to the file: refused with StoreFullError while the disk is nearly full, so that what ends work still has room. */
  readonly grows: boolean;
  /** @param nowMs wall clock when the group began (with the write lock held), or the caller's own `nowMs` */
  readonly run: (db: Db, params: Params, nowMs: number) => Answer;
}

// biome-ignore lint/suspicious/noExplicitAny: a table of operations, each with parameters and answer of its own
export type SqliteOps = Readonly<Record<string, SqliteOp<any, any>>>;
export type ParamsOf<Op> = Op extends SqliteOp<infer Params, unknown> ? Params : never;
// biome-ignore lint/suspicious/noExplicitAny: parameters do not matter here
export type AnswerOf<Op> = Op extends SqliteOp<any, infer Answer> ? Answer : never;

export interface SqliteTables<Ops extends SqliteOps = SqliteOps> {
  /** Unique in the file: "schedule". */
  readonly name: string;
  /** `import.meta.url` of the module that exports this as `tables`. */
  readonly url: string;
  /**
   * SQL scripts, one for each version of the schema, oldest first; a published one never changes. A file that has seen
   * more of them than we know was made by a newer Lovage, and is refused.
   */
  readonly migrations: readonly string[];
  readonly ops: Ops;
  /**
   * Called before a group commits, after its last operation of these tables: to write what was added up in memory (a counter,
   * say). `reset` is called whenever a transaction begins, so what a rolled-back group added up is gone.
   */
  readonly group?: { reset(): void; flush(db: Db): void };
}

/** An operation that only reads. */
export function read<Params, Answer>(run: (db: Db, params: Params, nowMs: number) => Answer): SqliteOp<Params, Answer> {
  return { writes: false, grows: false, run };
}

/** An operation that writes, and must be possible on a full disk too as far as it can: it ends, moves or removes something. */
export function write<Params, Answer>(
  run: (db: Db, params: Params, nowMs: number) => Answer,
): SqliteOp<Params, Answer> {
  return { writes: true, grows: false, run };
}

/** An operation that adds to the file. */
export function grow<Params, Answer>(run: (db: Db, params: Params, nowMs: number) => Answer): SqliteOp<Params, Answer> {
  return { writes: true, grows: true, run };
}
