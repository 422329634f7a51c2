/**
 * B4 (celery#6760, #6954; rabbitmq-server#9046): RabbitMQ closes the channel of who holds a message for longer than `consumer_timeout`, and
 * the worker dies. Its half hour is 2 s here, on a node of the test's own.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { sendWithCelery } from "../support/celery.ts";
import { interop } from "../support/interop.ts";
import { needCelery } from "../support/python.ts";
import { needRabbitmqServer, startRabbitmq } from "../support/rabbitmq.ts";

const APP = join(import.meta.dirname, "../support/apps/story-app.ts");
const TIMEOUT_SECONDS = 2;
const skip = needRabbitmqServer().skip || (await needCelery()).skip;

test("B4: messages that wait are not held, and a run that holds its own is adopted when it comes again", {
  skip,
  timeout: 120_000,
}, async (t) => {
  const url = await startRabbitmq(t, { consumer_timeout: TIMEOUT_SECONDS * 1_000, channel_tick_interval: 1_000 });
  const world = await interop(t, { app: APP, broker: { url } });
  const worker = await world.worker();
  const client = world.client();

  await sendWithCelery(t, url, [
    { task: "story.note", args: ["eta"], queue: world.queue, countdown: 2 * TIMEOUT_SECONDS },
  ]);
  await world.ledger.waitFor(1, "ran", "eta");
  assert.doesNotMatch(worker.text, /Connection to broker lost/);

  const late = await client.signature("story.late", { args: ["late", 3 * TIMEOUT_SECONDS] }).delay();
  await worker.waitForLine(/Connection to broker lost.*timed out|delivery acknowledgement.*timed out/);
  assert.equal(await late.get({ timeout: 60 }), "late");
  assert.equal(await world.call(client, "story.note", "after"), "after");

  assert.deepEqual(await worker.stop(), { status: 0, signal: null });
  assert.equal(world.ledger.count("ran", "eta"), 1);
  assert.equal(world.ledger.count("began", "late"), 1);
  assert.equal(await (await client.producer.connection()).depth(world.queue), 0);
});
