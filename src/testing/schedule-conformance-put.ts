/** Adding callbacks: what every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewCallback } from "../schedule/callback.ts";
import {
  ALICE,
  add,
  claimOne,
  dueAt,
  message,
  nextDue,
  type Opened,
  ok,
  running,
  stateOf,
  waitingUntil,
} from "./schedule-fixtures.ts";

const HOUR_MS = 3_600_000;

export function testPutting(opened: Opened): void {
  test("what was put is read back as it was: every field, in any language", async () => {
    const { store, clock } = await opened();
    const given: NewCallback = {
      key: "счёт:42/請求書/🧾%_*",
      taskId: "11f0-é",
      dueMs: clock.wallMs() + 1,
      expiresMs: clock.wallMs() + HOUR_MS,
      misfire: "skip",
      graceMs: 1_500,
      onLost: "fail",
      queue: "почта",
      tags: ["клиент:7", "tag with space", "клиент:7"],
      message: {
        task: "shop.напомнить",
        body: '[["\u{1f600}", 12345678901234567890, NaN], {"ключ": null}, {}]',
        retries: 2,
        hardLimitMs: 30_000,
        softLimitMs: 20_000,
        rootId: "root",
        parentId: "parent",
        groupIndex: 0,
        ignoreResult: true,
        replyTo: "r",
        correlationId: "c",
        priority: 9,
        origin: "gen1@host",
        argsRepr: "('\\ud83d',)",
        headers: { stamps: { a: ["b"] }, depth: [{ x: 1.5, y: null, z: "\ud800" }] },
      },
    };

    const id = await add(store, given);

    assert.match(id, /^[A-Za-z0-9-]+$/);
    const { onConflict: _, ...kept } = given;
    assert.deepEqual(await store.get({ id }), {
      ...kept,
      id,
      tags: ["клиент:7", "tag with space"],
      state: "scheduled",
      attempts: 0,
      token: 0,
      createdMs: clock.wallMs(),
    });
    assert.deepEqual(await store.get({ key: given.key as string }), await store.get({ id }));
  });

  test("a plain callback has the defaults of the contract, and its id is its task id", async () => {
    const { store, clock } = await opened();
    const id = await add(store, { dueMs: 5, queue: "q", message: { task: "t", body: "", retries: 0 } });

    assert.deepEqual(await store.get({ id }), {
      id,
      taskId: id,
      state: "scheduled",
      dueMs: 5,
      misfire: "fire",
      graceMs: 0,
      onLost: "rerun",
      queue: "q",
      tags: [],
      message: { task: "t", body: "", retries: 0 },
      attempts: 0,
      token: 0,
      createdMs: clock.wallMs(),
    });
  });

  test("what the caller changes afterwards does not show", async () => {
    const { store } = await opened();
    const headers = { list: [1] };
    const tags = ["a"];
    const id = await add(store, dueAt(1, { tags, message: message({ headers }) }));
    headers.list.push(2);
    tags.push("b");

    const read = await store.get({ id });
    assert.deepEqual(read?.message.headers, { list: [1] });
    assert.deepEqual(read?.tags, ["a"]);
  });

  test("a body of a megabyte comes back whole, also after a retry and a claim", async () => {
    const { store, clock } = await opened();
    const large = JSON.stringify([["ß".repeat(500_000)], {}, {}]);
    const id = await waitingUntil(
      { store, clock, other: async () => store, close: async () => undefined },
      clock.wallMs(),
      {
        message: message({ body: large }),
      },
    );
    const small = await claimOne(store);
    assert.equal(small.callback.message.body, message().body, "the retry brought another body");
    const retry = {
      kind: "retry",
      dueMs: clock.wallMs(),
      reason: "r",
      message: message({ body: large, retries: 2 }),
    } as const;
    await store.settle(small, retry);

    assert.equal((await store.get({ id }))?.message.body, large);
    assert.equal((await claimOne(store)).callback.message.body, large);
  });

  test("each callback of a batch has its answer, in order; none has none", async () => {
    const { store } = await opened();
    assert.deepEqual(await store.put([]), []);

    const answers = await store.put([dueAt(3), dueAt(1, { key: "k" }), dueAt(2, { key: "k" }), dueAt(4)]);

    assert.deepEqual(
      answers.map((answer) => [answer.put, "dueMs" in answer && answer.dueMs]),
      [
        ["added", 3],
        ["added", 1],
        ["existing", 1],
        ["added", 4],
      ],
    );
    assert.equal(new Set(answers.map((answer) => "id" in answer && answer.id)).size, 3);
  });

  test("a batch of 20,000 is taken whole", async () => {
    const { unwatched: store } = await opened();
    const answers = await store.put(Array.from({ length: 20_000 }, (_, i) => dueAt(i)));

    assert.equal(new Set(answers.map((answer) => "id" in answer && answer.id)).size, 20_000);
    assert.deepEqual(await store.counts(), { scheduled: 20_000 });
    assert.equal(await nextDue(store), 0);
  });

  test("a thousand puts at once are all kept", async () => {
    const { unwatched: store } = await opened();
    const ids = await Promise.all(Array.from({ length: 1_000 }, (_, i) => add(store, dueAt(1_000 - i))));

    assert.equal(new Set(ids).size, 1_000);
    assert.deepEqual(await store.counts(), { scheduled: 1_000 });
    assert.equal(await nextDue(store), 1);
  });

  test("a key that is taken: keep answers the one that has it, reject says so, and neither changes it", async () => {
    const { store } = await opened();
    const id = await add(store, dueAt(100, { key: "order:42" }));
    const before = await store.get({ id });

    assert.deepEqual(await store.put([dueAt(5, { key: "order:42" })]), [{ put: "existing", id, dueMs: 100 }]);
    assert.deepEqual(await store.put([dueAt(5, { key: "order:42", onConflict: "keep" })]), [
      { put: "existing", id, dueMs: 100 },
    ]);
    assert.deepEqual(await store.put([dueAt(5, { key: "order:42", onConflict: "reject" })]), [{ put: "conflict", id }]);
    assert.deepEqual(await store.get({ id }), before);
  });

  test("replace gives a scheduled callback the new call, due time and tags, and a new token; its id stays", async () => {
    const { store } = await opened();
    const id = await add(store, dueAt(100, { key: "k", tags: ["old"], expiresMs: 7_000, onLost: "fail" }));
    const call = dueAt(50, {
      key: "k",
      onConflict: "replace",
      tags: ["new"],
      message: message({ task: "other", body: "[]" }),
    });

    assert.deepEqual(await store.put([call]), [{ put: "replaced", id, dueMs: 50 }]);

    const now = await store.get({ key: "k" });
    assert.deepEqual(
      [now?.id, now?.dueMs, now?.tags, now?.message.task, now?.expiresMs, now?.onLost, now?.token],
      [id, 50, ["new"], "other", undefined, "rerun", 1],
    );
    assert.equal(await nextDue(store), 50);
    assert.deepEqual((await store.list({ tags: ["old"], limit: 10 })).callbacks, []);
    assert.equal((await store.list({ tags: ["new"], limit: 10 })).callbacks.length, 1);
  });

  test("replace is too late once it has started, while it runs and while it waits, and changes nothing (A5)", async () => {
    const under = await opened();
    const { store, clock } = under;
    const claim = await running(under, { key: "k" });
    const call = dueAt(clock.wallMs() + 1, { key: "k", onConflict: "replace" });
    assert.deepEqual(await store.put([call]), [{ put: "too_late", id: claim.callback.id }]);

    await store.settle(claim, {
      kind: "retry",
      dueMs: clock.wallMs() + 9,
      reason: "r",
      message: message({ retries: 1 }),
    });
    assert.deepEqual(await store.put([call]), [{ put: "too_late", id: claim.callback.id }]);
    assert.equal((await store.get({ key: "k" }))?.dueMs, clock.wallMs() + 9);
  });

  test("a key is free when its callback has ended, and names the live one, else the last", async () => {
    const under = await opened();
    const { store } = under;
    const first = await running(under, { key: "k" });
    await store.settle(first, ok);
    assert.equal((await store.get({ key: "k" }))?.id, first.callback.id);

    const second = await add(store, dueAt(1, { key: "k" }));
    assert.notEqual(second, first.callback.id);
    assert.equal((await store.get({ key: "k" }))?.id, second);
    await store.cancel({ id: second });
    assert.deepEqual([(await store.get({ key: "k" }))?.id, await stateOf(store, second)], [second, "cancelled"]);
  });

  test("keys differ by every character: case, accents, spaces and half a name count", async () => {
    const { store } = await opened();
    const keys = ["a", "A", "á", "a\u0301", "a ", " a", "ab", "a\n", "a\u200b", "0", "00"];
    const ids = await Promise.all(keys.map((key) => add(store, dueAt(1, { key }))));
    assert.equal(new Set(ids).size, keys.length);
    for (const [i, key] of keys.entries()) assert.equal((await store.get({ key }))?.id, ids[i]);
  });

  test("a client that got no answer asks again with its key, and the callback is there once (A8)", async () => {
    const { store, other, clock } = await opened();
    const call = dueAt(clock.wallMs() + HOUR_MS, { key: "k", taskId: "t" });
    const unheard = await add(store, call); // the answer is lost with its connection
    const again = await other();
    const answer = { put: "existing", id: unheard, dueMs: call.dueMs };
    assert.deepEqual(await again.put([call]), [answer]);
    const { taskId: _, ...byKey } = call;
    assert.deepEqual(await again.put([byKey, byKey]), [answer, answer]);
    assert.deepEqual(await store.counts(), { scheduled: 1 });
  });

  test("fifty writers of one key make one callback (A12)", async () => {
    const { store } = await opened();
    const answers = await Promise.all(Array.from({ length: 50 }, () => store.put([dueAt(9, { key: "daily/1/9" })])));
    assert.equal(answers.flat().filter(({ put }) => put === "added").length, 1);
    assert.deepEqual(await store.counts(), { scheduled: 1 });
  });

  test("a message that is taken over twice makes one callback, also after that one ended (G14)", async () => {
    const under = await opened();
    const { store, clock } = under;
    const taken = dueAt(clock.wallMs(), { taskId: "t-1" });
    const id = await add(store, taken);
    assert.equal((await store.get({ id }))?.taskId, "t-1");
    assert.deepEqual(await store.put([taken, taken]), [
      { put: "existing", id, dueMs: clock.wallMs() },
      { put: "existing", id, dueMs: clock.wallMs() },
    ]);

    const claim = await claimOne(store);
    await store.settle(claim, { kind: "retry", dueMs: clock.wallMs(), reason: "r", message: message({ retries: 1 }) });
    assert.equal(
      (await store.put([taken]))[0]?.put,
      "existing",
      "its own retry does not change what it was taken over as",
    );
    await store.settle(await claimOne(store), ok);
    assert.equal((await store.put([taken]))[0]?.put, "existing");
    assert.deepEqual(await store.counts(), { succeeded: 1 });
  });

  test("another retry of a taken-over message is another callback", async () => {
    const { store } = await opened();
    const first = await add(store, dueAt(1, { taskId: "t" }));
    const second = await add(store, dueAt(1, { taskId: "t", message: message({ retries: 1 }) }));
    assert.notEqual(first, second);
  });

  test("what is past, even before 1970, is due at once, and the end of time is far", async () => {
    const { store } = await opened();
    const past = await add(store, dueAt(-5));
    await add(store, dueAt(8_640_000_000_000_000));
    assert.equal(await nextDue(store), -5);
    const { claims } = await store.claimDue(ALICE, 10, 1_000);
    assert.deepEqual(
      claims.map(({ callback }) => callback.id),
      [past],
    );
    assert.equal(await nextDue(store), 8_640_000_000_000_000);
  });

  test("past the limit of live callbacks nothing of the call is added; what makes no row is still answered", async () => {
    const under = await opened({ limits: { maxPending: 3 } });
    const { store } = under;
    await store.put([dueAt(1, { key: "a" }), dueAt(2)]);
    await assert.rejects(store.put([dueAt(3), dueAt(4)]), { code: "ERR_BACKPRESSURE" });
    assert.deepEqual(await store.counts(), { scheduled: 2 });

    const answers = await store.put([dueAt(3), dueAt(9, { key: "a" }), dueAt(9, { key: "a", onConflict: "replace" })]);
    assert.deepEqual(
      answers.map(({ put }) => put),
      ["added", "existing", "replaced"],
    );
    await assert.rejects(store.put([dueAt(5)]), { code: "ERR_BACKPRESSURE", message: /limit of 3 / });
    await store.cancel({ key: "a" });
    await add(store, dueAt(5));
  });

  test("wrong input is refused by name, and nothing of the batch is added", async () => {
    const { store } = await opened();
    const wrong: [Partial<NewCallback>, RegExp][] = [
      [{ dueMs: 1.5 }, /dueMs/],
      [{ dueMs: Number.NaN }, /dueMs/],
      [{ dueMs: 8_640_000_000_000_001 }, /dueMs/],
      [{ expiresMs: Number.POSITIVE_INFINITY }, /expiresMs/],
      [{ graceMs: -1 }, /graceMs/],
      [{ key: "" }, /key/],
      [{ key: "x".repeat(1_025) }, /key/],
      [{ key: "\ud83d" }, /surrogate/],
      [{ key: "a\0b" }, /key.*NUL/],
      [{ queue: "" }, /queue/],
      [{ taskId: "" }, /taskId/],
      [{ tags: ["a", ""] }, /tags\S*\[1\]/],
      [{ tags: Array.from({ length: 65 }, String) }, /tags/],
      [{ message: message({ task: "" }) }, /message\.task/],
      [{ message: message({ retries: -1 }) }, /retries/],
      [{ message: message({ body: "\udc00" }) }, /body/],
      [{ onConflict: "merge" as never }, /onConflict/],
      [{ misfire: "coalesce" as never }, /misfire/],
      [{ onLost: "ignore" as never }, /onLost/],
    ];
    for (const [of, named] of wrong) {
      await assert.rejects(store.put([dueAt(1), dueAt(1, of)]), { code: "ERR_INVALID_INPUT", message: named });
    }
    assert.deepEqual(await store.counts(), {});
  });
}
