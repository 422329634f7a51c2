/**
 * C1 (celery#1246, #4300, #8888): a revoke that is sent while workers are off is lost, and a revoked task with an eta runs after a restart
 * without a state file.
 */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { sendWithCelery } from "../support/celery.ts";
import { needCelery, runPython } from "../support/python.ts";
import { STORY_BROKERS, waiting } from "../support/story.ts";

const { skip: noCelery } = await needCelery();

const REVOKE = `
import sys
from celery import Celery
app = Celery("story", broker=sys.argv[1], set_as_current=False)
print(len(app.control.revoke(sys.argv[2], reply=True, timeout=20, limit=1)))
`;

async function revokeWithCelery(t: TestContext, url: string, id: string): Promise<void> {
  assert.equal((await runPython(t, REVOKE, { args: [url, id] })).trim(), "1", "a worker has answered");
}

for (const { name, needed, env, open } of STORY_BROKERS) {
  describe(`a revoke on ${name}`, { skip: needed.skip || noCelery, timeout: 120_000, concurrency: true }, () => {
    test("C1: while every worker is off: what waits in the queue and what comes later does not run", async (t) => {
      const world = await open(t);
      const client = world.client();
      const [inQueue, withEta, other] = (await sendWithCelery(t, world.brokerUrl, [
        { task: "story.note", args: ["in the queue"], queue: world.queue },
        { task: "story.note", args: ["with an eta"], queue: world.queue, countdown: 1 },
        { task: "story.note", args: ["other"], queue: world.queue, countdown: 1.5 },
      ])) as [string, string, string];
      // The queue is the first worker's to declare on Redis; here Celery's client has made it.
      await client.control.revoke([inQueue, withEta]);

      const worker = await world.worker(env);
      await world.ledger.waitFor(1, "ran", "other");
      for (const id of [inQueue, withEta]) {
        await assert.rejects(client.result(id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED", how: "revoked" });
      }
      assert.equal(await client.result(other).get({ timeout: 60 }), "other");
      await worker.stop();
      assert.equal(world.ledger.count("ran"), 1);
      assert.equal(await waiting(world), 0);
    });

    test("C1: of Celery's, for an eta that waits: it lasts over kill -9 and a restart", async (t) => {
      const world = await open(t);
      const first = await world.worker(env);
      const [id] = (await sendWithCelery(t, world.brokerUrl, [
        { task: "story.note", args: ["revoked"], queue: world.queue, countdown: 6 },
      ])) as [string];
      await first.waitForLine(new RegExp(`${id}.* received`));
      await revokeWithCelery(t, world.brokerUrl, id);
      await first.kill9();

      const second = await world.worker(env);
      const client = world.client();
      const after = await client.signature("story.note", { args: ["after"], countdown: 6 }).delay();
      assert.equal(await after.get({ timeout: 60 }), "after");
      await assert.rejects(client.result(id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED", how: "revoked" });
      await second.stop();
      assert.equal(world.ledger.count("ran", "revoked"), 0);
      assert.equal(await waiting(world), 0);
    });
  });
}
