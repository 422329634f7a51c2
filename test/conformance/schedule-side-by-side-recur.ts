/** What recurs, in a store and in the model of it. */
import assert from "node:assert/strict";
import type { NewRecurrence, Plan, Recurrence } from "../../src/schedule/recurrence.ts";
import { everyRecurrence, type ScheduleInvariants } from "../../src/testing/schedule-invariants.ts";
import type { ModelOccurrence, ModelRow } from "../../src/testing/schedule-model.ts";
import {
  type ModelRecurrence,
  type ModelRecurrenceTarget,
  RecurrenceModel,
} from "../../src/testing/schedule-recurrence-model.ts";
import type { SideBySide, Who } from "./schedule-side-by-side.ts";

/** Owners that nobody has heard of, for what they may claim. */
const ASKING = [
  { id: "asks-1", queues: ["q0"] },
  { id: "asks-2", queues: [] },
];

export class RecurrencesSideBySide {
  readonly model: RecurrenceModel;
  readonly #ids: string[] = [];
  /** The store's generation of each, less the model's. */
  readonly #bases: number[] = [];
  readonly #both: SideBySide;
  readonly #invariants: ScheduleInvariants;

  constructor(both: SideBySide, invariants: ScheduleInvariants) {
    this.#both = both;
    this.#invariants = invariants;
    this.model = new RecurrenceModel(both.model);
  }

  async put(recurrence: NewRecurrence): Promise<void> {
    const answer = await this.#both.store.recurrences.put(recurrence);
    const { put, recurrence: expected, rows } = this.model.put(recurrence, this.#both.nowMs);
    assert.equal(answer.put, put);
    if (put === "added") {
      this.#ids[expected.n] = answer.id;
      this.#bases[expected.n] = answer.generation;
    }
    assert.equal(answer.id, this.#ids[expected.n]);
    assert.equal(answer.generation, this.#generationOf(expected));
    assert.equal(answer.nextMs, expected.nextMs);
    await this.#learn(rows);
  }

  /** @param stale what of it is not as it stands */
  async advance(which: number, stale: "no" | "generation" | "nextMs", planFrom: (ms: number) => Plan): Promise<void> {
    const n = this.#numberOf(which);
    const found = this.model.find({ n });
    const nextMs = (found?.nextMs ?? this.#both.nowMs) + (stale === "nextMs" ? 1 : 0);
    const generation = (found?.generation ?? 0) + (stale === "generation" ? 1 : 0);
    const plan = planFrom(nextMs);
    const expected = this.model.advance(n, { generation, nextMs }, plan, this.#both.nowMs);
    const from = { generation: generation + (this.#bases[n] ?? 0), nextMs };
    const answer = await this.#both.store.recurrences.advance(this.#ids[n] ?? "r-none", from, plan);
    assert.equal(answer.answer, expected.answer);
    await this.#learn(expected.rows);
  }

  async pause(who: Who): Promise<void> {
    const [real, model] = this.#target(who);
    this.#same(await this.#both.store.recurrences.pause(real), this.model.pause(model, this.#both.nowMs));
  }

  async resume(who: Who, stale: boolean, plan: Plan): Promise<void> {
    const [real, model] = this.#target(who);
    const found = this.model.find(model);
    const generation = (found?.generation ?? 0) + (stale ? 1 : 0);
    const base = found === undefined ? 0 : (this.#bases[found.n] as number);
    const answer = await this.#both.store.recurrences.resume(real, generation + base, plan);
    const expected = this.model.resume(model, generation, plan, this.#both.nowMs);
    this.#same(answer, expected);
    await this.#learn(expected.rows);
  }

  async cancel(who: Who, abort: boolean): Promise<void> {
    const [real, model] = this.#target(who);
    const answer = await this.#both.store.recurrences.cancel(real, { abort });
    this.#same(answer, this.model.cancel(model, abort, this.#both.nowMs));
    if (answer.answer === "cancelled") this.#invariants.promiseCancelled(answer.id);
  }

  async compare(): Promise<void> {
    const { store, nowMs, model } = this.#both;
    const [all, due, upcoming] = await Promise.all([
      everyRecurrence(store),
      store.recurrences.due(100),
      Promise.all(ASKING.map((owner) => store.upcoming(owner))),
    ]);
    assert.deepEqual(
      all.map(shown),
      this.model.all.map((each) => this.#shown(each)),
    );
    assert.deepEqual(
      due.map(({ id }) => id),
      this.model.due(nowMs).map(({ n }) => this.#ids[n]),
    );
    assert.deepEqual(
      upcoming,
      ASKING.map((owner) => ({ dueMs: model.nextDueMs(owner), nowMs })),
    );
  }

  shownOccurrence({ recurrence, generation, nominalMs, overlap }: ModelOccurrence) {
    const base = this.#bases[recurrence] as number;
    return { recurrence: this.#ids[recurrence], generation: generation + base, nominalMs, overlap };
  }

  /** Find out the ids of occurrences that were put. */
  async #learn(rows: readonly ModelRow[]): Promise<void> {
    const recurrence = rows[0]?.occurrence?.recurrence;
    if (recurrence === undefined) return;
    const { callbacks } = await this.#both.store.list({ recurrence: this.#ids[recurrence] ?? "", limit: 1_000 });
    for (const row of rows) {
      const name = this.shownOccurrence(row.occurrence as ModelOccurrence);
      const callback = callbacks.find(
        ({ occurrence }) => occurrence?.generation === name.generation && occurrence.nominalMs === name.nominalMs,
      );
      assert.ok(callback !== undefined, `there is no occurrence ${JSON.stringify(name)}`);
      this.#both.ids[row.n] = callback.id;
    }
  }

  #numberOf(which: number): number {
    return this.#ids.length === 0 ? 0 : which % this.#ids.length;
  }

  #target(who: Who): [{ id: string } | { key: string }, ModelRecurrenceTarget] {
    if ("key" in who) return [who, who];
    const n = this.#numberOf(who.which);
    return [{ id: this.#ids[n] ?? "r-none" }, { n }];
  }

  #same(answer: { answer: string; id?: string }, expected: { answer: string; recurrence?: ModelRecurrence }): void {
    assert.equal(answer.answer, expected.answer);
    assert.equal(answer.id, expected.recurrence === undefined ? undefined : this.#ids[expected.recurrence.n]);
  }

  #generationOf({ n, generation }: ModelRecurrence): number {
    return generation + (this.#bases[n] as number);
  }

  #shown(each: ModelRecurrence) {
    const { key, state, definition, nextMs, started, endedMs } = each;
    const generation = this.#generationOf(each);
    return { id: this.#ids[each.n], key, state, definition, generation, nextMs, started, endedMs };
  }
}

function shown({ id, key, state, definition, generation, nextMs, started, endedMs }: Recurrence) {
  return { id, key, state, definition, generation, nextMs, started, endedMs };
}
