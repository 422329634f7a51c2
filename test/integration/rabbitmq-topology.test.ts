/** What we declare on RabbitMQ, held against what a real Celery worker declared, and what we do with what others declared. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { type Channel, type ChannelModel, connect, type Options } from "amqplib";
import type { Broker, BrokerConnection, Delivery } from "../../src/brokers/broker.ts";
import { openRabbitmqBroker } from "../../src/brokers/rabbitmq/broker.ts";
import { createLogger } from "../../src/kit/log.ts";
import { amqplibUrl, deleteQueues } from "../support/rabbitmq.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";

interface Declared {
  readonly name: string;
  readonly type: string;
  readonly durable: boolean;
  readonly auto_delete: boolean;
  readonly exclusive?: boolean;
  readonly internal?: boolean;
  readonly arguments: object;
}

const fixture = JSON.parse(
  readFileSync(new URL("../fixtures/topology.rabbitmq.default.json", import.meta.url), "utf8"),
) as {
  readonly exchanges: readonly Declared[];
  readonly queues: readonly Declared[];
  readonly bindings: readonly { source: string; destination: string; routing_key: string; arguments: object }[];
};

describe("queues on RabbitMQ", await needRabbitmq(), () => {
  let raw: ChannelModel;
  const queues: string[] = [];
  const connections: BrokerConnection[] = [];
  const warnings: string[] = [];
  const log = createLogger({ level: "warning", destination: (line) => warnings.push(line) });

  before(async () => {
    raw = await connect(amqplibUrl());
  });
  after(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await raw.close();
    await deleteQueues(queues);
  });

  function freshName(): string {
    const queue = `lovage-test-${randomUUID()}`;
    queues.push(queue);
    return queue;
  }

  async function open(): Promise<Broker> {
    return openRabbitmqBroker(AMQP_URL, { log });
  }

  async function connectTo(broker: Broker): Promise<BrokerConnection> {
    const connection = await broker.connect({ name: "lovage test", timeoutMs: 20_000 });
    connections.push(connection);
    return connection;
  }

  const openConnection = async () => connectTo(await open());

  /** Declaring again with the same arguments passes, with others is 406: so RabbitMQ itself compares. */
  async function accepts(declare: (channel: Channel) => Promise<unknown>): Promise<boolean> {
    const channel = await raw.createChannel();
    channel.on("error", () => undefined);
    try {
      await declare(channel);
      await channel.close();
      return true;
    } catch (error) {
      assert.equal((error as { code?: number }).code, 406, String(error));
      return false;
    }
  }

  test("a task queue is declared exactly as a Celery worker declares it", async () => {
    const celerysExchange = fixture.exchanges.find((each) => each.name === "celery");
    const celerysQueue = fixture.queues.find((each) => each.name === "celery");
    const celerysBinding = fixture.bindings.find((each) => each.destination === "celery");
    assert.ok(celerysExchange && celerysQueue && celerysBinding);
    const queue = freshName();
    const connection = await openConnection();

    await connection.declareQueue(queue);

    const exchange: Options.AssertExchange = {
      durable: celerysExchange.durable,
      autoDelete: celerysExchange.auto_delete,
      internal: celerysExchange.internal ?? false,
      arguments: celerysExchange.arguments,
    };
    assert.ok(await accepts((channel) => channel.assertExchange(queue, celerysExchange.type, exchange)));
    assert.ok(!(await accepts((channel) => channel.assertExchange(queue, "topic", exchange))));
    assert.ok(!(await accepts((channel) => channel.assertExchange(queue, "direct", { ...exchange, durable: false }))));
    const options: Options.AssertQueue = {
      durable: celerysQueue.durable,
      autoDelete: celerysQueue.auto_delete,
      arguments: celerysQueue.arguments,
    };
    assert.equal(celerysQueue.exclusive, false);
    assert.ok(await accepts((channel) => channel.assertQueue(queue, options)));
    assert.ok(!(await accepts((channel) => channel.assertQueue(queue, { ...options, durable: false }))));
    assert.ok(!(await accepts((channel) => channel.assertQueue(queue, { ...options, maxPriority: 9 }))));
    // The binding: by the queue's name, and by no other key.
    assert.equal(celerysBinding.routing_key, celerysBinding.destination);
    await connection.publish({ exchange: queue, routingKey: queue }, message("bound"));
    assert.equal(await connection.depth(queue), 1);
    await assert.rejects(connection.publish({ exchange: queue, routingKey: "other" }, message("x")), {
      code: "ERR_UNROUTABLE",
    });
    await connection.close();
    assert.deepEqual(
      warnings.filter((line) => line.includes(queue)),
      [],
    );
  });

  test("a queue that somebody made with other arguments is used as it stands, and said once", async () => {
    const queue = freshName();
    const channel = await raw.createChannel();
    await channel.assertQueue(queue, { durable: true, maxPriority: 9 });
    await channel.close();
    const broker = await open();

    for (const name of ["first", "second"]) {
      const connection = await connectTo(broker);
      await connection.declareQueue(queue);
      await connection.publish({ exchange: "", routingKey: queue }, message(name, name === "second" ? 9 : 1));
      await connection.close();
    }

    const connection = await openConnection();
    const got = await take(connection, queue, 2);
    assert.deepEqual(got.map(text), ["second", "first"], "its priorities work: higher is sooner");
    await connection.close();
    const said = warnings.filter((line) => line.includes(queue));
    assert.equal(said.length, 1);
    assert.match(said[0] ?? "", /x-max-priority/);
  });

  test("an exchange of another type in the queue's name is left alone, and the queue made", async () => {
    const queue = freshName();
    const channel = await raw.createChannel();
    await channel.assertExchange(queue, "fanout", { durable: true });
    await channel.close();
    const connection = await openConnection();

    await connection.declareQueue(queue);
    await connection.publish({ exchange: "", routingKey: queue }, message("x"));

    assert.equal(await connection.depth(queue), 1);
  });

  test("another connection's exclusive queue is refused by name", async () => {
    const queue = freshName();
    const channel = await raw.createChannel();
    await channel.assertQueue(queue, { exclusive: true, durable: false });
    const connection = await openConnection();

    await assert.rejects(connection.declareQueue(queue), { code: "ERR_QUEUE_REFUSED", message: new RegExp(queue) });
    await assert.rejects(connection.declareQueue("amq.reserved"), {
      code: "ERR_QUEUE_REFUSED",
      message: /amq\.reserved/,
    });

    assert.equal(await connection.depth(`${queue}-none`), undefined, "the connection lives on");
  });

  test("a quorum queue is consumed, and the window of the connection holds over two of them", async () => {
    const pair = [freshName(), freshName()];
    const channel = await raw.createChannel();
    for (const queue of pair) await channel.assertQueue(queue, { arguments: { "x-queue-type": "quorum" } });
    await channel.close();
    const connection = await openConnection();
    await connection.setPrefetch(2);
    for (const queue of pair) await connection.declareQueue(queue);
    let held = 0;
    let most = 0;
    let left = 40;
    const { promise: all, resolve } = Promise.withResolvers<void>();
    const onDelivery = (delivery: Delivery) => {
      held += 1;
      most = Math.max(most, held);
      setImmediate(() => {
        held -= 1;
        void delivery.ack();
        left -= 1;
        if (left === 0) resolve();
      });
    };

    for (const queue of pair) await connection.consume(queue, onDelivery);
    for (const queue of pair) {
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => connection.publish({ exchange: "", routingKey: queue }, message(`${i}`))),
      );
    }
    await all;

    assert.equal(most, 2);
  });

  test("a window counted for each consumer can be raised while it consumes, and a cancelled consumer keeps nothing", async () => {
    const queue = freshName();
    const channel = await raw.createChannel();
    await channel.assertQueue(queue, { arguments: { "x-queue-type": "quorum" } });
    await channel.close();
    const connection = await openConnection();
    await connection.declareQueue(queue);
    await connection.setPrefetch(1);
    await Promise.all(
      Array.from({ length: 6 }, (_, i) => connection.publish({ exchange: "", routingKey: queue }, message(`${i}`))),
    );
    const inHand: Delivery[] = [];
    let wanted = 1;
    let reached = Promise.withResolvers<void>();
    const consumer = await connection.consume(queue, (delivery) => {
      inHand.push(delivery);
      if (inHand.length === wanted) reached.resolve();
    });
    await reached.promise;

    wanted = 4;
    reached = Promise.withResolvers();
    await connection.setPrefetch(4);
    await reached.promise;
    await connection.setPrefetch(1);
    await consumer.cancel();
    await Promise.all(inHand.map((delivery) => delivery.ack()));

    const other = await openConnection();
    await other.declareQueue(queue);
    const rest = await take(other, queue, 2);
    assert.deepEqual(rest.map(text).sort(), ["4", "5"]);
    await Promise.all(rest.map((delivery) => delivery.ack()));
  });

  test("a quorum queue that nobody told us of costs one connection, and the next one consumes it", async () => {
    const queue = freshName();
    const channel = await raw.createChannel();
    await channel.assertQueue(queue, { arguments: { "x-queue-type": "quorum" } });
    await channel.close();
    const broker = await open();
    const first = await connectTo(broker);
    await first.setPrefetch(3);

    await assert.rejects(
      first.consume(queue, () => undefined),
      { code: "ERR_BROKER_UNAVAILABLE", message: /quorum queue/ },
    );
    const second = await connectTo(broker);
    await second.setPrefetch(3);
    await second.publish({ exchange: "", routingKey: queue }, message("x"));
    const [delivery] = await take(second, queue, 1);

    assert.equal(text(delivery), "x");
    await delivery?.ack();
  });
});

function take(connection: BrokerConnection, queue: string, count: number): Promise<Delivery[]> {
  return new Promise((resolve, reject) => {
    const got: Delivery[] = [];
    connection
      .consume(queue, (delivery) => {
        got.push(delivery);
        if (got.length === count) resolve(got);
      })
      .catch(reject);
  });
}

function message(body: string, priority?: number) {
  return { body: Buffer.from(body), properties: priority === undefined ? {} : { priority }, headers: {} };
}

function text(delivery: Delivery | undefined): string {
  return Buffer.from(delivery?.message.body ?? []).toString();
}
