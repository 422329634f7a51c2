import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as nodeTimeout } from "node:timers/promises";
import { currentTask, type TaskContext } from "../../../src/app/context.ts";
import { TaskRegistry } from "../../../src/app/registry.ts";
import { runTask } from "../../../src/app/run-task.ts";
import type { RegisteredTask, TaskOptions } from "../../../src/app/task-options.ts";
import { Ignore, Reject, SoftTimeLimitExceeded } from "../../../src/app/task-outcomes.ts";
import { createLogger } from "../../../src/kit/log.ts";
import type { Ask } from "../../../src/pool/asks.ts";
import { TaskAbortedError } from "../../../src/pool/errors.ts";
import type { Job, Outcome } from "../../../src/pool/pool.ts";
import type { TaskMessage } from "../../../src/protocol/message.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

type Handler = (...args: never[]) => unknown;

interface Setup {
  readonly options?: TaskOptions;
  readonly message?: Partial<TaskMessage>;
  readonly body?: string;
  readonly job?: Partial<Job>;
  readonly ask?: Ask;
  readonly controller?: AbortController;
}

const noAnswer: Ask = () => Promise.reject(new Error("nobody answers"));

function start(handler: Handler, setup: Setup = {}) {
  const clock = new FakeClock();
  const lines: string[] = [];
  const registry = new TaskRegistry();
  registry.add({ name: "shop.task", options: setup.options ?? {}, handler } satisfies RegisteredTask);
  const controller = setup.controller ?? new AbortController();
  const body = setup.body ?? "[[], {}, {}]";
  const outcome = runTask(
    {
      message: { task: "shop.task", id: "id-1", body, retries: 0, ...setup.message },
      hostname: "worker@test",
      ...setup.job,
    },
    {
      registry,
      ask: setup.ask ?? noAnswer,
      log: createLogger({ level: "debug", destination: (line) => lines.push(line), clock }),
      clock,
      signal: controller.signal,
      random: () => 0.5,
    },
  );
  return { outcome, clock, lines, controller };
}

const run = (handler: Handler, setup: Setup = {}): Promise<Outcome> => start(handler, setup).outcome;

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function failure(outcome: Outcome) {
  assert.ok(outcome.kind === "failed", JSON.stringify(outcome));
  return {
    ...outcome.error.exception,
    expected: outcome.expected,
    text: outcome.error.text,
    traceback: outcome.error.traceback,
  };
}

test("what the handler returns, or resolves with, is the result as JSON text; nothing is null", async () => {
  assert.deepEqual(await run(() => ({ a: [1, "ž"] })), { kind: "succeeded", result: '{"a":[1,"ž"]}' });
  assert.deepEqual(await run(async () => 1n << 70n), { kind: "succeeded", result: "1180591620717411303424" });
  assert.deepEqual(await run(() => undefined), { kind: "succeeded", result: "null" });
});

test("the arguments are those of the message, typed values and big integers too", async () => {
  const seen: unknown[] = [];
  const body =
    '[["x", 12345678901234567890, {"__type__": "datetime", "__value__": "2030-01-01T00:00:00+00:00"}], {}, {}]';
  await run((...args: unknown[]) => seen.push(...args), { body });
  assert.deepEqual(seen.slice(0, 2), ["x", 12345678901234567890n]);
  assert.equal(new Date(String(seen[2])).getTime(), Date.UTC(2030, 0, 1));
});

test("a task that is not registered fails as NotRegistered; a body that is none as what it is", async () => {
  const unknown = failure(await run(() => 1, { message: { task: "constructor" } }));
  assert.deepEqual(
    [unknown.exc_type, unknown.exc_message, unknown.exc_module, unknown.traceback],
    ["NotRegistered", ["constructor"], "celery.exceptions", null],
  );
  for (const body of ["", "{}", "[1]", "[[], {}", "[{}, [], {}]"]) {
    assert.equal(failure(await run(() => 1, { body })).exc_type, "DecodeError", body);
  }
});

test("whatever is thrown is a failure: null, texts, objects, proxies that throw at every look", async () => {
  const evil = new Proxy(() => undefined, {
    get: () => {
      throw new Error("get");
    },
    getPrototypeOf: () => {
      throw new Error("prototype");
    },
  });
  const hostile = Object.defineProperty(new Error("x"), "message", {
    get: () => {
      throw new Error("message");
    },
  });
  for (const thrown of [
    null,
    undefined,
    "text",
    7n,
    Symbol("s"),
    {},
    { message: 5 },
    evil,
    hostile,
    Object.create(null),
  ]) {
    const { exc_type, exc_message, text } = failure(
      await run(
        () => {
          throw thrown;
        },
        { options: { autoretryFor: [TypeError], throws: [RangeError] } },
      ),
    );
    assert.ok(JSON.stringify(exc_message).length > 0 && exc_type.length > 0 && text.length > 0 && !text.includes("\n"));
  }
});

test("a returned value that JSON cannot carry fails with EncodeError, which names its place", async () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  for (const [value, place] of [
    [{ rows: [{ when: () => 1 }] }, /the result\.rows\[0\]\.when is a function/],
    [cyclic, /the result\.self is cyclic/],
    [new Map(), /the result is a Map/],
  ] as const) {
    const failed = failure(await run(() => value, { options: { autoretryFor: true } }));
    assert.deepEqual([failed.exc_type, failed.exc_module], ["EncodeError", "kombu.exceptions"]);
    assert.match(failed.text, place);
  }
});

test("errors that are declared are expected; Ignore and Reject are outcomes", async () => {
  class OutOfStock extends Error {}
  const expected = failure(
    await run(
      () => {
        throw new OutOfStock("apples");
      },
      { options: { throws: [OutOfStock] } },
    ),
  );
  assert.deepEqual([expected.exc_type, expected.exc_message, expected.expected], ["OutOfStock", ["apples"], true]);
  assert.match(expected.traceback ?? "", /OutOfStock|Error: apples/);
  assert.deepEqual(await run(() => Promise.reject(new Ignore())), { kind: "ignored" });
  assert.deepEqual(await run(() => Promise.reject(new Reject("no"))), {
    kind: "rejected",
    requeue: false,
    reason: "no",
  });
  assert.deepEqual(await run(() => Promise.reject(new Reject("later", { requeue: true }))), {
    kind: "rejected",
    requeue: true,
    reason: "later",
  });
});

test("the context is the run's own, in everything that the handler awaits", async () => {
  const requests: TaskContext["request"][] = [];
  const outcome = await run(
    async () => {
      await null;
      requests.push(currentTask().request);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(currentTask().request, requests[0]);
      return currentTask().fence;
    },
    {
      body: '[["a"], {}, {}]',
      message: {
        retries: 2,
        expiresMs: 1_900_000_000_000,
        hardLimitMs: 30_000,
        softLimitMs: 1_500,
        rootId: "root",
        parentId: "parent",
        group: "g",
        groupIndex: 4,
        correlationId: "c",
        replyTo: "r",
        origin: "gen1@host",
        headers: { mine: 1 },
      },
      job: {
        deliveryInfo: { exchange: "e", routingKey: "k", priority: null, redelivered: false },
        fence: { id: "cb", attempt: 1, token: 9 },
      },
    },
  );
  assert.deepEqual(outcome, { kind: "succeeded", result: '{"id":"cb","attempt":1,"token":9}' });
  assert.deepEqual(requests[0], {
    id: "id-1",
    task: "shop.task",
    args: ["a"],
    kwargs: {},
    retries: 2,
    expires: new Date(1_900_000_000_000),
    timeLimit: 30,
    softTimeLimit: 1.5,
    rootId: "root",
    parentId: "parent",
    group: "g",
    groupIndex: 4,
    correlationId: "c",
    replyTo: "r",
    origin: "gen1@host",
    hostname: "worker@test",
    deliveryInfo: { exchange: "e", routingKey: "k", priority: null, redelivered: false },
    headers: { mine: 1 },
  });
  assert.throws(() => currentTask(), { code: "ERR_NO_CURRENT_TASK" });
});

test("the task's logger names the task and its id", async () => {
  const { outcome, lines } = start(() => currentTask().log.info("half-way", { done: 5 }));
  await outcome;
  assert.match(lines.join("\n"), /INFO\/MainProcess\] shop\.task\[id-1\]: half-way done=5/);
});

test("an aborted handler that throws, whatever it throws, is aborted; one that still returns has succeeded", async () => {
  const throwing = start(async () => {
    const { signal } = currentTask();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    throw new Error("cleaned up");
  });
  await turn();
  throwing.controller.abort(new TaskAbortedError("terminated"));
  assert.deepEqual(await throwing.outcome, { kind: "aborted", reason: "terminated" });

  const returning = start(() => {
    const { signal } = currentTask();
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason.name)));
  });
  await turn();
  returning.controller.abort(new TaskAbortedError("terminated"));
  assert.deepEqual(await returning.outcome, { kind: "succeeded", result: '"AbortError"' });

  const controller = new AbortController();
  controller.abort(new TaskAbortedError("before it began"));
  const never = await run(() => assert.fail("it ran"), { controller });
  assert.deepEqual(never, { kind: "aborted", reason: "before it began" });

  const between = start(() => assert.fail("it ran"));
  between.controller.abort(new TaskAbortedError("while its arguments were bound"));
  assert.equal((await between.outcome).kind, "aborted");
});

test("after the soft limit, what the handler throws because of it is SoftTimeLimitExceeded, as Celery stores it", async () => {
  for (const [what, handler] of [
    ["its reason", (signal) => new Promise((_, no) => signal.addEventListener("abort", () => no(signal.reason)))],
    [
      "what wraps it",
      (signal) =>
        new Promise((_, no) => signal.addEventListener("abort", () => no(new Error("w", { cause: signal.reason })))),
    ],
    ["what Node makes of it", (signal) => nodeTimeout(3_600_000, null, { signal, ref: false })],
    [
      "throwIfAborted",
      async (signal) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        signal.throwIfAborted();
      },
    ],
  ] as [string, (signal: AbortSignal) => unknown][]) {
    const { outcome, clock, lines } = start(() => handler(currentTask().signal), { message: { softLimitMs: 2_000 } });
    await clock.advance(1_999);
    assert.equal(lines.length, 0);
    await clock.advance(1);
    const failed = failure(await outcome);
    assert.deepEqual(
      [failed.exc_type, failed.exc_message, failed.exc_module],
      ["SoftTimeLimitExceeded", [], "billiard.exceptions"],
      what,
    );
    assert.match(lines.join("\n"), /WARNING\/MainProcess\] Soft time limit \(2s\) exceeded for shop\.task\[id-1\]/);
    assert.equal(clock.pending, 0);
  }
});

test("after the soft limit, an error of another kind stays itself, and a handler may still return", async () => {
  const other = start(
    async () => {
      const { signal } = currentTask();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw new RangeError("its own");
    },
    { options: { softTimeLimit: "500ms" } },
  );
  await other.clock.advance(500);
  assert.equal(failure(await other.outcome).exc_type, "RangeError");

  const returned = start(
    () => {
      const { signal } = currentTask();
      return new Promise((resolve) =>
        signal.addEventListener("abort", () => resolve(signal.reason instanceof SoftTimeLimitExceeded)),
      );
    },
    { options: { softTimeLimit: 1 } },
  );
  await returned.clock.advance(1_000);
  assert.deepEqual(await returned.outcome, { kind: "succeeded", result: "true" });
});

test("the message's soft limit goes before the task's; none leaves no timer behind; a wrong one fails the task", async () => {
  const { outcome, clock } = start(
    () => new Promise((resolve) => currentTask().signal.addEventListener("abort", resolve)),
    {
      message: { softLimitMs: 100 },
      options: { softTimeLimit: 50 },
    },
  );
  await clock.advance(100);
  assert.equal((await outcome).kind, "succeeded");

  const quick = start(() => 1, { options: { softTimeLimit: 50 } });
  await quick.outcome;
  assert.equal(quick.clock.pending, 0);

  const wrong = failure(await run(() => 1, { options: { softTimeLimit: "soon" } }));
  assert.equal(wrong.exc_type, "InvalidInputError");
  assert.match(wrong.text, /softTimeLimit/);
});

test("an abort reaches the handler also where there is a soft limit", async () => {
  const { outcome, controller } = start(
    () => new Promise((_, reject) => currentTask().signal.addEventListener("abort", () => reject(new Error("x")))),
    { options: { softTimeLimit: 50 } },
  );
  await turn();
  controller.abort(new TaskAbortedError("revoked"));
  assert.deepEqual(await outcome, { kind: "aborted", reason: "revoked" });
});

test("updateState stores a document through the worker, and only states of the task's own, while it runs", async () => {
  const asked: unknown[] = [];
  let late: TaskContext["updateState"] | undefined;
  const outcome = await run(
    async () => {
      const { updateState } = currentTask();
      late = updateState;
      await updateState("PROGRESS", { done: 1n });
      await updateState("ALMOST");
      for (const state of ["SUCCESS", "FAILURE", "REVOKED", ""]) {
        await assert.rejects(updateState(state), { code: "ERR_INVALID_INPUT" });
      }
      await assert.rejects(
        updateState("BAD", () => 1),
        { code: "ERR_ENCODE", message: /^meta is a function/ },
      );
    },
    {
      message: { group: "g", parentId: "p", replyTo: "client", correlationId: "c" },
      ask: ((op, params) => {
        asked.push([op, params]);
        return Promise.resolve(null);
      }) as Ask,
    },
  );
  assert.equal(outcome.kind, "succeeded");
  const document = (status: string, result: string) => ({
    document: {
      task_id: "id-1",
      status,
      result,
      traceback: null,
      children: [],
      date_done: null,
      group_id: "g",
      parent_id: "p",
    },
    address: { replyTo: "client", correlationId: "c" },
  });
  assert.deepEqual(asked, [
    ["result.store", document("PROGRESS", '{"done":1}')],
    ["result.store", document("ALMOST", "null")],
  ]);
  await assert.rejects(late?.("TOO_LATE") ?? Promise.resolve(), { code: "ERR_INVALID_INPUT", message: /has ended/ });
});
