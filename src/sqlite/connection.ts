/**
 * The one connection of a process to its file: opened with care, refused with a reason. Runs in the file's thread.
 *
 * A file that is damaged, that another program made, or that a newer Lovage made is refused and left as it is: an empty file in its
 * place would silently lose what was promised.
 */
import { statSync } from "node:fs";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { systemClock } from "../kit/clock.ts";
import { LovageError, messageOf } from "../kit/errors.ts";
import {
  StoreCorruptError,
  StoreFullError,
  StoreOperationError,
  StorePathError,
  StoreSchemaError,
  StoreUnavailableError,
} from "../kit/store-errors.ts";
import type { Durability } from "./channel.ts";
import { hasWalResetBug, loadSqlite, sqliteVersion } from "./engine.ts";
import { sqliteCode, untilUnlocked } from "./lock-wait.ts";
import { preparePlace } from "./place.ts";
import type { Db, SqliteTables } from "./tables.ts";

/** "Lovg": in the header of every file of ours. */
const APPLICATION_ID = 0x4c6f7667;
/** In KiB. Counts into the process's memory whatever the number of rows, so it stays small. */
const CACHE_KIB = 6 * 1024;
/** Pages in the log from which a commit also checkpoints. */
const CHECKPOINT_PAGES = 2_000;
/** The log is cut back to this when it is reset. */
const WAL_LIMIT_BYTES = 64 * 1024 * 1024;
/** A file up to this size is checked whole when it is opened; it takes some 10 ms. */
const CHECKED_BYTES = 4 * 1024 * 1024;

const SQLITE_PERM = 3;
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_PROTOCOL = 15;
const SQLITE_NOTADB = 26;

export interface ConnectionOptions {
  readonly path: string;
  readonly durability: Durability;
  readonly lockWaitMs: number;
  /** False: a file that is not there is an error. True: it is made. */
  readonly create: boolean;
  /** Check the whole file, whatever its size, and bring all of the log into it: after an I/O error. */
  readonly suspicious: boolean;
}

export class Connection implements Db {
  /** What the operator should know, one line each. */
  readonly notes: string[] = [];
  /** Checkpoints must hold the write lock: see `engine.ts`. */
  readonly checkpointsLocked: boolean;
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #lockWaitMs: number;
  readonly #statements = new Map<string, StatementSync>();
  readonly #arrays = new Map<string, StatementSync>();
  readonly #inode: number;

  /** @throws {StorePathError} {StoreCorruptError} {StoreSchemaError} {StoreUnavailableError} {StoreFullError} */
  constructor(options: ConnectionOptions) {
    this.#path = options.path;
    this.#lockWaitMs = options.lockWaitMs;
    const note = preparePlace(options.path, options.create);
    if (note !== undefined) this.notes.push(note);
    try {
      const { DatabaseSync: Database } = loadSqlite();
      this.#db = this.unlocked(() => new Database(options.path, { timeout: 0, enableForeignKeyConstraints: false }));
    } catch (thrown) {
      throw this.errorOf(thrown, "opened");
    }
    try {
      const version = this.unlocked(() => sqliteVersion(this.#db));
      this.checkpointsLocked = hasWalResetBug(version);
      if (this.checkpointsLocked) {
        this.notes.push(
          `SQLite ${version} of this Node has the WAL-reset bug; Lovage works around it, but a Node with SQLite 3.51.3 or later is safer`,
        );
      }
      this.#setUp(options);
      this.#inode = statSync(options.path).ino;
    } catch (thrown) {
      this.close();
      throw this.errorOf(thrown, "opened");
    }
  }

  sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  rows(text: string): StatementSync {
    let statement = this.#arrays.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      statement.setReturnArrays(true);
      this.#arrays.set(text, statement);
    }
    return statement;
  }

  exec(text: string): void {
    this.#db.exec(text);
  }

  begin(): void {
    this.sql("BEGIN IMMEDIATE").run();
  }

  commit(): void {
    this.sql("COMMIT").run();
  }

  /** Run `attempt` again and again while another process holds the lock. */
  unlocked<T>(attempt: () => T): T {
    return untilUnlocked(systemClock, this.#lockWaitMs, attempt);
  }

  /** Changes whenever another connection commits, and never by our own commits. */
  dataVersion(): number {
    return Number(this.sql("PRAGMA data_version").get()?.data_version);
  }

  /** False: what stands under our path is another file, or none; a commit would go where nobody looks. */
  isInPlace(): boolean {
    return statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  setDurability(durability: Durability): void {
    this.exec(`PRAGMA synchronous = ${durability === "strict" ? "FULL" : "NORMAL"}`);
  }

  /** Bring the schema of these tables up to date. @throws {StoreSchemaError} a newer Lovage made them */
  migrate(tables: SqliteTables): void {
    try {
      if (this.#schemaVersion(tables.name) === tables.migrations.length) return;
      this.transaction(() => {
        const version = this.#schemaVersion(tables.name);
        if (version > tables.migrations.length) {
          throw new StoreSchemaError(
            `${this.#path} was written by a newer Lovage (${tables.name} tables of version ${version}, this one knows ${tables.migrations.length}): use that version, or another file`,
          );
        }
        for (const script of tables.migrations.slice(version)) this.exec(script);
        this.sql(
          "INSERT INTO lovage_schema (name, version) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
        ).run(tables.name, tables.migrations.length);
      });
    } catch (thrown) {
      throw this.errorOf(thrown, "brought up to date");
    }
  }

  /** Run `fn` in a write transaction of its own. */
  transaction(fn: () => void): void {
    this.unlocked(() => this.begin());
    try {
      fn();
      this.commit();
    } catch (thrown) {
      this.rollback();
      throw thrown;
    }
  }

  /** Begin to read one state of the file, whatever is committed meanwhile. */
  beginRead(): void {
    this.unlocked(() => {
      this.sql("BEGIN").run();
      try {
        this.sql("PRAGMA schema_version").get(); // the first read is what may find the file locked
      } catch (thrown) {
        this.rollback();
        throw thrown;
      }
    });
  }

  /** Undo the open transaction, if there still is one: SQLite itself ends it on some errors. */
  rollback(): void {
    try {
      if (this.#db.isTransaction) this.exec("ROLLBACK");
    } catch {
      // It could not even do that: the caller poisons or closes the connection.
    }
  }

  /**
   * Bring the log into the file. RESTART: and begin it again, in the space that it has, which a full disk cannot take away;
   * TRUNCATE: and give that space back. False: somebody is still using it.
   */
  checkpoint(mode: "PASSIVE" | "RESTART" | "TRUNCATE"): boolean {
    if (!this.checkpointsLocked || mode === "PASSIVE") return this.#checkpoint(mode);
    // With a busy timeout it waits for the write lock; without, SQLite would fall back to a passive checkpoint.
    this.exec("PRAGMA busy_timeout = 5000");
    try {
      return this.#checkpoint(mode);
    } finally {
      this.exec("PRAGMA busy_timeout = 0");
    }
  }

  close(): void {
    this.#statements.clear();
    this.#arrays.clear();
    try {
      this.#db.close();
    } catch {
      // Closed already, or its last checkpoint failed: the log stays, and the next opener reads it.
    }
  }

  /** Anything that was thrown while the file was being opened, read or written, as one of our errors. */
  errorOf(thrown: unknown, doing: string): LovageError {
    if (thrown instanceof LovageError) return thrown;
    const path = this.#path;
    const options = { cause: thrown };
    const text = oneLine(messageOf(thrown));
    switch (sqliteCode(thrown)) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
      case SQLITE_PROTOCOL:
        return new StoreUnavailableError(
          `${path} could not be ${doing}: another process held its lock for ${this.#lockWaitMs / 1_000} s; try again`,
          options,
        );
      case SQLITE_CORRUPT:
        return new StoreCorruptError(
          `${path} is damaged (${text}): stop all that uses it, keep a copy, and restore a backup or run "sqlite3 FILE .recover"`,
          options,
        );
      case SQLITE_NOTADB:
        return new StoreCorruptError(
          `${path} is not a SQLite database: give another file, or restore a backup of this one`,
          options,
        );
      case SQLITE_FULL:
        return new StoreFullError(
          `${path} could not be ${doing}: the disk is full; free some space and try again`,
          options,
        );
      case SQLITE_PERM:
      case SQLITE_READONLY:
      case SQLITE_CANTOPEN:
        return new StoreUnavailableError(
          `${path} could not be ${doing} (${text}): look at its permissions and those of its directory`,
          options,
        );
      case SQLITE_IOERR:
        return new StoreUnavailableError(
          `${path} could not be ${doing} (${text}): look at the disk and the system's log`,
          options,
        );
      default:
        return new StoreOperationError(`${path} could not be ${doing}: ${text}`, options);
    }
  }

  #setUp(options: ConnectionOptions): void {
    const db = this.#db;
    this.unlocked(() => db.exec("PRAGMA schema_version"));
    this.unlocked(() => this.#refuseForeign());
    const mode = this.unlocked(() => db.prepare("PRAGMA journal_mode = WAL").get()?.journal_mode);
    if (mode !== "wal") {
      throw new StorePathError(
        `${options.path} lies where SQLite cannot keep a write-ahead log (journal mode ${String(mode)}): use a local disk`,
      );
    }
    this.setDurability(options.durability);
    db.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
    db.exec("PRAGMA temp_store = MEMORY");
    db.exec(`PRAGMA journal_size_limit = ${WAL_LIMIT_BYTES}`);
    db.exec(`PRAGMA wal_autocheckpoint = ${this.checkpointsLocked ? 0 : CHECKPOINT_PAGES}`);
    if (options.suspicious || statSync(options.path).size <= CHECKED_BYTES) this.#check();
    if (options.suspicious && !this.#checkpointDurably()) {
      throw new StoreUnavailableError(
        `${options.path} is not yet safe again after an I/O error: another process is using its log`,
      );
    }
    if (this.unlocked(() => this.#refuseForeign()) === "ours") return;
    this.transaction(() => {
      if (this.#refuseForeign() === "ours") return; // another process was faster
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      db.exec("CREATE TABLE lovage_schema (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID, STRICT");
    });
  }

  #refuseForeign(): "ours" | "new" {
    // In this order: another process writes both in one transaction, so an object that is seen here has its id by then.
    const objects = this.#db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.n;
    const id = Number(this.#db.prepare("PRAGMA application_id").get()?.application_id);
    if (id === APPLICATION_ID) return "ours";
    if (id === 0 && objects === 0) return "new";
    throw new StoreSchemaError(`${this.#path} is the database of another program: give Lovage a file of its own`);
  }

  #check(): void {
    const verdict = this.unlocked(() => this.#db.prepare("PRAGMA quick_check(1)").get()?.quick_check);
    if (verdict === "ok") return;
    throw new StoreCorruptError(
      `${this.#path} is damaged (${oneLine(String(verdict))}): stop all that uses it, keep a copy, and restore a backup or run "sqlite3 FILE .recover"`,
    );
  }

  /**
   * After a failed fsync the system takes what it could not write for written: reading it proves nothing. So all of the log
   * is written once more, into the file, under an fsync that succeeds.
   */
  #checkpointDurably(): boolean {
    return this.checkpoint("TRUNCATE");
  }

  #checkpoint(mode: string): boolean {
    const row = this.#db.prepare(`PRAGMA wal_checkpoint(${mode})`).get();
    return row?.busy === 0 && row.log === row.checkpointed;
  }

  #schemaVersion(name: string): number {
    return this.unlocked(() =>
      Number(this.sql("SELECT version FROM lovage_schema WHERE name = ?").get(name)?.version ?? 0),
    );
  }
}

/** SQLite tells of damage in several lines. */
function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, "; ");
}
