/** Routing between Python and us on RabbitMQ; and RabbitMQ's delayed delivery, as Celery's clients and workers of today use it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Lovage, type SettingsInput } from "lovage";
import { delayedKey } from "../../src/protocol/delayed-delivery.ts";
import { startCeleryWorker } from "../support/celery.ts";
import { atEnd } from "../support/cleanup.ts";
import { Ledger } from "../support/ledger.ts";
import { type Program, startWorker } from "../support/processes.ts";
import { needCelery } from "../support/python.ts";
import { tempDir } from "../support/temp.ts";
import { until } from "../support/until.ts";
import { needVhosts, withVhost } from "../support/vhost.ts";
import { routingSuite } from "./routing-suite.ts";

const rabbitmq = await needVhosts();
const celery = await needCelery();

describe("routing on RabbitMQ", { skip: rabbitmq.skip || celery.skip }, () =>
  routingSuite({
    async open(t) {
      return { url: (await withVhost(t)).url, settings: {} };
    },
    quorum: true,
    byPriority: [9, 5, 0],
  }),
);

const APP = join(import.meta.dirname, "../support/apps/routing-app.ts");
const KEPT = {
  name: "kept",
  exchange: { name: "kept", type: "topic" },
  routingKey: "kept",
  queueArguments: { "x-queue-type": "quorum" },
};
const SETTINGS = { taskDefaultQueue: "kept", taskQueues: [KEPT] };

interface Delayed {
  readonly url: string;
  readonly ledger: Ledger;
  client(settings?: SettingsInput): Lovage;
  worker(): Promise<Program>;
  /** Messages that wait in the queue; undefined: it is not there. */
  depth(queue: string): Promise<number | undefined>;
}

async function delayed(t: TestContext): Promise<Delayed> {
  const { url } = await withVhost(t);
  const folder = await tempDir(t);
  const ledger = new Ledger(join(folder, "ledger"));
  const client = (settings: SettingsInput = SETTINGS) => {
    const app = new Lovage("delaying", settings, { env: { LOVAGE_BROKER_URL: url } });
    atEnd(t, () => app.close());
    return app;
  };
  const looking = client();
  return {
    url,
    ledger,
    client,
    async worker() {
      const env = { TEST_SETTINGS: JSON.stringify(SETTINGS), TEST_LEDGER: ledger.file, LOVAGE_BROKER_URL: url };
      const worker = startWorker(t, { app: APP, args: ["-l", "info", "-P", "solo", "-c", "2"], cwd: folder, env });
      await worker.waitForLine(/ ready\.$/);
      return worker;
    },
    depth: async (queue) => (await looking.producer.connection()).depth(queue),
  };
}

describe("delayed delivery on RabbitMQ", { skip: rabbitmq.skip || celery.skip }, () => {
  test("holds our messages, and gives them to our worker with the key that they were sent by", async (t) => {
    const here = await delayed(t);
    const worker = await here.worker();
    const client = here.client();
    await client.signature("js.kept", { args: ["later"] }).applyAsync({ countdown: 3 });
    assert.equal(await here.depth("kept"), 0);
    const waiting = await Promise.all([0, 1].map((level) => here.depth(`celery_delayed_${level}`)));
    assert.equal(waiting[0] === 1 || waiting[1] === 1, true, `it waits in the delay: ${waiting}`);

    const [line] = await here.ledger.waitFor(1, "ran", "kept", "later");
    assert.deepEqual(line?.slice(3, 5), ["kept", "kept"]);
    await worker.stop();
  });

  test("was declared by who publishes, where no worker was: nothing is dropped at its end", async (t) => {
    const here = await delayed(t);
    await here
      .client()
      .signature("js.kept", { args: ["early"] })
      .applyAsync({ countdown: 2 });
    await until(async () => (await here.depth("kept")) === 1);

    const worker = await here.worker();
    await here.ledger.waitFor(1, "ran", "kept", "early");
    await worker.stop();
  });

  test("gives our messages to Python's worker, which needs to know nothing of it", async (t) => {
    const here = await delayed(t);
    const worker = await startCeleryWorker(t, {
      url: here.url,
      queue: "kept",
      tasks: `
from kombu import Exchange, Queue
app.conf.task_queues = [Queue("kept", Exchange("kept", type="topic"), routing_key="kept", queue_arguments={"x-queue-type": "quorum"})]
app.conf.worker_prefetch_multiplier = 0
@app.task(name="py.kept")
def kept(word):
    print("RAN", word, flush=True)
`,
    });
    const atMs = Date.now();
    await here
      .client()
      .signature("py.kept", { args: ["later"] })
      .applyAsync({ countdown: 3 });
    await worker.waitForLine(/RAN later/);
    assert.ok(Date.now() - atMs >= 2_990, "not before its time");
    await worker.stop();
  });

  test("gives what Celery's client of today delays to our worker", async (t) => {
    const here = await delayed(t);
    const worker = await here.worker();
    // As the capture has it: the key with its digits, and the eta in the headers. It is over when the message comes, else it would be parked.
    const connection = await here.client().producer.connection();
    await connection.publish(
      { exchange: "celery_delayed_27", routingKey: delayedKey(2, "kept") as string, exchangeType: "topic" },
      {
        body: Buffer.from(JSON.stringify([["theirs"], {}, {}])),
        properties: {
          contentType: "application/json",
          contentEncoding: "utf-8",
          deliveryMode: 2,
          correlationId: "t-1",
        },
        headers: { task: "js.kept", id: "t-1", eta: new Date(Date.now() + 1_500).toISOString(), retries: 0 },
      },
    );

    const [line] = await here.ledger.waitFor(1, "ran", "kept", "theirs");
    assert.deepEqual(line?.slice(3, 5), ["kept", "kept"]);
    await worker.stop();
  });

  test("is not used for less than a second, nor where no quorum queue is known", async (t) => {
    const here = await delayed(t);
    await here.client().signature("js.kept").applyAsync({ countdown: 0.5 });
    assert.equal(await here.depth("kept"), 1);
    assert.equal(await here.depth("celery_delayed_0"), undefined);

    const unaware = here.client({ ...SETTINGS, workerDetectQuorumQueues: false });
    await unaware.signature("js.kept").applyAsync({ countdown: 60 });
    assert.equal(await here.depth("kept"), 2);
    assert.equal(await here.depth("celery_delayed_0"), undefined);
  });

  test("takes a moment further away than its digits reach", async (t) => {
    const here = await delayed(t);
    await here
      .client({ ...SETTINGS, maxCountdown: "10000d" })
      .signature("js.kept")
      .applyAsync({ countdown: "4000d" });
    assert.equal(await here.depth("celery_delayed_27"), 1);
    assert.equal(await here.depth("kept"), 0);
  });
});
