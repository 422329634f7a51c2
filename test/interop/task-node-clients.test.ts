/**
 * What today's Celery clients for Node get wrong (celery-node 0.5.9, by running it and by its source), each once with messages of real Celery:
 * an eta that runs at once, an expired task that runs, one unknown task that ends the consumer, a message that is acknowledged before
 * anything runs, concurrency without a bound, a stop that does not exist.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { sendWithCelery } from "../support/celery.ts";
import { type Interop, interop } from "../support/interop.ts";
import { needCelery } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { needRabbitmq } from "../support/servers.ts";
import { until } from "../support/until.ts";

const { skip: noCelery } = await needCelery();
const APP = join(import.meta.dirname, "../support/apps/task-app.ts");

const BROKERS = [
  ["RabbitMQ", (await needRabbitmq()).skip, async (t: TestContext) => interop(t, { app: APP })],
  [
    "Redis",
    needRedisServer().skip,
    async (t: TestContext) => interop(t, { app: APP, broker: { url: `${(await startRedis(t)).url}/0` } }),
  ],
] as const;

async function depth(world: Interop): Promise<number> {
  return (await (await world.client().producer.connection()).depth(world.queue)) ?? 0;
}

for (const [name, skip, open] of BROKERS) {
  describe(`on ${name}`, { skip: skip || noCelery, timeout: 180_000, concurrency: true }, () => {
    test("an eta does not run at once, and what has expired does not run at all", async (t) => {
      const world = await open(t);
      const worker = await world.worker();
      const sentMs = Date.now();
      await sendWithCelery(t, world.brokerUrl, [
        { task: "tasks.when", args: ["late"], queue: world.queue, countdown: 3 },
        { task: "tasks.when", args: ["expired"], queue: world.queue, expiresIn: -60, keepExpired: true },
        { task: "tasks.when", args: ["now"], queue: world.queue },
      ]);
      await world.ledger.waitFor(1, "when", "now");
      const [[, , ranMs]] = (await world.ledger.waitFor(1, "when", "late")) as [[string, string, number]];
      assert.ok(ranMs - sentMs >= 3_000, `${ranMs - sentMs} ms after it was sent`);
      assert.equal(world.ledger.count("when", "expired"), 0);
      await worker.stop();
      assert.equal(await depth(world), 0);
    });

    test("unknown tasks and broken messages do not end the consumer", async (t) => {
      const world = await open(t);
      const worker = await world.worker();
      const bad = Array.from({ length: 20 }, () => ({ task: "tasks.nobody", queue: world.queue }));
      await sendWithCelery(t, world.brokerUrl, [
        ...bad,
        { task: "tasks.when", args: ["after"], queue: world.queue },
        ...bad,
        { task: "tasks.when", args: ["last"], queue: world.queue },
      ]);
      await world.ledger.waitFor(1, "when", "last");
      const client = world.client();
      while ((await client.quarantine.count()) < 40) await wait(20);
      await worker.stop();
    });

    test("a message is acknowledged when a process has it, and what only waits is another worker's after a kill", async (t) => {
      const world = await open(t);
      const gate = join(world.folder, "gate");
      const first = await world.worker({}, "-c", "1");
      const words = ["a", "b", "c"];
      await sendWithCelery(
        t,
        world.brokerUrl,
        words.map((word) => ({ task: "tasks.hold", args: [word, gate], queue: world.queue })),
      );
      await world.ledger.waitFor(1, "held", "a");
      await first.kill9();
      writeFileSync(gate, "");
      const second = await world.worker(
        { LOVAGE_BROKER_TRANSPORT_OPTIONS: '{"visibility_timeout":1,"unacked_restore_interval":0.2}' },
        ...["-c", "1"],
      );
      await world.ledger.waitFor(1, "released", "c");
      await world.ledger.waitFor(1, "released", "b");
      assert.deepEqual(
        words.map((word) => world.ledger.count("held", word)),
        [1, 1, 1],
      );
      await second.stop();
    });

    test("no more run at once than there are slots", async (t) => {
      const world = await open(t);
      const gate = join(world.folder, "gate");
      const worker = await world.worker({}, "-c", "2");
      const words = Array.from({ length: 12 }, (_, i) => `w${i}`);
      await sendWithCelery(
        t,
        world.brokerUrl,
        words.map((word) => ({ task: "tasks.hold", args: [word, gate], queue: world.queue })),
      );
      await world.ledger.waitFor(2, "held");
      // The window is full: nothing more can come, and nothing more has started.
      while ((await depth(world)) > 12 - 2 - 8) await wait(20);
      assert.equal(world.ledger.count("held"), 2);
      writeFileSync(gate, "");
      await world.ledger.waitFor(12, "released");
      let running = 0;
      for (const [what] of world.ledger.lines) {
        running += what === "held" ? 1 : what === "released" ? -1 : 0;
        assert.ok(running <= 2, `${running} at once`);
      }
      await worker.stop();
    });

    test("with workerDisablePrefetch a message stays at the broker until a slot is free for it", async (t) => {
      const world = await open(t);
      const gate = join(world.folder, "gate");
      const worker = await world.worker({ LOVAGE_WORKER_DISABLE_PREFETCH: "1" }, "-c", "2");
      for (const [task, words] of [
        ["tasks.hold", ["a", "b", "c", "d", "e"]],
        ["tasks.holdLate", ["f", "g", "h"]],
      ] as const) {
        await sendWithCelery(
          t,
          world.brokerUrl,
          words.map((word) => ({ task, args: [word, gate], queue: world.queue })),
        );
      }
      await world.ledger.waitFor(2, "held");
      await until(async () => (await depth(world)) === 6);
      writeFileSync(gate, "");
      await world.ledger.waitFor(8, "released");
      await worker.stop();
      assert.equal(world.ledger.count("held"), 8);
      assert.equal(await depth(world), 0);
    });

    test("a stop ends the worker: what runs finishes, what waits goes back, nothing more is taken", async (t) => {
      const world = await open(t);
      const gate = join(world.folder, "gate");
      const worker = await world.worker({}, "-c", "1");
      const sends = ["a", "b", "c", "d", "e", "f", "g"].map((word) => ({
        task: "tasks.hold",
        args: [word, gate],
        queue: world.queue,
      }));
      await sendWithCelery(t, world.brokerUrl, sends);
      await world.ledger.waitFor(1, "held", "a");
      worker.signal("SIGTERM");
      while ((await depth(world)) !== 6) await wait(20);
      writeFileSync(gate, "");
      assert.equal((await worker.ended).status, 0);
      assert.equal(world.ledger.count("released", "a"), 1);
      assert.equal(world.ledger.count("held"), 1);
      assert.equal(await depth(world), 6);
    });
  });
}
