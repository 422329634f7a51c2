/**
 * What a schedule store must do, in the plainest words: a list of rows, walked from end to end by every operation. It shares
 * no line with any store, nor with the rules that the stores share, so that a mistake there shows as a difference here.
 */
import type { CallbackState, NewCallback, RunEnd } from "../schedule/callback.ts";
import type { StoreLimits } from "../schedule/store.ts";
import type { ModelClaim, ModelOccurrence, ModelOwner, ModelRow, ModelTarget } from "./schedule-model-rows.ts";

export type { ModelClaim, ModelOccurrence, ModelOwner, ModelRow, ModelTarget } from "./schedule-model-rows.ts";

const LIVE: readonly CallbackState[] = ["scheduled", "waiting", "running"];
const NEVER_STARTED: readonly CallbackState[] = ["scheduled", "cancelled", "expired", "skipped"];

export class ScheduleModel {
  rows: ModelRow[] = [];
  /** Rows made so far, those removed since counted in. */
  made = 0;
  readonly tombstones = new Map<string, number>();
  readonly resigned = new Set<string>();
  /** What each owner that enlisted has announced; undefined: every queue. */
  readonly serving = new Map<string, readonly string[] | undefined>();
  /** Told of each claim of an occurrence, and whether one that is given back unstarted belongs to the past. */
  onStart: (recurrence: number) => void = () => undefined;
  isPast: (occurrence: ModelOccurrence) => boolean = () => false;
  readonly limits: StoreLimits;
  /** The id of a row, as the store under test made it: a callback's own id is its task id. */
  readonly #idOf: (n: number) => string;

  constructor(limits: StoreLimits, idOf: (n: number) => string) {
    this.limits = limits;
    this.#idOf = idOf;
  }

  /** The answer's word, and the row that it names. */
  put(callback: NewCallback, nowMs: number): { readonly put: string; readonly row?: ModelRow } {
    const { taskId, key, onConflict = "keep" } = callback;
    if (taskId !== undefined) {
      if (this.isRevoked(taskId, nowMs)) return { put: "revoked" };
      const earlier = this.rows.find((row) => row.taskId === taskId && row.arrived === callback.message.retries);
      if (earlier !== undefined) return { put: "existing", row: earlier };
    }
    const holder = this.rows.find((row) => key !== undefined && row.key === key && LIVE.includes(row.state));
    if (holder === undefined) {
      return { put: "added", row: this.add(callback, undefined) };
    }
    if (onConflict === "keep") return { put: "existing", row: holder };
    if (onConflict === "reject") return { put: "conflict", row: holder };
    if (holder.state !== "scheduled") return { put: "too_late", row: holder };
    Object.assign(holder, this.#callOf(callback), { token: holder.token + 1 });
    return { put: "replaced", row: holder };
  }

  add(callback: NewCallback, occurrence: ModelOccurrence | undefined): ModelRow {
    const row: ModelRow = {
      n: this.made++,
      key: callback.key,
      ...this.#callOf(callback),
      state: "scheduled",
      attempts: 0,
      token: 0,
      crashes: 0,
      losses: 0,
      abort: "no",
      owner: undefined,
      leaseUntilMs: undefined,
      endedMs: undefined,
      occurrence,
      held: false,
    };
    this.rows.push(row);
    return row;
  }

  enlist(owner: ModelOwner): void {
    this.resigned.delete(owner.id);
    this.serving.set(owner.id, owner.queues);
  }

  resign(owner: string): void {
    this.resigned.add(owner);
    this.serving.delete(owner);
  }

  cancel(target: ModelTarget, abort: boolean, nowMs: number): { readonly answer: string; readonly row?: ModelRow } {
    const row = this.find(target);
    if (row === undefined) return { answer: "unknown" };
    const found = row.state;
    this.cancelRow(row, abort, nowMs);
    if (found === "waiting") this.#passTurns([row]);
    return { answer: wordFor(found), row };
  }

  reschedule(target: ModelTarget, to: { dueMs: number } | { byMs: number }): { answer: string; row?: ModelRow } {
    const row = this.find(target);
    if (row === undefined) return { answer: "unknown" };
    if (row.state !== "scheduled") return { answer: "too_late", row };
    row.dueMs = "dueMs" in to ? to.dueMs : row.dueMs + to.byMs;
    row.token += 1;
    row.held = false;
    return { answer: "rescheduled", row };
  }

  claimDue(
    owner: ModelOwner,
    limit: number,
    leaseMs: number,
    nowMs: number,
  ): { claimed: ModelRow[]; ended: ModelRow[] } {
    if (limit === 0) return { claimed: [], ended: [] };
    const ended = this.#recover((row) => (row.leaseUntilMs ?? 0) <= nowMs, nowMs);
    const claimed: ModelRow[] = [];
    const overWhileWaiting: ModelRow[] = [];
    const due = this.rows
      .filter((row) => (row.state === "scheduled" || row.state === "waiting") && row.dueMs <= nowMs)
      .filter((row) => this.#mayClaim(owner, row.queue))
      .sort((a, b) => a.dueMs - b.dueMs || a.n - b.n);
    for (const row of due) {
      if (claimed.length === limit) break;
      if (row.expiresMs !== undefined && row.expiresMs <= nowMs) {
        if (row.state === "waiting") overWhileWaiting.push(row);
        this.end(row, row.attempts === 0 ? "expired" : "failed", nowMs);
        ended.push(row);
      } else if (row.misfire === "skip" && row.attempts === 0 && nowMs > row.dueMs + row.graceMs + 1_000) {
        this.end(row, "skipped", nowMs);
        ended.push(row);
      } else if (this.#isBlocked(row) && this.#mustSkip(row, nowMs)) {
        this.end(row, "skipped", nowMs);
        ended.push(row);
      } else if (this.#isBlocked(row)) {
        this.#hold(row, nowMs);
      } else {
        this.resigned.delete(owner.id);
        if (row.occurrence !== undefined) this.onStart(row.occurrence.recurrence);
        row.held = false;
        row.state = "running";
        row.attempts += 1;
        row.token += 1;
        row.owner = owner.id;
        row.leaseUntilMs = nowMs + leaseMs;
        claimed.push(row);
      }
    }
    this.#passTurns(overWhileWaiting);
    return { claimed, ended };
  }

  renew(claims: readonly ModelClaim[], leaseMs: number, nowMs: number): (number | undefined)[] {
    return claims.map((claim) => {
      if (!this.#holds(claim)) return undefined;
      claim.row.leaseUntilMs = nowMs + leaseMs;
      return nowMs + leaseMs;
    });
  }

  /** False: the lease was lost. */
  settle(claim: ModelClaim, end: RunEnd, nowMs: number): boolean {
    if (!this.#holds(claim)) return false;
    const { row } = claim;
    this.#settle(row, end, nowMs);
    if (row.endedMs !== undefined) this.#passTurns([row]);
    return true;
  }

  #settle(row: ModelRow, end: RunEnd, nowMs: number): void {
    switch (end.kind) {
      case "succeeded":
      case "failed":
      case "stopped":
        this.end(row, end.kind, nowMs);
        break;
      case "crashed":
        row.crashes += 1;
        this.#afterLoss(row, row.crashes >= this.limits.crashLimit, nowMs);
        break;
      case "lost":
        row.losses += 1;
        this.#afterLoss(row, row.losses >= this.limits.lostLimit, nowMs);
        break;
      case "retry":
        if (this.#isUnwanted(row, nowMs)) this.end(row, "stopped", nowMs);
        else {
          Object.assign(row, { task: end.message.task, body: end.message.body, retries: end.message.retries });
          this.#giveBack(row, "waiting", end.dueMs);
        }
    }
  }

  release(claims: readonly ModelClaim[], nowMs: number): void {
    const unstarted: ModelRow[] = [];
    for (const claim of claims) {
      if (!this.#holds(claim)) continue;
      const { row } = claim;
      row.attempts -= 1;
      const past = row.attempts === 0 && row.occurrence !== undefined && this.isPast(row.occurrence);
      if (past || this.#isUnwanted(row, nowMs)) this.end(row, row.attempts === 0 ? "cancelled" : "stopped", nowMs);
      else this.#giveBack(row, row.attempts === 0 ? "scheduled" : "waiting", row.dueMs);
      if (row.state !== "waiting") unstarted.push(row);
    }
    this.#passTurns(unstarted);
  }

  sweep(nowMs: number): ModelRow[] {
    const recovered = this.#recover(
      (row) => (row.leaseUntilMs ?? 0) <= nowMs || this.resigned.has(row.owner ?? ""),
      nowMs,
    );
    this.rows = this.rows.filter((row) => {
      if (row.endedMs === undefined) return true;
      const keepMs = row.key === undefined ? this.limits.keepMs : this.limits.keepKeyedMs;
      return row.endedMs + keepMs > nowMs;
    });
    for (const [taskId, untilMs] of this.tombstones) if (untilMs <= nowMs) this.tombstones.delete(taskId);
    return recovered;
  }

  takeAborts(owner: string): ModelRow[] {
    const asked = this.rows.filter((row) => row.state === "running" && row.owner === owner && row.abort === "asked");
    for (const row of asked) row.abort = "told";
    return asked;
  }

  /** The answer's word, and the rows that it may name. */
  revoke(taskId: string, untilMs: number, abort: boolean, nowMs: number): string {
    if (untilMs > nowMs) this.tombstones.set(taskId, Math.max(untilMs, this.tombstones.get(taskId) ?? 0));
    const rows = this.rows.filter((row) => this.#taskIdOf(row) === taskId);
    const states = rows.map((row) => row.state);
    const everStarted = rows.some((row) => row.attempts > 0);
    const waiting = rows.filter((row) => row.state === "waiting");
    for (const row of rows) this.cancelRow(row, abort, nowMs);
    this.#passTurns(waiting);
    if (rows.length === 0) return "unknown";
    if (states.includes("running")) return "running";
    if (states.includes("waiting")) return "stopped";
    if (states.includes("scheduled")) return everStarted ? "stopped" : "cancelled";
    if (everStarted) return "finished";
    return states.at(-1) === "cancelled" ? "cancelled" : "finished";
  }

  isRevoked(taskId: string, nowMs: number): boolean {
    return (this.tombstones.get(taskId) ?? 0) > nowMs;
  }

  find(target: ModelTarget): ModelRow | undefined {
    if ("n" in target) return this.rows.find((row) => row.n === target.n);
    const named = this.rows.filter((row) => row.key === target.key);
    return named.find((row) => LIVE.includes(row.state)) ?? named.at(-1);
  }

  /** Of all, or of what the owner may claim. */
  nextDueMs(owner: ModelOwner = { id: "" }): number | undefined {
    const due = this.rows
      .filter((row) => (row.state === "scheduled" || row.state === "waiting") && this.#mayClaim(owner, row.queue))
      .map((row) => row.dueMs);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  #callOf(callback: NewCallback) {
    const { taskId, message } = callback;
    return {
      taskId,
      arrived: taskId === undefined ? undefined : message.retries,
      dueMs: callback.dueMs,
      expiresMs: callback.expiresMs,
      misfire: callback.misfire ?? ("fire" as const),
      graceMs: callback.graceMs ?? 0,
      onLost: callback.onLost ?? ("rerun" as const),
      queue: callback.queue,
      tags: callback.tags ?? [],
      task: message.task,
      body: message.body,
      retries: message.retries,
    };
  }

  #taskIdOf(row: ModelRow): string {
    return row.taskId ?? this.#idOf(row.n);
  }

  #holds({ row, token }: ModelClaim): boolean {
    return this.rows.includes(row) && row.state === "running" && row.token === token;
  }

  #isUnwanted(row: ModelRow, nowMs: number): boolean {
    return row.abort !== "no" || this.isRevoked(this.#taskIdOf(row), nowMs);
  }

  #recover(isLost: (row: ModelRow) => boolean, nowMs: number): ModelRow[] {
    const lost = this.rows.filter((row) => row.state === "running" && isLost(row));
    for (const row of lost) {
      row.losses += 1;
      this.#afterLoss(row, row.losses >= this.limits.lostLimit, nowMs);
    }
    this.#passTurns(lost.filter((row) => row.endedMs !== undefined));
    return lost;
  }

  #mayClaim({ queues }: ModelOwner, queue: string): boolean {
    if (queues === undefined || queues.includes(queue)) return true;
    return ![...this.serving.values()].some((served) => served === undefined || served.includes(queue));
  }

  /** Another occurrence of its recurrence has started and not ended, and this one minds. */
  #isBlocked({ occurrence, attempts }: ModelRow): boolean {
    if (occurrence === undefined || occurrence.overlap === "allow" || attempts > 0) return false;
    return this.rows.some(
      (row) =>
        row.occurrence?.recurrence === occurrence.recurrence && (row.state === "running" || row.state === "waiting"),
    );
  }

  #mustSkip({ occurrence, misfire, dueMs, graceMs }: ModelRow, nowMs: number): boolean {
    return occurrence?.overlap === "skip" || (misfire === "skip" && dueMs + graceMs <= nowMs);
  }

  #hold(row: ModelRow, nowMs: number): void {
    const lastMs = row.misfire === "skip" ? row.dueMs + row.graceMs : undefined;
    row.held = true;
    row.dueMs = lastMs === undefined ? nowMs + 1_000 : Math.min(nowMs + 1_000, lastMs);
    if (lastMs !== undefined) row.graceMs = lastMs - row.dueMs;
  }

  /** After these have ended, or were given back: the oldest that is held of each of their recurrences is due. */
  #passTurns(ended: readonly ModelRow[]): void {
    for (const recurrence of new Set(ended.map((row) => row.occurrence?.recurrence))) {
      if (recurrence === undefined) continue;
      const held = this.rows.filter((row) => row.held && row.state === "scheduled");
      const mine = held.filter((row) => row.occurrence?.recurrence === recurrence);
      const nominalOf = (row: ModelRow) => row.occurrence?.nominalMs ?? 0;
      const [oldest] = mine.sort((a, b) => nominalOf(a) - nominalOf(b));
      if (oldest === undefined) continue;
      const dueMs = Math.min(nominalOf(oldest), oldest.dueMs);
      if (oldest.misfire === "skip") oldest.graceMs += oldest.dueMs - dueMs;
      oldest.dueMs = dueMs;
      oldest.held = false;
    }
  }

  #afterLoss(row: ModelRow, tooOften: boolean, nowMs: number): void {
    if (this.#isUnwanted(row, nowMs)) this.end(row, "stopped", nowMs);
    else if (row.onLost === "fail") this.end(row, "failed", nowMs);
    else if (tooOften) this.end(row, "dead", nowMs);
    else this.#giveBack(row, "waiting", nowMs);
  }

  cancelRow(row: ModelRow, abort: boolean, nowMs: number): void {
    if (row.state === "scheduled") this.end(row, "cancelled", nowMs);
    else if (row.state === "waiting") this.end(row, "stopped", nowMs);
    else if (row.state === "running" && abort && row.abort !== "told") row.abort = "asked";
  }

  #giveBack(row: ModelRow, state: "scheduled" | "waiting", dueMs: number): void {
    Object.assign(row, { state, dueMs, abort: "no", owner: undefined, leaseUntilMs: undefined });
  }

  end(row: ModelRow, state: CallbackState, nowMs: number): void {
    Object.assign(row, { state, endedMs: nowMs, abort: "no", owner: undefined, leaseUntilMs: undefined });
    if (NEVER_STARTED.includes(state) !== (row.attempts === 0)) {
      throw new Error(`the model itself breaks I3: ${state} after ${row.attempts} attempts`);
    }
  }
}

function wordFor(state: CallbackState): string {
  if (state === "scheduled" || state === "cancelled") return "cancelled";
  if (state === "waiting") return "stopped";
  return state === "running" ? "running" : "finished";
}
