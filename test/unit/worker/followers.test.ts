/** Links, errbacks and the next step of a chain, as they are sent (PROTOCOL 6.1, 11.1, 11.2, 11.6). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Outcome, TaskFailure } from "../../../src/pool/pool.ts";
import { rig } from "./request-rig.ts";

const error: TaskFailure = {
  exception: { exc_type: "RangeError", exc_message: ["far"], exc_module: null },
  text: "RangeError('far')",
  traceback: null,
};

async function after(embed: object, outcome: Outcome, options: Parameters<typeof rig>[0] = {}, headers = {}) {
  const world = rig(options);
  world.deliver(headers, { body: JSON.stringify([[], {}, embed]) });
  await world.end(outcome);
  return world;
}

const done = (result: string): Outcome => ({ kind: "succeeded", result });

describe("a link", () => {
  test("gets the result before its arguments, digit for digit, with the task as its parent and the client's reply queue", async () => {
    const link = {
      task: "next",
      args: ["x"],
      kwargs: { k: 1 },
      options: {
        task_id: "child",
        reply_to: "client",
        queue: "other",
        priority: 4,
        time_limit: 10,
        soft_time_limit: 5,
      },
    };
    const world = await after({ callbacks: [link] }, done("12345678901234567890.0"), {}, { root_id: "root" });
    const [sent] = world.sent;
    assert.ok(sent !== undefined);
    assert.match(sent.message.body, /^\[\[12345678901234567890\.0, "x"\], \{"k":1\}, /);
    const { task, id, rootId, parentId, replyTo, priority, hardLimitMs, softLimitMs, argsRepr } = sent.message;
    assert.deepEqual(
      { task, id, rootId, parentId, replyTo, priority, hardLimitMs, softLimitMs },
      {
        ...{ task: "next", id: "child", rootId: "root", parentId: "id-1", replyTo: "client", priority: 4 },
        ...{ hardLimitMs: 10_000, softLimitMs: 5_000 },
      },
    );
    assert.match(argsRepr ?? "", /'x'\)$/);
    assert.deepEqual(sent.to, { queue: "other" });
    assert.deepEqual(world.documents.at(-1)?.children, [[["child", null], null]]);
  });

  test("that is immutable gets its own arguments; several go as a group, in order", async () => {
    const links = [
      { task: "a", args: [1], immutable: true, options: { task_id: "a" } },
      { task: "b", options: { task_id: "b" } },
    ];
    const world = await after({ callbacks: links }, done('"r"'));
    assert.deepEqual(
      world.sent.map(({ message }) => [message.task, message.body.slice(0, 8), message.groupIndex]),
      [
        ["a", "[[1], {}", 0],
        ["b", '[["r"], ', 1],
      ],
    );
    const group = world.sent[0]?.message.group;
    assert.ok(group !== undefined && group === world.sent[1]?.message.group);
    assert.deepEqual(world.documents.at(-1)?.children, [
      [
        [group, null],
        [
          [["a", null], null],
          [["b", null], null],
        ],
      ],
    ]);
  });

  test("carries its own links, its stamps and its eta; the priority of its parent only where that is asked for", async () => {
    const link = {
      task: "next",
      options: {
        ...{ link: [{ task: "after" }], link_error: [{ task: "oops" }], eta: "2030-01-01T00:01:00+00:00" },
        ...{ stamped_headers: ["s"], s: "v", shadow: null, headers: { "x-own": 1 } },
      },
    };
    const world = await after({ callbacks: [link] }, done("1"));
    const { message } = world.sent[0] ?? assert.fail("nothing was sent");
    const [, , embed] = JSON.parse(message.body) as [unknown, unknown, Record<string, { task: string }[]>];
    assert.deepEqual([embed.callbacks?.[0]?.task, embed.errbacks?.[0]?.task], ["after", "oops"]);
    assert.equal(message.etaMs, Date.UTC(2030, 0, 1, 0, 1));
    assert.deepEqual(message.headers, { "x-own": 1, stamped_headers: ["s"], stamps: { s: "v" } });
    assert.equal(message.priority, undefined);
    const inheriting = await after({ callbacks: [link] }, done("1"), { settings: { taskInheritParentPriority: true } });
    assert.equal(inheriting.sent[0]?.message.priority, 3);
  });

  test("gets any result, also a long one and one that only looks like a typed value", async () => {
    for (const result of ['{"__type__": "ours", "__value__": 1}', JSON.stringify("x".repeat(100_000))]) {
      const world = await after({ callbacks: [{ task: "next" }] }, done(result));
      assert.equal(world.documents.at(-1)?.status, "SUCCESS");
      assert.ok(world.sent[0]?.message.body.startsWith(`[[${result}]`));
      assert.ok((world.sent[0]?.message.argsRepr?.length ?? 0) <= 1_024);
    }
  });

  test("waits in the schedule while the broker is away", async () => {
    const world = await after({ callbacks: [{ task: "next", options: { task_id: "c", queue: "q" } }] }, done("1"), {
      brokerAway: true,
    });
    assert.deepEqual(
      world.parked.map(({ taskId, queue }) => [taskId, queue]),
      [["c", "q"]],
    );
    assert.equal(world.documents.at(-1)?.status, "SUCCESS");
  });

  test("that cannot be sent makes a failure of the success, as in Celery", async () => {
    const wrong = { task: "next", options: { priority: 300 } };
    const world = await after({ callbacks: [{ task: "fine", options: { task_id: "f" } }, wrong] }, done("1"), {
      task: { acksLate: true, acksOnFailure: false },
    });
    assert.equal(world.documents.at(-1)?.status, "FAILURE");
    assert.match(world.documents.at(-1)?.result ?? "", /priority must be/);
    assert.deepEqual(
      world.quarantined.map(({ code }) => code),
      ["ERR_TASK_FAILED"],
    );
  });

  test("is not sent after a retry, Ignore, Reject or an end on request", async () => {
    for (const outcome of [
      { kind: "ignored" },
      { kind: "rejected", requeue: true, reason: "no" },
      { kind: "retry", etaMs: 1, body: "[[], {}, {}]", retries: 1, error },
      { kind: "aborted", reason: "terminated" },
    ] satisfies Outcome[]) {
      const world = await after({ callbacks: [{ task: "l" }], errbacks: [{ task: "e" }] }, outcome);
      assert.deepEqual(world.sent, [], outcome.kind);
    }
  });
});

describe("a chain", () => {
  test("goes on with its last element, which carries the others", async () => {
    const chain = [{ task: "third" }, { task: "second", options: { task_id: "2" } }];
    const world = await after({ chain }, done("[1]"));
    const { message } = world.sent[0] ?? assert.fail("nothing was sent");
    assert.equal(message.task, "second");
    const [args, , embed] = JSON.parse(message.body) as [unknown, unknown, { chain: { task: string }[] }];
    assert.deepEqual(args, [[1]]);
    assert.deepEqual(
      embed.chain.map(({ task }) => task),
      ["third"],
    );
    const last = await after({ chain: [{ task: "only" }] }, done("1"));
    assert.match(last.sent[0]?.message.body ?? "", /"chain":null/);
  });

  test("that fails marks the steps that will not come, and tells its errbacks the id of what failed", async () => {
    const chain = [
      { task: "third", options: { task_id: "3" } },
      { task: "second", options: { task_id: "2" } },
    ];
    const world = await after({ chain, errbacks: [{ task: "oops" }] }, { kind: "failed", error, expected: false });
    assert.deepEqual(
      world.documents.map(({ task_id, status }) => [task_id, status]),
      [
        ["id-1", "FAILURE"],
        ["3", "FAILURE"],
        ["2", "FAILURE"],
      ],
    );
    assert.deepEqual(
      world.sent.map(({ message }) => [message.task, message.body.slice(0, 10), message.groupIndex]),
      [["oops", '[["id-1"],', 0]],
    );
  });

  test("errbacks also hear of a process that died and of a hard limit", async () => {
    for (const outcome of [
      { kind: "crashed", reason: "died", started: true },
      { kind: "timed-out", limitMs: 1 },
    ] satisfies Outcome[]) {
      const world = await after({ errbacks: [{ task: "oops" }] }, outcome);
      assert.equal(world.sent.length, 1, outcome.kind);
    }
  });
});

describe("what is not sent on yet", () => {
  test("is told by name, and the result is what it was", async () => {
    const world = await after(
      {
        callbacks: [{ task: "celery.group", subtask_type: "group" }],
        chain: [{ task: "celery.chord", subtask_type: "chord" }],
        chord: { task: "body" },
      },
      done("1"),
    );
    const warned = world.log.filter((line) => /NOT (sent|counted)/.test(line));
    assert.equal(warned.length, 3);
    assert.match(warned[0] ?? "", /shop\.pay\[id-1\]: a link, celery\.group \(a group\), was NOT sent/);
    assert.match(warned[1] ?? "", /the next step of its chain, celery\.chord/);
    assert.match(warned[2] ?? "", /part of a chord.*body/);
    assert.deepEqual(world.sent, []);
    assert.equal(world.documents.at(-1)?.status, "SUCCESS");
  });

  test("a message with nothing to follow is not looked at twice", async () => {
    for (const embed of [{}, { callbacks: null, errbacks: null, chain: null, chord: null }, { chain: [] }]) {
      const world = await after(embed, done("1"));
      assert.deepEqual(world.order, ["received", "run", "ack", "started", "store SUCCESS", "succeeded"]);
      assert.deepEqual(
        world.log.filter((line) => /NOT/.test(line)),
        [],
      );
    }
  });
});
