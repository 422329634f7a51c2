/** The quarantine in the embedded file. Bodies stand apart, so that records can be walked without them. Runs in the file's thread. */
import { type Db, grow, read, type SqliteTables, write } from "../sqlite/tables.ts";
import type { QuarantineLimits } from "./limits.ts";
import { type KeptRecord, sha256Of } from "./record.ts";
import { type Dropped, makeRoom, type Shelf } from "./room.ts";

const migrations = [
  `CREATE TABLE quarantine (
     n INTEGER PRIMARY KEY AUTOINCREMENT, -- the id; never used again
     arrived INTEGER NOT NULL,            -- ms since 1970
     body_bytes INTEGER NOT NULL,         -- as it arrived
     kept_bytes INTEGER NOT NULL,         -- of the body
     meta_chars INTEGER NOT NULL,
     sha256 TEXT,                         -- of the whole body, where not all of it is kept
     meta TEXT NOT NULL                   -- JSON: code, reason, queue, task, taskId, properties, headers
   ) STRICT;
   CREATE TABLE quarantine_bodies (n INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
   CREATE TABLE quarantine_totals (
     n INTEGER PRIMARY KEY CHECK (n = 1),
     records INTEGER NOT NULL,
     bytes INTEGER NOT NULL,
     dropped_records INTEGER NOT NULL,
     dropped_bodies INTEGER NOT NULL
   ) STRICT;
   INSERT INTO quarantine_totals VALUES (1, 0, 0, 0, 0)`,
];

export type RecordRow = readonly [
  n: number,
  arrived: number,
  bodyBytes: number,
  sha256: string | null,
  meta: string,
  body: Uint8Array | null,
];

export interface AddParams {
  readonly kept: KeptRecord;
  readonly limits: QuarantineLimits;
}

export interface Added {
  readonly n: number;
  readonly now: Dropped;
  /** Since the file was made. */
  readonly inAll: Dropped;
}

/** About what one answer holds; a page is made of as many as it needs. */
const ANSWER_BYTES = 4 * 1024 * 1024;

const COLUMNS = `n, arrived, body_bytes, sha256, meta,
  (SELECT body FROM quarantine_bodies WHERE quarantine_bodies.n = quarantine.n)`;

function add(db: Db, { kept, limits }: AddParams, nowMs: number): Added {
  const { meta, body, bodyBytes, sha256 } = kept;
  const insert = db.sql(
    "INSERT INTO quarantine (arrived, body_bytes, kept_bytes, meta_chars, sha256, meta) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const n = Number(insert.run(nowMs, bodyBytes, body.byteLength, meta.length, sha256, meta).lastInsertRowid);
  if (body.byteLength > 0) db.sql("INSERT INTO quarantine_bodies (n, body) VALUES (?, ?)").run(n, body);
  const rows = new Rows(db);
  rows.records += 1;
  rows.bytes += meta.length + body.byteLength;
  const now = makeRoom(rows, limits, n);
  return { n, now, inAll: rows.save(now) };
}

function get(db: Db, n: number): RecordRow | null {
  return (db.rows(`SELECT ${COLUMNS} FROM quarantine WHERE n = ?`).get(n) as RecordRow | undefined) ?? null;
}

export interface ListParams {
  readonly before: number;
  readonly limit: number;
}

/** Fewer rows than `limit` do not mean that there are no more: only none does. */
function list(db: Db, { before, limit }: ListParams): RecordRow[] {
  const rows: RecordRow[] = [];
  let bytes = 0;
  const query = db.rows(`SELECT ${COLUMNS} FROM quarantine WHERE n < ? ORDER BY n DESC LIMIT ?`);
  for (const row of query.iterate(before, limit) as unknown as Iterable<RecordRow>) {
    rows.push(row);
    bytes += row[4].length + (row[5]?.byteLength ?? 0);
    if (bytes >= ANSWER_BYTES) break;
  }
  return rows;
}

function drop(db: Db, n: number): boolean {
  const rows = new Rows(db);
  if (!rows.dropRecord(n)) return false;
  rows.save({ records: 0, bodies: 0 });
  return true;
}

function count(db: Db, _: null): number {
  return db.sql("SELECT records FROM quarantine_totals").get()?.records as number;
}

/** The totals, for one operation: read at its beginning, written at its end. */
class Rows implements Shelf {
  records: number;
  bytes: number;
  readonly #db: Db;
  readonly #dropped: Dropped;

  constructor(db: Db) {
    const row = db.sql("SELECT records, bytes, dropped_records, dropped_bodies FROM quarantine_totals").get();
    this.#db = db;
    this.records = row?.records as number;
    this.bytes = row?.bytes as number;
    this.#dropped = { records: row?.dropped_records as number, bodies: row?.dropped_bodies as number };
  }

  oldest(): number | undefined {
    return this.#db.sql("SELECT n FROM quarantine ORDER BY n LIMIT 1").get()?.n as number | undefined;
  }

  oldestBody(): number | undefined {
    return this.#db.sql("SELECT n FROM quarantine_bodies ORDER BY n LIMIT 1").get()?.n as number | undefined;
  }

  dropRecord(n: number): boolean {
    const row = this.#db.sql("SELECT kept_bytes + meta_chars AS bytes FROM quarantine WHERE n = ?").get(n);
    if (row === undefined) return false;
    this.#db.sql("DELETE FROM quarantine_bodies WHERE n = ?").run(n);
    this.#db.sql("DELETE FROM quarantine WHERE n = ?").run(n);
    this.records -= 1;
    this.bytes -= row.bytes as number;
    return true;
  }

  dropBody(n: number): void {
    const row = this.#db.sql("SELECT body FROM quarantine_bodies WHERE n = ?").get(n);
    if (row === undefined) return;
    const body = row.body as Uint8Array;
    this.#db.sql("DELETE FROM quarantine_bodies WHERE n = ?").run(n);
    // One that was cut when it came has its sum already.
    this.#db
      .sql("UPDATE quarantine SET kept_bytes = 0, sha256 = coalesce(sha256, ?) WHERE n = ?")
      .run(sha256Of(body), n);
    this.bytes -= body.byteLength;
  }

  /** Answers what was dropped since the file was made. */
  save(now: Dropped): Dropped {
    const inAll = { records: this.#dropped.records + now.records, bodies: this.#dropped.bodies + now.bodies };
    this.#db
      .sql("UPDATE quarantine_totals SET records = ?, bytes = ?, dropped_records = ?, dropped_bodies = ?")
      .run(this.records, this.bytes, inAll.records, inAll.bodies);
    return inAll;
  }
}

const ops = { add: grow(add), get: read(get), list: read(list), drop: write(drop), count: read(count) };

export const tables: SqliteTables<typeof ops> = { name: "quarantine", url: import.meta.url, migrations, ops };
