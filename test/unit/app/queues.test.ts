/** What Celery and kombu make of the same words is looked at in test/interop/routing-queues.test.ts. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { readConfig, type SettingsInput } from "../../../src/app/config.ts";
import { directQueue, isQuorum, Queues } from "../../../src/app/queues.ts";
import { exchangeNamed, queueNamed } from "../../../src/brokers/topology.ts";

interface Topology {
  readonly exchanges: readonly {
    name: string;
    type: string;
    durable: boolean;
    auto_delete: boolean;
    arguments: object;
  }[];
  readonly queues: readonly {
    name: string;
    durable: boolean;
    auto_delete: boolean;
    exclusive: boolean;
    arguments: object;
  }[];
  readonly bindings: readonly { source: string; destination: string; routing_key: string; arguments: object }[];
}

function fixture(name: string): Topology {
  return JSON.parse(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), "utf8")) as Topology;
}

function queues(settings: SettingsInput = {}): Queues {
  return new Queues(readConfig(settings, {}));
}

describe("the queues of an app", () => {
  for (const file of ["topology.rabbitmq.default.json", "release-5.6.3/topology.rabbitmq.default.json"])
    test(`are those of a default Celery worker, and of one that was given names (${file})`, () => {
      const { exchanges, queues: declared, bindings } = fixture(file);
      const ours = queues().select(["celery", "hipri", "extra"]);

      for (const queue of ours) {
        const { name, durable, autoDelete, exclusive, exchange, routingKey } = queue;
        const theirs = declared.find((each) => each.name === name);
        assert.deepEqual(
          [durable, autoDelete, exclusive, queue.arguments],
          [theirs?.durable, theirs?.auto_delete, theirs?.exclusive, theirs?.arguments],
        );
        const theirExchange = exchanges.find((each) => each.name === exchange.name);
        assert.deepEqual(
          [exchange.type, exchange.durable, exchange.autoDelete, exchange.arguments],
          [theirExchange?.type, theirExchange?.durable, theirExchange?.auto_delete, theirExchange?.arguments],
        );
        const binding = bindings.find((each) => each.destination === name);
        assert.deepEqual(
          [exchange.name, routingKey, queue.bindingArguments],
          [binding?.source, binding?.routing_key, binding?.arguments],
        );
      }
    });

  test("are a quorum queue on a topic exchange, where the settings say so", () => {
    const { exchanges, queues: declared } = fixture("quorum_delayed_delivery.rabbitmq.json");
    const [own] = queues({ taskDefaultQueueType: "quorum", taskDefaultExchangeType: "topic" }).select();

    assert.deepEqual(own?.arguments, declared.find((each) => each.name === "celery")?.arguments);
    assert.equal(own?.exchange.type, exchanges.find((each) => each.name === "celery")?.type);
  });

  test("without taskQueues: the default queue alone, by the default settings", () => {
    assert.deepEqual(queues().select(), [queueNamed("celery")]);
    const own = queues({
      task_default_queue: "q",
      task_default_exchange: "e",
      task_default_exchange_type: "topic",
      task_default_routing_key: "k",
    });
    assert.deepEqual(own.select(), [
      queueNamed("q", { exchange: exchangeNamed("e", { type: "topic" }), routingKey: "k" }),
    ]);
    assert.deepEqual(queues({ taskQueues: [] }).names, ["celery"]);
    assert.deepEqual(queues({ taskQueues: {} }).names, ["celery"]);
  });

  test("in a list: a name alone is a queue of that name; an object has the defaults that kombu's Queue has", () => {
    const all = queues({ taskQueues: ["plain", { name: "bare" }, { name: "own", exchange: "e", routingKey: "k" }] });
    assert.deepEqual(all.select(), [
      queueNamed("plain"),
      queueNamed("bare", { exchange: exchangeNamed("celery"), routingKey: "celery" }),
      queueNamed("own", { exchange: exchangeNamed("e"), routingKey: "k" }),
    ]);
  });

  test("by name: the name is the key, and flags are the exchange's too", () => {
    const all = queues({
      task_queues: { a: {}, b: { exchange: "e", exchange_type: "topic", durable: false, binding_key: "k" } },
    });
    assert.deepEqual(all.select(), [
      queueNamed("a", { exchange: exchangeNamed("celery"), routingKey: "a" }),
      queueNamed("b", {
        exchange: exchangeNamed("e", { type: "topic", durable: false }),
        routingKey: "k",
        durable: false,
      }),
    ]);
  });

  test("have kombu's names for RabbitMQ's arguments", () => {
    const [queue] = queues({
      taskQueues: [
        {
          name: "q",
          exchange: {
            name: "e",
            type: "headers",
            durable: false,
            autoDelete: true,
            arguments: { "alternate-exchange": "ae" },
          },
          maxPriority: 10,
          expires: 60,
          messageTtl: "5m",
          maxLength: 100,
          maxLengthBytes: 1_000_000,
          queueArguments: { "x-queue-mode": "lazy", "x-max-priority": 3 },
          bindingArguments: { "x-match": "all" },
          consumerArguments: { "x-priority": 5 },
          exclusive: true,
          bindings: [
            { exchange: "other", exchangeType: "fanout" },
            { exchange: { name: "t", type: "topic" }, routingKey: "a.#" },
          ],
        },
      ],
    }).select();

    assert.deepEqual(queue, {
      name: "q",
      durable: true,
      exclusive: true,
      autoDelete: true,
      arguments: {
        "x-queue-mode": "lazy",
        "x-max-priority": 10,
        "x-expires": 60_000,
        "x-message-ttl": 300_000,
        "x-max-length": 100,
        "x-max-length-bytes": 1_000_000,
      },
      consumerArguments: { "x-priority": 5 },
      exchange: exchangeNamed("e", {
        type: "headers",
        durable: false,
        autoDelete: true,
        arguments: { "alternate-exchange": "ae" },
      }),
      routingKey: "celery",
      bindingArguments: { "x-match": "all" },
      bindings: [
        { exchange: exchangeNamed("other", { type: "fanout" }), routingKey: "", arguments: {} },
        { exchange: exchangeNamed("t", { type: "topic" }), routingKey: "a.#", arguments: {} },
      ],
      noDeclare: false,
    });
  });

  test("have priorities, all of them, where the app says so: but not over their own, and not on quorum queues", () => {
    const all = queues({
      taskQueueMaxPriority: 10,
      taskQueues: [
        { name: "a" },
        { name: "b", maxPriority: 3 },
        { name: "c", queueArguments: { "x-queue-type": "quorum" } },
      ],
    });
    assert.deepEqual(
      all.select(["a", "b", "c", "made"]).map((each) => each.arguments["x-max-priority"]),
      [10, 3, undefined, 10],
    );
  });

  test("are made of names that nobody described, as the settings say", () => {
    const made = queues({ taskCreateMissingQueueType: "quorum", taskCreateMissingQueueExchangeType: "topic" });
    assert.equal(made.hasQuorum, false);
    assert.deepEqual(
      made.get("new"),
      queueNamed("new", { exchange: exchangeNamed("new", { type: "topic" }), arguments: { "x-queue-type": "quorum" } }),
    );
    assert.equal(made.get("new"), made.get("new"));
    assert.equal(made.hasQuorum, true);
    assert.deepEqual(made.names, ["celery"]);
  });

  test("are those that are described and no others, where the settings say so", () => {
    const closed = queues({ taskCreateMissingQueues: false, taskQueues: ["mail", "media"] });
    assert.equal(closed.find("mial"), undefined);
    assert.throws(() => closed.get("mial"), {
      code: "ERR_INVALID_INPUT",
      message:
        'taskQueues has no queue "mial"; did you mean "mail"?: it has mail, media, and taskCreateMissingQueues is false',
    });
    assert.throws(() => closed.select(["mail", "video"]), /no queue "video"/);
  });

  test("that a worker consumes are chosen and excluded by name", () => {
    const all = queues({ taskQueues: ["a", "b", "c"] });
    const names = (include?: string[], exclude?: string[]) => all.select(include, exclude).map((each) => each.name);
    assert.deepEqual(names(), ["a", "b", "c"]);
    assert.deepEqual(names(["c", "a", "c", "new"]), ["c", "a", "new"]);
    assert.deepEqual(names(undefined, ["b", "unknown"]), ["a", "c"]);
    assert.deepEqual(names(["a", "b"], ["b"]), ["a"]);
    assert.throws(() => all.select(["a"], ["a"]), /no queue is left to consume: a excluded/);
    assert.deepEqual(
      queues({ taskQueues: ["a"] }).select().length,
      1,
      "the default queue is not consumed beside others",
    );
  });

  test("say a delivery mode, themselves or by their exchange", () => {
    const all = queues({
      taskQueues: [
        { name: "a", exchange: { name: "e", deliveryMode: 1 } },
        { name: "b", deliveryMode: "transient" },
        "c",
      ],
    });
    assert.deepEqual(
      all.select().map((each) => all.deliveryModeOf(each)),
      [1, 1, undefined],
    );
  });

  test("may come at run time, in Celery's words for add_consumer", () => {
    const all = queues({ taskQueueMaxPriority: 9 });
    const added = all.add({ name: "late", exchange: "x", exchange_type: "topic", routing_key: "a.#" });
    assert.deepEqual(
      added,
      queueNamed("late", {
        exchange: exchangeNamed("x", { type: "topic" }),
        routingKey: "a.#",
        arguments: { "x-max-priority": 9 },
      }),
    );
    assert.equal(all.get("late"), added);
    assert.equal(all.add({ name: "bare" }).routingKey, "bare");
  });

  test("of any number of names are no burden", () => {
    const all = queues();
    for (let i = 0; i < 30_000; i += 1) all.get(`user-${i}`);
    assert.ok(all.all.length <= 10_001);
    assert.deepEqual(all.get("user-0"), queueNamed("user-0"));
    assert.deepEqual(all.names, ["celery"]);
  });

  test("name each thing that is wrong, at start", () => {
    const wrong = [
      { name: "a", exchnage: "e" },
      { exchange: "e" },
      7,
      { name: "b", maxPriority: 0, routingKey: 5 },
      { name: "c", exchange: { type: "topic" } },
      "d",
      { name: "d" },
      { name: "e", noAck: true },
      { name: "f", bindings: [{ routingKey: "k" }] },
      "",
    ];
    assert.throws(
      () => readConfig({ taskQueues: wrong } as unknown as SettingsInput, {}),
      (error: Error & { problems: readonly string[] }) => {
        assert.equal(error.problems.length, 10);
        const text = error.problems.join("\n");
        assert.match(text, /taskQueues\[0\] has no "exchnage"; did you mean "exchange"\?/);
        assert.match(text, /taskQueues\[1\] has no name/);
        assert.match(text, /taskQueues\[2\] must be an object, not 7/);
        assert.match(text, /taskQueues\[3\]\.maxPriority must be a whole number from 1 to 255; it was 0/);
        assert.match(text, /taskQueues\[3\]\.routingKey must be text; it was 5/);
        assert.match(text, /taskQueues\[4\]\.exchange has no name/);
        assert.match(text, /taskQueues has the queue "d" twice/);
        assert.match(text, /taskQueues\[7\]\.noAck is not for task queues/);
        assert.match(text, /a binding needs an exchange/);
        assert.match(text, /taskQueues\[9\] must be a non-empty text/);
        return true;
      },
    );
    assert.throws(
      () => readConfig({ taskQueues: "mail" } as unknown as SettingsInput, {}),
      /taskQueues must be a list of queues/,
    );
    assert.throws(
      () => readConfig({ taskQueues: { a: { name: "b" } } } as unknown as SettingsInput, {}),
      /taskQueues\.a has the name "b"/,
    );
  });

  test("of one worker alone is named by its node", () => {
    assert.deepEqual(
      directQueue("w1@host"),
      queueNamed("w1@host.dq2", { exchange: exchangeNamed("C.dq2"), routingKey: "w1@host" }),
    );
    assert.equal(isQuorum(directQueue("w1@host")), false);
  });
});
