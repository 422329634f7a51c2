/**
 * The results in the embedded file. Runs in the file's thread.
 *
 * A document that is stored is a new row, and a row's number is never used again: so the number tells changes apart, and one is
 * greater than all before it, also after a document was forgotten and stored anew. Who watches asks for greater numbers than it has seen.
 */
import { type Db, grow, read, type SqliteTables, write } from "../sqlite/tables.ts";
import { type PackedResult, sizeOf } from "./packed.ts";

const migrations = [
  `CREATE TABLE results (
     n INTEGER PRIMARY KEY AUTOINCREMENT,
     task_id TEXT NOT NULL UNIQUE,
     success INTEGER NOT NULL,
     expires INTEGER,                     -- ms since 1970; null: never
     rest TEXT NOT NULL,                  -- JSON: the other fields
     result TEXT NOT NULL,                -- JSON, as it came; so are the next two
     args TEXT,
     kwargs TEXT
   ) STRICT;
   CREATE INDEX results_by_expires ON results (expires) WHERE expires IS NOT NULL`,
];

/** Number of the row, and the document. */
export type ResultRow = readonly [n: number, ...PackedResult];

export interface StoreParams {
  readonly taskId: string;
  readonly success: boolean;
  readonly expiresMs: number;
  readonly packed: PackedResult;
}

/** Removed by each store, so that a file that nobody sweeps does not grow for ever. */
const SWEPT_BY_STORE = 2;
/** About what one answer to a watch holds; the rest is asked for again. */
const ANSWER_CHARS = 4 * 1024 * 1024;

const LIVE = "(expires IS NULL OR expires > ?)";

/** The row's number; null: a SUCCESS stands, and nothing was changed. */
function store(db: Db, { taskId, success, expiresMs, packed }: StoreParams, nowMs: number): number | null {
  const old = db.sql(`SELECT n, success AND ${LIVE} AS stands FROM results WHERE task_id = ?`).get(nowMs, taskId);
  if (old !== undefined) {
    if (old.stands === 1) return null;
    db.sql("DELETE FROM results WHERE n = ?").run(old.n as number);
  }
  const expires = expiresMs === 0 ? null : nowMs + expiresMs;
  const n = db
    .sql("INSERT INTO results (task_id, success, expires, rest, result, args, kwargs) VALUES (?, ?, ?, ?, ?, ?, ?)")
    .run(taskId, success ? 1 : 0, expires, ...packed).lastInsertRowid;
  sweep(db, SWEPT_BY_STORE, nowMs);
  return Number(n);
}

function get(db: Db, taskId: string, nowMs: number): ResultRow | null {
  return findNewer(db, taskId, 0, nowMs) ?? null;
}

/** Two lists of one length: a clone of pairs takes several times as long. */
export interface Watched {
  readonly taskIds: readonly string[];
  readonly seen: readonly number[];
  /** What the last answer said. */
  readonly upTo: number;
}

export interface Changes {
  /** Index in what was asked, and the row. */
  readonly rows: readonly (readonly [index: number, row: ResultRow])[];
  /** False: there may be more; ask again for what was not answered. */
  readonly whole: boolean;
  /** The greatest number so far: while it stands, nothing has changed, and nothing needs to be looked up. */
  readonly upTo: number;
}

/** Of the watched, what has changed since it was seen. */
function changes(db: Db, { taskIds, seen, upTo }: Watched, nowMs: number): Changes {
  const rows: (readonly [number, ResultRow])[] = [];
  // The file is shared with the schedule and the broker: most of its commits change no result.
  const greatest = Number(db.sql("SELECT seq FROM sqlite_sequence WHERE name = 'results'").get()?.seq ?? 0);
  if (greatest === upTo) return { rows, whole: true, upTo };
  let chars = 0;
  for (const [index, taskId] of taskIds.entries()) {
    const row = findNewer(db, taskId, seen[index] ?? 0, nowMs);
    if (row === undefined) continue;
    rows.push([index, row]);
    const [, ...packed] = row;
    chars += sizeOf(packed);
    if (chars >= ANSWER_CHARS) return { rows, whole: false, upTo };
  }
  return { rows, whole: true, upTo: greatest };
}

function findNewer(db: Db, taskId: string, seen: number, nowMs: number): ResultRow | undefined {
  const query = `SELECT n, rest, result, args, kwargs FROM results WHERE task_id = ? AND n > ? AND ${LIVE}`;
  return db.rows(query).get(taskId, seen, nowMs) as ResultRow | undefined;
}

function forget(db: Db, taskId: string): null {
  db.sql("DELETE FROM results WHERE task_id = ?").run(taskId);
  return null;
}

function sweep(db: Db, limit: number, nowMs: number): number {
  const old = "SELECT n FROM results WHERE expires <= ? ORDER BY expires LIMIT ?";
  return Number(db.sql(`DELETE FROM results WHERE n IN (${old})`).run(nowMs, limit).changes);
}

const ops = {
  store: grow(store),
  get: read(get),
  changes: read(changes),
  forget: write(forget),
  sweep: write(sweep),
};

export const tables: SqliteTables<typeof ops> = { name: "results", url: import.meta.url, migrations, ops };
