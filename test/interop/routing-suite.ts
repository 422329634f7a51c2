/** One description of queues and routes for Python and for us: whoever declares them first and whoever sends, every message finds its worker. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Lovage, type SettingsInput } from "lovage";
import { startCeleryWorker } from "../support/celery.ts";
import { atEnd } from "../support/cleanup.ts";
import { Ledger } from "../support/ledger.ts";
import { type Program, startWorker } from "../support/processes.ts";
import { runPython } from "../support/python.ts";
import { tempDir } from "../support/temp.ts";

const APP = join(import.meta.dirname, "../support/apps/routing-app.ts");

export interface RoutingBroker {
  readonly url: string;
  /** Celery's settings for it. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface RoutingOptions {
  /** A broker with nothing on it. */
  readonly open: (t: TestContext) => Promise<RoutingBroker>;
  readonly quorum: boolean;
  /** In which order messages of these priorities are served. */
  readonly byPriority: readonly number[];
}

const MEDIA = { name: "media", type: "topic" };

/** In Celery's words; Python's side makes kombu's queues of them. */
function settingsOf(quorum: boolean): Readonly<Record<string, unknown>> {
  const routes = (lang: string) => ({
    [`${lang}.video.*`]: { queue: "video", routing_key: "media.video.cut.hd" },
    [`${lang}.image.*`]: { queue: "image", routing_key: "media.image.png" },
    [`${lang}.rush`]: { queue: "rush" },
    ...(quorum ? { [`${lang}.kept`]: "kept" } : {}),
  });
  return {
    task_default_queue: "plain",
    // Celery 5.2 asks for its prefetch by channel, which a quorum queue refuses.
    ...(quorum ? { worker_prefetch_multiplier: 0 } : {}),
    task_queues: [
      { name: "plain", exchange: "plain", routing_key: "plain" },
      { name: "video", exchange: MEDIA, routing_key: "media.video.#" },
      { name: "image", exchange: MEDIA, routing_key: "media.image.*" },
      { name: "rush", exchange: "rush", routing_key: "rush", max_priority: 10 },
      ...(quorum
        ? [
            {
              name: "kept",
              exchange: { name: "kept", type: "topic" },
              routing_key: "kept",
              queue_arguments: { "x-queue-type": "quorum" },
            },
          ]
        : []),
    ],
    task_routes: { ...routes("js"), ...routes("py") },
  };
}

const CONFIGURE = (settings: unknown) => `
import json
from kombu import Exchange, Queue
conf = json.loads(${JSON.stringify(JSON.stringify(settings))})
def exchange_of(given):
    return Exchange(**given) if isinstance(given, dict) else Exchange(given)
conf["task_queues"] = [Queue(**dict(each, exchange=exchange_of(each["exchange"]))) for each in conf["task_queues"]]
app.conf.update(conf)
`;

const TASKS = `
def ran(name):
    @app.task(name="py." + name, bind=True)
    def task(self, word):
        info = self.request.delivery_info
        print("RAN " + json.dumps([name, word, info["exchange"], info["routing_key"], info["priority"]]), flush=True)
for name in ["plain", "video.cut", "image.png", "rush", "kept"]:
    ran(name)
`;

/** What came, by which exchange and key: the same for both, as the routes say. */
const CAME: Readonly<Record<string, readonly [exchange: string, routingKey: string]>> = {
  plain: ["", "plain"],
  "video.cut": ["media", "media.video.cut.hd"],
  "image.png": ["media", "media.image.png"],
  rush: ["", "rush"],
  kept: ["kept", "kept"],
};

class World {
  readonly ledger: Ledger;
  readonly queues: string;
  readonly names: readonly string[];
  readonly #t: TestContext;
  readonly #broker: RoutingBroker;
  readonly #settings: Readonly<Record<string, unknown>>;
  readonly #folder: string;

  constructor(t: TestContext, folder: string, broker: RoutingBroker, quorum: boolean) {
    this.#t = t;
    this.#broker = broker;
    this.#folder = folder;
    this.#settings = { ...settingsOf(quorum), ...broker.settings };
    this.ledger = new Ledger(join(folder, "ledger"));
    this.names = Object.keys(CAME).filter((name) => quorum || name !== "kept");
    this.queues = (this.#settings.task_queues as { name: string }[]).map((each) => each.name).join(",");
  }

  async worker(pool: "solo" | "prefork" = "solo"): Promise<Program> {
    const program = startWorker(this.#t, {
      app: APP,
      args: ["-l", "info", "-c", "1", "-P", pool],
      cwd: this.#folder,
      env: {
        TEST_SETTINGS: JSON.stringify(this.#settings),
        TEST_LEDGER: this.ledger.file,
        LOVAGE_BROKER_URL: this.#broker.url,
      },
    });
    await program.waitForLine(/ ready\.$/);
    return program;
  }

  client(more: SettingsInput = {}): Lovage {
    const app = new Lovage(
      "routing-client",
      { ...this.#settings, ...more },
      { env: { LOVAGE_BROKER_URL: this.#broker.url } },
    );
    atEnd(this.#t, () => app.close());
    return app;
  }

  celeryWorker(...args: string[]): Promise<Program> {
    return startCeleryWorker(this.#t, {
      url: this.#broker.url,
      queue: this.queues,
      tasks: CONFIGURE(this.#settings) + TASKS,
      args,
    });
  }

  /** Send with real Celery: `[task, word, options]` each. */
  async celerySends(...sends: readonly (readonly [task: string, word: unknown, options?: object])[]): Promise<void> {
    const code = `
from celery import Celery
app = Celery("routing", broker=${JSON.stringify(this.#broker.url)}, set_as_current=False)
${CONFIGURE(this.#settings)}
for task, word, options in json.loads(${JSON.stringify(JSON.stringify(sends.map(([task, word, options = {}]) => [task, word, options])))}):
    app.send_task(task, [word], **options)
`;
    await runPython(this.#t, code);
  }
}

export function routingSuite({ open, quorum, byPriority }: RoutingOptions): void {
  async function world(t: TestContext): Promise<World> {
    return new World(t, await tempDir(t), await open(t), quorum);
  }

  test("what Python's client sends by its routes reaches our worker, which declared the queues", async (t) => {
    const here = await world(t);
    const worker = await here.worker();
    await here.celerySends(...here.names.map((name) => [`js.${name}`, "ä"] as const));
    await here.ledger.waitFor(here.names.length, "ran");

    assert.deepEqual(sorted(here.ledger.of("ran").map((line) => line.slice(1, 5))), sorted(expected(here)));
    assert.doesNotMatch(worker.text, /WARN|ERROR/);
    await worker.stop();
  });

  test("what our client sends by the same routes reaches Python's worker, which declared them", async (t) => {
    const here = await world(t);
    const worker = await here.celeryWorker();
    const client = here.client();
    const old = here.client({ taskProtocol: 1 });
    for (const name of here.names) {
      await client.signature(`py.${name}`, { args: ["ä"] }).delay();
      await old.signature(`py.${name}`, { args: ["protocol 1"] }).applyAsync({ expires: 600, timeLimit: 60 });
    }
    for (const word of ["ä", "protocol 1"]) {
      const came: unknown[][] = [];
      for (const name of here.names) {
        const [, line = ""] = await worker.waitForLine(
          new RegExp(`RAN (\\["${name}", "${word.replace("ä", "\\\\u00e4")}".*)`),
        );
        came.push(JSON.parse(line) as unknown[]);
      }
      assert.deepEqual(sorted(came.map((each) => each.slice(0, 4))), sorted(expected(here, word)));
    }
    await worker.stop();
  });

  test("both clients send before there is any queue, and our worker takes it all", async (t) => {
    const here = await world(t);
    const client = here.client();
    for (const name of here.names) await client.signature(`js.${name}`, { args: ["ours"] }).delay();
    await here.celerySends(...here.names.map((name) => [`js.${name}`, "theirs"] as const));

    const worker = await here.worker();
    await here.ledger.waitFor(2 * here.names.length, "ran");

    for (const word of ["ours", "theirs"]) {
      const came = here.ledger.lines.filter((line) => line[2] === word).map((line) => line.slice(1, 5));
      assert.deepEqual(sorted(came), sorted(expected(here, word)));
    }
    assert.doesNotMatch(worker.text, /WARN|ERROR/);
    await worker.stop();
  });

  test("a task that sends from its process goes by the routes too", async (t) => {
    const here = await world(t);
    const worker = await here.worker("prefork");
    await here
      .client()
      .signature("js.relay", { args: ["js.video.cut", "relayed"] })
      .delay();

    const [line] = await here.ledger.waitFor(1, "ran", "video.cut", "relayed");
    assert.deepEqual(line?.slice(3, 5), CAME["video.cut"]);
    await worker.stop();
  });

  test("what waits is served by priority, whoever sent it", async (t) => {
    const here = await world(t);
    const client = here.client();
    const [low, middle, high] = byPriority.toReversed() as [number, number, number];
    await client.signature("js.rush", { args: ["low"] }).applyAsync({ priority: low });
    await here.celerySends(["js.rush", "middle", { priority: middle }]);
    await client.signature("js.rush", { args: ["high"] }).applyAsync({ priority: high });

    const worker = await here.worker();
    await here.ledger.waitFor(3, "ran");

    assert.deepEqual(
      here.ledger.of("ran").map((line) => [line[2], line[5]]),
      [
        ["high", high],
        ["middle", middle],
        ["low", low],
      ],
    );
    await worker.stop();
  });
}

function expected(world: World, word = "ä"): unknown[] {
  return world.names.map((name) => [name, word, ...(CAME[name] ?? [])]);
}

function sorted(lines: readonly unknown[]): string[] {
  return lines.map((each) => JSON.stringify(each)).toSorted();
}
