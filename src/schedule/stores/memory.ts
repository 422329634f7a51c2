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
  NewCallback,
  Occurrence,
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
  checkOwner,
  checkTarget,
  checkTaskId,
  cursorOf,
  LAST_MS,
  placeOf,
} from "../check.ts";
import { BackpressureError, LeaseLostError } from "../errors.ts";
import { callbackId } from "../ids.ts";
import { limitsOf } from "../limits.ts";
import { matcherOf } from "../match.ts";
import { answerOfCancel, answerOfRevoke, fateWhenDue } from "../rules.ts";
import type {
  Change,
  Claimed,
  Durability,
  ListPage,
  ListQuery,
  Owner,
  ScheduleStore,
  StoreLimits,
  Swept,
  Target,
  Upcoming,
} from "../store.ts";
import { MemoryMoves } from "./memory/moves.ts";
import { MemoryRecurrences } from "./memory/recurrences.ts";
import { MemoryRow } from "./memory/row.ts";
import { Serving } from "./memory/serving.ts";
import { MemoryTable } from "./memory/table.ts";
import { Tombstones } from "./memory/tombstones.ts";

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
  readonly recurrences: MemoryRecurrences;
  readonly #clock: Clock;
  readonly #limits: StoreLimits;
  readonly #table = new MemoryTable();
  readonly #tombstones = new Tombstones();
  readonly #moves: MemoryMoves;
  readonly #serving = new Serving();
  readonly #resigned = new Set<string>();
  #made = 0;
  #closed = false;

  constructor(options: MemoryScheduleOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#limits = limitsOf(options.limits);
    this.#moves = new MemoryMoves(this.#table, this.#tombstones, this.#limits);
    this.recurrences = new MemoryRecurrences({
      limits: this.#limits,
      occurrences: this.#table.occurrences,
      moves: this.#moves,
      begin: () => {
        this.#refuseIfClosed();
        return this.#clock.wallMs();
      },
      refuseIfFull: (added) => this.#refuseIfFull(added),
      put: (callback, occurrence, nowMs) => void this.#add(callback, nowMs, occurrence),
    });
  }

  async nowMs(): Promise<number> {
    this.#refuseIfClosed();
    return this.#clock.wallMs();
  }

  async put(callbacks: readonly NewCallback[]): Promise<PutAnswer[]> {
    this.#refuseIfClosed();
    checkNewCallbacks(callbacks);
    const { maxPending } = this.#limits;
    // Only near the limit is it worth counting which of them make a row.
    if (maxPending > 0 && this.#table.liveCount + callbacks.length > maxPending) {
      this.#refuseIfFull(this.#table.addedBy(callbacks));
    }
    const nowMs = this.#clock.wallMs();
    return callbacks.map((callback) => this.#putOne(callback, nowMs));
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    this.#refuseIfClosed();
    checkTarget(target);
    const row = this.#table.find(target);
    if (row === undefined) return { answer: "unknown" };
    const answer = answerOfCancel(row.id, row.state);
    const nowMs = this.#clock.wallMs();
    this.#moves.cancel(row, options.abort === true, nowMs);
    this.#moves.passTurns();
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
      row.held = false;
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

  async upcoming(owner?: Owner): Promise<Upcoming> {
    this.#refuseIfClosed();
    if (owner !== undefined) checkOwner(owner);
    return this.#upcoming(this.#clock.wallMs(), owner);
  }

  async claimDue(owner: Owner, limit: number, leaseMs: number): Promise<Claimed> {
    this.#refuseIfClosed();
    checkClaiming(owner, limit, leaseMs);
    const nowMs = this.#clock.wallMs();
    const ended = limit === 0 ? [] : this.#moves.recover((row) => row.leaseUntilMs <= nowMs, PASS, nowMs);
    const claims: Claim[] = [];
    const serves = this.#serving.filterOf(owner);
    for (let passed = 0; claims.length < limit && passed < PASS + limit; passed++) {
      const row = this.#table.firstDue(serves);
      if (row === undefined || row.dueMs > nowMs) break;
      const fate = fateWhenDue(row, nowMs) ?? this.#moves.fateOfOverlap(row, nowMs);
      if (fate === undefined) claims.push(this.#claim(row, owner, nowMs, leaseMs));
      else if (fate.state === "held") this.#moves.hold(row, fate);
      else ended.push(this.#moves.meet(row, fate, nowMs));
    }
    this.#moves.passTurns();
    return { claims, ended, upcoming: this.#upcoming(nowMs, owner) };
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<(number | undefined)[]> {
    this.#refuseIfClosed();
    checkLease(leaseMs);
    const untilMs = this.#clock.wallMs() + leaseMs;
    return claims.map((claim) => {
      const row = this.#held(claim);
      if (row === undefined) return undefined;
      row.leaseUntilMs = untilMs;
      return untilMs;
    });
  }

  async settle(claim: Claim, end: RunEnd): Promise<Callback> {
    this.#refuseIfClosed();
    checkEnd(end);
    const row = this.#held(claim);
    if (row === undefined) throw new LeaseLostError(claim.callback.id);
    const nowMs = this.#clock.wallMs();
    this.#moves.settle(row, end, nowMs);
    this.#moves.passTurns();
    return row.toCallback();
  }

  async release(claims: readonly Claim[]): Promise<void> {
    this.#refuseIfClosed();
    const nowMs = this.#clock.wallMs();
    for (const claim of claims) {
      const row = this.#held(claim);
      if (row === undefined) continue;
      const outdated = row.occurrence !== undefined && this.recurrences.isOutdated(row.occurrence);
      this.#moves.release(row, outdated, nowMs);
    }
    this.#moves.passTurns();
  }

  async sweep(owner: Owner, limit: number): Promise<Swept> {
    this.#refuseIfClosed();
    const nowMs = this.#clock.wallMs();
    const ended = this.#moves.recover(
      (row) => row.leaseUntilMs <= nowMs || this.#resigned.has(row.owner ?? ""),
      limit,
      nowMs,
    );
    let removed = 0;
    for (; removed < limit; removed++) {
      const row = this.#table.firstEnded;
      if (row?.forgetMs === undefined || row.forgetMs > nowMs) break;
      this.#table.remove(row);
    }
    this.#tombstones.sweep(nowMs, limit);
    const forgotten = this.recurrences.forget(nowMs, limit);
    const more = [ended.length, removed, forgotten].some((count) => count >= limit);
    return { ended, more, owners: this.#serving.countSharing(owner) };
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
    const nowMs = this.#clock.wallMs();
    if (untilMs > nowMs) this.#tombstones.set(taskId, untilMs);
    const rows = this.#table.allOf(taskId);
    const answer = answerOfRevoke(rows);
    for (const row of rows) this.#moves.cancel(row, options.abort === true, nowMs);
    this.#moves.passTurns();
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
    checkOwner(owner);
    this.#resigned.delete(owner.id);
    this.#serving.announce(owner);
  }

  async resign(owner: Owner): Promise<void> {
    this.#refuseIfClosed();
    this.#resigned.add(owner.id);
    this.#serving.resign(owner.id);
  }

  /** There is no other process. */
  onChange(_listener: (change: Change) => void): () => void {
    return () => undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #upcoming(nowMs: number, owner: Owner | undefined): Upcoming {
    const serves = owner === undefined ? undefined : this.#serving.filterOf(owner);
    return { dueMs: this.#table.firstDue(serves)?.dueMs, nowMs };
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new ClosedError("the schedule memory:// was closed");
  }

  #refuseIfFull(added: number): void {
    const { maxPending } = this.#limits;
    if (maxPending > 0 && this.#table.liveCount + added > maxPending) throw new BackpressureError(maxPending);
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
    return { put: "added", id: this.#add(callback, nowMs), dueMs };
  }

  #add(callback: NewCallback, nowMs: number, occurrence?: Occurrence): string {
    this.#made += 1;
    const id = callbackId(this.#made, randomBytes(6).toString("hex"));
    this.#table.add(new MemoryRow(this.#made, id, callback, nowMs, occurrence));
    return id;
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
    if (row.recurrence !== undefined) this.recurrences.noteStart(row.recurrence);
    row.held = false;
    this.#table.move(row, "running");
    row.attempts += 1;
    row.token += 1;
    row.claimedMs = nowMs;
    row.leaseUntilMs = nowMs + leaseMs;
    row.owner = owner.id;
    return { callback: row.toCallback(), token: row.token, attempt: row.attempts, leaseUntilMs: row.leaseUntilMs };
  }
}
