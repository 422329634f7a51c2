/** With `workerDisablePrefetch` a worker takes what it has slots for and no more; what waits for its rate keeps no other task at the broker. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type Interop, interop } from "../support/interop.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { needRabbitmq } from "../support/servers.ts";
import { until } from "../support/until.ts";

const apps = join(import.meta.dirname, "../support/apps");

const BROKERS = [
  ["RabbitMQ", (await needRabbitmq()).skip, async () => ({})],
  ["Redis", needRedisServer().skip, async (t: TestContext) => ({ broker: { url: `${(await startRedis(t)).url}/0` } })],
] as const;

function depths(world: Interop): () => Promise<number> {
  const { producer } = world.client();
  return async () => (await (await producer.connection()).depth(world.queue)) ?? 0;
}

/** Nothing is taken from here on: each look shows the same. */
async function staysAt(depth: () => Promise<number>, expected: number): Promise<void> {
  await until(async () => (await depth()) <= expected);
  for (let look = 0; look < 25; look += 1) {
    assert.equal(await depth(), expected);
    await wait(20);
  }
}

for (const [name, skip, options] of BROKERS) {
  describe(`workerDisablePrefetch on ${name}`, { skip, timeout: 180_000, concurrency: true }, () => {
    for (const task of ["tasks.hold", "tasks.holdLate"]) {
      test(`takes no message that it has no slot for: ${task}`, async (t) => {
        const world = await interop(t, { app: join(apps, "task-app.ts"), ...(await options(t)) });
        const depth = depths(world);
        const client = world.client();
        const first = join(world.folder, "first");
        const others = join(world.folder, "others");
        const worker = await world.worker({ LOVAGE_WORKER_DISABLE_PREFETCH: "1" }, "-c", "2");
        await client.signature(task, { args: ["first", first] }).delay();
        await world.ledger.waitFor(1, "held");
        for (let i = 0; i < 8; i += 1) await client.signature(task, { args: [String(i), others] }).delay();
        await world.ledger.waitFor(2, "held");
        await staysAt(depth, 7);
        writeFileSync(first, "");
        await world.ledger.waitFor(3, "held");
        await staysAt(depth, 6);
        writeFileSync(others, "");
        await world.ledger.waitFor(9, "released");
        await worker.stop();
        assert.equal(world.ledger.count("held"), 9);
      });
    }

    test("a task goes past those that wait for their rate, as far as the prefetch window reaches", async (t) => {
      const world = await interop(t, { app: join(apps, "life-app.ts"), ...(await options(t)) });
      const depth = depths(world);
      const client = world.client();
      const env = { LOVAGE_WORKER_DISABLE_PREFETCH: "1", LOVAGE_WORKER_PREFETCH_MULTIPLIER: "2" };
      const worker = await world.worker(env, "-c", "2");
      // One has the token of this hour, three wait for theirs.
      for (let i = 0; i < 4; i += 1) await client.signature("life.rare").delay();
      assert.equal(await world.call(client, "life.echo", "past them"), "past them");
      // The window, 2 · 2, is all that may wait so; the others stay where another worker can take them.
      for (let i = 0; i < 6; i += 1) await client.signature("life.rare").delay();
      await staysAt(depth, 5);
      await worker.stop();
      assert.equal(world.ledger.count("began", "life.rare"), 1);
      assert.equal(await depth(), 9);
    });
  });
}
