/**
 * Random lives of a schedule: each command is done to the store and to the model, answers and contents are compared, and the
 * invariants checked. What differs is shrunk by fast-check to the shortest such life.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Callback, Claim, NewCallback, RunEnd } from "../../src/schedule/callback.ts";
import { limitsOf } from "../../src/schedule/limits.ts";
import type { ScheduleStore, StoreLimits } from "../../src/schedule/store.ts";
import type { FakeClock } from "../../src/testing/fake-clock.ts";
import { message } from "../../src/testing/schedule-fixtures.ts";
import { ScheduleInvariants } from "../../src/testing/schedule-invariants.ts";
import { type ModelClaim, type ModelRow, ScheduleModel } from "../../src/testing/schedule-model.ts";

/** Small, so that the limits are met within a short life. */
export const MODEL_LIMITS: Partial<StoreLimits> = { crashLimit: 2, lostLimit: 2, keepMs: 60_000, keepKeyedMs: 90_000 };

interface Held {
  readonly claim: Claim;
  readonly model: ModelClaim;
}

/** The store and the model, side by side. */
export class SideBySide {
  readonly model: ScheduleModel;
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

  async claim(owner: string, limit: number, leaseMs: number): Promise<void> {
    const nowMs = this.nowMs;
    const { claims, ended } = await this.store.claimDue({ id: owner }, limit, leaseMs);
    const expected = this.model.claimDue(owner, limit, leaseMs, nowMs);
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
    const swept = await this.store.sweep(1_000);
    assert.deepEqual(swept.map(({ callback }) => callback.id).sort(), this.#idsOf(this.model.sweep(this.nowMs)).sort());
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
    this.model.resigned.add(owner);
  }

  async advance(ms: number): Promise<void> {
    await this.#clock.advance(ms);
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
    const all = await this.#invariants.check(this.store);
    const expected = [...this.model.rows].sort((a, b) => a.dueMs - b.dueMs || a.n - b.n);
    assert.deepEqual(
      all.map(shownCallback),
      expected.map((row) => this.#shownRow(row)),
    );
    assert.equal(await this.store.nextDueMs(), this.model.nextDueMs());
    const known = new Set(TASK_IDS.filter((taskId) => this.model.isRevoked(taskId, this.nowMs)));
    assert.deepEqual(await this.store.revoked(TASK_IDS), known);
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
    };
  }
}

function shownCallback(callback: Callback) {
  const { id, key, taskId, state, endedMs, leaseUntilMs, message: call } = callback;
  const { task, body, retries } = call;
  return {
    ...shown({ ...callback, expiresMs: callback.expiresMs, task, body, retries }),
    id,
    key,
    taskId,
    state,
    endedMs,
    leaseUntilMs,
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

type Who = { readonly which: number } | { readonly key: string };
export type Command = { readonly name: string; readonly run: (both: SideBySide) => Promise<void> };

const KEYS = ["a", "b"];
const TASK_IDS = ["t1", "t2"];
const OWNERS = ["alice", "bob"];

const index = fc.nat(7);
const owner = fc.constantFrom(...OWNERS);
const who: fc.Arbitrary<Who> = fc.oneof(
  index.map((which) => ({ which })),
  fc.constantFrom(...KEYS).map((key) => ({ key })),
);
const leaseMs = fc.constantFrom(1_000, 20_000);
const spanMs = fc.constantFrom(-5_000, 0, 1, 1_000, 5_000);

/** Times are from now on, as the command finds it. */
const callback = fc.record({
  key: fc.option(fc.constantFrom(...KEYS), { nil: undefined }),
  onConflict: fc.constantFrom("keep", "replace", "reject"),
  taskId: fc.option(fc.constantFrom(...TASK_IDS), { nil: undefined, freq: 3 }),
  retries: fc.nat(1),
  dueInMs: spanMs,
  expiresInMs: fc.option(fc.constantFrom(0, 1_000, 6_000), { nil: undefined, freq: 3 }),
  misfire: fc.constantFrom("fire", "skip"),
  graceMs: fc.constantFrom(0, 2_000),
  onLost: fc.constantFrom("rerun", "fail"),
  tags: fc.subarray(["x", "y"]),
});

const end = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ kind: "succeeded" } as const) },
  fc.constant({ kind: "failed", reason: "no" } as const),
  fc.constant({ kind: "stopped", reason: "asked" } as const),
  { weight: 2, arbitrary: fc.constant({ kind: "crashed", reason: "SIGKILL" } as const) },
  fc.constant({ kind: "lost", reason: "a cold stop" } as const),
  { weight: 2, arbitrary: spanMs.map((inMs) => ({ kind: "retry", inMs }) as const) },
);

function command(name: string, run: Command["run"]): Command {
  return { name, run };
}

export const commands: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .array(callback, { minLength: 1, maxLength: 3 })
      .map((list) =>
        command(`put ${JSON.stringify(list)}`, (both) => both.put(list.map((each) => newCallback(each, both.nowMs)))),
      ),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(who, fc.boolean())
      .map(([whom, abort]) => command(`cancel ${JSON.stringify([whom, abort])}`, (both) => both.cancel(whom, abort))),
  },
  fc
    .tuple(who, spanMs, fc.boolean())
    .map(([whom, ms, by]) =>
      command(`reschedule ${JSON.stringify([whom, ms, by])}`, (both) =>
        both.reschedule(whom, by ? { byMs: ms } : { dueMs: both.nowMs + ms }),
      ),
    ),
  {
    weight: 6,
    arbitrary: fc
      .tuple(owner, fc.nat(3), leaseMs)
      .map(([by, limit, ms]) => command(`claim ${by} ${limit} ${ms}`, (both) => both.claim(by, limit, ms))),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(index, end)
      .map(([which, how]) =>
        command(`settle ${which} ${JSON.stringify(how)}`, (both) => both.settle(which, runEnd(how, both.nowMs))),
      ),
  },
  fc
    .tuple(fc.array(index, { maxLength: 3 }), leaseMs)
    .map(([which, ms]) => command(`renew ${which} ${ms}`, (both) => both.renew(which, ms))),
  fc.array(index, { maxLength: 3 }).map((which) => command(`release ${which}`, (both) => both.release(which))),
  { weight: 2, arbitrary: fc.constant(command("sweep", (both) => both.sweep())) },
  owner.map((by) => command(`takeAborts ${by}`, (both) => both.takeAborts(by))),
  fc
    .tuple(fc.option(fc.constantFrom(...TASK_IDS), { nil: undefined }), index, fc.constantFrom(0, 10_000), fc.boolean())
    .map(([taskId, which, ms, abort]) =>
      command(`revoke ${taskId ?? `own ${which}`} ${ms} ${abort}`, (both) =>
        both.revoke(taskId ?? both.idOf(which), ms, abort),
      ),
    ),
  owner.map((by) => command(`die ${by}`, (both) => both.die(by))),
  {
    weight: 4,
    arbitrary: fc
      .constantFrom(1, 999, 1_000, 5_000, 20_000, 60_000)
      .map((ms) => command(`advance ${ms}`, (both) => both.advance(ms))),
  },
  fc.constantFrom(1, 1_000, 60_000).map((ms) => command(`stepBack ${ms}`, async (both) => both.stepBack(ms))),
  fc.constant(command("reopen", (both) => both.reopen())),
);

/** Do one life. */
export async function live(both: SideBySide, life: readonly Command[]): Promise<void> {
  for (const [i, each] of life.entries()) {
    try {
      await each.run(both);
      await both.compare();
    } catch (error) {
      const story = life.slice(0, i + 1).map(({ name }, step) => `${step}. ${name}`);
      throw new Error(`after\n${story.join("\n")}\n${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
}

function newCallback(of: typeof callback extends fc.Arbitrary<infer T> ? T : never, nowMs: number): NewCallback {
  const { key, taskId, onConflict, retries, dueInMs, expiresInMs, misfire, graceMs, onLost, tags } = of;
  return {
    ...(key === undefined ? {} : { key, onConflict }),
    ...(taskId === undefined ? {} : { taskId }),
    ...(expiresInMs === undefined ? {} : { expiresMs: nowMs + expiresInMs }),
    dueMs: nowMs + dueInMs,
    misfire,
    graceMs,
    onLost,
    tags,
    queue: `q${retries}`,
    message: message({ retries, body: `[${dueInMs}]` }),
  };
}

function runEnd(how: typeof end extends fc.Arbitrary<infer T> ? T : never, nowMs: number): RunEnd {
  if (how.kind !== "retry") return how;
  return { kind: "retry", reason: "again", dueMs: nowMs + how.inMs, message: message({ retries: 9, body: "[9]" }) };
}
