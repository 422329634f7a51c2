/**
 * D4 (celery#2481, #3270; kombu#337): an eta beyond the visibility timeout is delivered again each time that passes. D6 (bullmq#3183,
 * bull#488): a handler that blocks its process lets its lease lapse. B5 (lavinmq#2191): what is given back without a limit loops for ever.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sendWithCelery } from "../support/celery.ts";
import { needCelery } from "../support/python.ts";
import { STORY_BROKERS, VISIBILITY_TIMEOUT, waiting } from "../support/story.ts";
import { until } from "../support/until.ts";

const { skip: noCelery } = await needCelery();

for (const { name, needed, env, open } of STORY_BROKERS) {
  describe(`on ${name}`, { skip: needed.skip || noCelery, timeout: 120_000, concurrency: true }, () => {
    test("D4: an eta of Celery's beyond the visibility timeout runs once, with two workers to take it", async (t) => {
      const world = await open(t);
      const workers = [await world.worker(env, "-n", "one@%h"), await world.worker(env, "-n", "two@%h")];
      const sentMs = Date.now();
      await sendWithCelery(t, world.brokerUrl, [
        { task: "story.note", args: ["later"], queue: world.queue, countdown: 2 * VISIBILITY_TIMEOUT },
      ]);
      const [[, , ranMs]] = (await world.ledger.waitFor(1, "ran", "later")) as [[string, string, number]];
      assert.ok(ranMs - sentMs >= 2_000 * VISIBILITY_TIMEOUT, `${ranMs - sentMs} ms after it was sent`);
      // What would be given back by now is given back before this one is due.
      const last = await world
        .client()
        .signature("story.note", { args: ["last"], countdown: VISIBILITY_TIMEOUT })
        .delay();
      await last.get({ timeout: 60 });
      for (const worker of workers) assert.equal((await worker.stop()).status, 0);
      assert.equal(world.ledger.count("ran", "later"), 1);
      assert.equal(await waiting(world), 0);
    });

    test("D6: a handler that blocks its process beyond heartbeat and visibility timeout runs once", async (t) => {
      const world = await open(t, 1);
      const workers = [await world.worker(env, "-n", "one@%h"), await world.worker(env, "-n", "two@%h")];
      const blocked = await world
        .client()
        .signature("story.block", { args: ["blocked", 2.5 * VISIBILITY_TIMEOUT] })
        .delay();
      assert.equal(await blocked.get({ timeout: 60 }), "blocked");
      for (const worker of workers) {
        assert.doesNotMatch(worker.text, /Connection to broker lost/);
        assert.equal((await worker.stop()).status, 0);
      }
      assert.equal(world.ledger.count("began", "blocked"), 1);
      assert.equal(await waiting(world), 0);
    });

    test("B5: a message that ends each process is given up after three, by whatever worker, and others go on", async (t) => {
      const world = await open(t, 1);
      const client = world.client();
      const workers = [await world.worker(env, "-n", "one@%h"), await world.worker(env, "-n", "two@%h")];
      const poison = await client.signature("story.poison", { args: ["poison"] }).delay();
      const others = ["a", "b", "c", "d", "e"].map((word) => client.signature("story.note", { args: [word] }).delay());
      await assert.rejects(poison.get({ timeout: 60 }), { excType: "WorkerLostError" });
      for (const other of await Promise.all(others)) await other.get({ timeout: 60 });
      await until(async () => (await client.quarantine.count()) === 1);
      for await (const { code, taskId } of client.quarantine.list()) {
        assert.deepEqual([code, taskId], ["ERR_CRASH_LIMIT", poison.id]);
      }
      for (const worker of workers) assert.equal((await worker.stop()).status, 0);
      assert.equal(world.ledger.count("began", "poison"), 3);
      assert.equal(world.ledger.count("ran"), 5);
      assert.equal(await waiting(world), 0);
    });
  });
}
