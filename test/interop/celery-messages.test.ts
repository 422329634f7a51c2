/** What real Celery and plain AMQP tools send, a Lovage worker runs. Nothing in the messages is of our making. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { amqpPublish, needAmqpPublish, SEED_MESSAGE, sendWithCelery, startCeleryWorker } from "../support/celery.ts";
import { interop } from "../support/interop.ts";
import { needCelery } from "../support/python.ts";
import { deleteQueues } from "../support/rabbitmq.ts";
import { needRabbitmq } from "../support/servers.ts";

const { skip: noRabbitmq } = await needRabbitmq();
const { skip: noCelery } = await needCelery();
const { skip: noAmqpPublish } = await needAmqpPublish();

describe("messages of real Celery", { skip: noRabbitmq || noCelery }, () => {
  test("protocol 2 and 1, kwargs, countdown, eta and a past expires do what they do in Celery", async (t) => {
    const world = await interop(t);
    const worker = await world.worker();
    const client = world.client();
    const { queue } = world;

    const [two, one, named, later, at, expired] = await sendWithCelery(t, world.brokerUrl, [
      { task: "demo.foo", args: ["two"], queue },
      { task: "demo.foo", args: ["one"], queue, protocol: 1 },
      { task: "demo.foo", kwargs: { times: 3, word: "naïve 🌿" }, queue },
      { task: "demo.foo", args: ["countdown"], queue, countdown: 2 },
      { task: "demo.foo", args: ["eta"], queue, protocol: 1, etaIn: 2 },
      { task: "demo.foo", args: ["late"], queue, expiresIn: -5, keepExpired: true },
    ] as const);
    const get = (id: string | undefined) => client.result(id ?? "").get({ timeout: 60 });

    assert.deepEqual(await get(two), { word: "two", times: 1 });
    assert.deepEqual(await get(one), { word: "one", times: 1 });
    assert.deepEqual(await get(named), { word: "naïve 🌿", times: 3 });
    assert.deepEqual(await get(later), { word: "countdown", times: 1 });
    assert.deepEqual(await get(at), { word: "eta", times: 1 });
    await assert.rejects(get(expired), { code: "ERR_TASK_REVOKED", how: "expired" });
    assert.equal(world.ledger.count("foo", "late"), 0);
    assert.equal(world.ledger.count("foo"), 5);
    await worker.stop();
  });

  test("a countdown is taken over into the schedule and acknowledged: it waits on disk, not in the broker", async (t) => {
    const world = await interop(t);
    const worker = await world.worker();
    const client = world.client();

    const [id = ""] = await sendWithCelery(t, world.brokerUrl, [
      { task: "demo.foo", args: ["parked"], queue: world.queue, countdown: 3_600 },
    ]);
    await worker.waitForLine(/Task demo\.foo\[.+\] received/);
    await worker.stop();

    const waiting = [];
    for await (const each of client.schedule.list()) waiting.push(each);
    assert.deepEqual(
      waiting.map(({ taskId, state }) => ({ taskId, state })),
      [{ taskId: id, state: "scheduled" }],
    );
    assert.equal(await (await client.producer.connection()).depth(world.queue), 0);
    assert.equal(await client.result(id).revoke(), "cancelled");
  });

  test("a Python worker gets the callback of a task that no Lovage worker knows, as an ordinary message", async (t) => {
    const world = await interop(t);
    await world.worker();
    const client = world.client();
    const python = await startCeleryWorker(t, {
      url: world.brokerUrl,
      queue: `${world.queue}-python`,
      tasks:
        "@app.task(name='billing.close')\ndef close(order, dry=False):\n    print('closing', order, dry, flush=True)",
    });
    t.after(() => deleteQueues([`${world.queue}-python`]));

    const call = client.signature("billing.close", {
      args: [42],
      kwargs: { dry: true },
      queue: `${world.queue}-python`,
    });
    const callback = await client.schedule.callAfter(0.5, call);

    await python.waitForLine(/closing 42 True/);
    await python.waitForLine(new RegExp(`Task billing\\.close\\[${callback.id}\\] succeeded`));
    // Python may be done before our broker's confirm has come, and with it the end of the callback.
    while ((await callback.get())?.state === "running") await wait(20);
    assert.equal(await callback.cancel(), "finished");
  });
});

describe("a message of amqp-publish", { skip: noRabbitmq || noAmqpPublish }, () => {
  test("the seed's raw payload runs, and its result stands under the number that it gave as its id", async (t) => {
    const world = await interop(t);
    const worker = await world.worker();

    await amqpPublish(t, world.brokerUrl, { queue: world.queue, ...SEED_MESSAGE });

    assert.deepEqual(await world.client().result("123123").get({ timeout: 60 }), { word: "foo", times: 1 });
    const printed = await world.cli("result", "123123");
    assert.equal(printed.status, 0);
    assert.deepEqual(JSON.parse(printed.stdout), { word: "foo", times: 1 });
    await worker.stop();
  });
});
