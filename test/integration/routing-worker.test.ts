/** What a worker consumes, drops and warns of when it starts, and where clients and workers look for messages: real processes, the embedded broker. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { atEnd } from "../support/cleanup.ts";
import { APP, type Interop, interop } from "../support/interop.ts";
import { tempDir } from "../support/temp.ts";
import { until } from "../support/until.ts";

const QUEUES = { LOVAGE_TASK_QUEUES: JSON.stringify(["a", "b", "c"]) };

/** A client of the world's broker with more in its environment. */
function clientWith(world: Interop, t: Parameters<typeof interop>[0], env: Record<string, string>): Lovage {
  const file = `sqlite:${join(world.folder, "lovage.db")}`;
  const app = new Lovage(
    "routing-client",
    {},
    { env: { LOVAGE_BROKER_URL: file, LOVAGE_RESULT_BACKEND: file, ...env } },
  );
  atEnd(t, () => app.close());
  return app;
}

async function depths(app: Lovage, ...queues: string[]): Promise<(number | undefined)[]> {
  const connection = await app.producer.connection();
  return Promise.all(queues.map((each) => connection.depth(each)));
}

describe("a worker's queues", () => {
  test("are the app's, without those that are excluded", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const client = clientWith(world, t, QUEUES);
    for (const queue of ["a", "b", "c"]) {
      await client.signature("demo.foo", { args: [queue] }).applyAsync({ queue });
    }

    const worker = await world.worker(QUEUES, "-X", "b,d");
    await world.ledger.waitFor(1, "foo", "a");
    await world.ledger.waitFor(1, "foo", "c");

    assert.deepEqual(await depths(client, "b"), [1]);
    assert.match(worker.text, /queues: +a, c\n/);
    assert.match(worker.text, /The queue "d" is excluded, and would not be consumed in any case/);
    await worker.stop();
  });

  test("are chosen by name; an unknown one is refused where none are to be made", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const closed = { ...QUEUES, LOVAGE_TASK_CREATE_MISSING_QUEUES: "false" };

    const refused = world.startWorker(closed, "-Q", "a,bb");
    const { status } = await refused.ended;
    assert.equal(status, 2);
    assert.match(refused.text, /taskQueues has no queue "bb"/);
    assert.match(refused.text, /it has a, b, c/);

    const worker = await world.worker(closed, "-Q", "a");
    await assert.rejects(clientWith(world, t, closed).signature("demo.foo").applyAsync({ queue: "bb" }), {
      code: "ERR_INVALID_INPUT",
    });
    await worker.stop();
  });

  test("are emptied with --purge, once, before anything runs", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const client = clientWith(world, t, QUEUES);
    for (const word of ["old", "older"])
      await client.signature("demo.foo", { args: [word] }).applyAsync({ queue: "a" });
    await client.signature("demo.foo", { args: ["kept"] }).applyAsync({ queue: "b" });

    const worker = await world.worker(QUEUES, "--purge", "-Q", "a,c");
    await client.signature("demo.foo", { args: ["new"] }).applyAsync({ queue: "a" });
    await world.ledger.waitFor(1, "foo", "new");

    assert.equal(world.ledger.count("foo", "old"), 0);
    assert.equal(world.ledger.count("foo", "older"), 0);
    assert.match(worker.text, /purge: Erased 2 messages from the queue a\./);
    assert.deepEqual(await depths(client, "b"), [1]);
    await worker.stop();
  });

  test("may be read elsewhere than its messages are sent to", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const read = `sqlite:${join(world.folder, "read.db")}`;
    const write = `sqlite:${join(world.folder, "write.db")}`;
    const worker = await world.worker({ LOVAGE_BROKER_READ_URL: read, LOVAGE_BROKER_WRITE_URL: write, ...QUEUES });

    const toWorker = clientWith(world, t, { ...QUEUES, LOVAGE_BROKER_WRITE_URL: read });
    const beyond = clientWith(world, t, { ...QUEUES, LOVAGE_BROKER_WRITE_URL: write });
    const { id } = await toWorker.signature("demo.foo", { args: ["here"] }).applyAsync({ queue: "a" });
    await world.ledger.waitFor(1, "foo", "here");
    await beyond.signature("demo.foo", { args: ["there"] }).applyAsync({ queue: "a" });

    assert.deepEqual(await toWorker.result(id).get({ timeout: 30 }), { word: "here", times: 1 });
    assert.deepEqual(await depths(beyond, "a"), [1]);
    assert.deepEqual(await depths(toWorker, "a"), [0]);
    await worker.stop();
  });
});

describe("a worker that runs", () => {
  test("takes up another queue, and leaves one, also one that was described to it", async (t) => {
    const folder = await tempDir(t);
    const file = `sqlite:${join(folder, "lovage.db")}`;
    const app = new Lovage("runs", { broker: file, backend: file, schedule: file, taskQueues: ["a"] }, { env: {} });
    const ran: string[] = [];
    app.task("note", (word: string) => void ran.push(word));
    const worker = new Worker(app, { pool: "solo", concurrency: 1 });
    atEnd(t, () => worker.stop());
    await worker.start();
    const client = new Lovage("client", { broker: file, backend: file, schedule: file }, { env: {} });
    atEnd(t, () => client.close());
    const send = (queue: string) => client.signature("note", { args: [queue] }).applyAsync({ queue });

    await send("late");
    assert.equal(await worker.addConsumer("late"), true);
    assert.equal(await worker.addConsumer("late"), false);
    await until(() => ran.includes("late"));

    assert.equal(await worker.addConsumer({ name: "told", exchange: "told", routingKey: "told" }), true);
    await send("told");
    await until(() => ran.includes("told"));

    assert.equal(await worker.cancelConsumer("a"), true);
    assert.equal(await worker.cancelConsumer("a"), false);
    await send("a");
    await send("late");
    await until(() => ran.filter((each) => each === "late").length === 2);
    assert.deepEqual(await depths(client, "a"), [1]);
    assert.equal(ran.includes("a"), false);
  });
});

describe("a worker's settings", () => {
  test("say whether its first connection is tried again", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const nobody = { LOVAGE_BROKER_URL: "redis://127.0.0.1:1/0" };
    const once = world.startWorker({ ...nobody, LOVAGE_BROKER_CONNECTION_RETRY_ON_STARTUP: "false" });
    assert.equal((await once.ended).status, 1);
    assert.doesNotMatch(once.text, /Trying again/);

    const patient = world.startWorker({
      ...nobody,
      LOVAGE_BROKER_CONNECTION_RETRY: "false",
      LOVAGE_BROKER_CONNECTION_RETRY_ON_STARTUP: "true",
    });
    await patient.waitForLine(/Cannot connect to .*Trying again in 2\.00 seconds/);
    await patient.stop();
  });

  test("of Celery's that have no effect are logged when it starts, once, not by each of its processes", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const worker = await world.worker({
      TEST_SETTINGS: JSON.stringify({ worker_agent: "x", task_always_eager: true }),
    });
    await worker.stop();

    const warnings = worker.text.match(/the setting \w+ is Celery's and has no effect here/g);
    assert.deepEqual(warnings?.toSorted(), [
      "the setting task_always_eager is Celery's and has no effect here",
      "the setting worker_agent is Celery's and has no effect here",
    ]);
  });

  test("on the command line win over the app's, and are checked", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const worker = await world.worker(
      {},
      "--soft-time-limit",
      "200ms",
      "--time-limit",
      "20s",
      "--prefetch-multiplier",
      "1",
    );
    const client = world.client();
    const result = await client.signature("demo.scream", { args: ["long", 30] }).delay();
    await assert.rejects(result.get({ timeout: 60 }), /SoftTimeLimitExceeded/);
    await worker.stop();

    const refused = world.startWorker({}, "--soft-time-limit", "30", "--time-limit", "20");
    assert.equal((await refused.ended).status, 2);
    assert.match(refused.text, /taskSoftTimeLimit must not be longer than taskTimeLimit/);
  });
});

describe("lovage purge", () => {
  test("drops what waits in the app's queues, when it is told to", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const client = world.client();
    for (let i = 0; i < 3; i += 1) await client.signature("demo.foo", { args: [i] }).delay();
    await client.signature("demo.foo").applyAsync({ queue: "other" });

    const asked = await world.cli("-A", APP, "purge");
    assert.equal(asked.status, 2);
    assert.match(asked.stderr, /say so with --force/);
    assert.deepEqual(await depths(client, world.queue, "other"), [3, 1]);

    const done = await world.cli("-A", APP, "purge", "-f");
    assert.equal(done.status, 0, done.stderr);
    assert.equal(done.stdout, "Purged 3 messages from 1 queue.");
    assert.deepEqual(await depths(client, world.queue, "other"), [0, 1]);

    const json = await world.cli("purge", "--force", "--json", "-Q", "other,never-there");
    assert.deepEqual(JSON.parse(json.stdout), { purged: 1, queues: { other: 1, "never-there": 0 } });
    const none = await world.cli("-A", APP, "purge", "-f", "-Q", "other");
    assert.equal(none.stdout, "No messages purged from 1 queue");
  });
});

describe("lovage call", () => {
  test("sends to a queue, until a moment, and refuses what cannot be meant", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const worker = await world.worker({}, "-Q", "special");

    const sent = await world.cli(
      "call",
      "demo.foo",
      "-a",
      '["x"]',
      "-q",
      "special",
      "--expires",
      "2100-01-01T00:00:00Z",
    );
    assert.equal(sent.status, 0, sent.stderr);
    await world.ledger.waitFor(1, "foo", "x");

    for (const [flags, words] of [
      [["--priority", "256"], /priority must be a whole number from 0 to 255/],
      [["--expires", "2100-01-01T00:00:00"], /offset/],
    ] as const) {
      const refused = await world.cli("call", "demo.foo", ...flags);
      assert.equal(refused.status, 2);
      assert.match(refused.stderr, words);
    }
    await worker.stop();
  });
});
