import assert from "node:assert/strict";
import { test } from "node:test";
import { Lovage } from "../../src/app/app.ts";
import { runTask } from "../../src/app/run-task.ts";
import { systemClock } from "../../src/kit/clock.ts";
import { silentLogger } from "../../src/kit/log.ts";
import type { Ask } from "../../src/pool/asks.ts";
import { SoloPool } from "../../src/pool/solo.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { poolConformance, poolJob } from "../../src/testing/pool-conformance.ts";
import { addPoolTasks } from "../../src/testing/pool-tasks.ts";

poolConformance("solo", ({ size, ask }) => {
  const app = new Lovage("pool-solo");
  app.useAsk(ask as Ask);
  addPoolTasks(app);
  return new SoloPool({
    concurrency: size,
    run: (job, signal) =>
      runTask(job, { registry: app.registry, ask: app.ask, log: silentLogger, clock: systemClock, signal }),
  });
});

test("solo: an abort can only ask; the run of a handler that does not listen goes on", async () => {
  const clock = new FakeClock();
  const finish = Promise.withResolvers<void>();
  const pool = new SoloPool({
    concurrency: 1,
    clock,
    run: () => finish.promise.then(() => ({ kind: "succeeded", result: "1" })),
  });
  await pool.start();
  const run = pool.submit(poolJob("deaf"));
  await run.accepted;

  run.abort("revoked", 1_000);
  await clock.advance(1_000_000);
  assert.equal(pool.free, 0, "its slot is still taken: it still runs");
  finish.resolve();
  assert.deepEqual(await run.outcome, { kind: "succeeded", result: "1" });
  await pool.stop(0);
});

test("solo: a job that is aborted before its turn never starts", async () => {
  let started = 0;
  const pool = new SoloPool({
    concurrency: 1,
    run: async () => {
      started += 1;
      return { kind: "ignored" };
    },
  });
  await pool.start();
  const run = pool.submit(poolJob("x"));
  run.abort("not now", 0);
  assert.deepEqual(await run.outcome, { kind: "aborted", reason: "not now" });
  assert.equal(await run.accepted, undefined);
  assert.equal(started, 0);
  await pool.stop(0);
});

test("solo: whoever submits hears that the job was accepted before its handler runs", async () => {
  const order: string[] = [];
  const pool = new SoloPool({
    concurrency: 1,
    run: async () => {
      order.push("handler");
      return { kind: "ignored" };
    },
  });
  await pool.start();
  const run = pool.submit(poolJob("x"));
  void run.accepted.then(() => order.push("accepted"));
  await run.outcome;
  assert.deepEqual(order, ["accepted", "handler"]);
  await pool.stop(0);
});

test("solo: a runner that rejects against its contract costs its run and not the slot", async () => {
  const pool = new SoloPool({ concurrency: 1, run: () => Promise.reject(new Error("a bug")) });
  await pool.start();
  assert.deepEqual(await pool.submit(poolJob("x")).outcome, { kind: "crashed", reason: "a bug", started: true });
  assert.equal(pool.free, 1);
  await pool.stop(0);
});

test("a pool's size is a whole number of at least 1", () => {
  for (const concurrency of [0, -1, 1.5, Number.NaN]) {
    assert.throws(() => new SoloPool({ concurrency, run: async () => ({ kind: "ignored" }) }), {
      code: "ERR_INVALID_INPUT",
    });
  }
});
