/** Recurrences: putting, reading and advancing them. What every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Definition, Plan, Recurrence } from "../schedule/recurrence.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import {
  ALICE,
  add,
  claimOne,
  dueAt,
  LEASE_MS,
  message,
  nextDue,
  type Opened,
  ok,
  stateOf,
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

export function testRecurring(opened: Opened): void {
  test("what was put is read back as it was, and its occurrences are callbacks with all that the definition says", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const given: Definition = {
      rule: { kind: "cron", cron: "0 9 * * 1-5", timezone: "Europe/Berlin" },
      fromMs: at,
      untilMs: at + DAY_MS,
      misfire: { kind: "all", limit: 3 },
      overlap: "queue",
      jitterMs: 30_000,
      call: {
        queue: "почта",
        tags: ["клиент:7", "daily"],
        message: message({
          task: "shop.напомнить",
          body: '["\u{1f600}", 12345678901234567890]',
          headers: { x: [1.5, null] },
        }),
        onLost: "fail",
        expiresAfterMs: 60_000,
      },
    };
    const occurrence = occurrenceAt(at + 10, { dueMs: at + 13, expiresMs: at + 60_010, misfire: "skip", graceMs: 77 });

    const answer = await store.recurrences.put({
      key: "счёт/📅%_*",
      onConflict: "reject",
      definition: given,
      fingerprint: "f1",
      plan: planOf(occurrence),
    });

    const { id } = answer;
    assert.match(id, /^r-[A-Za-z0-9-]+$/);
    assert.deepEqual(answer, { put: "added", id, generation: answer.generation, nextMs: at + 10 });
    const expected: Recurrence = {
      id,
      key: "счёт/📅%_*",
      state: "active",
      definition: given,
      generation: answer.generation,
      nextMs: at + 10,
      started: false,
      createdMs: at,
    };
    assert.deepEqual(await store.recurrences.get({ id }), expected);
    assert.deepEqual(await store.recurrences.get({ key: "счёт/📅%_*" }), expected);
    assert.deepEqual(await store.recurrences.list({ limit: 9 }), { recurrences: [expected] });
    const [callback] = await occurrencesOf(store, id);
    assert.deepEqual(callback, {
      id: callback?.id,
      taskId: callback?.id,
      state: "scheduled",
      dueMs: at + 13,
      expiresMs: at + 60_010,
      misfire: "skip",
      graceMs: 77,
      onLost: "fail",
      queue: "почта",
      tags: ["клиент:7", "daily"],
      message: given.call.message,
      occurrence: { recurrence: id, generation: answer.generation, nominalMs: at + 10, overlap: "queue" },
      attempts: 0,
      token: 0,
      createdMs: at,
    });
    assert.deepEqual((await store.list({ tags: ["daily"], limit: 9 })).callbacks, [callback]);
    await clock.advance(13);
    const claim = await claimOne(store);
    assert.deepEqual(claim.callback.occurrence, callback?.occurrence);
    assert.deepEqual((await store.settle(claim, ok)).occurrence, callback?.occurrence);
    assert.deepEqual((await store.get({ id: claim.callback.id }))?.occurrence, callback?.occurrence);
  });

  test("the same definition again changes nothing, whoever declares it, paused or not", async () => {
    const { store, other, clock } = await opened();
    const at = clock.wallMs();
    const first = await store.recurrences.put(recurring(planOf(at + 100), { key: "k" }));
    const second = await other();
    for (const onConflict of [undefined, "keep", "replace", "reject"] as const) {
      const again = recurring(planOf(at + 777), { key: "k", ...(onConflict === undefined ? {} : { onConflict }) });
      assert.deepEqual(await second.recurrences.put(again), { ...first, put: "existing" });
    }
    assert.deepEqual(await shownOf(store, first.id, at), [`${first.generation}/100 scheduled`]);

    await store.recurrences.pause({ key: "k" });
    const { nextMs: _, ...paused } = first;
    assert.deepEqual(await second.recurrences.put(recurring(planOf(at + 777), { key: "k" })), {
      ...paused,
      put: "existing",
    });
    assert.equal((await store.recurrences.get({ key: "k" }))?.state, "paused");
  });

  test("another definition takes the place of the old one: same id, next generation, old occurrences cancelled", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const first = await store.recurrences.put(recurring(planOf(at, at + 100), { key: "k" }));
    const claim = await claimOne(store);
    const changed = recurring(planOf(at + 50, at + 100), {
      key: "k",
      fingerprint: "two",
      definition: definition({ overlap: "skip" }, { queue: "other" }),
    });

    const second = await store.recurrences.put(changed);

    const generation = first.generation + 1;
    assert.deepEqual(second, { put: "replaced", id: first.id, generation, nextMs: at + 100 });
    assert.deepEqual(await shownOf(store, first.id, at), [
      `${first.generation}/0 running`,
      `${first.generation}/100 cancelled`,
      `${generation}/50 scheduled`,
      `${generation}/100 scheduled`,
    ]);
    const all = await occurrencesOf(store, first.id);
    assert.match(all.find(({ state }) => state === "cancelled")?.reason ?? "", /replaced/);
    assert.deepEqual((await store.recurrences.get({ key: "k" }))?.definition, changed.definition);
    assert.equal((await store.settle(claim, ok)).state, "succeeded", "what had started goes on to its end");
    assert.equal((await store.recurrences.put({ ...changed, onConflict: "reject" })).put, "existing");
  });

  test("keep and reject leave the one that stands; without a key there is none in the way", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const first = await store.recurrences.put(recurring(planOf(at + 100), { key: "k" }));
    const another = recurring(planOf(at + 5), { key: "k", fingerprint: "two" });
    assert.deepEqual(await store.recurrences.put({ ...another, onConflict: "keep" }), { ...first, put: "existing" });
    assert.deepEqual(await store.recurrences.put({ ...another, onConflict: "reject" }), { ...first, put: "conflict" });
    assert.deepEqual(await shownOf(store, first.id, at), [`${first.generation}/100 scheduled`]);
    const { key: _, ...nameless } = another;
    assert.notEqual((await store.recurrences.put(nameless)).id, (await store.recurrences.put(nameless)).id);
    const callback = await add(store, dueAt(at + 9, { key: "k" }));
    assert.equal((await store.get({ key: "k" }))?.id, callback, "a callback may have the same key");
    assert.equal((await store.recurrences.get({ key: "k" }))?.id, first.id);
  });

  test("one that is paused is active again when it is replaced", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at + 100), { key: "k" }));
    await store.recurrences.pause({ id });
    const { put } = await store.recurrences.put(recurring(planOf(at + 200), { key: "k", fingerprint: "two" }));
    assert.equal(put, "replaced");
    const found = await store.recurrences.get({ id });
    assert.deepEqual([found?.state, found?.generation, found?.nextMs], ["active", generation + 1, at + 200]);
  });

  test("a rule that has no occurrence is over as soon as it is put, and its key is free", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const answer = await store.recurrences.put(recurring(NO_MORE, { key: "k" }));
    assert.deepEqual([answer.put, answer.nextMs], ["added", undefined]);
    const found = await store.recurrences.get({ key: "k" });
    assert.deepEqual([found?.id, found?.state, found?.endedMs], [answer.id, "ended", at]);
    const second = await addRecurrence(store, planOf(at + 5), { key: "k" });
    assert.notEqual(second, answer.id);
    assert.equal((await store.recurrences.get({ key: "k" }))?.id, second);
    assert.deepEqual(await store.recurrences.put(recurring(NO_MORE, { key: "k", fingerprint: "two" })), {
      put: "replaced",
      id: second,
      generation: answer.generation + 1,
    });
    assert.deepEqual(await shownOf(store, second, at), [`${answer.generation}/5 cancelled`]);
  });

  test("the due ones are those whose next time has come, earliest first", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const ids = [];
    for (const inMs of [30, 10, 20, 10, 31]) ids.push(await addRecurrence(store, planOf(at + inMs)));
    const [paused, cancelled] = [
      await addRecurrence(store, planOf(at + 5)),
      await addRecurrence(store, planOf(at + 6)),
    ];
    await store.recurrences.pause({ id: paused });
    await store.recurrences.cancel({ id: cancelled });
    assert.deepEqual(await store.recurrences.due(10), []);
    await clock.advance(30);
    const due = async (limit: number) => (await store.recurrences.due(limit)).map(({ id }) => id);
    assert.deepEqual(await due(10), [ids[1], ids[3], ids[2], ids[0]]);
    assert.deepEqual(await due(3), [ids[1], ids[3], ids[2]]);
    assert.deepEqual(await due(0), []);
    const [first] = await store.recurrences.due(1);
    assert.deepEqual(first, await store.recurrences.get({ id: ids[1] ?? "" }));
  });

  test("of all that advance it one succeeds, and the following occurrence is there once (A12)", async () => {
    const { unwatched, store, other, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at)));
    const openings: ScheduleStore[] = [unwatched, await other(), await other(), await other()];
    const plan = planOf(at + 1_000);
    const advancing = Array.from({ length: 50 }, (_, i) =>
      (openings[i % openings.length] as ScheduleStore).recurrences.advance(id, { generation, nextMs: at }, plan),
    );
    const answers = await Promise.all(advancing);
    assert.deepEqual(answers.map(({ answer }) => answer).sort(), ["changed", ...new Array(49).fill("stale")]);
    assert.deepEqual(await shownOf(store, id, at), [`${generation}/0 scheduled`, `${generation}/1000 scheduled`]);
    assert.equal((await store.recurrences.get({ id }))?.nextMs, at + 1_000);
  });

  test("of fifty that declare the same recurrence at once one adds it, and all have the same (A12)", async () => {
    const { unwatched, store, other, clock } = await opened();
    const openings: ScheduleStore[] = [unwatched, await other(), await other(), await other()];
    const declared = recurring(planOf(clock.wallMs() + 100), { key: "daily" });
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (openings[i % openings.length] as ScheduleStore).recurrences.put(declared)),
    );
    assert.deepEqual(answers.map(({ put }) => put).sort(), ["added", ...new Array(49).fill("existing")]);
    assert.equal(new Set(answers.map(({ id }) => id)).size, 1);
    assert.deepEqual(await store.counts(), { scheduled: 1 });
    assert.equal((await store.recurrences.list({ limit: 9 })).recurrences.length, 1);
  });

  test("what another process puts by an advance is the next due one at once (A4)", async () => {
    const { store, other, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at)));
    await claimOne(store);
    await add(store, dueAt(at + 1_000));
    await (await other()).recurrences.advance(id, { generation, nextMs: at }, planOf(at + 5));
    assert.equal(await nextDue(store), at + 5);
  });

  test("an advance that was worked out from another generation or another time changes nothing", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at), { key: "k" }));
    const plan: Plan = planOf(at + 1_000);
    const advance = async (from: { generation: number; nextMs: number }) =>
      (await store.recurrences.advance(id, from, plan)).answer;
    assert.equal(await advance({ generation: generation + 1, nextMs: at }), "stale");
    assert.equal(await advance({ generation, nextMs: at - 1 }), "stale");
    assert.equal(await advance({ generation, nextMs: at }), "changed");
    assert.equal(await advance({ generation, nextMs: at }), "stale");
    await store.recurrences.pause({ id });
    assert.equal(await advance({ generation, nextMs: at + 999 }), "stale");
    await store.recurrences.cancel({ id });
    assert.equal(await advance({ generation, nextMs: at + 999 }), "ended");
    assert.deepEqual(await store.recurrences.advance("r-none", { generation, nextMs: at }, plan), {
      answer: "unknown",
    });
    assert.deepEqual(await shownOf(store, id, at), [`${generation}/0 cancelled`, `${generation}/1000 cancelled`]);
  });

  test("what was missed is put with what comes next, in one change; at the end of the rule it ends, and the last one runs", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const { id, generation } = await store.recurrences.put(recurring(planOf(at), { key: "k" }));
    await clock.advance(10_000);
    const late = [at + 8_000, at + 9_000, at + 11_000];
    assert.equal((await store.recurrences.advance(id, { generation, nextMs: at }, planOf(...late))).answer, "changed");
    assert.equal(await nextDue(store), at);
    const last = { generation, nextMs: at + 11_000 };
    assert.deepEqual(await store.recurrences.advance(id, last, NO_MORE), { answer: "changed", id });
    const found = await store.recurrences.get({ id });
    assert.deepEqual([found?.state, found?.nextMs, found?.endedMs], ["ended", undefined, at + 10_000]);
    await clock.advance(1_000);
    const { claims } = await store.claimDue(ALICE, 9, LEASE_MS);
    assert.deepEqual(
      claims.map(({ callback }) => (callback.occurrence?.nominalMs ?? 0) - at),
      [0, 8_000, 9_000, 11_000],
    );
    assert.equal((await store.recurrences.get({ id }))?.started, true);
    assert.equal((await store.recurrences.put(recurring(planOf(at + 12_000), { key: "k" }))).put, "added");
  });

  test("an occurrence is a callback like any other: moved, cancelled, found by its recurrence and the other filters", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await addRecurrence(store, planOf(at + 1, at + 2, at + 3), {
      definition: definition({}, { tags: ["x"] }),
    });
    const strange = await addRecurrence(store, planOf(at + 1), { definition: definition({}, { tags: ["x"] }) });
    await add(store, dueAt(at + 2, { tags: ["x"] }));
    const [first, second, third] = await occurrencesOf(store, id);
    assert.deepEqual((await store.reschedule({ id: first?.id ?? "" }, { byMs: 10 })).answer, "rescheduled");
    assert.deepEqual((await store.cancel({ id: second?.id ?? "" })).answer, "cancelled");
    const found = async (query: object) =>
      (await store.list({ recurrence: id, limit: 9, ...query })).callbacks.map((each) => each.id);
    assert.deepEqual(await found({}), [second?.id, third?.id, first?.id]);
    assert.deepEqual(await found({ states: ["scheduled"] }), [third?.id, first?.id]);
    assert.deepEqual(await found({ tags: ["x"], dueFromMs: at + 3 }), [third?.id, first?.id]);
    assert.deepEqual(await found({ tags: ["y"] }), []);
    assert.deepEqual(await found({ keyPrefix: "" }), []);
    const page = await store.list({ recurrence: id, limit: 2 });
    assert.deepEqual(await found({ cursor: page.next }), [first?.id]);
    assert.deepEqual((await store.list({ recurrence: "r-none", limit: 9 })).callbacks, []);
    assert.equal((await occurrencesOf(store, strange)).length, 1);
    assert.equal((await store.recurrences.get({ id }))?.nextMs, at + 3, "the rule goes on");
  });

  test("pages of recurrences follow each other in the order of adding, each once", async () => {
    const { store, clock } = await opened();
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await addRecurrence(store, planOf(clock.wallMs() + 10 - i)));
    const [first = "", second = "", ...rest] = ids;
    await store.recurrences.pause({ id: first });
    await store.recurrences.cancel({ id: second });
    const all = async (query: { states?: ("active" | "paused" | "ended")[]; limit: number }) => {
      const found: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await store.recurrences.list({ ...query, ...(cursor === undefined ? {} : { cursor }) });
        found.push(...page.recurrences.map(({ id }) => id));
        cursor = page.next;
      } while (cursor !== undefined);
      return found;
    };
    for (const limit of [1, 2, 4, 5]) {
      assert.deepEqual(await all({ limit }), [first, ...rest]);
      assert.deepEqual(await all({ limit, states: ["ended", "active", "paused"] }), ids);
      assert.deepEqual(await all({ limit, states: ["ended"] }), [second]);
      assert.deepEqual(await all({ limit, states: [] }), []);
    }
    assert.equal((await store.recurrences.list({ limit: 4 })).next, undefined, "the last page says so");
  });

  test("ids of callbacks never look like those of recurrences, and neither finds the other", async () => {
    const { store, clock } = await opened();
    await store.put(Array.from({ length: 40 }, () => dueAt(clock.wallMs())));
    const recurrence = await addRecurrence(store, planOf(clock.wallMs() + 5));
    const callback = await add(store, dueAt(clock.wallMs()));
    assert.equal(await store.get({ id: recurrence }), undefined);
    assert.equal(await stateOf(store, recurrence), undefined);
    assert.deepEqual(await store.cancel({ id: recurrence }), { answer: "unknown" });
    for (const id of [callback, `r-${callback}`, recurrence.slice(2), "r-", "", "r-1-1x", `${recurrence}0`]) {
      assert.equal(await store.recurrences.get({ id }), undefined, id);
      assert.deepEqual(await store.recurrences.pause({ id }), { answer: "unknown" });
      assert.deepEqual(await store.recurrences.cancel({ id }), { answer: "unknown" });
    }
    assert.equal(await store.recurrences.get({ key: "none" }), undefined);
  });
}
