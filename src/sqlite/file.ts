/**
 * The embedded file, as everything outside its thread sees it: operations are asked for, and their answers awaited.
 *
 * One thread, with one connection, for each file in a process, shared by all that open it: so the schedule, the broker and the
 * results of a worker share group commits, and no one waits for a lock that its own process holds. What is asked in one turn
 * of the event loop travels as one message and commits as one group.
 *
 * The thread keeps the process alive only while an answer is awaited. `process.exit` waits for what was asked, for up to 2 s.
 */
import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { ClosedError, InvalidInputError } from "../kit/errors.ts";
import type { Durability } from "./channel.ts";
import { type NoteLog, type SharedThread, threadOf } from "./shared-thread.ts";
import type { AnswerOf, ParamsOf, SqliteOps, SqliteTables } from "./tables.ts";

export interface SqliteFileOptions {
  /** What is kept in the file; more can be added by whoever opens it too. */
  readonly tables: readonly SqliteTables[];
  /** Default "strict". Of several openers in a process the strictest counts. */
  readonly durability?: Durability;
  /** How long to wait for another process's lock, ms. Default 10,000. The first opener in a process decides. */
  readonly lockWaitMs?: number;
  readonly log?: NoteLog;
}

export interface CallOptions {
  /** The caller's clock, where it is not the machine's (tests). */
  readonly nowMs?: number;
  /** About how much the operation writes; groups are capped by it. Default 256. */
  readonly bytes?: number;
}

/** The operations of one set of tables. */
export interface SqliteCaller<Ops extends SqliteOps> {
  /**
   * @throws {OutcomeUnknownError} it may or may not have been done
   * @throws {StoreUnavailableError} {StoreFullError} {StoreCorruptError} {StoreOperationError} {ClosedError} it was not done
   */
  call<Name extends keyof Ops & string>(
    op: Name,
    params: ParamsOf<Ops[Name]>,
    options?: CallOptions,
  ): Promise<AnswerOf<Ops[Name]>>;
}

export interface SqliteFile {
  /** Absolute, without symbolic links. */
  readonly path: string;
  readonly durability: Durability;
  /** Its thread has failed: nothing can be asked of this opening any more. Open the file again. */
  readonly isLost: boolean;
  /** @throws {InvalidInputError} these tables were not among those it was opened with */
  use<Ops extends SqliteOps>(tables: SqliteTables<Ops>): SqliteCaller<Ops>;
  /** Called when another process committed something, within 50 ms; a hint. Answers how to stop. */
  onChange(listener: () => void): () => void;
  /** Finish what was asked; the last one to close ends the thread. Twice is once. */
  close(): Promise<void>;
}

const DEFAULT_LOCK_WAIT_MS = 10_000;
const DEFAULT_BYTES = 256;
/**
 * Open the file, and make it if it is not there; its directory must be.
 *
 * @throws {StorePathError} {StoreCorruptError} {StoreSchemaError} {StoreUnavailableError} {StoreFullError} it is left as it is
 */
export async function openSqliteFile(path: string, options: SqliteFileOptions): Promise<SqliteFile> {
  if (path === "" || path.includes("\0")) {
    throw new InvalidInputError(`the path of a file must be given, not ${JSON.stringify(path)}`);
  }
  const durability = options.durability ?? "strict";
  const thread = threadOf(realPath(path), durability, options.lockWaitMs ?? DEFAULT_LOCK_WAIT_MS);
  await thread.join({ tables: options.tables, durability, log: options.log });
  return new Handle(thread, options.log);
}

/** One opening of the file. */
class Handle implements SqliteFile {
  readonly #thread: SharedThread;
  readonly #log: NoteLog | undefined;
  readonly #stops = new Set<() => void>();
  #closing: Promise<void> | undefined;

  constructor(thread: SharedThread, log: NoteLog | undefined) {
    this.#thread = thread;
    this.#log = log;
  }

  get path(): string {
    return this.#thread.path;
  }

  get durability(): Durability {
    return this.#thread.durability;
  }

  get isLost(): boolean {
    return this.#closing === undefined && this.#thread.ended;
  }

  use<Ops extends SqliteOps>(tables: SqliteTables<Ops>): SqliteCaller<Ops> {
    const ops = this.#thread.opsOf(tables.url);
    if (ops === undefined) throw new InvalidInputError(`${this.path} was not opened with the ${tables.name} tables`);
    return {
      call: (name, params, options) => {
        const op = ops.get(name);
        if (this.#closing !== undefined) return Promise.reject(new ClosedError(`${this.path} was closed`));
        if (op === undefined)
          return Promise.reject(new InvalidInputError(`the ${tables.name} tables have no operation ${name}`));
        // The thread gives back what the operation of this name answers.
        return this.#thread.call(
          op,
          params,
          options?.nowMs,
          options?.bytes ?? DEFAULT_BYTES,
          `${tables.name}.${name}`,
        ) as Promise<never>;
      },
    };
  }

  onChange(listener: () => void): () => void {
    if (this.#closing !== undefined) return () => undefined;
    const stop = this.#thread.listen(listener);
    this.#stops.add(stop);
    return () => {
      if (this.#stops.delete(stop)) stop();
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const stop of this.#stops) stop();
    this.#stops.clear();
    await this.#thread.leave(this.#log);
  }
}

/** The path that the system knows the file by: two names of one file must share a thread. */
function realPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    // Not there yet. Its directory may be reached by a link; one that is missing is reported when it is opened.
  }
  try {
    return join(realpathSync(dirname(absolute)), basename(absolute));
  } catch {
    return absolute;
  }
}
