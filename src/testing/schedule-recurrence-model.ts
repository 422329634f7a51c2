/**
 * What a schedule store must do with what recurs, in the plainest words: the model's other half. It shares no line with any store, nor
 * with the rules that the stores share.
 */
import type { Overlap } from "../schedule/callback.ts";
import type { Definition, NewRecurrence, Plan } from "../schedule/recurrence.ts";
import type { ModelRow, ScheduleModel } from "./schedule-model.ts";

export interface ModelRecurrence {
  /** Order of making, from 0. */
  readonly n: number;
  readonly key: string | undefined;
  state: "active" | "paused" | "ended";
  definition: Definition;
  fingerprint: string;
  /** Of the model: from 0. A store may begin with another number. */
  generation: number;
  nextMs: number | undefined;
  started: boolean;
  endedMs: number | undefined;
}

export type ModelRecurrenceTarget = { readonly n: number } | { readonly key: string };

export class RecurrenceModel {
  all: ModelRecurrence[] = [];
  made = 0;
  readonly #rows: ScheduleModel;

  constructor(rows: ScheduleModel) {
    this.#rows = rows;
    rows.onStart = (n) => {
      const recurrence = this.find({ n });
      if (recurrence !== undefined) recurrence.started = true;
    };
    rows.isPast = ({ recurrence: n, generation }) => {
      const recurrence = this.find({ n });
      return recurrence !== undefined && (recurrence.generation !== generation || recurrence.state === "paused");
    };
  }

  /** The answer's word, the recurrence that stands, and the rows that were made, in the plan's order. */
  put(wanted: NewRecurrence, nowMs: number): { put: string; recurrence: ModelRecurrence; rows: ModelRow[] } {
    const { key, fingerprint, definition, plan } = wanted;
    const holder = this.all.find((each) => key !== undefined && each.key === key && each.state !== "ended");
    if (holder === undefined) {
      const recurrence: ModelRecurrence = {
        n: this.made++,
        key,
        state: "active",
        definition,
        fingerprint,
        generation: 0,
        nextMs: undefined,
        started: false,
        endedMs: undefined,
      };
      this.all.push(recurrence);
      return { put: "added", recurrence, rows: this.#follow(recurrence, plan, nowMs) };
    }
    if (holder.fingerprint === fingerprint) return { put: "existing", recurrence: holder, rows: [] };
    if (wanted.onConflict === "keep") return { put: "existing", recurrence: holder, rows: [] };
    if (wanted.onConflict === "reject") return { put: "conflict", recurrence: holder, rows: [] };
    this.#cancelUnstarted(holder, nowMs);
    holder.generation += 1;
    Object.assign(holder, { definition, fingerprint });
    return { put: "replaced", recurrence: holder, rows: this.#follow(holder, plan, nowMs) };
  }

  advance(
    n: number,
    from: { generation: number; nextMs: number },
    plan: Plan,
    nowMs: number,
  ): { answer: string; rows: ModelRow[] } {
    const recurrence = this.find({ n });
    if (recurrence === undefined) return { answer: "unknown", rows: [] };
    if (recurrence.state === "ended") return { answer: "ended", rows: [] };
    if (recurrence.state === "paused") return { answer: "stale", rows: [] };
    if (recurrence.generation !== from.generation || recurrence.nextMs !== from.nextMs) {
      return { answer: "stale", rows: [] };
    }
    return { answer: "changed", rows: this.#follow(recurrence, plan, nowMs) };
  }

  pause(target: ModelRecurrenceTarget, nowMs: number): { answer: string; recurrence?: ModelRecurrence } {
    const recurrence = this.find(target);
    if (recurrence === undefined) return { answer: "unknown" };
    if (recurrence.state === "ended") return { answer: "ended", recurrence };
    if (recurrence.state === "paused") return { answer: "unchanged", recurrence };
    this.#cancelUnstarted(recurrence, nowMs);
    Object.assign(recurrence, { state: "paused", nextMs: undefined });
    return { answer: "changed", recurrence };
  }

  resume(
    target: ModelRecurrenceTarget,
    generation: number,
    plan: Plan,
    nowMs: number,
  ): { answer: string; recurrence?: ModelRecurrence; rows: ModelRow[] } {
    const recurrence = this.find(target);
    if (recurrence === undefined) return { answer: "unknown", rows: [] };
    if (recurrence.state === "ended") return { answer: "ended", recurrence, rows: [] };
    if (recurrence.state === "active") return { answer: "unchanged", recurrence, rows: [] };
    if (recurrence.generation !== generation) return { answer: "stale", recurrence, rows: [] };
    recurrence.generation += 1;
    return { answer: "changed", recurrence, rows: this.#follow(recurrence, plan, nowMs) };
  }

  cancel(
    target: ModelRecurrenceTarget,
    abort: boolean,
    nowMs: number,
  ): { answer: string; recurrence?: ModelRecurrence } {
    const recurrence = this.find(target);
    if (recurrence === undefined) return { answer: "unknown" };
    const rows = this.#liveOf(recurrence);
    const runs = rows.some((row) => row.state === "running");
    for (const row of rows) {
      if (row.state === "running" && row.abort === "no") row.abort = "quiet";
      this.#rows.cancelRow(row, abort, nowMs);
    }
    if (recurrence.state === "ended") return { answer: "finished", recurrence };
    this.#end(recurrence, nowMs);
    if (runs) return { answer: "running", recurrence };
    return { answer: recurrence.started ? "stopped" : "cancelled", recurrence };
  }

  due(nowMs: number): ModelRecurrence[] {
    const due = this.all.filter((each) => each.nextMs !== undefined && each.nextMs <= nowMs);
    return due.sort((a, b) => (a.nextMs ?? 0) - (b.nextMs ?? 0) || a.n - b.n);
  }

  sweep(nowMs: number): void {
    const { keepMs, keepKeyedMs } = this.#rows.limits;
    this.all = this.all.filter(
      ({ endedMs, key }) => endedMs === undefined || endedMs + (key === undefined ? keepMs : keepKeyedMs) > nowMs,
    );
  }

  find(target: ModelRecurrenceTarget): ModelRecurrence | undefined {
    if ("n" in target) return this.all.find(({ n }) => n === target.n);
    const named = this.all.filter(({ key }) => key === target.key);
    return named.find(({ state }) => state !== "ended") ?? named.at(-1);
  }

  #follow(recurrence: ModelRecurrence, { nextMs, occurrences }: Plan, nowMs: number): ModelRow[] {
    const { overlap, call } = recurrence.definition;
    const { n, generation } = recurrence;
    const rows = occurrences.map(({ nominalMs, ...when }) =>
      this.#rows.add(
        { ...call, ...when },
        { recurrence: n, generation, nominalMs, overlap: overlap satisfies Overlap },
      ),
    );
    if (nextMs === null) this.#end(recurrence, nowMs);
    else Object.assign(recurrence, { state: "active", nextMs });
    return rows;
  }

  #end(recurrence: ModelRecurrence, nowMs: number): void {
    Object.assign(recurrence, { state: "ended", nextMs: undefined, endedMs: nowMs });
  }

  #liveOf({ n }: ModelRecurrence): ModelRow[] {
    return this.#rows.rows.filter((row) => row.occurrence?.recurrence === n && row.endedMs === undefined);
  }

  #cancelUnstarted(recurrence: ModelRecurrence, nowMs: number): void {
    for (const row of this.#liveOf(recurrence)) {
      if (row.state === "scheduled") this.#rows.cancelRow(row, false, nowMs);
    }
  }
}
