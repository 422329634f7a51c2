/** A store and the model of it: what is done to both, answers and contents compared, and the invariants checked. */
import assert from "node:assert/strict";
import type { Callback, Claim, NewCallback, RunEnd } from "../../src/schedule/callback.ts";
import { limitsOf } from "../../src/schedule/limits.ts";
import type { Owner, ScheduleStore, StoreLimits } from "../../src/schedule/store.ts";
import type { FakeClock } from "../../src/testing/fake-clock.ts";
import { swept } from "../../src/testing/schedule-fixtures.ts";
import { ScheduleInvariants } from "../../src/testing/schedule-invariants.ts";
import { type ModelClaim, type ModelRow, ScheduleModel } from "../../src/testing/schedule-model.ts";
import { RecurrencesSideBySide } from "./schedule-side-by-side-recur.ts";

/** Small, so that the limits are met within a short life. */
export const MODEL_LIMITS: Partial<StoreLimits> = { crashLimit: 2, lostLimit: 2, keepMs: 60_000, keepKeyedMs: 90_000 };
export const TASK_IDS = ["t1", "t2"];

export type Who = { readonly which: number } | { readonly key: string };

interface Held {
  readonly claim: Claim;
  readonly model: ModelClaim;
}

/** The store and the model, side by side. */
export class SideBySide {
  readonly model: ScheduleModel;
  readonly recurrences: RecurrencesSideBySide;
  readonly ids: string[] = [];
  readonly held: Held[] = [];
  store: ScheduleStore;
  readonly #clock: FakeClock;
  readonly #invariants = new ScheduleInvariants();
  readonly #reopen: () => Promise<ScheduleStore>;

  constructor(store: ScheduleStore, clock: FakeClock, reopen: () => Promise<ScheduleStore>) {
    this.store = store;
    this.#clock = clock;
    this.#reopen = reopen;
    this.model = new ScheduleModel(limitsOf(MODEL_LIMITS), (n) => this.ids[n] as string);
    this.recurrences = new RecurrencesSideBySide(this, this.#invariants);
  }

  get nowMs(): number {
    return this.#clock.wallMs();
  }

  async put(callbacks: readonly NewCallback[]): Promise<void> {
    const nowMs = this.nowMs;
    const answers = await this.store.put(callbacks);
    assert.equal(answers.length, callbacks.length);
    for (const [i, callback] of callbacks.entries()) {
      const expected = this.model.put(callback, nowMs);
      const answer = answers[i];
      assert.equal(answer?.put, expected.put);
      if (expected.row === undefined || !("id" in answer)) continue;
      if (expected.put === "added") this.ids[expected.row.n] = answer.id;
      assert.equal(answer.id, this.ids[expected.row.n]);
    }
  }

  async cancel(who: Who, abort: boolean): Promise<void> {
    const [real, model] = this.#target(who);
    const answer = await this.store.cancel(real, { abort });
    const expected = this.model.cancel(model, abort, this.nowMs);
    this.#sameAnswer(answer, expected);
    if (answer.answer === "cancelled") this.#invariants.promiseCancelled(answer.id);
  }

  async reschedule(who: Who, to: { dueMs: number } | { byMs: number }): Promise<void> {
    const [real, model] = this.#target(who);
    this.#sameAnswer(await this.store.reschedule(real, to), this.model.reschedule(model, to));
  }

  /** @param queues that it claims from while it has announced none */
  async claim(id: string, queues: Owner["queues"], limit: number, leaseMs: number): Promise<void> {
    const nowMs = this.nowMs;
    const owner = this.model.serving.has(id) ? ownerOf(id, this.model.serving.get(id)) : ownerOf(id, queues);
    const { claims, ended, upcoming } = await this.store.claimDue(owner, limit, leaseMs);
    const expected = this.model.claimDue(owner, limit, leaseMs, nowMs);
    assert.deepEqual(upcoming, { dueMs: this.model.nextDueMs(owner), nowMs });
    assert.deepEqual(
      claims.map(({ callback }) => callback.id),
      this.#idsOf(expected.claimed),
    );
    assert.deepEqual(ended.map(({ callback }) => callback.id).sort(), this.#idsOf(expected.ended).sort());
    for (const [i, claim] of claims.entries()) {
      const row = expected.claimed[i] as ModelRow;
      assert.ok(row.dueMs <= nowMs, "I7: claimed before it was due");
      assert.deepEqual([claim.token, claim.attempt, claim.leaseUntilMs], [row.token, row.attempts, row.leaseUntilMs]);
      this.held.push({ claim, model: { row, token: claim.token } });
    }
  }

  /** @param queues undefined: every one */
  async enlist(id: string, queues: Owner["queues"]): Promise<void> {
    const owner = ownerOf(id, queues);
    await this.store.enlist(owner, []);
    this.model.enlist(owner);
  }

  async settle(which: number, end: RunEnd): Promise<void> {
    const held = this.#pick(which);
    if (held === undefined) return;
    const expected = this.model.settle(held.model, end, this.nowMs);
    if (!expected) {
      await assert.rejects(this.store.settle(held.claim, end), { code: "ERR_LEASE_LOST" });
      return;
    }
    const settled = await this.store.settle(held.claim, end);
    assert.deepEqual(settled, await this.store.get({ id: settled.id }));
  }

  async renew(which: readonly number[], leaseMs: number): Promise<void> {
    const some = which.map((each) => this.#pick(each)).filter((each) => each !== undefined);
    const answers = await this.store.renew(
      some.map(({ claim }) => claim),
      leaseMs,
    );
    assert.deepEqual(
      answers,
      this.model.renew(
        some.map(({ model }) => model),
        leaseMs,
        this.nowMs,
      ),
    );
  }

  async release(which: readonly number[]): Promise<void> {
    const some = which.map((each) => this.#pick(each)).filter((each) => each !== undefined);
    await this.store.release(some.map(({ claim }) => claim));
    this.model.release(
      some.map(({ model }) => model),
      this.nowMs,
    );
  }

  async sweep(): Promise<void> {
    const ended = await swept(this.store, 1_000);
    assert.deepEqual(ended.map(({ callback }) => callback.id).sort(), this.#idsOf(this.model.sweep(this.nowMs)).sort());
    this.recurrences.model.sweep(this.nowMs);
  }

  async takeAborts(owner: string): Promise<void> {
    const taken = await this.store.takeAborts({ id: owner });
    assert.deepEqual(taken.map(({ id }) => id).sort(), this.#idsOf(this.model.takeAborts(owner)).sort());
  }

  async revoke(taskId: string, forMs: number, abort: boolean): Promise<void> {
    const untilMs = this.nowMs + forMs;
    const answer = await this.store.revoke(taskId, untilMs, { abort });
    assert.equal(answer.answer, this.model.revoke(taskId, untilMs, abort, this.nowMs));
    if (answer.answer === "cancelled") this.#invariants.promiseCancelled(answer.id);
  }

  async die(owner: string): Promise<void> {
    await this.store.resign({ id: owner });
    this.model.resign(owner);
  }

  async advance(ms: number): Promise<void> {
    await this.#clock.advance(ms);
    // A process that lives says so all the time, where only that tells.
    for (const [id, queues] of this.model.serving) await this.store.enlist(ownerOf(id, queues), []);
  }

  stepBack(ms: number): void {
    this.#clock.stepWall(-ms);
  }

  async reopen(): Promise<void> {
    this.store = await this.#reopen();
  }

  /** The id that the `which`-th row has, or has had. */
  idOf(which: number): string {
    return this.ids.length === 0 ? "none" : (this.ids[which % this.ids.length] as string);
  }

  async compare(): Promise<void> {
    const [all, revoked] = await Promise.all([
      this.#invariants.check(this.store),
      this.store.revoked(TASK_IDS),
      this.recurrences.compare(),
    ]);
    const expected = [...this.model.rows].sort((a, b) => a.dueMs - b.dueMs || a.n - b.n);
    assert.deepEqual(
      all.map(shownCallback),
      expected.map((row) => this.#shownRow(row)),
    );
    assert.deepEqual(revoked, new Set(TASK_IDS.filter((taskId) => this.model.isRevoked(taskId, this.nowMs))));
  }

  #target(who: Who): [{ id: string } | { key: string }, { n: number } | { key: string }] {
    if ("key" in who) return [who, who];
    const n = this.ids.length === 0 ? 0 : who.which % this.ids.length;
    return [{ id: this.ids[n] ?? "none" }, { n }];
  }

  #pick(which: number): Held | undefined {
    return this.held.length === 0 ? undefined : this.held[which % this.held.length];
  }

  #idsOf(rows: readonly ModelRow[]): string[] {
    return rows.map((row) => this.ids[row.n] as string);
  }

  #sameAnswer(answer: { answer: string; id?: string }, expected: { answer: string; row?: ModelRow }): void {
    assert.equal(answer.answer, expected.answer);
    assert.equal(answer.id, expected.row === undefined ? undefined : this.ids[expected.row.n]);
  }

  #shownRow(row: ModelRow) {
    const id = this.ids[row.n];
    return {
      ...shown(row),
      id,
      key: row.key,
      taskId: row.taskId ?? id,
      state: row.state,
      endedMs: row.endedMs,
      leaseUntilMs: row.leaseUntilMs,
      occurrence: row.occurrence === undefined ? undefined : this.recurrences.shownOccurrence(row.occurrence),
    };
  }
}

function ownerOf(id: string, queues: Owner["queues"]): Owner {
  return queues === undefined ? { id } : { id, queues };
}

function shownCallback(callback: Callback) {
  const { id, key, taskId, state, endedMs, leaseUntilMs, occurrence, message: call } = callback;
  const { task, body, retries } = call;
  return {
    ...shown({ ...callback, expiresMs: callback.expiresMs, task, body, retries }),
    id,
    key,
    taskId,
    state,
    endedMs,
    leaseUntilMs,
    occurrence,
  };
}

type Shown = Pick<
  ModelRow,
  | "dueMs"
  | "expiresMs"
  | "misfire"
  | "graceMs"
  | "onLost"
  | "queue"
  | "tags"
  | "task"
  | "body"
  | "retries"
  | "attempts"
  | "token"
>;

function shown({
  dueMs,
  expiresMs,
  misfire,
  graceMs,
  onLost,
  queue,
  tags,
  task,
  body,
  retries,
  attempts,
  token,
}: Shown): Shown {
  return { dueMs, expiresMs, misfire, graceMs, onLost, queue, tags, task, body, retries, attempts, token };
}
