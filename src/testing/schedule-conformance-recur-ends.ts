/** Recurrences: pausing, cancelling, retention, wrong input. What every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewOccurrence, Plan } from "../schedule/recurrence.ts";
import {
  ALICE,
  add,
  BOB,
  claimOne,
  crashed,
  dueAt,
  LEASE_MS,
  type Opened,
  ok,
  retryAt,
  swept,
} from "./schedule-fixtures.ts";
import {
  addRecurrence,
  definition,
  NO_MORE,
  occurrenceAt,
  occurrencesOf,
  planOf,
  recurring,
  shownOf,
} from "./schedule-recurrence-fixtures.ts";

const DAY_MS = 86_400_000;
const bad = { code: "ERR_INVALID_INPUT" };

export function testEndingRecurrences(opened: Opened): void {
  test("paused, it has no occurrence to come; resumed, it goes on in a new generation from the plan", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at, at + 100), { key: "k" }));
    const claim = await claimOne(store);

    assert.deepEqual(await store.recurrences.pause({ key: "k" }), { answer: "changed", id });

    assert.deepEqual(await store.recurrences.pause({ id }), { answer: "unchanged", id });
    const paused = await store.recurrences.get({ id });
    assert.deepEqual([paused?.state, paused?.generation, paused?.nextMs], ["paused", generation, undefined]);
    const [, cancelled] = await occurrencesOf(store, id);
    assert.deepEqual([cancelled?.state, cancelled?.attempts], ["cancelled", 0]);
    assert.match(cancelled?.reason ?? "", /paused/);
    await clock.advance(200);
    assert.deepEqual(await store.recurrences.due(9), []);
    assert.equal((await store.settle(claim, retryAt(at))).state, "waiting", "what had started goes on");

    const plan = planOf(at + 300);
    assert.deepEqual(await store.recurrences.resume({ key: "k" }, generation + 1, plan), { answer: "stale", id });
    assert.deepEqual(await store.recurrences.resume({ key: "k" }, generation, plan), { answer: "changed", id });
    assert.deepEqual(await store.recurrences.resume({ id }, generation, plan), { answer: "unchanged", id });
    const resumed = await store.recurrences.get({ id });
    assert.deepEqual([resumed?.state, resumed?.generation, resumed?.nextMs], ["active", generation + 1, at + 300]);
    assert.deepEqual(await shownOf(store, id, at), [
      `${generation}/0 waiting`,
      `${generation}/100 cancelled`,
      `${generation + 1}/300 scheduled`,
    ]);
  });

  test("the nominal time of a cancelled occurrence may come again in the next generation", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at + 100)));
    await store.recurrences.pause({ id });
    await store.recurrences.resume({ id }, generation, planOf(at + 100));
    assert.deepEqual(await shownOf(store, id, at), [`${generation}/100 cancelled`, `${generation + 1}/100 scheduled`]);
  });

  test("what is gone or has ended can neither be paused nor resumed; a plan without occurrences ends it", async () => {
    const { store, clock } = await opened();
    const { id, generation } = await store.recurrences.put(recurring(planOf(clock.wallMs() + 100)));
    await store.recurrences.pause({ id });
    assert.equal((await store.recurrences.resume({ id }, generation, NO_MORE)).answer, "changed");
    assert.equal((await store.recurrences.get({ id }))?.state, "ended");
    assert.deepEqual(await store.recurrences.pause({ id }), { answer: "ended", id });
    assert.deepEqual(await store.recurrences.resume({ id }, generation, NO_MORE), { answer: "ended", id });
    assert.deepEqual(await store.recurrences.pause({ key: "none" }), { answer: "unknown" });
    assert.deepEqual(await store.recurrences.resume({ key: "none" }, 1, NO_MORE), { answer: "unknown" });
  });

  test("cancelled before anything of it started: cancelled, and nothing of it ever starts", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at, at + 100), { key: "k" }));
    assert.deepEqual(await store.recurrences.cancel({ key: "k" }), { answer: "cancelled", id });
    await clock.advance(1_000);
    assert.deepEqual((await store.claimDue(ALICE, 9, LEASE_MS)).claims, []);
    assert.deepEqual(await shownOf(store, id, at), [`${generation}/0 cancelled`, `${generation}/100 cancelled`]);
    for (const { reason } of await occurrencesOf(store, id)) assert.match(reason ?? "", /cancelled/);
    const found = await store.recurrences.get({ key: "k" });
    assert.deepEqual([found?.state, found?.endedMs, found?.nextMs], ["ended", at, undefined]);
    assert.deepEqual(await store.recurrences.cancel({ id }), { answer: "finished", id, state: "stopped" });
    assert.deepEqual(await store.recurrences.due(9), []);
  });

  test("cancelled after some have run: stopped; one that waits to run again is stopped with it", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const ran = await addRecurrence(store, planOf(at, at + 100));
    await store.settle(await claimOne(store), ok);
    assert.deepEqual(await store.recurrences.cancel({ id: ran }), { answer: "stopped", id: ran });

    const waits = await addRecurrence(store, planOf(at, at + 100));
    const claim = await claimOne(store);
    await store.settle(claim, retryAt(at + 5));
    assert.deepEqual(await store.recurrences.cancel({ id: waits }), { answer: "stopped", id: waits });
    const stopped = await store.get({ id: claim.callback.id });
    assert.equal(stopped?.state, "stopped");
    assert.match(stopped?.reason ?? "", /cancelled/);
    assert.equal((await store.recurrences.get({ id: waits }))?.started, true);
  });

  test("cancelled while one runs (A1): running; that one goes on to its end, does not run again, and no other starts", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    for (const [end, becomes] of [
      [ok, "succeeded"],
      [crashed, "stopped"],
      [retryAt(at), "stopped"],
    ] as const) {
      const id = await addRecurrence(store, planOf(at, at + 100));
      const claim = await claimOne(store);
      assert.deepEqual(await store.recurrences.cancel({ id }), { answer: "running", id });
      assert.deepEqual(await store.takeAborts(ALICE), [], "nobody asked it to stop");
      assert.equal((await store.settle(claim, end)).state, becomes);
      assert.deepEqual(await store.recurrences.cancel({ id }), { answer: "finished", id, state: "stopped" });
    }
    await clock.advance(1_000);
    assert.deepEqual((await store.claimDue(BOB, 9, LEASE_MS)).claims, []);
  });

  test("with abort, each one that runs is asked to stop, once; also when the recurrence was cancelled before", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await addRecurrence(store, planOf(at - 2, at - 1, at + 100));
    const { claims } = await store.claimDue(ALICE, 2, LEASE_MS);
    assert.equal((await store.recurrences.cancel({ id })).answer, "running");
    assert.equal((await store.recurrences.cancel({ id }, { abort: true })).answer, "finished");
    const asked = await store.takeAborts(ALICE);
    assert.deepEqual(asked.map((each) => each.id).sort(), claims.map(({ callback }) => callback.id).sort());
    await store.recurrences.cancel({ id }, { abort: true });
    assert.deepEqual(await store.takeAborts(ALICE), []);
  });

  test("a claim that is given back unstarted after a cancel, a pause or a replacement starts never", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    for (const change of ["cancel", "pause", "replace"] as const) {
      const id = await addRecurrence(store, planOf(at, at + 100), { key: change });
      const claim = await claimOne(store);
      if (change === "replace")
        await store.recurrences.put(recurring(planOf(at + 50), { key: change, fingerprint: "2" }));
      else await store.recurrences[change]({ id });
      await store.release([claim]);
      assert.equal((await store.get({ id: claim.callback.id }))?.state, "cancelled", change);
      await store.recurrences.cancel({ id });
    }
    const id = await addRecurrence(store, planOf(at));
    const claim = await claimOne(store);
    const generation = claim.callback.occurrence?.generation ?? 0;
    await store.recurrences.advance(id, { generation, nextMs: at }, NO_MORE);
    await store.release([claim]);
    assert.equal((await store.get({ id: claim.callback.id }))?.state, "scheduled", "the last one of a rule still runs");
  });

  test("a rule that has run out leaves its last occurrence; cancelling what has ended takes it back", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(occurrenceAt(at, { dueMs: at + 500 }))));
    await store.recurrences.advance(id, { generation, nextMs: at }, NO_MORE);
    assert.deepEqual(await shownOf(store, id, at), [`${generation}/0 scheduled`]);
    assert.deepEqual(await store.recurrences.cancel({ id }), { answer: "finished", id, state: "stopped" });
    assert.deepEqual(await shownOf(store, id, at), [`${generation}/0 cancelled`]);
  });

  test("an ended recurrence is kept for a day, one with a key for a week; its occurrences go like other callbacks", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const plain = await addRecurrence(store, planOf(at + 1));
    const keyed = await addRecurrence(store, planOf(at + 1), { key: "k" });
    const active = await addRecurrence(store, planOf(at + 30 * DAY_MS));
    await store.recurrences.cancel({ id: plain });
    await store.recurrences.cancel({ id: keyed });

    await clock.advance(DAY_MS - 1);
    await swept(store, 100);
    assert.equal((await store.recurrences.get({ id: plain }))?.state, "ended");
    await clock.advance(1);
    await swept(store, 100);
    assert.equal(await store.recurrences.get({ id: plain }), undefined);
    assert.deepEqual(await store.recurrences.cancel({ id: plain }), { answer: "unknown" });
    assert.deepEqual(await store.counts(), { scheduled: 1 });
    await clock.advance(6 * DAY_MS - 1);
    await swept(store, 100);
    assert.equal((await store.recurrences.get({ key: "k" }))?.id, keyed);
    await clock.advance(1);
    await swept(store, 100);
    assert.equal(await store.recurrences.get({ key: "k" }), undefined);
    assert.equal((await store.recurrences.get({ id: active }))?.state, "active");
  });

  test("sweeping goes in steps, of recurrences too", async () => {
    const { store, clock } = await opened({ limits: { keepMs: 0 } });
    for (let i = 0; i < 5; i++) await addRecurrence(store, NO_MORE);
    const left = async () => (await store.recurrences.list({ states: ["ended"], limit: 9 })).recurrences.length;
    await clock.advance(1);
    assert.equal((await store.sweep(ALICE, 3)).more, true);
    assert.equal(await left(), 2);
    assert.equal((await store.sweep(ALICE, 3)).more, false);
    assert.equal(await left(), 0);
  });

  test("a new recurrence counts against the limit of live callbacks; those that stand go on", async () => {
    const { store, clock } = await opened({ limits: { maxPending: 3 } });
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at, at + 1), { key: "k" }));
    await assert.rejects(store.recurrences.put(recurring(planOf(at, at + 1))), { code: "ERR_BACKPRESSURE" });
    assert.equal((await store.recurrences.list({ limit: 9 })).recurrences.length, 1);
    await add(store, dueAt(at));
    await store.recurrences.advance(id, { generation, nextMs: at + 1 }, planOf(at + 2));
    assert.deepEqual(await store.counts(), { scheduled: 4 });
    assert.equal(
      (await store.recurrences.put(recurring(planOf(at + 9), { key: "k", fingerprint: "2" }))).put,
      "replaced",
    );
  });

  test("wrong input is refused by name, and nothing of it is done", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { recurrences } = store;
    const refused = (plan: Plan, message: RegExp) =>
      assert.rejects(recurrences.put(recurring(plan)), { ...bad, message });
    const one = (of: Partial<NewOccurrence>): Plan => ({ nextMs: at, occurrences: [occurrenceAt(at, of)] });
    await refused({ nextMs: at, occurrences: [] }, /nextMs/);
    await refused({ nextMs: at + 1, occurrences: [occurrenceAt(at)] }, /nextMs/);
    await refused(planOf(at, at), /occurrences\[1\]\.nominalMs/);
    await refused(one({ dueMs: 0.5 }), /occurrences\[0\]\.dueMs/);
    await refused(one({ expiresMs: Number.NaN }), /expiresMs/);
    await refused(one({ graceMs: -1 }), /graceMs/);
    await refused(one({ misfire: "no" as "skip" }), /misfire/);
    await refused(planOf(...Array.from({ length: 1_001 }, (_, i) => at + i)), /1000 occurrences, not 1001/);
    const put = (of: object) => recurrences.put({ ...recurring(planOf(at)), ...of });
    await assert.rejects(put({ key: "" }), { ...bad, message: /key/ });
    await assert.rejects(put({ key: "a\0b" }), { ...bad, message: /key/ });
    await assert.rejects(put({ fingerprint: "" }), { ...bad, message: /fingerprint/ });
    await assert.rejects(put({ onConflict: "no" }), { ...bad, message: /onConflict/ });
    await assert.rejects(put({ definition: definition({ overlap: "no" as "skip" }) }), { ...bad, message: /overlap/ });
    await assert.rejects(put({ definition: definition({}, { queue: "" }) }), { ...bad, message: /queue/ });
    await assert.rejects(put({ definition: definition({}, { tags: [""] }) }), { ...bad, message: /tags/ });
    assert.deepEqual(await recurrences.list({ limit: 9 }), { recurrences: [] });

    const { id, generation } = await recurrences.put(recurring(planOf(at)));
    const advance = (from: object, plan: Plan) => recurrences.advance(id, { generation, nextMs: at, ...from }, plan);
    await assert.rejects(advance({}, planOf(at, at + 1)), { ...bad, message: /occurrences\[0\]\.nominalMs/ });
    await assert.rejects(advance({ nextMs: 0.5 }, NO_MORE), { ...bad, message: /nextMs/ });
    await assert.rejects(advance({ generation: -1 }, NO_MORE), { ...bad, message: /generation/ });
    await assert.rejects(recurrences.resume({ id }, 0.5, NO_MORE), { ...bad, message: /generation/ });
    await assert.rejects(recurrences.due(-1), { ...bad, message: /limit/ });
    await assert.rejects(recurrences.list({ limit: 0 }), { ...bad, message: /limit/ });
    await assert.rejects(recurrences.list({ limit: 1_001 }), { ...bad, message: /limit/ });
    await assert.rejects(recurrences.list({ limit: 1, states: ["no" as "ended"] }), { ...bad, message: /states/ });
    for (const cursor of ["", "x", "-1", "1.5", "0"]) {
      await assert.rejects(recurrences.list({ limit: 1, cursor }), { ...bad, message: /cursor/ });
    }
    await assert.rejects(recurrences.get({ key: "" }), { ...bad, message: /key/ });
    assert.deepEqual(await shownOf(store, id, at), [`${generation}/0 scheduled`]);
  });
}
