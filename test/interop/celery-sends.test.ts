/**
 * What real Celery and amqp-publish put on RabbitMQ, seen raw: the ground that the other interop tests stand on. It
 * also holds the helpers of test/support/celery.ts to what they say.
 */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { connect, type GetMessage } from "amqplib";
import { amqpPublish, needAmqpPublish, SEED_MESSAGE, sendWithCelery } from "../support/celery.ts";
import { atEnd } from "../support/cleanup.ts";
import { needCelery } from "../support/python.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";

const rabbitmq = await needRabbitmq();
const celery = await needCelery();
const amqpTools = await needAmqpPublish();

/** A queue of this test's own, and a way to take from it what is there. */
async function ownQueue(t: TestContext): Promise<{ queue: string; take(count: number): Promise<GetMessage[]> }> {
  const queue = `lovage-test-${crypto.randomUUID()}`;
  const connection = await connect(AMQP_URL);
  atEnd(t, () => connection.close());
  const channel = await connection.createChannel();
  atEnd(t, async () => {
    await channel.deleteQueue(queue);
    await channel.deleteExchange(queue); // Celery declares one of the queue's name
  });
  await channel.assertQueue(queue, { durable: true });
  return {
    queue,
    async take(count) {
      const messages: GetMessage[] = [];
      while (messages.length < count) {
        const message = await channel.get(queue, { noAck: true });
        assert.ok(message !== false, `only ${messages.length} of ${count} messages are in the queue`);
        messages.push(message);
      }
      assert.equal(await channel.get(queue, { noAck: true }), false, "no message more");
      return messages;
    },
  };
}

describe("real Celery", { skip: rabbitmq.skip || celery.skip }, () => {
  test("sends protocol 2 with the arguments in the body and the rest in headers", async (t) => {
    const { queue, take } = await ownQueue(t);

    const ids = await sendWithCelery(t, AMQP_URL, [
      { task: "demo.foo", args: ["foo"], queue },
      { task: "demo.foo", args: ["zwölf € 🎉"], kwargs: { deep: { n: 1 } }, queue, priority: 5, taskId: "given-id" },
    ]);

    const [plain, rich] = await take(2);
    assert.equal(ids[1], "given-id");
    assert.equal(plain?.properties.headers?.task, "demo.foo");
    assert.equal(plain?.properties.headers?.id, ids[0]);
    assert.equal(plain?.properties.contentType, "application/json");
    const none = { callbacks: null, errbacks: null, chain: null, chord: null };
    assert.deepEqual(JSON.parse(String(plain?.content)), [["foo"], {}, none]);
    assert.deepEqual(JSON.parse(String(rich?.content)), [["zwölf € 🎉"], { deep: { n: 1 } }, none]);
    assert.equal(rich?.properties.priority, 5);
  });

  test("sends protocol 1 with everything in the body", async (t) => {
    const { queue, take } = await ownQueue(t);

    const [id] = await sendWithCelery(t, AMQP_URL, [
      { task: "demo.foo", args: [1], kwargs: { b: 2 }, protocol: 1, queue, countdown: 60 },
    ]);

    const [message] = await take(1);
    const body = JSON.parse(String(message?.content));
    assert.equal(message?.properties.headers?.task, undefined);
    assert.deepEqual([body.task, body.id, body.args, body.kwargs], ["demo.foo", id, [1], { b: 2 }]);
    assert.match(body.eta, /^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/);
  });

  test("sends countdown and eta as a moment, and expires as a moment and as AMQP expiration", async (t) => {
    const { queue, take } = await ownQueue(t);
    const beforeMs = Date.now();

    await sendWithCelery(t, AMQP_URL, [
      { task: "demo.foo", queue, countdown: 100 },
      { task: "demo.foo", queue, etaIn: 200 },
      { task: "demo.foo", queue, expiresIn: 300 },
    ]);

    const afterMs = Date.now();
    const [countdown, eta, expires] = await take(3);
    const between = (moment: unknown, seconds: number) => {
      const ms = Date.parse(String(moment)) - seconds * 1000;
      assert.ok(ms >= beforeMs - 1 && ms <= afterMs + 1, `${moment} is ${seconds} s after the sending`);
    };
    between(countdown?.properties.headers?.eta, 100);
    between(eta?.properties.headers?.eta, 200);
    between(expires?.properties.headers?.expires, 300);
    assert.ok(Number(expires?.properties.expiration) > 0 && Number(expires?.properties.expiration) <= 300_000);
  });

  test("sends what has expired already, and the broker or the worker drops it", async (t) => {
    const { queue, take } = await ownQueue(t);

    await sendWithCelery(t, AMQP_URL, [
      { task: "demo.dropped-by-broker", queue, expiresIn: -60 },
      { task: "demo.left-to-worker", queue, expiresIn: -60, keepExpired: true },
    ]);

    const [left] = await take(1);
    assert.equal(left?.properties.headers?.task, "demo.left-to-worker");
    assert.ok(Date.parse(String(left?.properties.headers?.expires)) < Date.now());
    assert.equal(left?.properties.expiration, undefined);
  });
});

test("amqp-publish sends the seed's message byte for byte", { skip: rabbitmq.skip || amqpTools.skip }, async (t) => {
  const { queue, take } = await ownQueue(t);

  await amqpPublish(t, AMQP_URL, { queue, ...SEED_MESSAGE });
  await amqpPublish(t, AMQP_URL, { queue, body: "no type", headers: { task: "demo.foo" } });

  const [seed, bare] = await take(2);
  assert.equal(String(seed?.content), '{"task": "demo.foo", "id": 123123, "args": ["foo"]}');
  assert.equal(seed?.properties.contentType, "application/json");
  assert.equal(seed?.properties.contentEncoding, "utf-8");
  assert.equal(bare?.properties.contentType, undefined);
  assert.equal(bare?.properties.headers?.task, "demo.foo");
});
