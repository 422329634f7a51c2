/** The quarantine of one process, in memory: the reference of the contract. What it keeps is lost with the process. */
import { type Clock, systemClock } from "../kit/clock.ts";
import { ClosedError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { limitsOf, type QuarantineLimits } from "./limits.ts";
import type { NewQuarantined, Quarantine, Quarantined } from "./quarantine.ts";
import { checkPage, idOf, type KeptRecord, keep, numberOf, recordOf, sha256Of } from "./record.ts";
import { makeRoom, type Shelf, tellDropped } from "./room.ts";

export interface MemoryQuarantineOptions {
  readonly limits?: Partial<QuarantineLimits>;
  /** Told when something must make room. */
  readonly log?: Pick<Logger, "warn">;
  readonly clock?: Clock;
}

/** @throws {InvalidInputError} a limit is wrong */
export function openMemoryQuarantine(options: MemoryQuarantineOptions = {}): MemoryQuarantine {
  return new MemoryQuarantine(options);
}

interface Row {
  readonly arrivedMs: number;
  readonly kept: KeptRecord;
}

export class MemoryQuarantine implements Quarantine {
  readonly #limits: QuarantineLimits;
  readonly #log: Pick<Logger, "warn"> | undefined;
  readonly #clock: Clock;
  readonly #rows = new Rows();
  #dropped = { records: 0, bodies: 0 };
  #open = true;

  constructor(options: MemoryQuarantineOptions) {
    this.#limits = limitsOf(options.limits);
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
  }

  async add(message: NewQuarantined): Promise<string> {
    this.#checkOpen();
    const n = this.#rows.add({ arrivedMs: this.#clock.wallMs(), kept: keep(message, this.#limits) });
    const { records, bodies } = makeRoom(this.#rows, this.#limits, n);
    this.#dropped = { records: this.#dropped.records + records, bodies: this.#dropped.bodies + bodies };
    tellDropped(this.#log, { records, bodies }, this.#dropped, this.#limits);
    return idOf(n);
  }

  async list(options: { readonly limit: number; readonly before?: string }): Promise<Quarantined[]> {
    this.#checkOpen();
    const before = checkPage(options);
    const newestFirst = this.#rows.numbers.filter((n) => n < before).reverse();
    return newestFirst.slice(0, options.limit).flatMap((n) => this.#read(n) ?? []);
  }

  async get(id: string): Promise<Quarantined | undefined> {
    this.#checkOpen();
    const n = numberOf(id);
    return n === undefined ? undefined : this.#read(n);
  }

  async drop(id: string): Promise<boolean> {
    this.#checkOpen();
    const n = numberOf(id);
    return n !== undefined && this.#rows.dropRecord(n);
  }

  async count(): Promise<number> {
    this.#checkOpen();
    return this.#rows.records;
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  #read(n: number): Quarantined | undefined {
    const row = this.#rows.get(n);
    return row === undefined ? undefined : recordOf(n, row.arrivedMs, row.kept);
  }

  #checkOpen(): void {
    if (!this.#open) throw new ClosedError("the quarantine was closed: open it again");
  }
}

/** By number, oldest first. */
class Rows implements Shelf {
  readonly #rows = new Map<number, Row>();
  /** Of which some of the body is kept. */
  readonly #withBody = new Set<number>();
  #last = 0;
  bytes = 0;

  get records(): number {
    return this.#rows.size;
  }

  get numbers(): number[] {
    return [...this.#rows.keys()];
  }

  get(n: number): Row | undefined {
    return this.#rows.get(n);
  }

  add(row: Row): number {
    this.#last += 1;
    this.#rows.set(this.#last, row);
    if (row.kept.body.byteLength > 0) this.#withBody.add(this.#last);
    this.bytes += bytesOf(row);
    return this.#last;
  }

  oldest(): number | undefined {
    return this.#rows.keys().next().value;
  }

  oldestBody(): number | undefined {
    return this.#withBody.keys().next().value;
  }

  dropRecord(n: number): boolean {
    const row = this.#rows.get(n);
    if (row === undefined) return false;
    this.#rows.delete(n);
    this.#withBody.delete(n);
    this.bytes -= bytesOf(row);
    return true;
  }

  dropBody(n: number): void {
    const row = this.#rows.get(n);
    if (row === undefined) return;
    const { body, sha256 } = row.kept;
    this.#withBody.delete(n);
    this.bytes -= body.byteLength;
    // In place: a key that a Map knows keeps its turn.
    this.#rows.set(n, { ...row, kept: { ...row.kept, body: new Uint8Array(0), sha256: sha256 ?? sha256Of(body) } });
  }
}

function bytesOf({ kept }: Row): number {
  return kept.meta.length + kept.body.byteLength;
}
