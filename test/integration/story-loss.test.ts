/** L11 (celery#4354, kombu#305): a message is taken, and its worker is gone before it is recorded. Killed at any moment, nothing may be lost. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { STORY_BROKERS, waiting } from "../support/story.ts";

const MESSAGES = 200;
const KILLS = 3;
const CONCURRENCY = 2;
/** What a worker may have in hand: an acknowledgement that is under way when it is killed may be lost with it. */
const WINDOW = 4 * CONCURRENCY;

for (const { name, needed, env, open } of STORY_BROKERS) {
  describe(`a worker on ${name} that is killed again and again`, { ...needed, timeout: 120_000 }, () => {
    test("L11: every message runs to its end, and no more are repeated than were in its hands", async (t) => {
      const world = await open(t, CONCURRENCY);
      const client = world.client();
      const words = Array.from({ length: MESSAGES }, (_, i) => `m${i}`);
      await Promise.all(words.map((word) => client.signature("story.late", { args: [word, 0.02] }).delay()));

      for (let kill = 0; kill < KILLS; kill += 1) {
        const before = world.ledger.count("ran");
        const worker = await world.worker(env);
        await world.ledger.waitFor(before + 20, "ran");
        await wait(Math.random() * 50);
        await worker.kill9();
      }
      // A warm stop loses nothing either, and repeats nothing.
      const before = world.ledger.count("ran");
      const stopped = await world.worker(env);
      await world.ledger.waitFor(before + 10, "ran");
      assert.deepEqual(await stopped.stop(), { status: 0, signal: null });

      const last = await world.worker(env);
      for (const word of words) await world.ledger.waitFor(1, "ran", word);
      await last.stop();
      const began = world.ledger.count("began");
      assert.ok(began <= MESSAGES + KILLS * WINDOW, `${began} runs of ${MESSAGES} messages`);
      assert.equal(await waiting(world), 0);
    });
  });
}
