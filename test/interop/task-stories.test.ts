/** Stories of `ANCHORS`: how others lost, repeated or looped over a task. One test each, by its name there. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { sendWithCelery } from "../support/celery.ts";
import { interop } from "../support/interop.ts";
import { needCelery } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { needRabbitmq } from "../support/servers.ts";

const { skip: noCelery } = await needCelery();
const { skip: noRabbitmq } = await needRabbitmq();
const APP = join(import.meta.dirname, "../support/apps/task-app.ts");

describe("D4", { skip: needRedisServer().skip || noCelery, timeout: 120_000 }, () => {
  test("an eta beyond the visibility timeout runs once, with two workers to take it", async (t) => {
    const { url } = await startRedis(t);
    const world = await interop(t, { app: APP, broker: { url: `${url}/0` } });
    const env = { LOVAGE_BROKER_TRANSPORT_OPTIONS: '{"visibility_timeout":1,"unacked_restore_interval":0.1}' };
    const workers = [await world.worker(env), await world.worker(env, "-n", "second@%h")];
    await sendWithCelery(t, world.brokerUrl, [
      { task: "tasks.when", args: ["later"], queue: world.queue, countdown: 4 },
    ]);
    await world.ledger.waitFor(1, "when", "later");
    // What would be restored is restored by now.
    await sendWithCelery(t, world.brokerUrl, [{ task: "tasks.when", args: ["end"], queue: world.queue, countdown: 2 }]);
    await world.ledger.waitFor(1, "when", "end");
    assert.equal(world.ledger.count("when", "later"), 1);
    for (const worker of workers) await worker.stop();
  });
});

describe("D6", { skip: noRabbitmq, timeout: 120_000 }, () => {
  test("a task that blocks its process for longer than its lease runs once", async (t) => {
    const world = await interop(t, { app: APP });
    const env = { LOVAGE_SCHEDULE_LEASE: "1s" };
    const workers = [await world.worker(env), await world.worker(env, "-n", "second@%h")];
    const client = world.client();
    const callback = await client.schedule.callAfter(0.2, client.signature("tasks.block", { args: [4] }));
    assert.equal(await callback.result.get({ timeout: 60 }), "unblocked");
    assert.equal(world.ledger.count("block"), 1);
    assert.equal((await callback.get())?.attempts, 1);
    for (const worker of workers) await worker.stop();
  });
});

describe("B5", { skip: noRabbitmq, timeout: 120_000 }, () => {
  test("a message that ends every process is given back twice, also by another worker, and then kept in quarantine", async (t) => {
    const world = await interop(t, { app: APP, concurrency: 1 });
    const first = await world.worker();
    const client = world.client();
    const result = await client.signature("tasks.poison", { args: ["p"] }).delay();
    await assert.rejects(result.get({ timeout: 60 }), (error: { excType: string }) => {
      assert.equal(error.excType, "WorkerLostError");
      return true;
    });
    assert.equal(world.ledger.count("poison"), 3);
    while ((await client.quarantine.count()) < 1) await wait(20);
    for await (const each of client.quarantine.list()) {
      assert.deepEqual([each.code, each.taskId], ["ERR_CRASH_LIMIT", result.id]);
    }
    await first.stop();

    // Sent again as it was, it has had its chances: the count is in the schedule, and the next worker reads it there.
    const second = await world.worker();
    const before = world.ledger.count("poison");
    await world.cli("-A", APP, "quarantine", "retry", "--all");
    while ((await client.quarantine.count()) < 1) await wait(20);
    assert.ok(world.ledger.count("poison") <= before + 1);
    assert.equal(await world.call(client, "tasks.add", 1, 2), 3, "the worker lives");
    await second.stop();
  });
});
