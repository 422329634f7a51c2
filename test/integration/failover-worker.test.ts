/** A worker and a client with several brokers: the next is used when one cannot be, at the start and later. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { Lovage } from "lovage";
import { freePorts } from "../../scripts/services/ports.ts";
import { atEnd } from "../support/cleanup.ts";
import { interop } from "../support/interop.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { needVhosts, withVhost } from "../support/vhost.ts";

const APP = join(import.meta.dirname, "../support/apps/life-app.ts");
const HANG = { timeout: 180_000 };
const NODE = "one@here";

interface Server {
  readonly url: string;
  /** It answers nobody any more. */
  readonly end: () => Promise<void>;
}

async function redis(t: TestContext): Promise<Server> {
  const server = await startRedis(t);
  return { url: server.url, end: async () => void (await server.kill9()) };
}

/** A vhost of the one server that there is, behind a door of its own. */
async function rabbitmq(t: TestContext): Promise<Server> {
  const url = new URL((await withVhost(t)).url);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5672) });
  let closing: Promise<void> | undefined;
  const end = () => {
    closing ??= proxy.close();
    return closing;
  };
  atEnd(t, end);
  url.hostname = "127.0.0.1";
  url.port = String(proxy.port);
  return { url: url.href, end };
}

for (const [kind, start, skip] of [
  ["redis", redis, needRedisServer().skip],
  ["amqp", rabbitmq, (await needVhosts()).skip],
] as const) {
  describe(`of two brokers by ${kind}`, { skip, ...HANG }, () => {
    test("the first is dead: the second is used, by worker and client", async (t) => {
      const [dead] = await freePorts(1);
      const { url } = await start(t);
      const world = await interop(t, { app: APP, broker: { url: `${kind}://127.0.0.1:${dead};${url}` } });
      const worker = await world.worker({}, "-n", NODE);
      const client = world.client();
      assert.equal(await world.call(client, "life.echo", "x"), "x");
      assert.deepEqual(await ping(client), { [NODE]: { ok: "pong" } });
      await worker.stop();
    });

    test("the one in use dies: worker and client go on with the other", async (t) => {
      const [a, b] = [await start(t), await start(t)];
      const world = await interop(t, { app: APP, broker: { url: `${a.url};${b.url}` } });
      const worker = await world.worker({}, "-n", NODE);
      const client = world.client();
      assert.equal(await world.call(client, "life.echo", "one"), "one");
      await a.end();
      const again = () => world.call(client, "life.echo", "two");
      // What is on its way at that moment may have arrived, and the client says so: it is asked again.
      assert.equal(await again().catch((error) => (isUnknown(error) ? again() : Promise.reject(error))), "two");
      assert.deepEqual(await ping(client), { [NODE]: { ok: "pong" } });
      await worker.stop();
    });
  });
}

/** Whom it names has answered, or it is late. */
function ping(client: Lovage): Promise<unknown> {
  return client.control.ping({ destination: [NODE], timeout: 30 });
}

function isUnknown(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ERR_OUTCOME_UNKNOWN";
}
