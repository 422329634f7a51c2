/** The quarantine in the embedded file: beside the schedule, so what is refused is kept where what is accepted is. */
import type { Clock } from "../kit/clock.ts";
import { ClosedError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { openSqliteFile, type SqliteCaller, type SqliteFile } from "../sqlite/file.ts";
import { limitsOf, type QuarantineLimits } from "./limits.ts";
import type { NewQuarantined, Quarantine, Quarantined } from "./quarantine.ts";
import { checkPage, idOf, keep, numberOf, recordOf } from "./record.ts";
import { tellDropped } from "./room.ts";
import { type RecordRow, tables } from "./sqlite-tables.ts";

export interface SqliteQuarantineOptions {
  /** Default "strict". */
  readonly durability?: "strict" | "process";
  readonly limits?: Partial<QuarantineLimits>;
  /** Told when something must make room. */
  readonly log?: Pick<Logger, "warn">;
  /** Default: the machine's, read in the file's thread when the operation has its lock. */
  readonly clock?: Clock;
}

/**
 * @throws {InvalidInputError} a limit is wrong
 * @throws {StorePathError} {StoreCorruptError} {StoreSchemaError} {StoreUnavailableError} {StoreFullError} the file is left as it is
 */
export async function openSqliteQuarantine(
  path: string,
  options: SqliteQuarantineOptions = {},
): Promise<SqliteQuarantine> {
  const limits = limitsOf(options.limits);
  const file = await openSqliteFile(path, {
    tables: [tables],
    durability: options.durability ?? "strict",
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  return new SqliteQuarantine(file, limits, options);
}

export class SqliteQuarantine implements Quarantine {
  readonly #file: SqliteFile;
  readonly #ops: SqliteCaller<(typeof tables)["ops"]>;
  readonly #limits: QuarantineLimits;
  readonly #log: Pick<Logger, "warn"> | undefined;
  readonly #clock: Clock | undefined;
  #closing: Promise<void> | undefined;

  constructor(file: SqliteFile, limits: QuarantineLimits, options: Pick<SqliteQuarantineOptions, "log" | "clock">) {
    this.#file = file;
    this.#ops = file.use(tables);
    this.#limits = limits;
    this.#log = options.log;
    this.#clock = options.clock;
  }

  async add(message: NewQuarantined): Promise<string> {
    this.#checkOpen();
    const kept = keep(message, this.#limits);
    const bytes = kept.meta.length + kept.body.byteLength;
    const nowMs = this.#clock === undefined ? {} : { nowMs: this.#clock.wallMs() };
    const { n, now, inAll } = await this.#ops.call("add", { kept, limits: this.#limits }, { ...nowMs, bytes });
    tellDropped(this.#log, now, inAll, this.#limits);
    return idOf(n);
  }

  async list(options: { readonly limit: number; readonly before?: string }): Promise<Quarantined[]> {
    this.#checkOpen();
    let before = checkPage(options);
    const page: Quarantined[] = [];
    while (page.length < options.limit) {
      const rows = await this.#ops.call("list", { before, limit: options.limit - page.length });
      const last = rows.at(-1);
      if (last === undefined) break;
      page.push(...rows.map(read));
      before = last[0];
    }
    return page;
  }

  async get(id: string): Promise<Quarantined | undefined> {
    this.#checkOpen();
    const n = numberOf(id);
    const row = n === undefined ? null : await this.#ops.call("get", n);
    return row === null ? undefined : read(row);
  }

  async drop(id: string): Promise<boolean> {
    this.#checkOpen();
    const n = numberOf(id);
    return n !== undefined && (await this.#ops.call("drop", n));
  }

  async count(): Promise<number> {
    this.#checkOpen();
    return await this.#ops.call("count", null);
  }

  close(): Promise<void> {
    this.#closing ??= this.#file.close();
    return this.#closing;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError("the quarantine was closed: open it again");
  }
}

function read([n, arrivedMs, bodyBytes, sha256, meta, body]: RecordRow): Quarantined {
  return recordOf(n, arrivedMs, { meta, body: body ?? new Uint8Array(0), bodyBytes, sha256 });
}
