import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type TestContext, test } from "node:test";
import { GroupResult, Lovage, type ResultUpdate, TaskError, TaskRevokedError } from "lovage";
import type { ResultDocument } from "../../../src/protocol/result.ts";
import { decodeResult } from "../../../src/protocol/result.ts";
import type { ResultBackend } from "../../../src/results/backend.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { fixture } from "../protocol/fixtures.ts";

interface World {
  readonly app: Lovage;
  readonly clock: FakeClock;
  readonly results: ResultBackend;
  store(id: string, status: string, result?: unknown, more?: Partial<ResultDocument>): Promise<void>;
}

async function world(t: TestContext): Promise<World> {
  const clock = new FakeClock();
  const app = new Lovage("results", { broker: "memory://", backend: `memory://${randomUUID()}` }, { clock, env: {} });
  t.after(() => app.close());
  const results = await app.backends.results();
  return {
    app,
    clock,
    results,
    store: (task_id, status, result = null, more = {}) =>
      results.store(
        { task_id, status, result: JSON.stringify(result), traceback: null, children: [], date_done: null, ...more },
        0,
      ),
  };
}

const boom = { exc_type: "ValueError", exc_message: ["boom", 42], exc_module: "builtins" };
const revoked = { exc_type: "TaskRevokedError", exc_message: ["expired"], exc_module: "celery.exceptions" };

test("of a task that nothing is known of, everything says so", async (t) => {
  const { app } = await world(t);
  const result = app.result("x");

  assert.equal(await result.state(), "PENDING");
  assert.deepEqual([await result.ready(), await result.successful(), await result.failed()], [false, false, false]);
  const nothing = [result.result(), result.info(), result.meta(), result.traceback(), result.dateDone()];
  const extended = [result.name(), result.args(), result.kwargs(), result.worker(), result.retries(), result.queue()];
  assert.ok((await Promise.all([...nothing, ...extended, result.parent()])).every((each) => each === undefined));
  assert.deepEqual(await result.children(), []);
});

test("what is stored is read under Celery's names", async (t) => {
  const { app, store } = await world(t);
  await store(
    "x",
    "SUCCESS",
    { a: 1 },
    {
      result: '{"a": 12345678901234567890, "n": NaN}',
      children: [
        [["c", null], null],
        [
          ["g", [["before", null], null]],
          [
            [["m1", null], null],
            [["inner", null], [[["m2", null], null]]],
          ],
        ],
        "no tuple",
        [[7, null], null],
      ],
      date_done: "2026-11-22T13:25:14.727008+00:00",
      parent_id: "p",
      group_id: "gg",
      name: "demo.add",
      args: "[1, 99999999999999999999]",
      kwargs: '{"k": null}',
      worker: "w@h",
      retries: 2,
      queue: "celery",
      stamps: { tenant: "acme" },
    },
  );
  const result = app.result("x");

  assert.deepEqual(await result.result(), { a: 12345678901234567890n, n: Number.NaN });
  assert.equal((await result.dateDone())?.toISOString(), "2026-11-22T13:25:14.728Z");
  assert.equal((await result.parent())?.id, "p");
  assert.deepEqual(await result.args(), [1, 99999999999999999999n]);
  assert.deepEqual(await result.kwargs(), { k: null });
  assert.deepEqual(
    [await result.name(), await result.worker(), await result.retries(), await result.queue()],
    ["demo.add", "w@h", 2, "celery"],
  );
  const meta = await result.meta();
  assert.deepEqual([meta?.groupId, meta?.stamps], ["gg", { tenant: "acme" }]);
  const [child, group, ...others] = await result.children();
  assert.deepEqual([child?.id, others], ["c", []]);
  assert.ok(group instanceof GroupResult);
  assert.deepEqual(group.asTuple(), [
    ["g", [["before", null], null]],
    [
      [["m1", null], null],
      [["inner", null], [[["m2", null], null]]],
    ],
  ]);
  assert.equal(group.parent?.id, "before");
});

test("get waits for the end; a failure is thrown as what it was, or answered on request", async (t) => {
  const { app, clock, store } = await world(t);
  const waiting = app.result("x").get();
  await store("x", "STARTED", { pid: 1 });
  await store("x", "SUCCESS", 5);
  assert.equal(await waiting, 5);

  await store("f", "FAILURE", boom, { traceback: "Traceback …" });
  await assert.rejects(app.result("f").get(), {
    code: "ERR_TASK_FAILED",
    message: "task f failed: ValueError: boom, 42",
    excType: "ValueError",
    excModule: "builtins",
    excArgs: ["boom", 42],
    traceback: "Traceback …",
  });
  assert.ok((await app.result("f").get({ propagate: false })) instanceof TaskError);
  assert.ok((await app.result("f").result()) instanceof TaskError);
  assert.equal(await app.result("f").traceback(), "Traceback …");
  await store("r", "REVOKED", revoked);
  await assert.rejects(app.result("r").get(), { code: "ERR_TASK_REVOKED", how: "expired" });

  const late = assert.rejects(app.result("never").get({ timeout: 10 }), { code: "ERR_TIMEOUT" });
  const early = app.result("never").get({ timeout: 10, signal: AbortSignal.abort(new Error("enough")) });
  await assert.rejects(early, /enough/);
  await clock.advance(9_999);
  await clock.advance(2);
  await late;
  const none = assert.rejects(app.result("never").get({ timeout: 0 }), { code: "ERR_TIMEOUT" });
  await clock.advance(1);
  await none;
  assert.equal(await app.result("x").get({ timeout: 0 }), 5, "who has no time is told what stands");
});

test("a wait that is longer than any one question is asked again, and misses nothing", async (t) => {
  const { app, clock, store } = await world(t);
  const waiting = app.result("x").get({ timeout: "2h" });
  const followed = app.results(["x"]).get({ timeout: "2h" });
  for (let minutes = 0; minutes < 60; minutes += 1) await clock.advance(60_000);
  await store("x", "SUCCESS", 1);

  assert.deepEqual([await waiting, await followed], [1, [1]]);
});

test("updates tell each state, the one that stands first, and end with the last", async (t) => {
  const { app, store } = await world(t);
  await store("x", "STARTED", { pid: 7, hostname: "w@h" });
  const seen: ResultUpdate<string, { done: number }>[] = [];
  const steps: (() => Promise<void>)[] = [
    () => store("x", "PROGRESS", { done: 1 }),
    () => store("x", "RETRY", boom),
    () => store("x", "PROGRESS", { done: 2 }),
    () => store("x", "SUCCESS", "all"),
  ];

  for await (const update of app.result<string>("x").updates<{ done: number }>()) {
    seen.push(update);
    await steps.shift()?.();
  }

  assert.deepEqual(
    seen.map(({ ready, state }) => [ready, state]),
    [
      [false, "STARTED"],
      [false, "PROGRESS"],
      [false, "RETRY"],
      [false, "PROGRESS"],
      [true, "SUCCESS"],
    ],
  );
  assert.ok((seen[2]?.meta as unknown) instanceof TaskError);
  assert.deepEqual(
    [seen[0], seen[1], seen[3], seen[4]].map((each) => each?.meta),
    [{ pid: 7, hostname: "w@h" }, { done: 1 }, { done: 2 }, "all"],
  );
});

test("updates of a task that fails end with its error; get tells states on the way and throws it", async (t) => {
  const { app, store } = await world(t);
  const states: string[] = [];
  const getting = app.result("x").get({ onMessage: ({ state }) => void states.push(state) });
  const rejected = assert.rejects(getting, { code: "ERR_TASK_REVOKED" });
  await store("x", "PROGRESS", 1);
  while (states.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await store("x", "REVOKED", revoked);
  await rejected;
  assert.deepEqual(states, ["PROGRESS"]);

  for await (const update of app.result("x").updates()) {
    assert.ok(update.ready && update.state === "REVOKED" && update.meta instanceof TaskRevokedError);
  }
});

test("updates that nobody takes for minutes go on where they were, and one that is left is given up", async (t) => {
  const { app, clock, store } = await world(t);
  await store("x", "STARTED");
  const updates = app.result("x").updates();
  assert.equal((await updates.next()).value?.state, "STARTED");

  await clock.advance(120_000);
  await store("x", "PROGRESS", 1);
  assert.equal((await updates.next()).value?.state, "PROGRESS", "what stood is not told again");
  await updates.return();
  assert.equal((await updates.next()).done, true);
  const none = assert.rejects(app.result("y").updates({ timeout: 0 }).next(), { code: "ERR_TIMEOUT" });
  await clock.advance(1);
  await none;
});

test("a signal ends updates and waits", async (t) => {
  const { app } = await world(t);
  const controller = new AbortController();
  const next = app.result("x").updates({ signal: controller.signal }).next();
  const all = app.results(["x", "y"]).get({ signal: controller.signal });
  const one = app.result("x").get({ signal: controller.signal });
  await new Promise((resolve) => setImmediate(resolve));

  controller.abort(new Error("enough"));

  for (const each of [next, all, one]) await assert.rejects(each, /enough/);
});

test("results of many tasks come in the order of the ids, whatever order they end in", async (t) => {
  const { app, store } = await world(t);
  const ids = Array.from({ length: 10_000 }, (_, i) => `task-${i}`);
  const getting = app.results<number>(ids).get({ timeout: 60 });
  for (const [i, id] of [...ids.entries()].reverse()) await store(id, "SUCCESS", i);

  const values = await getting;

  assert.equal(values.length, ids.length);
  assert.ok(values.every((value, i) => value === i));
});

test("the first failure is thrown at once; on request it is answered in its place", async (t) => {
  const { app, store } = await world(t);
  const set = app.results(["a", "b", "c"]);
  const getting = set.get();
  await store("b", "FAILURE", boom);
  await assert.rejects(getting, { code: "ERR_TASK_FAILED", taskId: "b" });
  assert.deepEqual([await set.ready(), await set.waiting(), await set.failed()], [false, true, true]);

  await store("a", "SUCCESS", 1);
  await store("c", "REVOKED", revoked);
  const [one, two, three] = await set.get({ propagate: false });
  assert.ok(one === 1 && two instanceof TaskError && three instanceof TaskRevokedError);
  assert.deepEqual([await set.ready(), await set.successful(), await set.completedCount()], [true, false, 1]);
  const ended: string[] = [];
  for await (const { id } of set.iterate()) ended.push(id);
  assert.deepEqual(ended.sort(), ["a", "b", "c"]);
  await set.forget();
  assert.equal(await app.result("a").state(), "PENDING");
});

test("a set that has not ended in time says how many; an empty one has ended; one id twice is one task", async (t) => {
  const { app, clock, store } = await world(t);
  await store("a", "SUCCESS", 1);
  const waiting = app.results(["a", "b", "c"]).get({ timeout: 5 });
  const rejected = assert.rejects(waiting, { code: "ERR_TIMEOUT", message: /the 3 tasks have not ended within 5 s/ });
  await clock.advance(5_001);
  await rejected;

  assert.deepEqual(await app.results([]).get(), []);
  assert.deepEqual([await app.results([]).ready(), await app.results([]).successful()], [true, true]);
  assert.deepEqual(await app.results(["a", "a"]).get(), [1, 1]);
});

test("a group is waited for with its members, and gives a list", async (t) => {
  const { app, store } = await world(t);
  const group = app.resultFromTuple([
    ["g", null],
    [
      [["a", null], null],
      [
        ["h", null],
        [
          [["b", null], null],
          [["c", null], null],
        ],
      ],
    ],
  ]);
  assert.ok(group instanceof GroupResult);
  for (const [i, id] of ["a", "b", "c"].entries()) await store(id, "SUCCESS", i);

  assert.deepEqual(await group.get(), [0, [1, 2]]);
  assert.deepEqual([group.id, group.length, JSON.stringify(group)], ["g", 2, '"g"']);
  for (const wrong of [null, 7, [], [[]], [[""]], {}]) {
    assert.throws(() => app.resultFromTuple(wrong), { code: "ERR_INVALID_INPUT" });
  }
});

test("a chain's handle knows what came before it, and forgets it too", async (t) => {
  const { app, store } = await world(t);
  await store("first", "SUCCESS", 1);
  await store("last", "SUCCESS", 2);
  const last = app.resultFromTuple([["last", [["first", null], null]], null]);

  assert.equal((await (last as ReturnType<Lovage["result"]>).parent())?.id, "first");
  assert.deepEqual(last.asTuple(), [["last", [["first", null], null]], null]);
  await last.forget();
  assert.equal(await app.result("first").state(), "PENDING");
});

test("who waits when the app is closed is told so", async (t) => {
  const { app } = await world(t);
  const waits = [app.result("x").get(), app.results(["x", "y"]).get(), app.result("x").updates().next()];
  await new Promise((resolve) => setImmediate(resolve));

  await app.close();

  for (const each of waits) await assert.rejects(each, { code: "ERR_CLOSED" });
});

test("every captured document opens, whatever its exception is like", async (t) => {
  const { app, results } = await world(t);
  const { results: captured } = fixture<{ results: Record<string, { value: string | null }> }>(
    "results.redis.via_rabbitmq_broker.json",
  );
  const opened: Record<string, unknown> = {};
  for (const [name, { value }] of Object.entries(captured)) {
    if (value === null) continue;
    const document = decodeResult(value);
    await results.store(document, 0);
    const got = await app.result(document.task_id).get({ propagate: false });
    opened[name] = got instanceof TaskError ? [got.excModule, got.excType, got.excArgs] : got;
  }

  assert.deepEqual(opened.failure_nested_exc, ["refapp", "Nested.Inner", ["inner", { k: 1 }]]);
  assert.deepEqual(opened.failure_unserialisable_exc_args, ["refapp", "Unpicklable", ["a"]], "unwrapped");
  assert.deepEqual(opened.soft_time_limit_raised, ["billiard.exceptions", "SoftTimeLimitExceeded", []]);
  assert.deepEqual(opened.hard_time_limit, ["billiard.exceptions", "TimeLimitExceeded", [1]]);
  assert.ok(opened.terminated instanceof TaskRevokedError && opened.terminated.how === "terminated");
  assert.deepEqual(opened.success_unicode, [["ž 🐎"], {}]);
});

test("an exception of any shape is an error with what can be had of it", async (t) => {
  const { app, store } = await world(t);
  const shapes: [unknown, string, string | null, readonly unknown[]][] = [
    [{ exc_type: "E", exc_message: "text", exc_module: null }, "E", null, ["text"]],
    [{ exc_type: "E", exc_message: { a: 1 } }, "E", null, [{ a: 1 }]],
    [{ exc_type: "E", exc_message: null }, "E", null, [null]],
    [{ exc_type: "E" }, "E", null, []],
    [{ exc_message: ["x"], exc_module: "m" }, "Exception", "m", ["x"]],
    [{ exc_type: 7, exc_message: [] }, "Exception", null, []],
    ["a text", "Exception", null, ["a text"]],
    [null, "Exception", null, [null]],
    [["a", "b"], "Exception", null, [["a", "b"]]],
    [{ other: 1 }, "Exception", null, [{ other: 1 }]],
    [{ exc_type: "UnpickleableExceptionWrapper", exc_message: ["m", "C", ["a"], "C('a')"] }, "C", "m", ["a"]],
    [{ exc_type: "UnpickleableExceptionWrapper", exc_message: [] }, "UnpickleableExceptionWrapper", null, []],
  ];
  for (const [i, [stored, type, module, args]] of shapes.entries()) {
    await store(`e${i}`, "FAILURE", stored);
    const error = await app.result(`e${i}`).get({ propagate: false });
    assert.ok(error instanceof TaskError);
    assert.deepEqual([error.excType, error.excModule, error.excArgs], [type, module, args], JSON.stringify(stored));
    assert.match(error.message, new RegExp(`^task e${i} failed: ${type}`));
  }
});
