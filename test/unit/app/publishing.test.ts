/** What is asked of the broker for a message: declarations, the delay, the delivery mode, further tries. On real RabbitMQ: test/interop/routing-rabbitmq.test.ts. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readConfig, type SettingsInput } from "../../../src/app/config.ts";
import { Producer } from "../../../src/app/producer.ts";
import { Publishing } from "../../../src/app/publishing.ts";
import { Queues } from "../../../src/app/queues.ts";
import type { Broker, BrokerConnection, PublishTarget } from "../../../src/brokers/broker.ts";
import { BrokerUnavailableError, QueueRefusedError } from "../../../src/brokers/errors.ts";
import { nameOf, type Queue } from "../../../src/brokers/topology.ts";
import { OutcomeUnknownError } from "../../../src/kit/errors.ts";
import { createLogger } from "../../../src/kit/log.ts";
import type { Destination } from "../../../src/pool/asks.ts";
import { DELAY_ENTRY, delayedKey } from "../../../src/protocol/delayed-delivery.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const KEPT = {
  taskQueues: [
    {
      name: "kept",
      exchange: { name: "kept", type: "topic" },
      routingKey: "kept",
      queueArguments: { "x-queue-type": "quorum" },
    },
    { name: "beside", exchange: { name: "kept", type: "topic" }, routingKey: "beside.#" },
    "plain",
  ],
} satisfies SettingsInput;

const MESSAGE: WireMessage = { body: new Uint8Array(), properties: { deliveryMode: 2, priority: 0 }, headers: {} };

interface World {
  readonly noted: string[];
  readonly sent: { target: PublishTarget; message: WireMessage }[];
  readonly warnings: string[];
  readonly clock: FakeClock;
  readonly producer: Producer;
  /** What the next calls are answered by. */
  readonly refuse: { connect: Error[]; publish: Error[]; delay: Error[] };
  publish(to: Destination, countdownSeconds?: number): Promise<void>;
  /** End the connection in use. */
  lose(): Promise<void>;
}

/** A broker that notes what it is asked. */
function world(settings: SettingsInput, transport = "amqp"): World {
  const config = readConfig(settings, {});
  const queues = new Queues(config);
  const clock = new FakeClock({ wallMs: 0 });
  const noted: string[] = [];
  const sent: World["sent"] = [];
  const warnings: string[] = [];
  const refuse: World["refuse"] = { connect: [], publish: [], delay: [] };
  let lose: (error: Error) => void = () => undefined;
  const connect = async (): Promise<BrokerConnection> => {
    noted.push("connect");
    const refusal = refuse.connect.shift();
    if (refusal !== undefined) throw refusal;
    const closed = new Promise<Error | undefined>((resolve) => {
      lose = resolve;
    });
    const connection: Partial<BrokerConnection> = {
      closed,
      async declareQueue(queue) {
        noted.push(`declare ${nameOf(queue)}`);
      },
      async declareDelayedDelivery(led: readonly Queue[], type) {
        noted.push(`delay to ${led.map(nameOf).join(" ")} (${type})`);
        const refused = refuse.delay.shift();
        if (refused !== undefined) throw refused;
      },
      async publish(target, message) {
        noted.push(`publish ${target.exchange}`);
        const refused = refuse.publish.shift();
        if (refused !== undefined) throw refused;
        sent.push({ target, message });
      },
      async close() {},
    };
    return connection as BrokerConnection;
  };
  const broker = { traits: { transport }, connect } as unknown as Broker;
  const log = createLogger({ level: "warning", destination: (line) => warnings.push(line) });
  const producer = new Producer({ broker: async () => broker, clock, log, name: "test", connectTimeoutMs: 1_000 });
  const publishing = new Publishing({ config, queues, producer, broker: async () => broker, clock });
  return {
    noted,
    sent,
    warnings,
    clock,
    producer,
    refuse,
    publish: (to, countdown) =>
      publishing.publish(MESSAGE, to, countdown === undefined ? undefined : clock.wallMs() + countdown * 1_000),
    async lose() {
      lose(new BrokerUnavailableError("lost"));
      await clock.advance(0);
    },
  };
}

describe("a message with an eta, where a quorum queue is known", () => {
  test("waits in RabbitMQ, whose way to its queue is there first", async () => {
    const here = world({ ...KEPT, brokerNativeDelayedDeliveryQueueType: "classic" });
    await here.publish({ queue: "kept" }, 5.9);

    assert.deepEqual(here.noted, [
      "connect",
      "declare kept",
      "declare beside",
      "delay to kept (classic)",
      `publish ${DELAY_ENTRY}`,
    ]);
    assert.equal(here.sent[0]?.target.routingKey, delayedKey(5, "kept"));
  });

  test("waits for its whole countdown, although some milliseconds have gone by", async () => {
    const here = world(KEPT);
    await here.publish({ queue: "kept" }, 2.98);
    assert.equal(here.sent[0]?.target.routingKey, delayedKey(3, "kept"));
  });

  test("leads to the queues that hear of its key, and declares the way once on a connection", async () => {
    const here = world(KEPT);
    for (let again = 0; again < 2; again += 1) await here.publish({ queue: "beside", routingKey: "beside.x" }, 5);
    assert.deepEqual(here.noted.slice(3), [
      "delay to beside (quorum)",
      `publish ${DELAY_ENTRY}`,
      `publish ${DELAY_ENTRY}`,
    ]);

    await here.lose();
    await here.publish({ queue: "beside", routingKey: "beside.x" }, 5);
    assert.deepEqual(here.noted.slice(6), [
      "connect",
      "declare beside",
      "declare kept",
      "delay to beside (quorum)",
      `publish ${DELAY_ENTRY}`,
    ]);
  });

  test("goes at once by a key that no queue hears at the end of the delay: there it would be dropped", async () => {
    const here = world(KEPT);
    await here.publish({ queue: "kept", routingKey: "elsewhere" }, 5);
    assert.deepEqual(here.sent[0]?.target, { exchange: "kept", routingKey: "elsewhere", exchangeType: "topic" });
  });

  const direct: readonly (readonly [
    what: string,
    settings: SettingsInput,
    to: Destination,
    countdown: number | undefined,
    transport?: string,
  ])[] = [
    ["to a direct exchange", KEPT, { queue: "plain" }, 5],
    ["to a direct exchange by name", KEPT, { queue: "plain", exchange: "plain", routingKey: "plain" }, 5],
    ["to one queue alone", KEPT, { queue: "kept", exchange: "", routingKey: "kept" }, 5],
    ["without an eta", KEPT, { queue: "kept" }, undefined],
    ["for less than a second", KEPT, { queue: "kept" }, 0.9],
    ["in the past", KEPT, { queue: "kept" }, -60],
    ["where quorum queues are not looked for", { ...KEPT, workerDetectQuorumQueues: false }, { queue: "kept" }, 5],
    ["where there is no quorum queue", { taskDefaultExchangeType: "topic" }, {}, 5],
    ["on another broker", KEPT, { queue: "kept" }, 5, "redis"],
  ];
  for (const [what, settings, to, countdown, transport] of direct) {
    test(`goes at once ${what}`, async () => {
      const here = world(settings, transport);
      await here.publish(to, countdown);
      assert.equal(here.noted.filter((each) => each.startsWith("delay")).length, 0);
      assert.notEqual(here.sent[0]?.target.exchange, DELAY_ENTRY);
    });
  }

  test("goes at once where the delay cannot be declared, with one warning for a connection", async () => {
    const here = world(KEPT);
    here.refuse.delay.push(new QueueRefusedError("celery_delayed_27", "another type"));
    for (let again = 0; again < 3; again += 1) await here.publish({ queue: "kept" }, 5);

    assert.deepEqual(
      here.sent.map(({ target }) => [target.exchange, target.routingKey]),
      [
        ["kept", "kept"],
        ["kept", "kept"],
        ["kept", "kept"],
      ],
    );
    assert.equal(here.warnings.length, 1);
    assert.match(here.warnings[0] ?? "", /Delayed delivery cannot be declared/);
  });

  test("is tried again when the connection goes while the delay is declared", async () => {
    const here = world(KEPT);
    here.refuse.delay.push(new BrokerUnavailableError("lost"));
    const publishing = here.publish({ queue: "kept" }, 5);
    await here.clock.advance(0);
    await publishing;
    assert.equal(here.sent[0]?.target.exchange, DELAY_ENTRY);
    assert.deepEqual(here.warnings, []);
  });
});

describe("a message", () => {
  test("has the delivery mode of the call, else of its queue, else of the app", async () => {
    const here = world({
      taskQueues: ["plain", { name: "soft", deliveryMode: 1 }],
      taskDefaultDeliveryMode: "persistent",
    });
    await here.publish({ queue: "plain" });
    await here.publish({ queue: "plain", deliveryMode: 1 });
    await here.publish({ queue: "soft" });
    await here.publish({ queue: "soft", deliveryMode: 2 });
    assert.deepEqual(
      here.sent.map(({ message }) => message.properties.deliveryMode),
      [2, 1, 1, 2],
    );
  });

  test("has its queue declared once on a connection; one that may vanish, each time", async () => {
    const here = world({ taskQueues: ["plain", { name: "brief", expires: 60 }, { name: "shy", autoDelete: true }] });
    for (const queue of ["plain", "brief", "shy", "plain", "brief", "shy"]) await here.publish({ queue });
    const count = (name: string) => here.noted.filter((each) => each === `declare ${name}`).length;
    assert.deepEqual([count("plain"), count("brief"), count("shy")], [1, 2, 2]);
  });

  test("is tried again as the app says, and as the call says over it", async () => {
    const away = () => new BrokerUnavailableError("away");
    const policy = { max_retries: 2, interval_start: 1, interval_step: 2, interval_max: 9 };
    const here = world({ taskPublishRetryPolicy: policy });
    here.refuse.connect.push(away(), away());

    const publishing = here.publish({});
    await here.clock.advance(999);
    assert.equal(here.noted.length, 1);
    await here.clock.advance(1);
    assert.equal(here.noted.length, 2);
    await here.clock.advance(3_000);
    await publishing;
    assert.equal(here.sent.length, 1);

    here.refuse.publish.push(away());
    await assert.rejects(here.publish({ retryPolicy: { maxRetries: 0 } }), /away/);
    here.refuse.publish.push(away());
    await assert.rejects(here.publish({ retry: false }), /away/);
  });

  test("is not tried again where the app says so, unless the call does", async () => {
    const here = world({ taskPublishRetry: false });
    here.refuse.publish.push(new BrokerUnavailableError("away"));
    await assert.rejects(here.publish({}), /away/);
    here.refuse.publish.push(new BrokerUnavailableError("away"));
    const publishing = here.publish({ retry: true });
    await here.clock.advance(0);
    await publishing;
    assert.equal(here.sent.length, 1);
  });

  test("that may be with the broker is never sent twice", async () => {
    const here = world({});
    here.refuse.publish.push(new OutcomeUnknownError("the connection was lost before the confirm"));
    await assert.rejects(here.publish({}), { code: "ERR_OUTCOME_UNKNOWN" });
    assert.equal(here.sent.length, 0);
  });

  test("that is tried for ever is given up when the app is closed", async () => {
    const here = world({ taskPublishRetryPolicy: { max_retries: null, interval_start: 5 } });
    here.refuse.connect.push(...Array.from({ length: 50 }, () => new BrokerUnavailableError("away")));
    const publishing = here.publish({});
    const refused = assert.rejects(publishing, /away/);
    await here.clock.advance(60_000);
    assert.ok(here.noted.length > 5);
    await here.producer.close();
    await here.clock.advance(10_000);
    await refused;
  });
});
