/** A worker and a client with several brokers: the next is used when one cannot be, at the start and later. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { freePorts } from "../../scripts/services/ports.ts";
import { interop } from "../support/interop.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";

const APP = join(import.meta.dirname, "../support/apps/life-app.ts");
const { skip } = needRedisServer();
test("the first of two brokers is dead: the second is used, by worker and client", {
  skip,
  timeout: 120_000,
}, async (t) => {
  const [dead] = await freePorts(1);
  const server = await startRedis(t);
  const world = await interop(t, { app: APP, broker: { url: `redis://127.0.0.1:${dead};${server.url}` } });
  const worker = await world.worker();
  const client = world.client();
  assert.equal(await world.call(client, "life.echo", "x"), "x");
  assert.deepEqual(Object.values(await client.control.ping({ timeout: 5 })), [{ ok: "pong" }]);
  await worker.stop();
});
test("the broker in use is killed: worker and client go on with the second", { skip, timeout: 180_000 }, async (t) => {
  const [a, b] = [await startRedis(t), await startRedis(t)];
  const world = await interop(t, { app: APP, broker: { url: `${a.url};${b.url}` } });
  const worker = await world.worker();
  const client = world.client();
  assert.equal(await world.call(client, "life.echo", "one"), "one");
  await a.kill9();
  assert.equal(await world.call(client, "life.echo", "two"), "two");
  assert.equal(Object.values(await client.control.ping({ timeout: 20 })).length, 1);
  await worker.stop();
});
