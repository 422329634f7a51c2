/** What of a message a retry keeps (PROTOCOL 12.1), and where the next run goes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { InvalidInputError, UnavailableError } from "../../../src/kit/errors.ts";
import { silentLogger } from "../../../src/kit/log.ts";
import type { Ask } from "../../../src/pool/asks.ts";
import type { TaskMessage } from "../../../src/protocol/message.ts";
import type { NewCallback } from "../../../src/schedule/callback.ts";
import { NextRuns, nextRunOf, type RetryOutcome } from "../../../src/worker/next-run.ts";

const error = { exception: { exc_type: "E", exc_message: [], exc_module: null }, text: "E()", traceback: null };
const RETRY: RetryOutcome = { kind: "retry", etaMs: 60_000, body: "[[2], {}, {}]", retries: 3, error };
const MESSAGE: Required<Omit<TaskMessage, "etaMs">> = {
  task: "shop.pay",
  id: "id-1",
  body: "[[1], {}, {}]",
  retries: 2,
  expiresMs: 99_000,
  hardLimitMs: 3_000,
  softLimitMs: 2_000,
  rootId: "root",
  parentId: "parent",
  group: "g",
  groupIndex: 4,
  shadow: "pay",
  ignoreResult: true,
  replyTo: "client",
  correlationId: "other",
  priority: 7,
  origin: "gen1@h",
  argsRepr: "(1,)",
  kwargsRepr: "{}",
  headers: {
    "x-own": "kept",
    "x-death": [{ count: 1 }],
    "x-first-death-queue": "q",
    "x-delivery-count": 2,
    stamped_headers: ["s"],
    stamps: { s: "v" },
    replaced_task_nesting: 1,
  },
};

class AwayError extends UnavailableError {
  readonly code = "ERR_BROKER_UNAVAILABLE";
}

describe("the next run of a task", () => {
  test("keeps all of its message but what the broker wrote, and has itself as its parent", () => {
    assert.deepEqual(nextRunOf(MESSAGE, RETRY), {
      ...MESSAGE,
      body: "[[2], {}, {}]",
      retries: 3,
      etaMs: 60_000,
      parentId: "id-1",
      headers: { "x-own": "kept", stamped_headers: ["s"], stamps: { s: "v" }, replaced_task_nesting: 1 },
    });
  });

  test("of a message that says little is its own root", () => {
    const next = nextRunOf({ task: "t", id: "a", body: "[[], {}, {}]", retries: 0 }, { ...RETRY, retries: 1 });
    assert.deepEqual(next, {
      ...{ task: "t", id: "a", body: "[[2], {}, {}]", retries: 1, etaMs: 60_000, rootId: "a", parentId: "a" },
    });
  });

  test("has what the task changed", () => {
    const changes = { priority: 1, expiresMs: 5, hardLimitMs: 6, softLimitMs: 4, headers: { b: 1 }, argsRepr: "(2,)" };
    const next = nextRunOf(MESSAGE, { ...RETRY, changes });
    assert.deepEqual({ ...next, ...changes }, next);
  });
});

describe("where it goes", () => {
  function world(failure?: Error) {
    const sent: { message: TaskMessage; to: unknown }[] = [];
    const parked: NewCallback[] = [];
    const runs = new NextRuns({
      ask: (async (_op: string, params: { message: TaskMessage; to: unknown }) => {
        if (failure !== undefined) throw failure;
        sent.push(params);
        return null;
      }) as unknown as Ask,
      park: async (callback) => void parked.push(callback),
      queues: new Set(["celery", "mail"]),
      reachedBy: (exchange, key) => (exchange === "topic" && key === "a.b" ? "bound" : undefined),
      log: silentLogger,
    });
    const send = (to?: RetryOutcome["to"]) =>
      runs.send(MESSAGE, to === undefined ? RETRY : { ...RETRY, to }, "celery", true);
    return { sent, parked, runs, send };
  }

  test("a callback for the queue that it came from, or another that this worker serves", async () => {
    const { sent, parked, send } = world();
    await send();
    await send({ queue: "mail" });
    assert.deepEqual(sent, []);
    assert.deepEqual(
      parked.map(({ queue, taskId, dueMs, onLost, expiresMs }) => ({ queue, taskId, dueMs, onLost, expiresMs })),
      ["celery", "mail"].map((queue) => ({ queue, taskId: "id-1", dueMs: 60_000, onLost: "rerun", expiresMs: 99_000 })),
    );
    assert.equal(parked[0]?.message.parentId, "id-1");
    assert.ok(!("etaMs" in (parked[0]?.message ?? {})), "what waits has no eta");
  });

  test("a message with an eta for a queue of others, or by an exchange", async () => {
    const { sent, parked, send } = world();
    await send({ queue: "python" });
    await send({ exchange: "topic", routingKey: "a.b" });
    await send({ routingKey: "x" });
    assert.deepEqual(parked, []);
    assert.deepEqual(
      sent.map(({ to }) => to),
      [
        { queue: "python" },
        { queue: "celery", exchange: "topic", routingKey: "a.b" },
        { queue: "celery", routingKey: "x" },
      ],
    );
    assert.deepEqual([sent[0]?.message.etaMs, sent[0]?.message.retries], [60_000, 3]);
  });

  test("while the broker is away it waits in the schedule, for the queue that it leads to; what leads nowhere fails", async () => {
    const { parked, send } = world(new AwayError("away"));
    await send({ queue: "python" });
    await send({ exchange: "topic", routingKey: "a.b" });
    assert.deepEqual(
      parked.map(({ queue }) => queue),
      ["python", "bound"],
    );
    await assert.rejects(send({ exchange: "topic", routingKey: "nobody" }), { message: "away" });
  });

  test("a queue that is not to be made is the task's failure", async () => {
    const { parked, send } = world(new InvalidInputError("no such queue"));
    await assert.rejects(send({ queue: "misspelt" }), { message: "no such queue" });
    assert.deepEqual(parked, []);
  });

  test("a callback's next run is the same callback, unless it is sent elsewhere", () => {
    const { runs } = world();
    assert.equal(runs.staysWith(RETRY, "celery"), true);
    assert.equal(runs.staysWith({ ...RETRY, to: { queue: "celery" } }, "celery"), true);
    assert.equal(runs.staysWith({ ...RETRY, to: { queue: "mail" } }, "celery"), false);
    assert.equal(runs.staysWith({ ...RETRY, to: { exchange: "e", routingKey: "k" } }, "celery"), false);
  });
});
