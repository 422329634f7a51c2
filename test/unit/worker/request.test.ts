/** The order of ack, run, links, result and events, for each end of a run (PROTOCOL 6.1 to 6.4). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TaskOptions } from "../../../src/app/task-options.ts";
import type { Outcome, TaskFailure } from "../../../src/pool/pool.ts";
import { COLD_STOP } from "../../../src/worker/own-ends.ts";
import { rig } from "./request-rig.ts";

const error: TaskFailure = {
  exception: { exc_type: "RangeError", exc_message: ["far"], exc_module: null },
  text: "RangeError('far')",
  traceback: null,
};
const SUCCEEDED: Outcome = { kind: "succeeded", result: "42" };
const FAILED: Outcome = { kind: "failed", error, expected: false };
const CRASHED: Outcome = { kind: "crashed", reason: "was killed by SIGKILL", started: true };
const RETRY: Outcome = { kind: "retry", etaMs: 60_000, body: "[[], {}, {}]", retries: 1, error };
const LATE = { acksLate: true };

async function orderOf(task: TaskOptions, outcome: Outcome): Promise<string[]> {
  const world = rig({ task });
  world.deliver();
  await world.end(outcome);
  assert.equal(world.intake.requests.size, 0, "nothing stays in hand");
  return world.order;
}

describe("the order of a run", () => {
  test("a success: acknowledged before it runs, or after its result is stored", async () => {
    assert.deepEqual(await orderOf({}, SUCCEEDED), ["received", "run", "ack", "started", "store SUCCESS", "succeeded"]);
    assert.deepEqual(await orderOf(LATE, SUCCEEDED), [
      ...["received", "run", "started", "store SUCCESS", "ack", "succeeded"],
    ]);
  });

  test("a failure: stored, then acknowledged; in quarantine before it is rejected, where it is not to be acknowledged", async () => {
    assert.deepEqual(await orderOf({}, FAILED), ["received", "run", "ack", "started", "store FAILURE", "failed"]);
    assert.deepEqual(await orderOf(LATE, FAILED), ["received", "run", "started", "store FAILURE", "ack", "failed"]);
    assert.deepEqual(await orderOf({ ...LATE, acksOnFailure: false }, FAILED), [
      ...["received", "run", "started", "store FAILURE", "quarantine ERR_TASK_FAILED", "reject", "failed", "rejected"],
    ]);
  });

  test("Ignore stores nothing", async () => {
    assert.deepEqual(await orderOf(LATE, { kind: "ignored" }), ["received", "run", "started", "ack"]);
  });

  test("Reject: kept and rejected, or given back; an early acknowledgement leaves nothing to give back, and that is said", async () => {
    const reject: Outcome = { kind: "rejected", requeue: false, reason: "no" };
    const requeue: Outcome = { kind: "rejected", requeue: true, reason: "no" };
    assert.deepEqual(await orderOf(LATE, reject), [
      ...["received", "run", "started", "store FAILURE", "quarantine ERR_REJECTED", "reject", "failed", "rejected"],
    ]);
    assert.deepEqual(await orderOf(LATE, requeue), ["received", "run", "started", "requeue", "rejected"]);
    const early = rig();
    early.deliver();
    await early.end(requeue);
    assert.deepEqual(early.order, ["received", "run", "ack", "started"]);
    assert.ok(early.log.some((line) => /does not run again: it was acknowledged before it ran/.test(line)));
  });

  test("out of time: a failure that is stored, and then acknowledged or given back", async () => {
    const late: Outcome = { kind: "timed-out", limitMs: 1_000 };
    assert.deepEqual(await orderOf(LATE, late), ["received", "run", "started", "store FAILURE", "ack", "failed"]);
    assert.deepEqual(await orderOf({ ...LATE, acksOnTimeout: false }, late), [
      ...["received", "run", "started", "store FAILURE", "requeue", "failed", "rejected"],
    ]);
  });

  test("a process that died: a failure, or given back as if it had not run", async () => {
    assert.deepEqual(await orderOf(LATE, CRASHED), ["received", "run", "started", "store FAILURE", "ack", "failed"]);
    assert.deepEqual(await orderOf({ ...LATE, rejectOnWorkerLost: true }, CRASHED), [
      ...["received", "run", "started", "requeue", "rejected"],
    ]);
    assert.deepEqual(await orderOf({ rejectOnWorkerLost: true }, CRASHED), [
      ...["received", "run", "ack", "started", "store FAILURE", "failed"],
    ]);
  });

  test("a cold stop: given back when it was to be acknowledged late, else a failure that says so", async () => {
    const cold: Outcome = { kind: "aborted", reason: COLD_STOP };
    assert.deepEqual(await orderOf(LATE, cold), ["received", "run", "started", "cancelled", "requeue", "rejected"]);
    assert.deepEqual(await orderOf({}, cold), ["received", "run", "ack", "started", "cancelled", "store FAILURE"]);
  });

  test("terminated: REVOKED, and acknowledged", async () => {
    const ended: Outcome = { kind: "aborted", reason: "terminated" };
    assert.deepEqual(await orderOf(LATE, ended), ["received", "run", "started", "store REVOKED", "ack", "revoked"]);
  });

  test("trap 31: RETRY is stored before the next run can begin, and that is durable before the message is acknowledged", async () => {
    assert.deepEqual(await orderOf(LATE, RETRY), [
      ...["received", "run", "started", "store RETRY", "park shop.pay", "ack", "retried"],
    ]);
    assert.deepEqual(await orderOf(LATE, { ...RETRY, to: { queue: "python" } }), [
      ...["received", "run", "started", "store RETRY", "send shop.pay", "ack", "retried"],
    ]);
  });

  test("links and the next step of a chain go before the result is stored, errbacks after it", async () => {
    const body = JSON.stringify([
      [],
      {},
      {
        callbacks: [{ task: "l" }],
        errbacks: [{ task: "e" }],
        chain: [{ task: "last", options: { task_id: "last" } }, { task: "next" }],
      },
    ]);
    const good = rig({ task: LATE });
    good.deliver({}, { body });
    await good.end(SUCCEEDED);
    assert.deepEqual(good.order.slice(3), ["send l", "send next", "store SUCCESS", "ack", "succeeded"]);
    const bad = rig({ task: LATE });
    bad.deliver({}, { body });
    await bad.end(FAILED);
    assert.deepEqual(bad.order.slice(3), ["store FAILURE", "store FAILURE of last", "send e", "ack", "failed"]);
  });

  test("an early acknowledgement is told to the broker before the process may say more", async () => {
    const world = rig();
    world.deliver();
    await world.settled();
    assert.deepEqual(world.order, ["received", "run", "ack", "started"]);
  });
});

describe("what is not to run", () => {
  test("an expired message is discarded when it comes, before it waits for anything", async () => {
    const world = rig();
    world.deliver({ expires: "2029-12-31T23:59:59+00:00" });
    await world.settled();
    assert.deepEqual(world.order, ["store REVOKED", "ack", "revoked"]);
    assert.deepEqual(world.told, ["revoked expired"]);
    assert.ok(world.log.some((line) => /Discarding revoked task: shop\.pay\[id-1\]/.test(line)));
  });

  test("one that expires while it waits for a slot is discarded when it would start", async () => {
    const world = rig();
    world.deliver({ id: "first" });
    world.deliver({ expires: "2030-01-01T00:00:05+00:00" });
    await world.settled();
    await world.clock.advance(5_001);
    await world.end(SUCCEEDED);
    assert.equal(world.pool.jobs.length, 1);
    assert.equal(world.documents.at(-1)?.status, "REVOKED");
    assert.equal(world.intake.requests.size, 0);
  });

  test("an eta is parked before it is acknowledged, and holds nothing; one that has expired is not parked", async () => {
    const world = rig();
    world.deliver({ eta: "2030-01-01T01:00:00+00:00" });
    world.deliver({ eta: "2030-01-01T01:00:00+00:00", expires: "2029-12-31T00:00:00+00:00" });
    await world.settled();
    assert.deepEqual(world.order, ["park shop.pay", "store REVOKED", "ack", "received", "ack", "revoked"]);
    assert.equal(world.parked[0]?.dueMs, Date.UTC(2030, 0, 1, 1));
    assert.equal(world.pool.jobs.length, 0);
  });

  test("one that waits for a token and is revoked goes within a second, in nobody's place", async () => {
    const world = rig({ task: { rateLimit: "1/h" } });
    world.deliver({ id: "a" });
    world.deliver({ id: "b" });
    world.deliver({ id: "c" });
    await world.end(SUCCEEDED);
    world.revokedIds.add("b");
    await world.clock.advance(1_000);
    await world.settled();
    assert.deepEqual(
      [...world.intake.requests].map(({ message }) => message.id),
      ["c"],
    );
    assert.equal(world.documents.find((each) => each.task_id === "b")?.status, "REVOKED");
    await world.intake.returnWaiting();
    assert.equal(world.order.at(-1), "requeue");
  });
});

describe("a message that is delivered again", () => {
  test("takes the place of the one that came by the lost connection: the run goes on, and this one is acknowledged", async () => {
    const world = rig({ task: LATE });
    world.deliver({}, { name: "first" });
    await world.settled();
    world.intake.connectionLost();
    world.deliver({}, { name: "again", redelivered: true });
    await world.end(SUCCEEDED);
    assert.deepEqual(world.order, ["received", "run", "started", "store SUCCESS", "ack again", "succeeded"]);
    assert.equal(world.pool.jobs.length, 1);
  });

  test("is acknowledged at once where the early acknowledgement was not heard", async () => {
    const world = rig();
    world.deliver({}, { name: "first" });
    await world.settled();
    world.intake.connectionLost();
    world.deliver({}, { name: "again", redelivered: true });
    await world.settled();
    assert.deepEqual(world.order, ["received", "run", "ack first", "started", "ack again"]);
    await world.end(SUCCEEDED);
    assert.equal(world.pool.jobs.length, 1);
  });

  test("when its run has ended meanwhile, it is acknowledged and not run; once for each", async () => {
    const world = rig({ task: LATE });
    world.deliver({}, { name: "first" });
    await world.settled();
    world.intake.connectionLost();
    await world.end(SUCCEEDED);
    world.deliver({}, { name: "again", redelivered: true });
    await world.settled();
    assert.deepEqual(world.order.slice(-2), ["succeeded", "ack again"]);
    assert.equal(world.pool.jobs.length, 1);
    world.deliver({}, { name: "third", redelivered: true });
    await world.settled();
    assert.equal(world.pool.jobs.length, 2, "nothing is known of a further one");
  });

  test("another with the same id that was not delivered before, or is another run, is run", async () => {
    const world = rig({ task: LATE });
    world.deliver({}, { name: "first" });
    await world.settled();
    world.deliver({}, { redelivered: true }); // the connection stands: it cannot be the one in hand
    world.intake.connectionLost();
    world.deliver({}, {});
    world.deliver({ retries: 1 }, { redelivered: true });
    await world.settled();
    assert.equal(world.intake.requests.size, 4);
  });

  test("with workerCancelLongRunningTasksOnConnectionLoss a late-acknowledged run is ended, RETRY stored, and the message runs again", async () => {
    const world = rig({ task: LATE, settings: { workerCancelLongRunningTasksOnConnectionLoss: true } });
    world.deliver({}, { name: "first" });
    await world.settled();
    world.intake.connectionLost();
    assert.deepEqual(world.pool.aborted, ["the connection to the broker was lost"]);
    await world.end({ kind: "aborted", reason: "the connection to the broker was lost" });
    assert.equal(world.documents.at(-1)?.status, "RETRY");
    world.deliver({}, { redelivered: true });
    await world.settled();
    assert.equal(world.pool.jobs.length, 2);
  });

  test("after its success, with workerDeduplicateSuccessfulTasks, it is acknowledged; links that had not gone go then", async () => {
    const world = rig({ task: LATE, settings: { workerDeduplicateSuccessfulTasks: true } });
    const body = '[[], {}, {"callbacks": [{"task": "l"}]}]';
    world.documents.push({
      ...{ task_id: "id-1", status: "SUCCESS", result: "42", traceback: null, children: [], date_done: null },
    });
    world.deliver({}, { redelivered: true, body });
    await world.settled();
    assert.deepEqual(world.order, ["received", "send l", "ack"]);
    assert.equal(world.pool.jobs.length, 0);
    assert.ok(world.log.some((line) => /Task already completed successfully\./.test(line)));
    world.deliver({}, { body });
    await world.settled();
    assert.equal(world.pool.jobs.length, 1, "one that was not delivered before runs");
  });

  test("without the setting, or acknowledged early, it runs again", async () => {
    for (const [task, settings] of [
      [LATE, {}],
      [{}, { workerDeduplicateSuccessfulTasks: true }],
    ] as const) {
      const world = rig({ task, settings });
      world.documents.push({
        ...{ task_id: "id-1", status: "SUCCESS", result: "42", traceback: null, children: [], date_done: null },
      });
      world.deliver({}, { redelivered: true });
      await world.settled();
      assert.equal(world.pool.jobs.length, 1);
    }
  });
});

describe("B5: a message that ends every process that runs it", () => {
  const task = { ...LATE, rejectOnWorkerLost: true };

  test("goes back twice, and is then kept in quarantine as a failure", async () => {
    const world = rig({ task });
    for (let i = 0; i < 3; i += 1) {
      world.deliver({}, { redelivered: i > 0 });
      await world.end(CRASHED);
    }
    assert.equal(world.order.filter((each) => each === "requeue").length, 2);
    assert.deepEqual(world.order.slice(-5), [
      ...["store FAILURE", "quarantine ERR_CRASH_LIMIT", "reject", "failed", "rejected"],
    ]);
    assert.match(world.quarantined[0]?.reason ?? "", /ended the process that ran it too often.*SIGKILL/);
  });

  test("is counted in the schedule: what other workers and earlier ones saw counts too; another run of the task does not", async () => {
    const world = rig({ task });
    const message = { task: "shop.pay", id: "id-1", retries: 0, body: "[[], {}, {}]" };
    assert.equal(await world.losses().count(message), 1);
    assert.equal(await world.losses().count(message), 2);
    world.deliver({}, { redelivered: true });
    await world.end(CRASHED);
    assert.equal(world.quarantined[0]?.code, "ERR_CRASH_LIMIT");
    assert.equal(await world.losses().count({ ...message, retries: 1 }), 1);
  });

  test("goes back, and is not lost, while the quarantine cannot keep it", async () => {
    const world = rig({ task: { ...LATE, acksOnFailure: false }, quarantineFull: true });
    world.deliver();
    await world.end(FAILED);
    await world.clock.advance(5_000);
    await world.settled();
    assert.deepEqual(world.order.slice(-3), ["requeue", "failed", "rejected"]);
    assert.ok(!world.order.includes("ack"));
  });
});
