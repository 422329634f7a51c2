/**
 * What a schedule store must do, in the plainest words: a list of rows, walked from end to end by every operation. It shares
 * no line with any store, nor with the rules that the stores share, so that a mistake there shows as a difference here.
 */
import type { CallbackState, Misfire, NewCallback, OnLost, RunEnd } from "../schedule/callback.ts";
import type { StoreLimits } from "../schedule/store.ts";

export interface ModelRow {
  /** Order of making, from 0. */
  readonly n: number;
  readonly key: string | undefined;
  /** Of a taken-over message. */
  taskId: string | undefined;
  arrived: number | undefined;
  state: CallbackState;
  dueMs: number;
  expiresMs: number | undefined;
  misfire: Misfire;
  graceMs: number;
  onLost: OnLost;
  queue: string;
  tags: readonly string[];
  task: string;
  body: string;
  retries: number;
  attempts: number;
  token: number;
  crashes: number;
  losses: number;
  abort: "no" | "asked" | "told";
  owner: string | undefined;
  leaseUntilMs: number | undefined;
  endedMs: number | undefined;
}

export interface ModelClaim {
  readonly row: ModelRow;
  readonly token: number;
}

export type ModelTarget = { readonly n: number } | { readonly key: string };

const LIVE: readonly CallbackState[] = ["scheduled", "waiting", "running"];
const NEVER_STARTED: readonly CallbackState[] = ["scheduled", "cancelled", "expired", "skipped"];

export class ScheduleModel {
  rows: ModelRow[] = [];
  /** Rows made so far, those removed since counted in. */
  made = 0;
  readonly tombstones = new Map<string, number>();
  readonly resigned = new Set<string>();
  readonly #limits: StoreLimits;
  /** The id of a row, as the store under test made it: a callback's own id is its task id. */
  readonly #idOf: (n: number) => string;

  constructor(limits: StoreLimits, idOf: (n: number) => string) {
    this.#limits = limits;
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
      const row: ModelRow = {
        n: this.made++,
        key,
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
      };
      this.rows.push(row);
      return { put: "added", row };
    }
    if (onConflict === "keep") return { put: "existing", row: holder };
    if (onConflict === "reject") return { put: "conflict", row: holder };
    if (holder.state !== "scheduled") return { put: "too_late", row: holder };
    Object.assign(holder, this.#callOf(callback), { token: holder.token + 1 });
    return { put: "replaced", row: holder };
  }

  cancel(target: ModelTarget, abort: boolean, nowMs: number): { readonly answer: string; readonly row?: ModelRow } {
    const row = this.find(target);
    if (row === undefined) return { answer: "unknown" };
    const found = row.state;
    this.#cancelRow(row, abort, nowMs);
    return { answer: wordFor(found), row };
  }

  reschedule(target: ModelTarget, to: { dueMs: number } | { byMs: number }): { answer: string; row?: ModelRow } {
    const row = this.find(target);
    if (row === undefined) return { answer: "unknown" };
    if (row.state !== "scheduled") return { answer: "too_late", row };
    row.dueMs = "dueMs" in to ? to.dueMs : row.dueMs + to.byMs;
    row.token += 1;
    return { answer: "rescheduled", row };
  }

  claimDue(owner: string, limit: number, leaseMs: number, nowMs: number): { claimed: ModelRow[]; ended: ModelRow[] } {
    if (limit === 0) return { claimed: [], ended: [] };
    const ended = this.#recover((row) => (row.leaseUntilMs ?? 0) <= nowMs, nowMs);
    const claimed: ModelRow[] = [];
    const due = this.rows
      .filter((row) => (row.state === "scheduled" || row.state === "waiting") && row.dueMs <= nowMs)
      .sort((a, b) => a.dueMs - b.dueMs || a.n - b.n);
    for (const row of due) {
      if (claimed.length === limit) break;
      if (row.expiresMs !== undefined && row.expiresMs <= nowMs) {
        this.#end(row, row.attempts === 0 ? "expired" : "failed", nowMs);
        ended.push(row);
      } else if (row.misfire === "skip" && row.attempts === 0 && nowMs > row.dueMs + row.graceMs + 1_000) {
        this.#end(row, "skipped", nowMs);
        ended.push(row);
      } else {
        this.resigned.delete(owner);
        row.state = "running";
        row.attempts += 1;
        row.token += 1;
        row.owner = owner;
        row.leaseUntilMs = nowMs + leaseMs;
        claimed.push(row);
      }
    }
    return { claimed, ended };
  }

  renew(claims: readonly ModelClaim[], leaseMs: number, nowMs: number): boolean[] {
    return claims.map((claim) => {
      if (!this.#holds(claim)) return false;
      claim.row.leaseUntilMs = nowMs + leaseMs;
      return true;
    });
  }

  /** False: the lease was lost. */
  settle(claim: ModelClaim, end: RunEnd, nowMs: number): boolean {
    if (!this.#holds(claim)) return false;
    const { row } = claim;
    switch (end.kind) {
      case "succeeded":
      case "failed":
      case "stopped":
        this.#end(row, end.kind, nowMs);
        break;
      case "crashed":
        row.crashes += 1;
        this.#afterLoss(row, row.crashes >= this.#limits.crashLimit, nowMs);
        break;
      case "lost":
        row.losses += 1;
        this.#afterLoss(row, row.losses >= this.#limits.lostLimit, nowMs);
        break;
      case "retry":
        if (this.#isUnwanted(row, nowMs)) this.#end(row, "stopped", nowMs);
        else {
          Object.assign(row, { task: end.message.task, body: end.message.body, retries: end.message.retries });
          this.#giveBack(row, "waiting", end.dueMs);
        }
    }
    return true;
  }

  release(claims: readonly ModelClaim[], nowMs: number): void {
    for (const claim of claims) {
      if (!this.#holds(claim)) continue;
      const { row } = claim;
      row.attempts -= 1;
      if (this.#isUnwanted(row, nowMs)) this.#end(row, row.attempts === 0 ? "cancelled" : "stopped", nowMs);
      else this.#giveBack(row, row.attempts === 0 ? "scheduled" : "waiting", row.dueMs);
    }
  }

  sweep(nowMs: number): ModelRow[] {
    const recovered = this.#recover(
      (row) => (row.leaseUntilMs ?? 0) <= nowMs || this.resigned.has(row.owner ?? ""),
      nowMs,
    );
    this.rows = this.rows.filter((row) => {
      if (row.endedMs === undefined) return true;
      const keepMs = row.key === undefined ? this.#limits.keepMs : this.#limits.keepKeyedMs;
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
    for (const row of rows) this.#cancelRow(row, abort, nowMs);
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

  nextDueMs(): number | undefined {
    const due = this.rows.filter((row) => row.state === "scheduled" || row.state === "waiting").map((row) => row.dueMs);
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
      this.#afterLoss(row, row.losses >= this.#limits.lostLimit, nowMs);
    }
    return lost;
  }

  #afterLoss(row: ModelRow, tooOften: boolean, nowMs: number): void {
    if (this.#isUnwanted(row, nowMs)) this.#end(row, "stopped", nowMs);
    else if (row.onLost === "fail") this.#end(row, "failed", nowMs);
    else if (tooOften) this.#end(row, "dead", nowMs);
    else this.#giveBack(row, "waiting", nowMs);
  }

  #cancelRow(row: ModelRow, abort: boolean, nowMs: number): void {
    if (row.state === "scheduled") this.#end(row, "cancelled", nowMs);
    else if (row.state === "waiting") this.#end(row, "stopped", nowMs);
    else if (row.state === "running" && abort && row.abort === "no") row.abort = "asked";
  }

  #giveBack(row: ModelRow, state: "scheduled" | "waiting", dueMs: number): void {
    Object.assign(row, { state, dueMs, abort: "no", owner: undefined, leaseUntilMs: undefined });
  }

  #end(row: ModelRow, state: CallbackState, nowMs: number): void {
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
