/**
 * Holds tasks to their rate: a token bucket of one token for each task type of this worker, and those that wait for a token in the order they
 * came (PROTOCOL 12.5). What waits here holds its message but no slot, and stands in nobody else's way.
 */
import type { Clock, Timeout } from "../kit/clock.ts";
import { Fifo } from "../kit/fifo.ts";

/** How soon it is noticed that one which waits is not to run any more: it holds its message no longer. */
const LOOK_MS = 1_000;

interface Bucket<T> {
  perSecond: number;
  /** At most one. */
  tokens: number;
  /** When `tokens` was right, by the monotonic clock, ms. */
  atMs: number;
  readonly waiting: Fifo<T>;
  timeout: Timeout | undefined;
}

export class RateLimits<T> {
  readonly #clock: Clock;
  readonly #go: (item: T) => void;
  readonly #isUnwanted: (item: T) => boolean;
  readonly #buckets = new Map<string, Bucket<T>>();

  /**
   * @param go called with each when it has its token
   * @param isUnwanted it is not to run any more: it goes within a second, without a token
   */
  constructor(clock: Clock, go: (item: T) => void, isUnwanted: (item: T) => boolean = () => false) {
    this.#clock = clock;
    this.#go = go;
    this.#isUnwanted = isUnwanted;
  }

  /** How many wait for a token, of all tasks. */
  get waiting(): number {
    let count = 0;
    for (const { waiting } of this.#buckets.values()) count += waiting.length;
    return count;
  }

  /** Go when the rate allows: now, if nothing is said of the task. */
  add(task: string, item: T): void {
    const bucket = this.#buckets.get(task);
    if (bucket === undefined) {
      this.#go(item);
      return;
    }
    bucket.waiting.push(item);
    this.#serve(bucket);
  }

  /** Take a token now, past nobody who waits. False: there is none. True as well where nothing is said of the task. */
  take(task: string): boolean {
    const bucket = this.#buckets.get(task);
    if (bucket === undefined) return true;
    this.#refill(bucket);
    if (bucket.waiting.length > 0 || bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  /** From now on so many a second; undefined: as many as come. What waits follows the new rate. */
  set(task: string, perSecond: number | undefined): void {
    const bucket = this.#buckets.get(task);
    if (perSecond === undefined) {
      this.#buckets.delete(task);
      bucket?.timeout?.cancel();
      for (let each = bucket?.waiting.shift(); each !== undefined; each = bucket?.waiting.shift()) this.#go(each);
    } else if (bucket === undefined) {
      const atMs = this.#clock.monoMs();
      this.#buckets.set(task, { perSecond, tokens: 1, atMs, waiting: new Fifo(), timeout: undefined });
    } else {
      this.#refill(bucket);
      bucket.perSecond = perSecond;
      bucket.timeout?.cancel();
      bucket.timeout = undefined;
      this.#serve(bucket);
    }
  }

  /** Take out all that wait. */
  drain(): T[] {
    const left: T[] = [];
    for (const bucket of this.#buckets.values()) {
      bucket.timeout?.cancel();
      bucket.timeout = undefined;
      for (let each = bucket.waiting.shift(); each !== undefined; each = bucket.waiting.shift()) left.push(each);
    }
    return left;
  }

  #serve(bucket: Bucket<T>): void {
    if (bucket.timeout !== undefined) return;
    this.#dropUnwanted(bucket);
    this.#refill(bucket);
    while (bucket.tokens >= 1) {
      const next = bucket.waiting.shift();
      if (next === undefined) return;
      bucket.tokens -= 1;
      this.#go(next);
    }
    if (bucket.waiting.length === 0) return;
    const untilTokenMs = Math.ceil(((1 - bucket.tokens) / bucket.perSecond) * 1_000);
    bucket.timeout = this.#clock.timeout(
      () => {
        bucket.timeout = undefined;
        this.#serve(bucket);
      },
      Math.min(untilTokenMs, LOOK_MS),
    );
  }

  /** They take no token, and do not wait for one. */
  #dropUnwanted(bucket: Bucket<T>): void {
    const all = [...bucket.waiting];
    if (!all.some(this.#isUnwanted)) return;
    bucket.waiting.clear();
    for (const each of all) {
      if (this.#isUnwanted(each)) this.#go(each);
      else bucket.waiting.push(each);
    }
  }

  #refill(bucket: Bucket<T>): void {
    const nowMs = this.#clock.monoMs();
    // What a timeout is early by must not cost a whole round.
    const filled = bucket.tokens + ((nowMs - bucket.atMs) / 1_000) * bucket.perSecond;
    bucket.tokens = Math.min(1, Math.round(filled * 1e9) / 1e9);
    bucket.atMs = nowMs;
  }
}
