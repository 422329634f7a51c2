/** The connection is lost while late-acknowledged tasks run: what becomes of their messages, which the broker delivers again. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { atEnd } from "../support/cleanup.ts";
import { type Interop, interop } from "../support/interop.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

const APP = join(import.meta.dirname, "../support/apps/task-app.ts");

interface Broken {
  readonly world: Interop;
  readonly proxy: TcpProxy;
  /** Messages that wait, seen past the proxy. */
  readonly waiting: () => Promise<number>;
}

async function through(t: TestContext, url: string, own: boolean): Promise<Broken> {
  const target = new URL(url);
  const proxy = await startTcpProxy({ host: target.hostname, port: Number(target.port || 5672) });
  atEnd(t, () => proxy.close());
  // The clients of the test go past it.
  const world = await interop(t, own ? { app: APP, broker: { url } } : { app: APP });
  const proxied = Object.assign(new URL(url), { hostname: "127.0.0.1", port: String(proxy.port) });
  const open = world.startWorker.bind(world);
  world.startWorker = (env = {}, ...args) => open({ ...env, LOVAGE_BROKER_URL: proxied.href }, ...args);
  const client = world.client();
  const waiting = async () => (await (await client.producer.connection()).depth(world.queue)) ?? 0;
  return { world, proxy, waiting };
}

const BROKERS = [
  ["RabbitMQ", (await needRabbitmq()).skip, (t: TestContext) => through(t, AMQP_URL, false)],
  ["Redis", needRedisServer().skip, async (t: TestContext) => through(t, `${(await startRedis(t)).url}/0`, true)],
] as const;
/** So that Redis gives back soon what nobody holds any more. */
const SOON = { LOVAGE_BROKER_TRANSPORT_OPTIONS: '{"visibility_timeout":2,"unacked_restore_interval":0.2}' };

for (const [name, skip, open] of BROKERS) {
  describe(`a lost connection to ${name}`, { skip, timeout: 180_000, concurrency: true }, () => {
    test("a run that goes on is not repeated, and one that ended meanwhile is acknowledged anew", async (t) => {
      const { world, proxy, waiting } = await open(t);
      const env = name === "Redis" ? SOON : {};
      const worker = await world.worker(env);
      const client = world.client();
      const [goesOn, ends] = [join(world.folder, "goes-on"), join(world.folder, "ends")];
      const first = await client.signature("tasks.holdLate", { args: ["goes on", goesOn] }).delay();
      const second = await client.signature("tasks.holdLate", { args: ["ends", ends] }).delay();
      await world.ledger.waitFor(2, "held");

      proxy.cutAnswers(true);
      proxy.sever();
      await worker.waitForLine(/Connection to broker lost/);
      writeFileSync(ends, "");
      assert.equal(await second.get({ timeout: 60 }), "ends");
      proxy.cutAnswers(false);
      const known = [/in hand, and its run goes on/, /it has ended here, and is acknowledged/];
      await Promise.all(known.map((line) => worker.waitForLine(line)));
      writeFileSync(goesOn, "");
      assert.equal(await first.get({ timeout: 60 }), "goes on");

      await worker.stop();
      assert.equal(world.ledger.count("held"), 2);
      assert.equal(await waiting(), 0);
    });

    test("with workerCancelLongRunningTasksOnConnectionLoss what runs late is ended, and runs again", async (t) => {
      const { world, proxy, waiting } = await open(t);
      const gate = join(world.folder, "gate");
      const env = { LOVAGE_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS: "1" };
      const worker = await world.worker({ ...(name === "Redis" ? SOON : {}), ...env });
      const result = await world
        .client()
        .signature("tasks.holdLate", { args: ["again", gate] })
        .delay();
      await world.ledger.waitFor(1, "held");
      proxy.sever();
      await world.ledger.waitFor(2, "held");
      writeFileSync(gate, "");
      assert.equal(await result.get({ timeout: 60 }), "again");
      await until(async () => (await waiting()) === 0);
      await worker.stop();
      assert.equal(world.ledger.count("released"), 1, "the one that was ended went no further");
    });
  });
}
