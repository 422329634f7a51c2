/** Results as messages over real brokers: who hears what, and what becomes of it when the connection is lost. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, type TestContext, test } from "node:test";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { atEnd } from "../support/cleanup.ts";
import { needRedisServer, startRedis, throughProxy } from "../support/redis.ts";
import { until } from "../support/until.ts";
import { needVhosts, withVhost } from "../support/vhost.ts";

const HANG = { timeout: 60_000 };

/** A worker in this process, and a client beside it that comes by `clientUrl`. */
async function pair(t: TestContext, workerUrl: string, clientUrl: string) {
  const queue = `q-${randomUUID()}`;
  const settings = { backend: "rpc://", schedule: "memory://", taskDefaultQueue: queue, workerPool: "solo" } as const;
  const server = new Lovage("server", { ...settings, broker: workerUrl }, { env: {} });
  server.task("echo", (value: unknown) => value);
  server.task("parent", async () => {
    const child = await server.signature("echo", { args: ["of the child"] }).delay();
    return child.get({ timeout: 30 });
  });
  const worker = new Worker(server, { queues: [queue], concurrency: 2 });
  await worker.start();
  atEnd(t, () => worker.stop());
  const client = new Lovage("client", { ...settings, broker: clientUrl }, { env: {} });
  atEnd(t, () => client.close());
  const call = (task: string, ...args: unknown[]) => client.signature(task, { args }).delay();
  return { client, call };
}

async function crosses(t: TestContext, { client, call }: Awaited<ReturnType<typeof pair>>): Promise<void> {
  const sent = await Promise.all(Array.from({ length: 200 }, (_, i) => call("echo", i)));
  assert.deepEqual(
    await client.results(sent).get({ timeout: 30 }),
    sent.map((_, i) => i),
  );
  const parent = await call("parent");
  assert.equal(await parent.get({ timeout: 30 }), "of the child");
  const [child] = await parent.children();
  await assert.rejects(child?.get({ timeout: 30 }) ?? Promise.resolve(), { code: "ERR_RESULT_ELSEWHERE" });
  const unread = await call("echo", "unread");
  await unread.get({ timeout: 30 });
  assert.equal(await unread.get({ timeout: 30 }), "unread", "what has come is kept for who asks again");
  const callback = await client.schedule.callAfter(0.01, client.signature("echo", { args: ["scheduled"] }));
  atEnd(t, () => client.schedule.cancel(callback.id).then(() => undefined));
  const stranger = new Lovage("stranger", { broker: "memory://", backend: "rpc://" }, { env: {} });
  atEnd(t, () => stranger.close());
  await assert.rejects(stranger.result(unread.id).get({ timeout: 30 }), { code: "ERR_RESULT_ELSEWHERE" });
}

/** A publish may meet the end of its connection: its outcome is unknown then, and the caller's to repeat. */
async function comesAgain(call: Awaited<ReturnType<typeof pair>>["call"]): Promise<void> {
  await until(async () => {
    const value = await call("echo", 2)
      .then((result) => result.get({ timeout: 2 }))
      .catch(() => undefined);
    return value === 2;
  });
}

describe("results as messages over Redis", { ...HANG, skip: needRedisServer().skip }, () => {
  test("come to who sent the task, and to nobody else", async (t) => {
    const server = await startRedis(t);
    await crosses(t, await pair(t, server.url, server.url));
  });

  test("come again after the client's connection was lost", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const { call } = await pair(t, server.url, url);
    assert.equal(await (await call("echo", 1)).get({ timeout: 30 }), 1);

    proxy.sever();

    await comesAgain(call);
  });
});

describe("results as messages over RabbitMQ", { ...HANG, skip: (await needVhosts()).skip }, () => {
  test("come to who sent the task, and to nobody else", async (t) => {
    const { url } = await withVhost(t);
    await crosses(t, await pair(t, url, url));
  });

  test("come again after every connection was closed", async (t) => {
    const vhost = await withVhost(t);
    const { call } = await pair(t, vhost.url, vhost.url);
    assert.equal(await (await call("echo", 1)).get({ timeout: 30 }), 1);

    await vhost.closeAllConnections();

    await comesAgain(call);
  });
});
