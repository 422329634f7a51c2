/** What recurs, in the memory store. Each operation is one synchronous step; what is decided is decided by `recurrence-rules.ts`. */
import { randomBytes } from "node:crypto";
import type { CancelAnswer, NewCallback, Occurrence } from "../../callback.ts";
import { checkTarget } from "../../check.ts";
import {
  checkAdvance,
  checkDueLimit,
  checkNewRecurrence,
  checkRecurrenceQuery,
  checkResume,
  statesOf,
} from "../../check-recurrence.ts";
import { recurrenceId } from "../../ids.ts";
import {
  callbackOfOccurrence,
  type NewRecurrence,
  type Plan,
  type PutRecurrenceAnswer,
  type Recurrence,
} from "../../recurrence.ts";
import {
  answerOfCancelRecurrence,
  CANCELLED,
  outcomeOfAdvance,
  outcomeOfPause,
  outcomeOfPut,
  outcomeOfResume,
  PAUSED,
  REPLACED,
} from "../../recurrence-rules.ts";
import type { ChangeAnswer, RecurrencePage, RecurrenceQuery, RecurrenceStore } from "../../recurrence-store.ts";
import { isOutdated, keepMsOf } from "../../rules.ts";
import type { StoreLimits, Target } from "../../store.ts";
import type { MemoryMoves } from "./moves.ts";
import type { Occurrences } from "./occurrences.ts";
import { MemoryRecurrence } from "./recurrence-row.ts";
import { RowQueue } from "./row-queue.ts";

/** What recurrences need of the store that they are in. */
export interface RecurrenceHost {
  readonly limits: StoreLimits;
  readonly occurrences: Occurrences;
  readonly moves: MemoryMoves;
  /** The store's clock. @throws {ClosedError} */
  begin(): number;
  /** @throws {BackpressureError} */
  refuseIfFull(added: number): void;
  put(callback: NewCallback, occurrence: Occurrence, nowMs: number): void;
}

export class MemoryRecurrences implements RecurrenceStore {
  readonly #host: RecurrenceHost;
  readonly #rows = new Map<string, MemoryRecurrence>();
  /** The active or paused one of each key, and the last that had it. */
  readonly #liveByKey = new Map<string, MemoryRecurrence>();
  readonly #lastByKey = new Map<string, MemoryRecurrence>();
  readonly #due = new RowQueue<MemoryRecurrence>((row) => row.nextMs);
  readonly #ended = new RowQueue<MemoryRecurrence>((row) => row.forgetMs);
  #made = 0;

  constructor(host: RecurrenceHost) {
    this.#host = host;
  }

  async put(recurrence: NewRecurrence): Promise<PutRecurrenceAnswer> {
    const nowMs = this.#host.begin();
    checkNewRecurrence(recurrence);
    const { key, plan } = recurrence;
    const holder = key === undefined ? undefined : this.#liveByKey.get(key);
    const put = outcomeOfPut(holder, recurrence);
    const row = holder ?? this.#add(recurrence, nowMs);
    if (put === "replaced") {
      this.#cancelUnstarted(row, REPLACED, nowMs);
      row.generation += 1;
      row.take(recurrence);
    }
    if (put === "added" || put === "replaced") this.#follow(row, plan, nowMs);
    const { id, generation, nextMs } = row;
    return { put, id, generation, ...(nextMs === undefined ? {} : { nextMs }) };
  }

  async get(target: Target): Promise<Recurrence | undefined> {
    this.#host.begin();
    checkTarget(target);
    return this.#find(target)?.toRecurrence();
  }

  async list(query: RecurrenceQuery): Promise<RecurrencePage> {
    this.#host.begin();
    const after = checkRecurrenceQuery(query);
    const states = statesOf(query);
    const found = [...this.#rows.values()].filter(({ n, state }) => n > after && states.includes(state));
    const page = found.slice(0, query.limit);
    const recurrences = page.map((row) => row.toRecurrence());
    return found.length > page.length ? { recurrences, next: String(page.at(-1)?.n) } : { recurrences };
  }

  async due(limit: number): Promise<Recurrence[]> {
    const nowMs = this.#host.begin();
    checkDueLimit(limit);
    const first = this.#due.peek()?.nextMs;
    if (first === undefined || first > nowMs) return [];
    return [...this.#rows.values()]
      .filter((row): row is MemoryRecurrence & { nextMs: number } => row.nextMs !== undefined && row.nextMs <= nowMs)
      .sort((a, b) => a.nextMs - b.nextMs || a.n - b.n)
      .slice(0, limit)
      .map((row) => row.toRecurrence());
  }

  async advance(
    id: string,
    from: { readonly generation: number; readonly nextMs: number },
    plan: Plan,
  ): Promise<ChangeAnswer> {
    const nowMs = this.#host.begin();
    checkTarget({ id });
    checkAdvance(from, plan);
    const row = this.#find({ id });
    if (row === undefined) return { answer: "unknown" };
    const answer = outcomeOfAdvance(row, from);
    if (answer === "changed") this.#follow(row, plan, nowMs);
    return { answer, id };
  }

  async pause(target: Target): Promise<ChangeAnswer> {
    const nowMs = this.#host.begin();
    checkTarget(target);
    const row = this.#find(target);
    if (row === undefined) return { answer: "unknown" };
    const answer = outcomeOfPause(row.state);
    if (answer === "changed") {
      this.#cancelUnstarted(row, PAUSED, nowMs);
      row.state = "paused";
      this.#setNext(row, undefined);
    }
    return { answer, id: row.id };
  }

  async resume(target: Target, generation: number, plan: Plan): Promise<ChangeAnswer> {
    const nowMs = this.#host.begin();
    checkTarget(target);
    checkResume(generation, plan);
    const row = this.#find(target);
    if (row === undefined) return { answer: "unknown" };
    const answer = outcomeOfResume(row, generation);
    if (answer === "changed") {
      row.generation += 1;
      this.#follow(row, plan, nowMs);
    }
    return { answer, id: row.id };
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    const nowMs = this.#host.begin();
    checkTarget(target);
    const row = this.#find(target);
    if (row === undefined) return { answer: "unknown" };
    const { occurrences, moves } = this.#host;
    const live = occurrences.liveOf(row.id);
    const { state, started } = row;
    const answer = answerOfCancelRecurrence(row.id, {
      state,
      started,
      running: live.some((each) => each.state === "running"),
    });
    for (const each of live) moves.cancelWithRecurrence(each, options.abort === true, CANCELLED, nowMs);
    moves.passTurns();
    if (state !== "ended") this.#end(row, nowMs);
    return answer;
  }

  /** An occurrence of it was claimed. */
  noteStart(id: string): void {
    const row = this.#rows.get(id);
    if (row !== undefined) row.started = true;
  }

  /** Whether the occurrence belongs to what was replaced or paused. */
  isOutdated({ recurrence, generation }: Occurrence): boolean {
    return isOutdated(generation, this.#rows.get(recurrence));
  }

  /** Remove those past retention, `limit` at most; how many. */
  forget(nowMs: number, limit: number): number {
    let removed = 0;
    for (; removed < limit; removed++) {
      const row = this.#ended.peek();
      if (row?.forgetMs === undefined || row.forgetMs > nowMs) break;
      row.forgetMs = undefined;
      this.#ended.drop();
      this.#rows.delete(row.id);
      if (row.key !== undefined && this.#lastByKey.get(row.key) === row) this.#lastByKey.delete(row.key);
    }
    return removed;
  }

  #find(target: Target): MemoryRecurrence | undefined {
    if ("id" in target) return this.#rows.get(target.id);
    return this.#liveByKey.get(target.key) ?? this.#lastByKey.get(target.key);
  }

  #add(recurrence: NewRecurrence, nowMs: number): MemoryRecurrence {
    this.#host.refuseIfFull(recurrence.plan.occurrences.length);
    this.#made += 1;
    const id = recurrenceId(this.#made, randomBytes(6).toString("hex"));
    const row = new MemoryRecurrence(this.#made, id, recurrence, nowMs);
    this.#rows.set(id, row);
    if (row.key !== undefined) this.#liveByKey.set(row.key, row);
    return row;
  }

  /** Be active, with the plan's occurrences; or ended, when there is no further one. */
  #follow(row: MemoryRecurrence, { nextMs, occurrences }: Plan, nowMs: number): void {
    const { definition, generation, id } = row;
    for (const each of occurrences) {
      const { nominalMs } = each;
      const occurrence: Occurrence = { recurrence: id, generation, nominalMs, overlap: definition.overlap };
      if (this.#host.occurrences.has(occurrence)) continue;
      this.#host.put(callbackOfOccurrence(definition, each), occurrence, nowMs);
    }
    row.state = "active";
    if (nextMs === null) this.#end(row, nowMs);
    else this.#setNext(row, nextMs);
  }

  #end(row: MemoryRecurrence, nowMs: number): void {
    row.state = "ended";
    row.endedMs = nowMs;
    row.forgetMs = nowMs + keepMsOf(row.key !== undefined, this.#host.limits);
    this.#setNext(row, undefined);
    this.#ended.add(row);
    if (row.key === undefined) return;
    this.#liveByKey.delete(row.key);
    this.#lastByKey.set(row.key, row);
  }

  #setNext(row: MemoryRecurrence, nextMs: number | undefined): void {
    const had = row.nextMs !== undefined;
    row.nextMs = nextMs;
    if (had) this.#due.drop();
    this.#due.add(row);
  }

  #cancelUnstarted(row: MemoryRecurrence, reason: string, nowMs: number): void {
    for (const each of this.#host.occurrences.liveOf(row.id)) {
      if (each.state === "scheduled") this.#host.moves.cancel(each, false, nowMs, reason);
    }
  }
}
