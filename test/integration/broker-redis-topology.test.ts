/** A broker behind Sentinels, and one over TLS. Each of servers of the test's own. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Lovage } from "lovage";
import { freePorts } from "../../scripts/services/ports.ts";
import type { Broker } from "../../src/brokers/broker.ts";
import { atEnd } from "../support/cleanup.ts";
import { needRedisServer, type PrivateRedis, rawClient, startRedis } from "../support/redis.ts";
import { Deliveries, RedisWorld, toQueue, wire } from "../support/redis-broker.ts";
import { tempDir } from "../support/temp.ts";
import { until } from "../support/until.ts";

const { skip } = needRedisServer();
const HANG = { timeout: 90_000, skip };
const PEM = join(import.meta.dirname, "../fixtures/tls-localhost.pem");

interface Watched {
  readonly master: PrivateRedis;
  readonly replica: PrivateRedis;
  readonly sentinels: readonly PrivateRedis[];
}

async function startWatched(t: TestContext, word: string, sentinelWord: string): Promise<Watched> {
  const auth = [`requirepass ${word}`, `masterauth ${word}`];
  const master = await startRedis(t, ...auth);
  const replica = await startRedis(t, ...auth, `replicaof 127.0.0.1 ${master.port}`, "repl-diskless-sync-delay 0");
  const sentinels = await Promise.all(
    [1, 2].map(() =>
      startRedis(
        t,
        `requirepass ${sentinelWord}`,
        `sentinel sentinel-pass ${sentinelWord}`,
        `sentinel monitor shop 127.0.0.1 ${master.port} 1`,
        `sentinel auth-pass shop ${word}`,
        "sentinel down-after-milliseconds shop 300",
        "sentinel failover-timeout shop 3000",
      ),
    ),
  );
  for (const { port } of sentinels) {
    const raw = rawClient(t, `redis://:${sentinelWord}@127.0.0.1:${port}`);
    await until(async () => ((await raw.call("SENTINEL", "REPLICAS", "shop")) as unknown[]).length === 1);
  }
  return { master, replica, sentinels };
}

async function connected(broker: Broker) {
  for (;;) {
    const connection = await broker.connect({ name: "lovage test", timeoutMs: 2_000 }).catch(() => undefined);
    if (connection !== undefined) return connection;
    await sleep(50);
  }
}

describe("a Redis broker behind Sentinels", HANG, () => {
  test("goes on with the next master when the first is killed, and what was in hand comes back", async (t) => {
    const { master, replica, sentinels } = await startWatched(t, "sesame", "guard");
    const [dead] = (await freePorts(1)) as [number];
    const world = new RedisWorld(t, `redis://:sesame@127.0.0.1:${master.port}`, "");
    const list = [dead, ...sentinels.map(({ port }) => port)]
      .map((port) => `sentinel://:sesame@127.0.0.1:${port}`)
      .join(";");
    const options = { master_name: "shop", sentinel_kwargs: { password: "guard" } };
    const broker = await world.broker(options, { url: list });
    const connection = await connected(broker);
    await connection.declareQueue("q");
    await connection.setPrefetch(1);
    for (const text of ["a", "b"]) await connection.publish(toQueue("q"), wire(text));
    await (await Deliveries.open(connection, "q")).atLeast(1);
    await rawClient(t, `redis://:sesame@127.0.0.1:${master.port}`).call("WAIT", 1, 0);

    await master.kill9();
    const reason = await connection.closed;
    const next = await connected(broker);
    const deliveries = await Deliveries.open(next, "q");
    await deliveries.atLeast(2);
    await Promise.all(deliveries.all.map((delivery) => delivery.ack()));

    assert.equal((reason as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
    assert.deepEqual(deliveries.texts, ["a", "b"]);
    assert.equal(deliveries.all[0]?.redelivered, true);
    const raw = rawClient(t, `redis://:sesame@127.0.0.1:${replica.port}`);
    assert.equal(await raw.exists("unacked", "q"), 0);
    await next.close();
  });

  test("leaves a master that was demoted while it lives", async (t) => {
    const { replica, sentinels } = await startWatched(t, "sesame", "guard");
    const world = new RedisWorld(t, `redis://:guard@127.0.0.1:${sentinels[0]?.port}`, "");
    const url = `redis+sentinel://:sesame@127.0.0.1:${sentinels[0]?.port}/shop/0?sentinel_password=guard`;
    const broker = await world.broker({}, { url });
    const connection = await connected(broker);
    await connection.declareQueue("q");
    await Deliveries.open(connection, "q");

    await until(() =>
      world.raw.call("SENTINEL", "FAILOVER", "shop").then(
        () => true,
        () => false,
      ),
    );
    await connection.closed;
    const next = await connected(broker);
    await next.declareQueue("q");
    await next.publish(toQueue("q"), wire("a"));
    await (await Deliveries.open(next, "q")).atLeast(1);

    const raw = rawClient(t, `redis://:sesame@127.0.0.1:${replica.port}`);
    assert.ok(String(await raw.call("ROLE")).startsWith("master"));
    await next.close();
  });
});

describe("a Redis broker over TLS", HANG, () => {
  async function startTls(t: TestContext): Promise<number> {
    const [port] = (await freePorts(1)) as [number];
    const files = [
      `tls-cert-file ${PEM}`,
      `tls-key-file ${PEM}`,
      `tls-ca-cert-file ${PEM}`,
      "tls-auth-clients optional",
    ];
    await startRedis(t, `tls-port ${port}`, ...files, "requirepass sesame");
    return port;
  }

  test("checks the certificate, unless it is told not to, and says so", async (t) => {
    const port = await startTls(t).catch(() => undefined);
    if (port === undefined) return t.skip("this redis-server speaks no TLS");
    const world = new RedisWorld(t);
    const at = (query: string) => `rediss://:sesame@localhost:${port}/0${query}`;
    const connect = (url: string, useSsl?: boolean | Record<string, unknown>) =>
      world.connect({ fanout_prefix: false }, useSsl === undefined ? { url } : { url, useSsl });

    await assert.rejects(connect(at("")), {
      code: "ERR_BROKER_UNAVAILABLE",
      message: /signed by nobody that we trust/,
    });
    const ways: [string, (boolean | Record<string, unknown>)?][] = [
      [at(`?ssl_cert_reqs=required&ssl_ca_certs=${PEM}`)],
      [at("?ssl_cert_reqs=none")],
      [at(""), { ssl_cert_reqs: "required", ssl_ca_certs: PEM }],
      [`redis://:sesame@localhost:${port}/0`, { ca: await (await import("node:fs/promises")).readFile(PEM) }],
    ];
    for (const [url, useSsl] of ways) {
      const connection = await connect(url, useSsl);
      await connection.declareQueue("q");
      await connection.publish(toQueue("q"), wire("a"));
      const [delivery] = await (await Deliveries.open(connection, "q")).atLeast(1);
      await delivery?.ack();
      await connection.close();
    }
    assert.equal(world.logged.filter((text) => /not asked for a certificate/.test(text)).length, 1);
  });
});

describe("an app whose broker is Redis", HANG, () => {
  test("sends by kombu's URLs and options", async (t) => {
    const server = await startRedis(t);
    const folder = await tempDir(t);
    const app = new Lovage("redis-app", {
      broker: `${server.url}/5`,
      schedule: `sqlite:${join(folder, "lovage.db")}`,
      broker_transport_options: { global_keyprefix: "shop:", visibility_timeout: 60 },
      taskDefaultQueue: "mail",
    });
    atEnd(t, () => app.close());

    await app.signature("demo.foo", { args: ["a"] }).delay();

    const raw = rawClient(t, `${server.url}/5`);
    assert.deepEqual((await raw.keys("*")).toSorted(), ["shop:_kombu.binding.mail", "shop:mail"]);
    const { headers } = JSON.parse((await raw.lindex("shop:mail", 0)) ?? "") as { headers: { task: string } };
    assert.equal(headers.task, "demo.foo");
  });
});
