/**
 * L9 (bull#1030, bullmq#4479): a wake-up is the only trigger, and a read that never settles ends all work. L10 (celery#8030, #8091, #8384): a
 * worker is alive and silent after a reconnect. Here a line falls silent without an end, again and again.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { lineTo, STORY_BROKERS, waiting } from "../support/story.ts";

for (const { name, needed, env, open } of STORY_BROKERS) {
  describe(`a silent line to ${name}`, { ...needed, timeout: 120_000, concurrency: true }, () => {
    test("L9: what comes while nothing is heard is run when the silence was found out", async (t) => {
      const world = await open(t);
      const { url, proxy } = await lineTo(t, world);
      const worker = await world.worker({ ...env, LOVAGE_BROKER_URL: url });
      const client = world.client();
      assert.equal(await world.call(client, "story.note", "before"), "before");

      const from = worker.lines.length;
      proxy.freeze();
      const unheard = await client.signature("story.note", { args: ["unheard"] }).delay();
      await worker.waitForLine(/Connection to broker lost/, from);
      proxy.thaw();

      assert.equal(await unheard.get({ timeout: 60 }), "unheard");
      assert.deepEqual(await worker.stop(), { status: 0, signal: null });
      assert.equal(world.ledger.count("ran", "unheard"), 1);
    });

    test("L10: after each of three reconnects it takes messages again, and runs each once", async (t) => {
      const world = await open(t);
      const { url, proxy } = await lineTo(t, world);
      const worker = await world.worker({ ...env, LOVAGE_BROKER_URL: url });
      const client = world.client();

      for (const word of ["first", "second", "third"]) {
        const from = worker.lines.length;
        proxy.sever();
        await worker.waitForLine(/Connection to broker lost/, from);
        assert.equal(await world.call(client, "story.note", word), word);
        await world.ledger.waitFor(1, "ran", word);
      }

      assert.deepEqual(await worker.stop(), { status: 0, signal: null });
      assert.equal(world.ledger.count("ran"), 3);
      assert.equal(await waiting(world), 0);
    });
  });
}
