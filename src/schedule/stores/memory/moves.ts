/** How a row of the memory store goes from state to state. What is decided about it is decided by `rules.ts`. */
import type { EndState, RunEnd } from "../../callback.ts";
import { reasonOf } from "../../check.ts";
import {
  type Fate,
  fateOfCrash,
  fateOfLoss,
  fateOfOverlap,
  fateOfRetry,
  type Hold,
  keepMsOf,
  stateOfReleased,
  turnOfHeld,
} from "../../rules.ts";
import type { Ended, StoreLimits } from "../../store.ts";
import { copyOf, type MemoryRow } from "./row.ts";
import type { MemoryTable } from "./table.ts";
import type { Tombstones } from "./tombstones.ts";

export class MemoryMoves {
  readonly #table: MemoryTable;
  readonly #tombstones: Tombstones;
  readonly #limits: StoreLimits;
  /** Recurrences of which an occurrence has ended, or was given back, in the operation that goes on. */
  readonly #freed = new Set<string>();

  constructor(table: MemoryTable, tombstones: Tombstones, limits: StoreLimits) {
    this.#table = table;
    this.#tombstones = tombstones;
    this.#limits = limits;
  }

  /** A claimed run has ended so. */
  settle(row: MemoryRow, end: RunEnd, nowMs: number): void {
    switch (end.kind) {
      case "succeeded":
        this.end(row, "succeeded", null, nowMs);
        break;
      case "failed":
      case "stopped":
        this.end(row, end.kind, reasonOf(end.reason), nowMs);
        break;
      case "crashed":
        row.crashes += 1;
        this.meet(row, fateOfCrash(this.#lost(row, nowMs), this.#limits, reasonOf(end.reason)), nowMs);
        break;
      case "lost":
        row.losses += 1;
        this.meet(row, fateOfLoss(this.#lost(row, nowMs), this.#limits, reasonOf(end.reason)), nowMs);
        break;
      case "retry": {
        const fate = fateOfRetry(this.isUnwanted(row, nowMs));
        if (fate.state === "waiting") {
          row.message = copyOf(end.message);
          this.giveBack(row, "waiting", end.dueMs);
        } else this.end(row, fate.state, fate.reason, nowMs);
      }
    }
  }

  /** Do what was decided: back to waiting, due at once, or ended. */
  meet(row: MemoryRow, fate: Fate, nowMs: number): Ended {
    if (fate.state === "waiting") this.giveBack(row, "waiting", nowMs);
    else this.end(row, fate.state, fate.reason, nowMs);
    return { callback: row.toCallback(), state: fate.state };
  }

  giveBack(row: MemoryRow, state: "scheduled" | "waiting", dueMs: number): void {
    row.dueMs = dueMs;
    row.owner = undefined;
    row.abort = "none";
    if (state === "scheduled") {
      row.claimedMs = undefined;
      this.#note(row);
    }
    this.#table.move(row, state);
  }

  end(row: MemoryRow, state: EndState, reason: string | null, nowMs: number): void {
    if (row.state !== "scheduled") this.#note(row);
    row.endedMs = nowMs;
    row.reason = reason ?? undefined;
    row.forgetMs = nowMs + keepMsOf(row.key !== undefined, this.#limits);
    this.#table.move(row, state);
  }

  /** What cancel does to it, in whatever state it is found. */
  cancel(row: MemoryRow, abort: boolean, nowMs: number, reason: string | null = null): void {
    if (row.state === "scheduled") this.end(row, "cancelled", reason, nowMs);
    else if (row.state === "waiting") this.end(row, "stopped", reason ?? "it was cancelled before it ran again", nowMs);
    else if (row.state === "running" && abort && row.abort !== "taken") row.abort = "requested";
  }

  /** What cancelling its recurrence does to it. */
  cancelWithRecurrence(row: MemoryRow, abort: boolean, reason: string, nowMs: number): void {
    if (row.state === "running" && row.abort === "none") row.abort = "unwanted";
    this.cancel(row, abort, nowMs, reason);
  }

  /** Give back or end what is lost, `limit` at most. */
  recover(isLost: (row: MemoryRow) => boolean, limit: number, nowMs: number): Ended[] {
    const lost = [...this.#table.running].filter(isLost).sort((a, b) => a.leaseUntilMs - b.leaseUntilMs || a.n - b.n);
    const ended = lost.slice(0, limit).map((row) => {
      row.losses += 1;
      return this.meet(row, fateOfLoss(this.#lost(row, nowMs), this.#limits), nowMs);
    });
    this.passTurns();
    return ended;
  }

  isUnwanted(row: MemoryRow, nowMs: number): boolean {
    return row.abort !== "none" || this.#tombstones.has(row.taskId, nowMs);
  }

  /** Of an occurrence whose due time has come: undefined when nothing of its recurrence is in its way. */
  fateOfOverlap(row: MemoryRow, nowMs: number): Fate | Hold | undefined {
    if (row.recurrence === undefined || row.state !== "scheduled") return undefined;
    return fateOfOverlap(row, this.#table.occurrences.isUnderWay(row.recurrence), nowMs);
  }

  hold(row: MemoryRow, { dueMs, graceMs }: Hold): void {
    this.#table.change(row, () => Object.assign(row, { held: true, dueMs, graceMs }));
  }

  /** Give an unstarted claim back. @param outdated it belongs to what was replaced or paused meanwhile */
  release(row: MemoryRow, outdated: boolean, nowMs: number): void {
    row.attempts -= 1;
    const state = stateOfReleased(row.attempts, this.isUnwanted(row, nowMs) || (row.attempts === 0 && outdated));
    if (state === "scheduled" || state === "waiting") this.giveBack(row, state, row.dueMs);
    else this.end(row, state, null, nowMs);
  }

  /** At the end of an operation: what was held by those that it ended has its turn. */
  passTurns(): void {
    for (const recurrence of this.#freed) {
      const row = this.#table.occurrences.oldestHeld(recurrence);
      if (row?.occurrence === undefined) continue;
      const turn = turnOfHeld(row, row.occurrence.nominalMs);
      this.#table.change(row, () => Object.assign(row, { held: false, ...turn }));
    }
    this.#freed.clear();
  }

  #lost(row: MemoryRow, nowMs: number) {
    const { onLost, crashes, losses } = row;
    return { onLost, crashes, losses, unwanted: this.isUnwanted(row, nowMs) };
  }

  #note(row: MemoryRow): void {
    if (row.recurrence !== undefined) this.#freed.add(row.recurrence);
  }
}
