/**
 * The schedule of one process, in memory: the reference of the contract, for tests and for programs that need no durability.
 * Each operation is one synchronous step, so it is atomic; what is decided about a row is decided by `rules.ts`.
 */
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { ClosedError } from "../../kit/errors.ts";
import type {
  Callback,
  CallbackState,
  CancelAnswer,
  Claim,
  EndState,
  NewCallback,
  PutAnswer,
  RescheduleAnswer,
  RunEnd,
} from "../callback.ts";
import {
  checkClaiming,
  checkEnd,
  checkLease,
  checkList,
  checkMove,
  checkNewCallbacks,
  checkTarget,
  checkTaskId,
  cursorOf,
  LAST_MS,
  placeOf,
  reasonOf,
} from "../check.ts";
import { LeaseLostError, PendingLimitError } from "../errors.ts";
import { limitsOf } from "../limits.ts";
import { matcherOf } from "../match.ts";
import {
  answerOfCancel,
  answerOfRevoke,
  type Fate,
  fateOfCrash,
  fateOfLoss,
  fateOfRetry,
  fateWhenDue,
  keepMsOf,
  stateOfReleased,
} from "../rules.ts";
import type { Durability, Ended, ListPage, ListQuery, Owner, ScheduleStore, StoreLimits, Target } from "../store.ts";
import { copyOf, MemoryRow } from "./memory-row.ts";
import { MemoryTable } from "./memory-table.ts";
import { Tombstones } from "./tombstones.ts";

export interface MemoryScheduleOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<StoreLimits>;
}

/** What a claim may end or pass over beside what it claims, so that one pass stays short. */
const PASS = 1_000;

export function openMemorySchedule(options: MemoryScheduleOptions = {}): MemoryScheduleStore {
  return new MemoryScheduleStore(options);
}

export class MemoryScheduleStore implements ScheduleStore {
  readonly url = "memory://";
  readonly durability: Durability = "memory";
  readonly #clock: Clock;
  readonly #limits: StoreLimits;
  readonly #table = new MemoryTable();
  readonly #tombstones = new Tombstones();
  readonly #resigned = new Set<string>();
  #made = 0;
  #closed = false;

  constructor(options: MemoryScheduleOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#limits = limitsOf(options.limits);
  }

  async nowMs(): Promise<number> {
    this.#refuseIfClosed();
    return this.#clock.wallMs();
  }

  async put(callbacks: readonly NewCallback[]): Promise<PutAnswer[]> {
    this.#refuseIfClosed();
    checkNewCallbacks(callbacks);
    this.#refuseIfFull(callbacks);
    const nowMs = this.#clock.wallMs();
    return callbacks.map((callback) => this.#putOne(callback, nowMs));
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    this.#refuseIfClosed();
    checkTarget(target);
    const row = this.#table.find(target);
    if (row === undefined) return { answer: "unknown" };
    const answer = answerOfCancel(row.id, row.state);
    this.#cancelRow(row, options.abort === true);
    return answer;
  }

  async reschedule(
    target: Target,
    to: { readonly dueMs: number } | { readonly byMs: number },
  ): Promise<RescheduleAnswer> {
    this.#refuseIfClosed();
    checkTarget(target);
    checkMove(to);
    const row = this.#table.find(target);
    if (row === undefined) return { answer: "unknown" };
    if (row.state !== "scheduled") return { answer: "too_late", id: row.id, state: row.state };
    const dueMs = "dueMs" in to ? to.dueMs : Math.min(Math.max(row.dueMs + to.byMs, -LAST_MS), LAST_MS);
    row.token += 1;
    this.#table.change(row, () => {
      row.dueMs = dueMs;
    });
    return { answer: "rescheduled", id: row.id, dueMs };
  }

  async get(target: Target): Promise<Callback | undefined> {
    this.#refuseIfClosed();
    checkTarget(target);
    return this.#table.find(target)?.toCallback();
  }

  async list(query: ListQuery): Promise<ListPage> {
    this.#refuseIfClosed();
    checkList(query);
    const after = placeOf(query.cursor);
    const matches = matcherOf(query);
    const found = [...this.#table.rows]
      .filter(
        (row) => after === undefined || row.dueMs > after.dueMs || (row.dueMs === after.dueMs && row.n > after.row),
      )
      .filter((row) => matches(row))
      .sort((a, b) => a.dueMs - b.dueMs || a.n - b.n);
    const page = found.slice(0, query.limit);
    const last = page.at(-1);
    const callbacks = page.map((row) => row.toCallback());
    if (last === undefined || found.length <= page.length) return { callbacks };
    return { callbacks, next: cursorOf({ dueMs: last.dueMs, row: last.n }) };
  }

  async counts(): Promise<Partial<Record<CallbackState, number>>> {
    this.#refuseIfClosed();
    return this.#table.counts();
  }

  async nextDueMs(): Promise<number | undefined> {
    this.#refuseIfClosed();
    return this.#table.firstDue?.dueMs;
  }

  async claimDue(owner: Owner, limit: number, leaseMs: number): Promise<{ claims: Claim[]; ended: Ended[] }> {
    this.#refuseIfClosed();
    checkClaiming(owner.id, limit, leaseMs);
    const nowMs = this.#clock.wallMs();
    const ended = limit === 0 ? [] : this.#recover((row) => row.leaseUntilMs <= nowMs, PASS, nowMs);
    const claims: Claim[] = [];
    for (let passed = 0; claims.length < limit && passed < PASS + limit; passed++) {
      const row = this.#table.firstDue;
      if (row === undefined || row.dueMs > nowMs) break;
      const fate = fateWhenDue(row, nowMs);
      if (fate === undefined) claims.push(this.#claim(row, owner, nowMs, leaseMs));
      else ended.push(this.#meet(row, fate, nowMs));
    }
    return { claims, ended };
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<boolean[]> {
    this.#refuseIfClosed();
    checkLease(leaseMs);
    const untilMs = this.#clock.wallMs() + leaseMs;
    return claims.map((claim) => {
      const row = this.#held(claim);
      if (row !== undefined) row.leaseUntilMs = untilMs;
      return row !== undefined;
    });
  }

  async settle(claim: Claim, end: RunEnd): Promise<Callback> {
    this.#refuseIfClosed();
    checkEnd(end);
    const row = this.#held(claim);
    if (row === undefined) throw new LeaseLostError(claim.callback.id);
    const nowMs = this.#clock.wallMs();
    switch (end.kind) {
      case "succeeded":
        this.#end(row, "succeeded", null, nowMs);
        break;
      case "failed":
      case "stopped":
        this.#end(row, end.kind, reasonOf(end.reason), nowMs);
        break;
      case "crashed":
        row.crashes += 1;
        this.#meet(row, fateOfCrash(this.#lostRow(row, nowMs), this.#limits, reasonOf(end.reason)), nowMs);
        break;
      case "lost":
        row.losses += 1;
        this.#meet(row, fateOfLoss(this.#lostRow(row, nowMs), this.#limits, reasonOf(end.reason)), nowMs);
        break;
      case "retry": {
        const fate = fateOfRetry(this.#isUnwanted(row, nowMs));
        if (fate.state === "waiting") {
          row.message = copyOf(end.message);
          this.#giveBack(row, "waiting", end.dueMs);
        } else this.#end(row, fate.state, fate.reason, nowMs);
      }
    }
    return row.toCallback();
  }

  async release(claims: readonly Claim[]): Promise<void> {
    this.#refuseIfClosed();
    const nowMs = this.#clock.wallMs();
    for (const claim of claims) {
      const row = this.#held(claim);
      if (row === undefined) continue;
      row.attempts -= 1;
      const state = stateOfReleased(row.attempts, this.#isUnwanted(row, nowMs));
      if (state === "scheduled" || state === "waiting") this.#giveBack(row, state, row.dueMs);
      else this.#end(row, state, null, nowMs);
    }
  }

  async sweep(limit: number): Promise<Ended[]> {
    this.#refuseIfClosed();
    const nowMs = this.#clock.wallMs();
    const ended = this.#recover(
      (row) => row.leaseUntilMs <= nowMs || this.#resigned.has(row.owner ?? ""),
      limit,
      nowMs,
    );
    for (let removed = 0; removed < limit; removed++) {
      const row = this.#table.firstEnded;
      if (row?.forgetMs === undefined || row.forgetMs > nowMs) break;
      this.#table.remove(row);
    }
    this.#tombstones.sweep(nowMs, limit);
    return ended;
  }

  async takeAborts(owner: Owner): Promise<{ readonly id: string; readonly token: number }[]> {
    this.#refuseIfClosed();
    const taken: { id: string; token: number }[] = [];
    for (const row of this.#table.running) {
      if (row.owner !== owner.id || row.abort !== "requested") continue;
      row.abort = "taken";
      taken.push({ id: row.id, token: row.token });
    }
    return taken;
  }

  async revoke(taskId: string, untilMs: number, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    this.#refuseIfClosed();
    checkTaskId(taskId);
    if (untilMs > this.#clock.wallMs()) this.#tombstones.set(taskId, untilMs);
    const rows = this.#table.allOf(taskId);
    const answer = answerOfRevoke(rows);
    for (const row of rows) this.#cancelRow(row, options.abort === true);
    return answer;
  }

  async revoked(taskIds: readonly string[]): Promise<Set<string>> {
    this.#refuseIfClosed();
    const nowMs = this.#clock.wallMs();
    return new Set(taskIds.filter((taskId) => this.#tombstones.has(taskId, nowMs)));
  }

  /** One process, so there is nobody to tell the dead from the living for. */
  async enlist(owner: Owner, _childPids: readonly number[]): Promise<void> {
    this.#refuseIfClosed();
    this.#resigned.delete(owner.id);
  }

  async resign(owner: Owner): Promise<void> {
    this.#refuseIfClosed();
    this.#resigned.add(owner.id);
  }

  /** There is no other process. */
  onChange(_listener: () => void): () => void {
    return () => undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new ClosedError("the schedule memory:// was closed");
  }

  #refuseIfFull(callbacks: readonly NewCallback[]): void {
    const { maxPending } = this.#limits;
    if (maxPending === 0 || this.#table.liveCount + callbacks.length <= maxPending) return;
    if (this.#table.liveCount + this.#table.addedBy(callbacks) > maxPending) throw new PendingLimitError(maxPending);
  }

  #putOne(callback: NewCallback, nowMs: number): PutAnswer {
    const { taskId, key, dueMs } = callback;
    if (taskId !== undefined) {
      if (this.#tombstones.has(taskId, nowMs)) return { put: "revoked" };
      const earlier = this.#table.takenOver(taskId, callback.message.retries);
      if (earlier !== undefined) return { put: "existing", id: earlier.id, dueMs: earlier.dueMs };
    }
    const holder = key === undefined ? undefined : this.#table.liveOf(key);
    if (holder !== undefined) return this.#resolveConflict(holder, callback);
    this.#made += 1;
    const id = `${this.#made.toString(36)}-${randomBytes(6).toString("hex")}`;
    const row = new MemoryRow(this.#made, id, callback, nowMs);
    this.#table.add(row);
    return { put: "added", id, dueMs };
  }

  #resolveConflict(holder: MemoryRow, callback: NewCallback): PutAnswer {
    const { id } = holder;
    if (callback.onConflict === "reject") return { put: "conflict", id };
    if (callback.onConflict !== "replace") return { put: "existing", id, dueMs: holder.dueMs };
    if (holder.state !== "scheduled") return { put: "too_late", id };
    holder.token += 1;
    this.#table.change(holder, () => holder.take(callback));
    return { put: "replaced", id, dueMs: holder.dueMs };
  }

  /** The row of the claim, if the claim still holds it. The token decides, never the state alone. */
  #held({ callback, token }: Claim): MemoryRow | undefined {
    const row = this.#table.find({ id: callback.id });
    return row?.state === "running" && row.token === token ? row : undefined;
  }

  #claim(row: MemoryRow, owner: Owner, nowMs: number, leaseMs: number): Claim {
    this.#resigned.delete(owner.id); // it claims, so it lives
    this.#table.move(row, "running");
    row.attempts += 1;
    row.token += 1;
    row.claimedMs = nowMs;
    row.leaseUntilMs = nowMs + leaseMs;
    row.owner = owner.id;
    return { callback: row.toCallback(), token: row.token, attempt: row.attempts, leaseUntilMs: row.leaseUntilMs };
  }

  #cancelRow(row: MemoryRow, abort: boolean): void {
    const nowMs = this.#clock.wallMs();
    if (row.state === "scheduled") this.#end(row, "cancelled", null, nowMs);
    else if (row.state === "waiting") this.#end(row, "stopped", "it was cancelled before it ran again", nowMs);
    else if (row.state === "running" && abort && row.abort === "none") row.abort = "requested";
  }

  /** Give back or end what is lost, `limit` at most. */
  #recover(isLost: (row: MemoryRow) => boolean, limit: number, nowMs: number): Ended[] {
    const lost = [...this.#table.running].filter(isLost).sort((a, b) => a.leaseUntilMs - b.leaseUntilMs || a.n - b.n);
    return lost.slice(0, limit).map((row) => {
      row.losses += 1;
      return this.#meet(row, fateOfLoss(this.#lostRow(row, nowMs), this.#limits), nowMs);
    });
  }

  #lostRow(row: MemoryRow, nowMs: number) {
    const { onLost, crashes, losses } = row;
    return { onLost, crashes, losses, unwanted: this.#isUnwanted(row, nowMs) };
  }

  /** Do what was decided: back to waiting, due at once, or ended. */
  #meet(row: MemoryRow, fate: Fate, nowMs: number): Ended {
    if (fate.state === "waiting") this.#giveBack(row, "waiting", nowMs);
    else this.#end(row, fate.state, fate.reason, nowMs);
    return { callback: row.toCallback(), state: fate.state };
  }

  #giveBack(row: MemoryRow, state: "scheduled" | "waiting", dueMs: number): void {
    row.dueMs = dueMs;
    row.owner = undefined;
    row.abort = "none";
    if (state === "scheduled") row.claimedMs = undefined;
    this.#table.move(row, state);
  }

  #end(row: MemoryRow, state: EndState, reason: string | null, nowMs: number): void {
    row.endedMs = nowMs;
    row.reason = reason ?? undefined;
    row.forgetMs = nowMs + keepMsOf(row.key !== undefined, this.#limits);
    this.#table.move(row, state);
  }

  #isUnwanted(row: MemoryRow, nowMs: number): boolean {
    return row.abort !== "none" || this.#tombstones.has(row.taskId, nowMs);
  }
}
