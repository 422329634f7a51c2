/**
 * How often one of many workers may ask the store for work. Pure: it is told the time.
 *
 * Every worker of a fleet knows when the next callback is due, so each would claim at that moment, and all but one in vain. No
 * worker is told what the others did, and none leads. Instead the fleet has a budget, of which each worker takes its share: with W
 * workers on the same queues, a token bucket that fills at BUDGET / W a second. A claim that brings something costs one token, one in vain
 * costs several, and one that filled every slot is free: such a worker comes back in the turn in which it settles, so its
 * claims cost the store no trip of their own, and never bring nothing. So whatever W is, a fleet makes at most BUDGET useful claims a second (beside the
 * free ones), or BUDGET / IN_VAIN in vain. A worker alone is never held back. (docs/decisions/fleet.md)
 */
import type { Random } from "../../kit/backoff.ts";

/** Tokens a second, of all workers together. */
const BUDGET = 400;
/** What a claim costs that another worker was faster than. */
const IN_VAIN = 3;
/** Tokens that a quiet worker saves up, so that what is due now and then is claimed on the millisecond. */
const BURST = 10;
/** So many of a quiet fleet come at one moment. */
const AT_ONCE = 8;
/** How much faster or slower than its share the bucket fills, drawn anew with each claim: workers that woke together drift apart. */
const JITTER = 0.3;

export class ClaimPace {
  readonly #random: Random;
  #workers = 1;
  #level = BURST;
  #perMs = 0;
  #filledMs = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** How many live workers serve these queues, this one counted; undefined: not known, and taken for one. */
  setWorkers(workers: number | undefined, nowMs: number): void {
    this.#fill(nowMs);
    this.#workers = Math.max(1, workers ?? 1);
    this.#draw();
  }

  /**
   * Something is due now: how long to wait before it is claimed, ms. Of quiet workers, whose buckets are all full, some come at once and the
   * others one by one behind them: should all come, all but one would come in vain, and then all would have to wait.
   */
  stepBackMs(nowMs: number): number {
    if (this.#workers <= AT_ONCE) return 0;
    this.#fill(nowMs);
    if (this.#level < BURST || this.#random() < AT_ONCE / this.#workers) return 0;
    return Math.ceil((this.#random() * this.#workers * 1_000) / BUDGET);
  }

  /** How long to wait before the store may be asked, ms; 0: now. */
  waitMs(nowMs: number): number {
    if (this.#workers === 1) return 0;
    this.#fill(nowMs);
    // No debt is enough: what the next claim costs is known afterwards.
    return this.#level >= 0 ? 0 : Math.max(1, Math.ceil(-this.#level / this.#perMs));
  }

  /** A claim brought so many of the `limit` that were asked for. */
  claimed(found: number, limit: number, nowMs: number): void {
    if (found < limit) this.#pay(found > 0 ? 1 : IN_VAIN, nowMs);
  }

  /** The store was asked what comes next. */
  looked(nowMs: number): void {
    this.#pay(1, nowMs);
  }

  #pay(cost: number, nowMs: number): void {
    if (this.#workers === 1) return;
    this.#fill(nowMs);
    this.#level -= cost;
    this.#draw();
  }

  #fill(nowMs: number): void {
    this.#level = Math.min(BURST, this.#level + Math.max(0, nowMs - this.#filledMs) * this.#perMs);
    this.#filledMs = nowMs;
  }

  #draw(): void {
    const share = BUDGET / 1_000 / this.#workers;
    this.#perMs = share * (1 - JITTER + 2 * JITTER * this.#random());
  }
}
