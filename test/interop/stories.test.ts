/** Failures of others that we design against, each a test of its name, on both brokers where it can happen on both. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type Interop, interop } from "../support/interop.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";

const APP = join(import.meta.dirname, "../support/apps/life-app.ts");

const BROKERS = [
  { name: "RabbitMQ", needed: await needRabbitmq(), open: async () => AMQP_URL },
  { name: "Redis", needed: needRedisServer(), open: async (t: TestContext) => (await startRedis(t)).url },
] as const;

/** As whoever it comes from would send it. */
async function send(world: Interop, id: string, headers: Record<string, unknown>, body: string): Promise<void> {
  await world.client().producer.publish(
    { exchange: "", routingKey: world.queue },
    {
      body: Buffer.from(body),
      properties: { contentType: "application/json", contentEncoding: "utf-8" },
      headers: { task: "life.echo", id, ...headers },
    },
  );
}

for (const { name, needed, open } of BROKERS) {
  describe(`stories on ${name}`, { ...needed, timeout: 120_000, concurrency: true }, () => {
    test("D5: an eta that cannot be read is not run, now or ever, and is kept", async (t) => {
      const world = await interop(t, { app: APP, broker: { url: await open(t) } });
      const worker = await world.worker();
      const client = world.client();
      await send(world, randomUUID(), { eta: "soon" }, '[["never"], {}, {}]');
      while ((await client.quarantine.count()) !== 1) await wait(20);
      const after = await client.signature("life.echo", { args: ["after"] }).delay();
      assert.equal(await after.get({ timeout: 60 }), "after");
      assert.equal(world.ledger.count("began"), 1);
      await worker.stop();
    });

    test("L12: what cannot be decoded, and what nobody knows, is kept before the broker is told", async (t) => {
      const world = await interop(t, { app: APP, broker: { url: await open(t) } });
      const worker = await world.worker();
      const client = world.client();
      await send(world, randomUUID(), {}, "{not json");
      await send(world, randomUUID(), { task: "life.unknown" }, "[[], {}, {}]");
      while ((await client.quarantine.count()) !== 2) await wait(20);
      const codes: string[] = [];
      for await (const each of client.quarantine.list()) codes.push(each.code);
      assert.deepEqual(codes.sort(), ["ERR_DECODE", "ERR_UNKNOWN_TASK"]);
      await worker.stop();
      assert.equal(await (await client.producer.connection()).depth(world.queue), 0);
    });
  });
}

describe("stories of Redis", { ...needRedisServer(), timeout: 120_000 }, () => {
  test("D6: a handler that blocks its process beyond the visibility timeout is not run again", async (t) => {
    const { url } = await startRedis(t);
    const world = await interop(t, { app: APP, broker: { url } });
    const short = { LOVAGE_BROKER_TRANSPORT_OPTIONS: JSON.stringify({ visibility_timeout: 2 }) };
    const workers = [await world.worker(short, "-n", "one"), await world.worker(short, "-n", "two")];
    const result = await world
      .client()
      .signature("life.block", { args: [6] })
      .delay();
    assert.equal(await result.get({ timeout: 60 }), "blocked");
    assert.equal(world.ledger.count("began", "life.block"), 1);
    for (const each of workers) await each.stop();
  });
});
