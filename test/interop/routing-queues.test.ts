/**
 * The same `task_queues`, `task_routes` and options in Python and here: what Celery's own code makes of them is what ours does. The last
 * step before the broker, so none is needed; that the brokers agree is looked at in routing-rabbitmq.test.ts.
 */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { Lovage, type SettingsInput } from "lovage";
import { readConfig } from "../../src/app/config.ts";
import { placeOf } from "../../src/app/publishing.ts";
import { Queues } from "../../src/app/queues.ts";
import type { TaskOptions } from "../../src/app/task-options.ts";
import { type Queue, queueNamed } from "../../src/brokers/topology.ts";
import type { Destination } from "../../src/pool/asks.ts";
import type { TaskMessage } from "../../src/protocol/message.ts";
import { needCelery, runPython } from "../support/python.ts";

type Data = Readonly<Record<string, unknown>>;

const PYTHON = `
import contextlib, json, re, sys
from celery import Celery
from kombu import Exchange, Queue, binding
from kombu.transport.base import to_rabbitmq_queue_arguments

def exchange_of(given):
    return Exchange(**given) if isinstance(given, dict) else Exchange(given)

def queue_of(given):
    given = dict(given)
    if "exchange" in given:
        given["exchange"] = exchange_of(given["exchange"])
    if "bindings" in given:
        given["bindings"] = [binding(exchange_of(b["exchange"]), b.get("routing_key"), b.get("arguments")) for b in given["bindings"]]
    return Queue(**given)

def app_of(conf):
    app = Celery("routing", broker="memory://", set_as_current=False)
    conf = dict(conf)
    if isinstance(conf.get("task_queues"), list):
        conf["task_queues"] = [queue_of(each) for each in conf["task_queues"]]
    if isinstance(conf.get("task_routes"), list):
        conf["task_routes"] = [[(re.compile(k[1:]) if k.startswith("~") else k, v) for k, v in each] if isinstance(each, list) else each for each in conf["task_routes"]]
    app.conf.update(conf)
    return app

def exchange_data(exchange):
    return {"name": exchange.name, "type": exchange.type, "durable": exchange.durable,
            "autoDelete": exchange.auto_delete, "arguments": exchange.arguments or {}}

def queue_data(queue):
    arguments = to_rabbitmq_queue_arguments(
        queue.queue_arguments or {}, expires=queue.expires, message_ttl=queue.message_ttl,
        max_length=queue.max_length, max_length_bytes=queue.max_length_bytes, max_priority=queue.max_priority)
    return {"name": queue.name, "durable": queue.durable, "exclusive": queue.exclusive, "autoDelete": queue.auto_delete,
            "arguments": arguments, "consumerArguments": queue.consumer_arguments or {},
            "bindingArguments": queue.binding_arguments or {}, "exchange": exchange_data(queue.exchange),
            "routingKey": queue.routing_key,
            "bindings": sorted(({"exchange": exchange_data(b.exchange), "routingKey": b.routing_key or "", "arguments": b.arguments or {}}
                                for b in queue.bindings), key=lambda b: b["exchange"]["name"])}

class Connection:
    @contextlib.contextmanager
    def _reraise_as_library_errors(self):
        yield

class Producer:
    connection = Connection()
    def publish(self, body, **kwargs):
        self.sent = kwargs

def nothing(*args, **kwargs):
    pass

def published(app, send):
    producer = Producer()
    options = dict(send.get("options", {}))
    if "task" in send:
        task = app.task(name=send["name"], **send["task"])(nothing)
        task.apply_async((), {}, producer=producer, **options)
    else:
        app.send_task(send["name"], producer=producer, **options)
    sent = producer.sent
    return {"exchange": sent["exchange"], "routingKey": sent["routing_key"], "deliveryMode": {"persistent": 2, "transient": 1}.get(sent["delivery_mode"], sent["delivery_mode"]),
            "priority": sent.get("priority"), "declare": [queue_data(each) for each in sent["declare"] or []][:1]}

answers = []
for case in json.load(sys.stdin):
    app = app_of(case["conf"])
    if "select" in case:
        app.amqp.queues.select(case["select"].get("include"))
        app.amqp.queues.deselect(case["select"].get("exclude"))
        answers.append([queue_data(each) for each in app.amqp.queues.consume_from.values()])
    else:
        answers.append(published(app, case["send"]))
print(json.dumps(answers))
`;

async function celerysAnswers(t: TestContext, cases: readonly Data[]): Promise<unknown[]> {
  return JSON.parse(await runPython(t, PYTHON, { input: JSON.stringify(cases) })) as unknown[];
}

/** As data that both sides have; kombu has no mark for an exchange that somebody else declares. */
function plain(queue: Queue): Data {
  const exchange = ({ noDeclare: _, ...rest }: Queue["exchange"]): Data => rest;
  const { noDeclare: _, bindings, ...rest } = queue;
  return {
    ...rest,
    exchange: exchange(queue.exchange),
    bindings: bindings
      .map((each) => ({ ...each, exchange: exchange(each.exchange) }))
      .toSorted((a, b) => String(a.exchange.name).localeCompare(String(b.exchange.name))),
  };
}

const MEDIA = { name: "media", type: "topic" };

describe("queues, beside Celery's own", { skip: (await needCelery()).skip }, () => {
  const selections: readonly {
    readonly what: string;
    readonly conf: Data;
    readonly select?: { include?: string[]; exclude?: string[] };
  }[] = [
    { what: "nothing is set", conf: {} },
    {
      what: "the defaults are set",
      conf: {
        task_default_queue: "q",
        task_default_exchange: "e",
        task_default_exchange_type: "topic",
        task_default_routing_key: "k.#",
        task_queue_max_priority: 5,
      },
    },
    { what: "only the default queue is named", conf: { task_default_queue: "q" } },
    { what: "queues have no exchange", conf: { task_queues: [{ name: "a" }, { name: "b", routing_key: "bk" }] } },
    {
      what: "queues share a topic exchange",
      conf: {
        task_queues: [
          { name: "video", exchange: MEDIA, routing_key: "media.video" },
          { name: "image", exchange: MEDIA, routing_key: "media.#", queue_arguments: { "x-queue-type": "quorum" } },
        ],
      },
    },
    {
      what: "queues say everything",
      conf: {
        task_queue_max_priority: 7,
        task_queues: [
          {
            name: "a",
            exchange: {
              name: "e",
              type: "headers",
              durable: false,
              auto_delete: true,
              arguments: { "alternate-exchange": "x" },
            },
            routing_key: "k",
            durable: false,
            queue_arguments: { "x-queue-mode": "lazy" },
            binding_arguments: { "x-match": "any" },
            consumer_arguments: { "x-priority": 3 },
            expires: 60.5,
            message_ttl: 2,
            max_length: 10,
            max_length_bytes: 1000,
            max_priority: 9,
          },
          { name: "b", exclusive: true },
          { name: "c", auto_delete: true, queue_arguments: { "x-max-priority": 2 } },
        ],
      },
    },
    {
      what: "a queue has further bindings",
      conf: {
        task_queues: [
          {
            name: "a",
            bindings: [
              { exchange: MEDIA, routing_key: "a.*" },
              { exchange: { name: "fan", type: "fanout" }, arguments: { x: 1 } },
            ],
          },
        ],
      },
    },
    {
      what: "queues are given by name",
      conf: {
        task_queues: {
          a: {},
          b: { exchange: "e", exchange_type: "topic", routing_key: "b.#" },
          c: {
            exchange: "e2",
            binding_key: "bk",
            durable: false,
            auto_delete: true,
            queue_arguments: { "x-max-length": 3 },
          },
          d: { exchange: "e3", exchange_durable: false, queue_auto_delete: true },
        },
      },
    },
    {
      what: "some are chosen, one of them unknown",
      conf: { task_queues: [{ name: "a" }, { name: "b" }] },
      select: { include: ["b", "new"] },
    },
    {
      what: "some are excluded",
      conf: { task_queues: [{ name: "a" }, { name: "b" }, { name: "c" }] },
      select: { exclude: ["b"] },
    },
    {
      what: "some are chosen and excluded",
      conf: { task_queue_max_priority: 3 },
      select: { include: ["a", "b", "c"], exclude: ["b"] },
    },
  ];

  test("are the same, for every way to describe them", async (t) => {
    const theirs = await celerysAnswers(
      t,
      selections.map(({ conf, select = {} }) => ({ conf, select })),
    );
    for (const [i, { what, conf, select = {} }] of selections.entries()) {
      const ours = new Queues(readConfig(conf as SettingsInput, {})).select(select.include, select.exclude);
      assert.deepEqual(ours.map(plain), theirs[i], what);
    }
  });
});

function plainCelery(): Data {
  return plain(queueNamed("celery"));
}

interface Send {
  readonly what: string;
  readonly conf: Data;
  readonly name?: string;
  /** Options of the task, where it is registered. */
  readonly task?: Data;
  /** Of the call, in Celery's words. */
  readonly options?: Data;
  /** Differs on purpose. */
  readonly differs?: Data;
}

const QUEUES = {
  task_queues: [
    { name: "celery", exchange: "celery", routing_key: "celery" },
    { name: "video", exchange: MEDIA, routing_key: "media.video" },
    { name: "image", exchange: MEDIA, routing_key: "media.image" },
    { name: "direct", exchange: "d", routing_key: "dk" },
    { name: "soft", exchange: { name: "s", type: "topic", delivery_mode: 1 }, routing_key: "s.#" },
  ],
};
const ROUTED = {
  ...QUEUES,
  task_routes: {
    "shop.pay": "direct",
    "shop.*": { queue: "image", routing_key: "media.shop", priority: 6 },
    "*.cut": "video",
    "odd.[ab]*": { queue: "video", routing_key: "odd" },
    "elsewhere.*": { exchange: "ex", routing_key: "rk" },
  },
};
const ORDERED = {
  ...QUEUES,
  task_routes: [
    [
      ["~(shop|mall)\\.", { queue: "image" }],
      ["shop.*", { queue: "video" }],
      ["shop.pay", "direct"],
    ],
    { "*": "soft" },
  ],
};

const SENDS: readonly Send[] = [
  { what: "nothing is set", conf: {} },
  { what: "a queue is given", conf: {}, options: { queue: "new" } },
  { what: "a key is given alone", conf: {}, options: { routing_key: "k" } },
  { what: "an exchange is given alone", conf: {}, options: { exchange: "e" } },
  { what: "both are given", conf: {}, options: { exchange: "e", routing_key: "k" } },
  { what: "both are given with a queue", conf: QUEUES, options: { queue: "video", exchange: "e", routing_key: "k" } },
  { what: "a topic queue is given", conf: QUEUES, options: { queue: "video" } },
  { what: "a topic queue and a key are given", conf: QUEUES, options: { queue: "video", routing_key: "media.x" } },
  {
    what: "a topic queue and an exchange are given",
    conf: QUEUES,
    options: { queue: "video", exchange: "other" },
    differs: { routingKey: "media.video" },
  },
  { what: "a direct queue of another exchange is given", conf: QUEUES, options: { queue: "direct" } },
  { what: "the exchange says its delivery mode", conf: QUEUES, options: { queue: "soft" } },
  { what: "the call says the delivery mode", conf: QUEUES, options: { queue: "soft", delivery_mode: 2 } },
  { what: "the app says the delivery mode", conf: { task_default_delivery_mode: 1 } },
  {
    what: "the default queue is a topic one",
    conf: { task_default_exchange_type: "topic", task_default_routing_key: "a.b" },
  },
  { what: "a route names a queue", conf: ROUTED, name: "shop.pay" },
  { what: "a glob fits", conf: ROUTED, name: "shop.list" },
  { what: "two globs fit", conf: ROUTED, name: "shop.cut" },
  { what: "the second glob fits", conf: ROUTED, name: "x.cut" },
  { what: "a set in a glob fits", conf: ROUTED, name: "odd.abc" },
  { what: "a set in a glob does not fit", conf: ROUTED, name: "odd.cab" },
  // Celery declares nothing then, and we the default queue.
  { what: "a route names exchange and key", conf: ROUTED, name: "elsewhere.x", differs: { declare: [plainCelery()] } },
  { what: "no route fits", conf: ROUTED, name: "nothing" },
  { what: "the call is over the route", conf: ROUTED, name: "shop.list", options: { queue: "direct", priority: 1 } },
  {
    what: "the call is over a part of the route",
    conf: ROUTED,
    name: "shop.list",
    options: { routing_key: "media.mine" },
  },
  { what: "the task is over the route", conf: ROUTED, name: "shop.list", task: { queue: "video", priority: 2 } },
  {
    what: "the call is over the task",
    conf: ROUTED,
    name: "shop.list",
    task: { queue: "video" },
    options: { queue: "direct", priority: 3 },
  },
  { what: "the task says exchange and key", conf: QUEUES, task: { exchange: "e", routing_key: "k", delivery_mode: 1 } },
  { what: "the task has the default priority", conf: { task_default_priority: 4 }, task: {} },
  {
    what: "a route's priority is over the default one, which Celery takes for the task's own",
    conf: { ...ROUTED, task_default_priority: 4 },
    name: "shop.list",
    task: {},
    differs: { priority: 6 },
  },
  {
    what: "the default priority counts for a task of others, too",
    conf: { task_default_priority: 4 },
    differs: { priority: 4 },
  },
  { what: "a pattern goes by its place", conf: ORDERED, name: "shop.list" },
  { what: "an exact name goes before patterns", conf: ORDERED, name: "shop.pay" },
  { what: "a later table is asked", conf: ORDERED, name: "other" },
  { what: "a pattern of Python's begins at the beginning", conf: ORDERED, name: "my.shop.x" },
];

describe("publishing, beside Celery's own", { skip: (await needCelery()).skip }, () => {
  test("goes the same way, whoever says where", async (t) => {
    const name = (send: Send) => send.name ?? "some.task";
    const theirs = await celerysAnswers(
      t,
      SENDS.map((send) => ({
        conf: send.conf,
        send: { name: name(send), options: send.options, ...(send.task && { task: send.task }) },
      })),
    );
    for (const [i, send] of SENDS.entries()) {
      const expected = { ...(theirs[i] as Data), ...send.differs };
      assert.deepEqual(await ourAnswer(name(send), send), expected, send.what);
    }
  });
});

async function ourAnswer(name: string, { conf, task, options = {} }: Send): Promise<Data> {
  const app = new Lovage("routing", inOurs(conf), { env: {} });
  let asked: { message: TaskMessage; to: Destination } | undefined;
  app.useAsk((async (_op: string, params: unknown) => {
    asked = params as typeof asked;
    return null;
  }) as never);
  if (task !== undefined) app.task(name, camel(task) as TaskOptions, () => undefined);
  await app.signature(name).applyAsync(camel(options));
  assert.ok(asked !== undefined);
  const { target, queue, declare } = placeOf(asked.to, app.queues, app.config.taskDefaultQueue);
  return {
    exchange: target.exchange,
    routingKey: target.routingKey,
    deliveryMode:
      asked.to.deliveryMode ?? (queue && app.queues.deliveryModeOf(queue)) ?? app.config.taskDefaultDeliveryMode,
    priority: asked.message.priority ?? null,
    declare: declare.slice(0, 1).map(plain),
  };
}

/** The same settings with RegExps where Python compiles one: `match` begins at the beginning. */
function inOurs(conf: Data): SettingsInput {
  const { task_routes: routes } = conf;
  if (!Array.isArray(routes)) return conf as SettingsInput;
  const pair = ([key, value]: [string, unknown]) => [key.startsWith("~") ? new RegExp(key.slice(1), "y") : key, value];
  return { ...conf, task_routes: routes.map((each) => (Array.isArray(each) ? each.map(pair) : each)) } as SettingsInput;
}

function camel(options: Data): Data {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [
      key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
}
