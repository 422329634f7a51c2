/** Documents in this process, by task id, with who watches them: what the memory backend keeps, and what rpc has received. */
import { type Expiring, ExpiryQueue } from "./expiry.ts";
import { type PackedResult, sizeOf } from "./packed.ts";
import { Watchers } from "./watchers.ts";

/** A document that is kept. */
export interface Entry extends Expiring {
  readonly taskId: string;
  readonly change: number;
  readonly status: string;
  readonly packed: PackedResult;
}

export class ResultTable {
  /** Of backends that share it. */
  handles = 0;
  readonly watchers = new Watchers();
  readonly #entries = new Map<string, Entry>();
  readonly #expiry = new ExpiryQueue<Entry>();
  #changes = 0;
  #chars = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** About how many characters they take. */
  get chars(): number {
    return this.#chars;
  }

  find(taskId: string, nowMs: number): Entry | undefined {
    const entry = this.#entries.get(taskId);
    return entry === undefined || entry.untilMs <= nowMs ? undefined : entry;
  }

  /** Undefined: a SUCCESS stands, and nothing was changed. */
  put(taskId: string, status: string, packed: PackedResult, expiresMs: number, nowMs: number): Entry | undefined {
    if (this.find(taskId, nowMs)?.status === "SUCCESS") return undefined;
    this.remove(taskId);
    this.#changes += 1;
    const untilMs = expiresMs === 0 ? Number.POSITIVE_INFINITY : nowMs + expiresMs;
    const entry: Entry = { taskId, status, packed, untilMs, change: this.#changes, gone: false };
    this.#entries.set(taskId, entry);
    this.#chars += sizeOf(packed);
    this.#expiry.add(entry);
    return entry;
  }

  remove(taskId: string): void {
    const entry = this.#entries.get(taskId);
    if (entry === undefined) return;
    this.#forget(entry);
    this.#expiry.drop(entry);
  }

  /** Remove the one that has been here for longest; answers which. */
  removeOldest(): Entry | undefined {
    for (const entry of this.#entries.values()) {
      this.remove(entry.taskId);
      return entry;
    }
    return undefined;
  }

  sweep(limit: number, nowMs: number): number {
    let swept = 0;
    while (swept < limit) {
      const entry = this.#expiry.take(nowMs);
      if (entry === undefined) break;
      this.#forget(entry);
      swept += 1;
    }
    return swept;
  }

  isEmpty(nowMs: number): boolean {
    this.sweep(Number.POSITIVE_INFINITY, nowMs);
    return this.#entries.size === 0;
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.taskId);
    this.#chars -= sizeOf(entry.packed);
  }
}
