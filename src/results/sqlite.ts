/**
 * The results in the embedded file: every process of the machine may open it.
 *
 * A watch hears of a change in three ways. A store of this process tells it directly. A commit of another process is a notice of the file,
 * answered by one question for all that is watched here. And because a notice is a hint, the same question is asked once a second,
 * while something is watched. Changes have numbers (`watchers.ts`), so each is told once, whichever way is first.
 */
import { type Clock, systemClock, type Timeout } from "../kit/clock.ts";
import { ClosedError, messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { ResultDocument } from "../protocol/result.ts";
import { openSqliteFile, type SqliteCaller, type SqliteFile } from "../sqlite/file.ts";
import type { ResultBackend } from "./backend.ts";
import { checkStore, checkSweep, checkTaskId } from "./check.ts";
import { packResult, sizeOf, unpackResult } from "./packed.ts";
import { type ResultRow, tables } from "./sqlite-tables.ts";
import { type Watch, Watchers } from "./watchers.ts";

export interface SqliteResultsOptions {
  /** Default "strict". */
  readonly durability?: "strict" | "process";
  readonly log?: Pick<Logger, "warn">;
  /** Default: the machine's, read in the file's thread when the operation has its lock. */
  readonly clock?: Clock;
}

/** @throws {StorePathError} {StoreCorruptError} {StoreSchemaError} {StoreUnavailableError} {StoreFullError} the file is left as it is */
export async function openSqliteResults(path: string, options: SqliteResultsOptions = {}): Promise<SqliteResults> {
  const file = await openSqliteFile(path, {
    tables: [tables],
    durability: options.durability ?? "strict",
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  return new SqliteResults(file, options);
}

/** What a document takes beside its texts. */
const ROW_BYTES = 128;
/** Rows that one step of a sweep removes: others get their turn between two steps. */
const SWEEP_STEP = 50;
/** How long a change may be missed when a notice is lost. */
const FALLBACK_MS = 1_000;

/** The backends of each file in this process. */
const siblings = new Map<string, Set<SqliteResults>>();

export class SqliteResults implements ResultBackend {
  readonly url: string;
  readonly #file: SqliteFile;
  readonly #ops: SqliteCaller<(typeof tables)["ops"]>;
  readonly #log: Pick<Logger, "warn"> | undefined;
  /** Undefined: the machine's, read in the thread. */
  readonly #clock: Clock | undefined;
  readonly #watchers = new Watchers();
  /** While something is watched. */
  #stopListening: (() => void) | undefined;
  #fallback: Timeout | undefined;
  #reading = false;
  #readAgain = false;
  /** The greatest change in the file when all that is watched was last read. */
  #upTo = 0;
  /** Said once, until it works again. */
  #failing = false;
  #closing: Promise<void> | undefined;

  constructor(file: SqliteFile, options: Pick<SqliteResultsOptions, "log" | "clock"> = {}) {
    this.url = `sqlite:${file.path}`;
    this.#file = file;
    this.#ops = file.use(tables);
    this.#log = options.log;
    this.#clock = options.clock;
    const others = siblings.get(file.path);
    if (others === undefined) siblings.set(file.path, new Set([this]));
    else others.add(this);
  }

  async store(document: ResultDocument, expiresMs: number): Promise<void> {
    this.#checkOpen();
    checkStore(document, expiresMs);
    const { task_id: taskId, status } = document;
    const packed = packResult(document);
    const params = { taskId, success: status === "SUCCESS", expiresMs, packed };
    const n = await this.#ops.call("store", params, { ...this.#now(), bytes: ROW_BYTES + sizeOf(packed) });
    if (n === null) return;
    for (const each of siblings.get(this.#file.path) ?? []) {
      each.#watchers.tell(taskId, n, () => unpackResult(packed));
    }
  }

  async get(taskId: string): Promise<ResultDocument | undefined> {
    this.#checkOpen();
    checkTaskId(taskId);
    const row = await this.#ops.call("get", taskId, this.#now());
    return row === null ? undefined : documentOf(row);
  }

  async watch(taskId: string, onChange: (document: ResultDocument) => void): Promise<{ stop(): void }> {
    this.#checkOpen();
    checkTaskId(taskId);
    const watch = this.#watchers.add(taskId, onChange);
    try {
      // Heard first and read then: what is committed between the two is told twice, and taken once.
      this.#listen();
      const row = await this.#ops.call("get", taskId, this.#now());
      if (row !== null && this.#watchers.has(watch)) watch.tell(row[0], () => documentOf(row));
    } catch (thrown) {
      this.#stop(watch);
      throw thrown;
    }
    return { stop: () => this.#stop(watch) };
  }

  async forget(taskId: string): Promise<void> {
    this.#checkOpen();
    checkTaskId(taskId);
    await this.#ops.call("forget", taskId, this.#now());
  }

  async sweep(limit: number): Promise<number> {
    this.#checkOpen();
    checkSweep(limit);
    let swept = 0;
    while (swept < limit) {
      const step = Math.min(SWEEP_STEP, limit - swept);
      const count = await this.#ops.call("sweep", step, this.#now());
      swept += count;
      if (count < step) break;
    }
    return swept;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const others = siblings.get(this.#file.path);
    others?.delete(this);
    if (others?.size === 0) siblings.delete(this.#file.path);
    this.#watchers.clear();
    this.#unlisten();
    await this.#file.close();
  }

  #stop(watch: Watch): void {
    this.#watchers.remove(watch);
    if (this.#watchers.size === 0) this.#unlisten();
  }

  #listen(): void {
    if (this.#stopListening !== undefined) return;
    this.#stopListening = this.#file.onChange(() => this.#look());
    this.#armFallback();
  }

  #unlisten(): void {
    this.#stopListening?.();
    this.#stopListening = undefined;
    this.#fallback?.cancel();
    this.#fallback = undefined;
  }

  #armFallback(): void {
    this.#fallback = (this.#clock ?? systemClock).timeout(
      () => {
        this.#look();
        this.#armFallback();
      },
      FALLBACK_MS,
      { ref: false },
    );
  }

  /** Look for changes; once more if something was heard while we looked. */
  #look(): void {
    this.#readAgain = true;
    if (this.#reading) return;
    this.#reading = true;
    void this.#read();
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    while (this.#readAgain && this.#watchers.size > 0) {
      this.#readAgain = false;
      try {
        await this.#readOnce();
        this.#failing = false;
      } catch (thrown) {
        // The fallback tries again; whoever waits has a deadline of its own.
        if (this.#closing === undefined && !this.#failing) {
          this.#log?.warn(`Results that are waited for cannot be read for now: ${messageOf(thrown)}`);
        }
        this.#failing = true;
      }
    }
    this.#reading = false;
  }

  async #readOnce(): Promise<void> {
    const taskIds: string[] = [];
    const seen: number[] = [];
    for (const [taskId, change] of this.#watchers.seen()) {
      taskIds.push(taskId);
      seen.push(change);
    }
    const { rows, whole, upTo } = await this.#ops.call("changes", { taskIds, seen, upTo: this.#upTo }, this.#now());
    this.#upTo = upTo;
    for (const [index, row] of rows) this.#watchers.tell(taskIds[index] ?? "", row[0], () => documentOf(row));
    if (!whole) this.#readAgain = true;
  }

  #now(): { nowMs?: number } {
    return this.#clock === undefined ? {} : { nowMs: this.#clock.wallMs() };
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError(`the result backend ${this.url} was closed: open it again`);
  }
}

function documentOf([, ...packed]: ResultRow): ResultDocument {
  return unpackResult(packed);
}
