/** What becomes of the worker and its processes by the settings of a task's life: memory, signals. */
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { interop } from "../support/interop.ts";

const APP = join(import.meta.dirname, "../support/apps/task-app.ts");

describe("a worker", { timeout: 180_000, concurrency: true }, () => {
  test("replaces a process that has grown beyond workerMaxMemoryPerChild, after its task", {
    skip: !existsSync("/proc/self/status"),
  }, async (t) => {
    const world = await interop(t, { app: APP, broker: "sqlite", concurrency: 1 });
    const worker = await world.worker({}, "--max-memory-per-child", "300000");
    const client = world.client();
    const small = [
      await world.call<number>(client, "tasks.grow", 1),
      await world.call<number>(client, "tasks.grow", 1),
    ];
    assert.equal(small[0], small[1], "one that has not grown goes on");
    assert.equal(await world.call<number>(client, "tasks.grow", 400), small[0]);
    assert.notEqual(await world.call<number>(client, "tasks.grow", 1), small[0]);
    await worker.waitForLine(/KiB, more than 300000: it is replaced/);
    await worker.stop();
  });

  test("waits for what runs after TERM, whatever the time of a soft shutdown; with REMAP_SIGTERM it has that time", async (t) => {
    const soft = { LOVAGE_WORKER_SOFT_SHUTDOWN_TIMEOUT: "0.5" };
    const world = await interop(t, { app: APP, broker: "sqlite", concurrency: 1 });
    const gate = join(world.folder, "gate");
    const client = world.client();

    const warm = await world.worker(soft);
    const done = await client.signature("tasks.holdLate", { args: ["warm", gate] }).delay();
    await world.ledger.waitFor(1, "held", "warm");
    warm.signal("SIGTERM");
    await warm.waitForLine(/Warm shutdown/);
    // Longer than a soft one would have left it.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    writeFileSync(gate, "");
    assert.equal((await warm.ended).status, 0);
    assert.equal(await done.status(), "SUCCESS");

    const remapped = await world.worker({ ...soft, REMAP_SIGTERM: "SIGQUIT" });
    const late = await client.signature("tasks.holdLate", { args: ["soft", join(world.folder, "never")] }).delay();
    await world.ledger.waitFor(1, "held", "soft");
    assert.equal((await remapped.stop()).status, 0);
    assert.ok(remapped.lines.some((line) => line.includes("Initiating Soft Shutdown, terminating in 0.5 seconds")));
    assert.equal(await (await client.producer.connection()).depth(world.queue), 1, "its message went back");
    assert.notEqual(await late.status(), "FAILURE");
  });
});
