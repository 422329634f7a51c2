/** kill -9 of the worker and all its processes: what was accepted starts exactly once. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { interop } from "../support/interop.ts";
import { needRabbitmq } from "../support/servers.ts";

const { skip: noRabbitmq } = await needRabbitmq();

for (const [name, broker, skip] of [
  ["the embedded file", "sqlite", false],
  ["RabbitMQ", undefined, noRabbitmq],
] as const) {
  describe(`kill -9 of a worker on ${name}`, { skip }, () => {
    const options = broker === undefined ? {} : { broker };

    test("during the countdown: the callback starts once, by the next worker", async (t) => {
      const world = await interop(t, options);
      const first = await world.worker();
      const client = world.client();
      const { id } = await world.call<{ id: string }>(client, "demo.plan", 3, "once");

      await first.kill9();
      const second = await world.worker();
      await client.result(id).get({ timeout: 60 });
      await settled(world, client);

      assert.equal(world.ledger.count("scream", "once"), 1);
      assert.equal(await client.schedule.cancel(id), "finished");
      await second.stop();
    });

    test("while tasks run: one acknowledged early is not repeated, one acknowledged late is", async (t) => {
      const world = await interop(t, { ...options, concurrency: 3 });
      const first = await world.worker();
      const client = world.client();
      const gate = join(world.folder, "gate");
      const early = await client.signature("demo.hold", { args: [gate] }).delay();
      const late = await client.signature("demo.late", { args: ["again", 2] }).delay();
      await world.ledger.waitFor(1, "holding");
      await world.ledger.waitFor(1, "late");
      // A process acknowledges in order: when this one is done, the early acknowledgement before it is through.
      await world.call(client, "demo.foo", "meanwhile");

      await first.kill9();
      await writeFile(gate, "");
      const second = await world.worker();

      assert.equal(await late.get({ timeout: 60 }), "again");
      await settled(world, client);
      assert.deepEqual(
        world.ledger.of("late").map(([, , redelivered]) => redelivered),
        [false, true],
      );
      assert.equal(world.ledger.count("holding"), 1);
      assert.equal(await early.status(), "PENDING");
      await second.stop();
    });

    test("between the claim and the start: the callback starts once, by the next worker", async (t) => {
      const world = await interop(t, options);
      const doomed = await world.worker({ TEST_DIE_AFTER_CLAIM: "1" });
      const client = world.client();
      const { id } = await world.call<{ id: string }>(client, "demo.plan", 1, "claimed");

      assert.equal((await doomed.ended).signal, "SIGKILL");
      await doomed.kill9();
      assert.equal(world.ledger.count("scream", "claimed"), 0);
      assert.equal((await client.schedule.get(id))?.state, "running");

      const next = await world.worker();
      await client.result(id).get({ timeout: 60 });
      await settled(world, client);

      assert.equal(world.ledger.count("scream", "claimed"), 1);
      assert.equal((await client.schedule.get(id))?.attempts, 2);
      await next.stop();
    });
  });
}

/** Whatever would run a second time has had its chance: a callback that was due later has run. */
async function settled(
  world: Awaited<ReturnType<typeof interop>>,
  client: ReturnType<typeof world.client>,
): Promise<void> {
  const last = await client.schedule.callAfter(0.5, client.signature("demo.scream", { args: ["last"] }));
  await last.result.get({ timeout: 60 });
}
