/**
 * Group commit. The operations that wait when the thread is free run in one transaction, and share its fsync; while it commits,
 * the next ones gather. Each is atomic by itself: a group in which one fails is rolled back, and its operations run one by one.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { systemClock } from "../kit/clock.ts";
import { LovageError, messageOf, OutcomeUnknownError } from "../kit/errors.ts";
import { StoreCorruptError, StoreFullError } from "../kit/store-errors.ts";
import type { Call } from "./channel.ts";
import type { Connection } from "./connection.ts";
import type { Failure, FailureCode } from "./errors.ts";
import type { Holder } from "./holder.ts";
import { sqliteCode } from "./lock-wait.ts";
import type { SqliteOp, SqliteTables } from "./tables.ts";

/** Larger groups do not make an fsync cheaper, and keep everybody waiting. */
const GROUP_BYTES = 256 * 1024;
const GROUP_CALLS = 2_000;
/**
 * Free space below which what adds to the file is refused: room for the log of what settles, cancels and cleans up (8 MiB until it
 * is begun again), and for the file to take the log in.
 */
const RESERVE_BYTES = 16 * 1024 * 1024;
/** How often the free space is looked at. */
const LOOK_MS = 10;

const SQLITE_IOERR = 10;
const SQLITE_FULL = 13;

interface Op {
  readonly op: SqliteOp<unknown, unknown>;
  /** Index of its tables in `#groups`; -1 when they add up nothing. */
  readonly group: number;
}

export interface GroupAnswer {
  readonly answers: unknown[];
  readonly failures: [number, Failure][];
}

export class Groups {
  readonly #holder: Holder;
  readonly #ops: Op[] = [];
  readonly #groups: NonNullable<SqliteTables["group"]>[] = [];
  #lookedMs = Number.NEGATIVE_INFINITY;
  #wasFull = false;

  constructor(holder: Holder) {
    this.#holder = holder;
  }

  /** Take in the operations of `tables`; answers the index of the first. */
  add(tables: SqliteTables): number {
    const base = this.#ops.length;
    const group = tables.group === undefined ? -1 : this.#groups.push(tables.group) - 1;
    for (const op of Object.values(tables.ops)) this.#ops.push({ op, group });
    return base;
  }

  /** How many of the calls, from `from` on, make the next group: at least one. */
  sizeOf(calls: readonly Call[], from: number): number {
    let bytes = 0;
    let count = 0;
    while (from + count < calls.length && count < GROUP_CALLS) {
      bytes += calls[from + count]?.[3] ?? 0;
      if (count > 0 && bytes > GROUP_BYTES) break;
      count += 1;
    }
    return count;
  }

  /** Run them, and commit. Never throws. */
  run(calls: readonly Call[]): GroupAnswer {
    const out: GroupAnswer = { answers: new Array(calls.length), failures: [] };
    try {
      if (this.#runTogether(calls, out)) return out;
    } catch (thrown) {
      return failAll(calls, thrown);
    }
    for (let i = 0; i < calls.length; i++) this.#runAlone(calls[i] as Call, i, out);
    return out;
  }

  /** False: rolled back because one of them failed; which one, running them alone tells. Throws when all have failed. */
  #runTogether(calls: readonly Call[], out: GroupAnswer): boolean {
    const connection = this.#holder.use();
    const writes = calls.some((call) => this.#opOf(call).op.writes);
    if (calls.some((call) => this.#opOf(call).op.grows) && this.#isNearlyFull()) {
      if (calls.length > 1) return false;
      throw nearlyFull(this.#holder.path);
    }
    this.#begin(connection, writes);
    try {
      const nowMs = systemClock.wallMs();
      for (let i = 0; i < calls.length; i++) {
        const call = calls[i] as Call;
        out.answers[i] = this.#opOf(call).op.run(connection, call[1], call[2] ?? nowMs);
      }
      for (const group of this.#groups) group.flush(connection);
    } catch (thrown) {
      connection.rollback();
      this.#afterError(connection, thrown);
      if (calls.length === 1) throw connection.errorOf(thrown, "used");
      return false;
    }
    try {
      connection.unlocked(() => connection.commit());
      return true;
    } catch (thrown) {
      connection.rollback();
      this.#afterError(connection, thrown);
      // The frames were written, and then not synced, or not wholly: only the reopened file knows what of them stands.
      if (writes && sqliteCode(thrown) === SQLITE_IOERR)
        throw new OutcomeUnknownError("the commit", undefined, { cause: thrown });
      if (calls.length > 1) return false;
      throw connection.errorOf(thrown, "written");
    }
  }

  #runAlone(call: Call, index: number, out: GroupAnswer): void {
    try {
      const alone: GroupAnswer = { answers: [undefined], failures: [] };
      this.#runTogether([call], alone);
      out.answers[index] = alone.answers[0];
    } catch (thrown) {
      out.answers[index] = undefined;
      out.failures.push([index, failureOf(thrown)]);
    }
  }

  #begin(connection: Connection, writes: boolean): void {
    for (const group of this.#groups) group.reset();
    try {
      if (writes) connection.unlocked(() => connection.begin());
      else connection.beginRead();
    } catch (thrown) {
      this.#afterError(connection, thrown);
      throw connection.errorOf(thrown, writes ? "written" : "read");
    }
  }

  #afterError(connection: Connection, thrown: unknown): void {
    const code = sqliteCode(thrown);
    const error = connection.errorOf(thrown, "used");
    if (code === SQLITE_IOERR || error instanceof StoreCorruptError) this.#holder.poison(error);
    // A full disk may leave room in the log once it starts again from its beginning.
    else if (code === SQLITE_FULL) this.#restartLog(connection);
  }

  #restartLog(connection: Connection): void {
    try {
      connection.checkpoint("PASSIVE");
    } catch {
      // It does not fit either: the calls say so one by one.
    }
  }

  #isNearlyFull(): boolean {
    // Not before each of five thousand commits a second: what they can write meanwhile is a small part of the reserve.
    const nowMs = systemClock.monoMs();
    if (!this.#wasFull && nowMs - this.#lookedMs < LOOK_MS) return false;
    this.#lookedMs = nowMs;
    this.#wasFull = this.#isNearlyFullNow();
    return this.#wasFull;
  }

  #isNearlyFullNow(): boolean {
    try {
      const { bavail, bsize } = statfsSync(dirname(this.#holder.path));
      return bavail * bsize < RESERVE_BYTES;
    } catch {
      return false; // a file system that does not say; SQLite will
    }
  }

  #opOf(call: Call): Op {
    return this.#ops[call[0]] as Op;
  }
}

function nearlyFull(path: string): StoreFullError {
  return new StoreFullError(
    `${path} takes nothing new: less than ${RESERVE_BYTES / 1024 / 1024} MiB are free on its disk; free some space and try again`,
  );
}

function failAll(calls: readonly Call[], thrown: unknown): GroupAnswer {
  const failure = failureOf(thrown);
  return { answers: new Array(calls.length), failures: calls.map((_, index) => [index, failure]) };
}

/** As it crosses to the other side. */
export function failureOf(thrown: unknown): Failure {
  const cause = thrown instanceof Error && thrown.cause !== undefined ? { cause: messageOf(thrown.cause) } : {};
  if (thrown instanceof LovageError) return { code: thrown.code as FailureCode, message: thrown.message, ...cause };
  return { code: "ERR_STORE_OPERATION", message: messageOf(thrown), ...cause };
}
