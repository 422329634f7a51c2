/** Redis between real Celery and Lovage, both ways, and both on one queue. Each test has a server of its own. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sendWithCelery, startCeleryWorker } from "../support/celery.ts";
import { interop } from "../support/interop.ts";
import { needCelery } from "../support/python.ts";
import { needRedisServer, rawClient, startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip: noRedis } = needRedisServer();
const { skip: noCelery } = await needCelery();
const HANG = { timeout: 120_000, skip: noRedis || noCelery };

/** What the two workers have in common; seconds. */
const SHORT = { visibility_timeout: 2, unacked_restore_interval: 0.5, unacked_restore_throttle: 1 };
const pythonOptions = (options: object) => `app.conf.broker_transport_options = ${JSON.stringify(options)}\n`;

/** The tasks of the interop app, in Python. What runs is noted in the same ledger. */
const tasks = (ledger: string) => `
import json, os, time
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1

def note(*words):
    with open(${JSON.stringify(ledger)}, "a") as f:
        f.write(json.dumps(words) + "\\n")

@app.task(name="demo.foo", bind=True)
def foo(self, word, times=1):
    note("python foo", word, times, self.request.id)

@app.task(name="demo.late", bind=True)
def late(self, word, seconds):
    note("python late", word, bool(self.request.delivery_info.get("redelivered")))
    time.sleep(seconds)
`;

describe("Redis between Celery and Lovage", HANG, () => {
  test("what Celery sends, a Lovage worker runs: both protocols, kwargs, countdown, eta, expires, priority", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    const worker = await world.worker();
    const client = world.client();
    const { queue } = world;

    const [two, one, named, later, at, expired, urgent] = await sendWithCelery(t, world.brokerUrl, [
      { task: "demo.foo", args: ["two"], queue },
      { task: "demo.foo", args: ["one"], queue, protocol: 1 },
      { task: "demo.foo", kwargs: { times: 3, word: "naïve 🌿" }, queue },
      { task: "demo.foo", args: ["countdown"], queue, countdown: 2 },
      { task: "demo.foo", args: ["eta"], queue, protocol: 1, etaIn: 2 },
      { task: "demo.foo", args: ["late"], queue, expiresIn: -5, keepExpired: true },
      { task: "demo.foo", args: ["priority"], queue, priority: 6 },
    ] as const);
    const get = (id: string | undefined) => client.result(id ?? "").get({ timeout: 60 });

    assert.deepEqual(await get(two), { word: "two", times: 1 });
    assert.deepEqual(await get(one), { word: "one", times: 1 });
    assert.deepEqual(await get(named), { word: "naïve 🌿", times: 3 });
    assert.deepEqual(await get(later), { word: "countdown", times: 1 });
    assert.deepEqual(await get(at), { word: "eta", times: 1 });
    assert.deepEqual(await get(urgent), { word: "priority", times: 1 });
    await assert.rejects(get(expired), { code: "ERR_TASK_REVOKED", how: "expired" });
    assert.equal(world.ledger.count("foo"), 6);
    await worker.stop();
    assert.deepEqual(await rawClient(t, server.url).keys("unacked*"), []);
  });

  test("what Lovage sends, a Celery worker runs", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    await startCeleryWorker(t, { url: server.url, queue: world.queue, tasks: tasks(world.ledger.file) });
    const client = world.client();

    await client.signature("demo.foo", { args: ["plain"] }).delay();
    await client.signature("demo.foo", { args: ["žluť 🐎"], kwargs: { times: 3 }, priority: 9 }).delay();
    await client.signature("demo.foo", { args: ["x".repeat(1_000_000)] }).delay();
    await until(() => world.ledger.count("python foo") === 3);

    assert.equal(world.ledger.count("python foo", "plain"), 1);
    assert.equal(world.ledger.count("python foo", "žluť 🐎", 3), 1);
    const raw = rawClient(t, server.url);
    await until(async () => (await raw.hlen("unacked")) === 0);
  });

  test("both workers on one queue run each message once", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    const [worker] = await Promise.all([
      world.worker(),
      startCeleryWorker(t, { url: server.url, queue: world.queue, tasks: tasks(world.ledger.file) }),
    ]);
    const client = world.client();
    const words = Array.from({ length: 300 }, (_, i) => `w${i}`);

    await Promise.all([
      ...words.slice(0, 150).map((word) => client.signature("demo.foo", { args: [word] }).delay()),
      sendWithCelery(
        t,
        server.url,
        words.slice(150).map((word) => ({ task: "demo.foo", args: [word], queue: world.queue })),
      ),
    ]);
    await until(() => world.ledger.count("foo") + world.ledger.count("python foo") >= words.length);
    const raw = rawClient(t, server.url);
    await until(async () => (await raw.exists("unacked", "unacked_index", world.queue)) === 0);

    for (const word of words) {
      assert.equal(world.ledger.count("foo", word) + world.ledger.count("python foo", word), 1, word);
    }
    assert.ok(world.ledger.count("foo") > 0 && world.ledger.count("python foo") > 0, "each had a share");
    await worker.stop();
  });

  test("what a killed Celery worker had in hand, a Lovage worker gives back and runs", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    const python = await startCeleryWorker(t, {
      url: server.url,
      queue: world.queue,
      tasks: pythonOptions(SHORT) + tasks(world.ledger.file),
    });
    await sendWithCelery(t, server.url, [{ task: "demo.late", args: ["a", 600], queue: world.queue }]);
    await until(() => world.ledger.count("python late", "a") === 1);
    await python.kill9();
    const raw = rawClient(t, server.url);
    assert.equal(await raw.hlen("unacked"), 1);
    // Its length of time is over for the next worker: the task is short there, by its own say.
    await raw.hset("unacked", ...(await shortened(raw)));

    const worker = await world.worker({ LOVAGE_BROKER_TRANSPORT_OPTIONS: JSON.stringify(SHORT) });
    await until(() => world.ledger.count("late", "a", true) === 1);
    await worker.stop();

    assert.deepEqual(await raw.keys("unacked*"), []);
  });

  test("what a killed Lovage worker had in hand, a Celery worker gives back and runs", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    const worker = await world.worker({ LOVAGE_BROKER_TRANSPORT_OPTIONS: JSON.stringify(SHORT) });
    await world
      .client()
      .signature("demo.late", { args: ["a", 5] })
      .delay();
    await until(() => world.ledger.count("late", "a") === 1);
    await worker.kill9();
    const raw = rawClient(t, server.url);
    assert.equal(await raw.hlen("unacked"), 1);
    const last = await lastSign(raw);
    await until(async () => Number((await raw.time())[0]) > last + 3);

    await startCeleryWorker(t, {
      url: server.url,
      queue: world.queue,
      tasks: pythonOptions(SHORT) + tasks(world.ledger.file),
    });
    await until(() => world.ledger.count("python late", "a", true) === 1);
    await until(async () => (await raw.exists("unacked", "unacked_index", world.queue)) === 0);
  });

  test("D4: a task that runs for longer than the visibility timeout is not run again, also beside a Celery worker", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    const worker = await world.worker({ LOVAGE_BROKER_TRANSPORT_OPTIONS: JSON.stringify(SHORT) });
    await world
      .client()
      .signature("demo.late", { args: ["long", 12] })
      .delay();
    await until(() => world.ledger.count("late", "long") === 1);
    const raw = rawClient(t, server.url);
    const first = await lastSign(raw);
    await until(async () => Number((await raw.time())[0]) > first + 4);

    // It looks for what others left as soon as it starts.
    await startCeleryWorker(t, {
      url: server.url,
      queue: world.queue,
      tasks: pythonOptions(SHORT) + tasks(world.ledger.file),
    });
    await world
      .client()
      .signature("demo.foo", { args: ["after"] })
      .delay();
    await until(async () => (await raw.exists("unacked", "unacked_index", world.queue)) === 0);

    assert.equal(world.ledger.count("late", "long"), 1);
    assert.equal(world.ledger.count("python late", "long"), 0);
    await worker.stop();
  });
});

describe("a Lovage worker on Redis", HANG, () => {
  test("L10: lives on when its connections are killed, again and again, and takes what comes next", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    const worker = await world.worker();
    const client = world.client();
    const raw = rawClient(t, server.url);

    for (let round = 1; round <= 10; round += 1) {
      await raw.call("CLIENT", "KILL", "TYPE", round % 2 === 0 ? "normal" : "pubsub");
      // The client's connection is killed too: what it cannot know it says, and is asked again.
      const send = () => client.signature("demo.foo", { args: [`after ${round}`] }).delay();
      await send().catch((error: { code: string }) =>
        error.code === "ERR_OUTCOME_UNKNOWN" ? send() : Promise.reject(error),
      );
      await until(() => world.ledger.count("foo", `after ${round}`) >= 1);
    }

    await worker.stop();
    assert.equal(await raw.exists("unacked", world.queue), 0);
  });

  test("keeps what is no message in quarantine, and runs what lies between", async (t) => {
    const server = await startRedis(t);
    const world = await interop(t, { broker: { url: server.url } });
    const client = world.client();
    const raw = rawClient(t, server.url);
    const foreign = [
      "not json",
      "[1, 2]",
      '{"task": "demo.foo", "id": "x", "args": ["bare"]}',
      Buffer.from([0xff, 0xfe]),
    ];
    for (const [i, item] of foreign.entries()) {
      await client.signature("demo.foo", { args: [`good ${i}`] }).delay();
      await raw.lpush(world.queue, item);
    }

    const worker = await world.worker();
    await until(() => world.ledger.count("foo") === foreign.length);
    await until(async () => (await raw.exists("unacked", world.queue)) === 0);
    await worker.stop();

    const { stdout } = await world.cli("quarantine", "list");
    assert.equal(stdout.match(/ERR_CONTENT_TYPE/g)?.length, foreign.length, stdout);
    assert.equal(world.ledger.count("foo", "bare"), 0);
  });
});

/** The one record, with another body: a task of no length. */
async function shortened(raw: ReturnType<typeof rawClient>): Promise<[string, string]> {
  const [tag = "", record = ""] = Object.entries(await raw.hgetall("unacked"))[0] ?? [];
  const [envelope, exchange, key] = JSON.parse(record) as [{ body: string }, string, string];
  const body = JSON.parse(Buffer.from(envelope.body, "base64").toString()) as unknown[];
  body[0] = ["a", 0];
  envelope.body = Buffer.from(JSON.stringify(body)).toString("base64");
  return [tag, JSON.stringify([envelope, exchange, key])];
}

/** When somebody last said that he has it; seconds. */
async function lastSign(raw: ReturnType<typeof rawClient>): Promise<number> {
  const [tag = ""] = await raw.hkeys("unacked");
  return Number(await raw.zscore("unacked_index", tag));
}
