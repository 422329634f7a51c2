/** Every way in which a connection to RabbitMQ ends: each says why, ends what was under way, and crashes nothing. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, describe, type TestContext, test } from "node:test";
import { connect as connectRaw } from "amqplib";
import type { BrokerConnection, Delivery } from "../../src/brokers/broker.ts";
import { openRabbitmqBroker, type RabbitmqOptions } from "../../src/brokers/rabbitmq/broker.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { atEnd } from "../support/cleanup.ts";
import { amqplibUrl, deleteQueues, rabbitmqThroughProxy } from "../support/rabbitmq.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";
import { needVhosts, withVhost } from "../support/vhost.ts";

const vhosts = await needVhosts();

describe("a connection to RabbitMQ", await needRabbitmq(), () => {
  const queues: string[] = [];
  after(() => deleteQueues(queues));

  function freshName(): string {
    const queue = `lovage-test-${randomUUID()}`;
    queues.push(queue);
    return queue;
  }

  async function connect(t: TestContext, url = AMQP_URL, options?: RabbitmqOptions): Promise<BrokerConnection> {
    const broker = await openRabbitmqBroker(url, options);
    const connection = await broker.connect({ name: `lovage ${t.name}`, timeoutMs: 20_000 });
    atEnd(t, () => connection.close());
    return connection;
  }

  async function withRaw(work: (channel: Awaited<ReturnType<typeof openRaw>>["channel"]) => Promise<unknown>) {
    const { connection, channel } = await openRaw();
    await work(channel);
    await connection.close();
  }

  async function openRaw() {
    const connection = await connectRaw(amqplibUrl());
    return { connection, channel: await connection.createChannel() };
  }

  test("is lost when the queue that it consumes is deleted", async (t) => {
    const queue = freshName();
    const connection = await connect(t);
    await connection.declareQueue(queue);
    await connection.consume(queue, () => undefined);

    await withRaw((channel) => channel.deleteQueue(queue));
    const reason = await connection.closed;

    assert.match(reason?.message ?? "", /cancelled the consumer/);
    assert.ok(reason?.message.includes(queue));
    assert.equal((reason as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
  });

  test("is lost with RabbitMQ's words when a channel is closed, and what was under way is unknown", async (t) => {
    const queue = freshName();
    const connection = await connect(t);
    await connection.declareQueue(queue);
    await connection.publish({ exchange: queue, routingKey: queue }, message("known exchange"));

    await withRaw((channel) => channel.deleteExchange(queue));
    const late = connection.publish({ exchange: queue, routingKey: queue }, message("x", "task-7"));

    await assert.rejects(late, { code: "ERR_OUTCOME_UNKNOWN", key: "task-7" });
    assert.match((await connection.closed)?.message ?? "", /404 NOT_FOUND - no exchange/);
  });

  test("is lost with the operator's reason when the operator closes it", vhosts, async (t) => {
    const vhost = await withVhost(t);
    const connection = await connect(t, vhost.url);
    await connection.declareQueue("q");
    let got = Promise.withResolvers<Delivery>();
    await connection.consume("q", (delivery) => got.resolve(delivery));
    await connection.publish({ exchange: "", routingKey: "q" }, message("x"));
    const delivery = await got.promise;

    await vhost.closeAllConnections();

    assert.match((await connection.closed)?.message ?? "", /320 CONNECTION_FORCED - closed by a test/);
    await delivery.ack();
    const again = await connect(t, vhost.url);
    got = Promise.withResolvers();
    await again.consume("q", (each) => got.resolve(each));
    assert.equal((await got.promise).redelivered, true, "the late acknowledgement went nowhere");
  });

  test("with a peer that has fallen silent ends by the deadline, and so does all that waits", async (t) => {
    const queue = freshName();
    const { url, proxy } = await rabbitmqThroughProxy();
    atEnd(t, () => proxy.close());
    const clock = new FakeClock();
    const connection = await connect(t, url, { clock });
    await connection.declareQueue(queue);
    await connection.publish({ exchange: "", routingKey: queue }, message("before"));

    proxy.freeze();
    const publish = connection.publish({ exchange: "", routingKey: queue }, message("into the void", "task-8"));
    const depth = connection.depth(queue);
    const waits = Promise.all([
      assert.rejects(publish, { code: "ERR_OUTCOME_UNKNOWN" }),
      assert.rejects(depth, { code: "ERR_BROKER_UNAVAILABLE", message: /within 30 s|not confirmed/ }),
    ]);
    await clock.advance(30_000);

    await waits;
    assert.match((await connection.closed)?.message ?? "", /within 30 s/);
  });

  test("that is closed while the peer is silent is closed all the same", async (t) => {
    const { url, proxy } = await rabbitmqThroughProxy();
    atEnd(t, () => proxy.close());
    const clock = new FakeClock();
    const connection = await connect(t, url, { clock });
    await connection.depth("lovage-test-none");

    proxy.freeze();
    const closing = connection.close();
    await clock.advance(10_000);

    await closing;
    assert.equal(await connection.closed, undefined);
  });

  test("finds a silent peer by its heartbeat", async (t) => {
    const { url, proxy } = await rabbitmqThroughProxy();
    atEnd(t, () => proxy.close());
    const connection = await connect(t, `${url}?heartbeat=1`);

    proxy.freeze();

    assert.match((await connection.closed)?.message ?? "", /[Hh]eartbeat/);
  });

  test("takes more than its buffers hold, and confirms all of it", async (t) => {
    const queue = freshName();
    const connection = await connect(t);
    await connection.declareQueue(queue);
    const body = Buffer.alloc(65_536, "x");

    await Promise.all(
      Array.from({ length: 1_000 }, () =>
        connection.publish({ exchange: "", routingKey: queue }, { body, properties: {}, headers: {} }),
      ),
    );

    assert.equal(await connection.depth(queue), 1_000);
    assert.equal(await connection.purge(queue), 1_000);
  });

  test("refuses headers that do not fit a frame, and goes on", async (t) => {
    const queue = freshName();
    const connection = await connect(t);
    await connection.declareQueue(queue);
    const headers = { note: "x".repeat(70_000) };

    const results = await Promise.allSettled([
      connection.publish({ exchange: "", routingKey: queue }, message("before")),
      connection.publish({ exchange: "", routingKey: queue }, { ...message("too large"), headers }),
      connection.publish({ exchange: "", routingKey: queue }, message("after")),
    ]);

    assert.deepEqual(
      results.map((each) => (each.status === "fulfilled" ? "taken" : each.reason.code)),
      ["taken", "ERR_INVALID_INPUT", "taken"],
    );
    assert.equal(await connection.depth(queue), 2);
  });

  test("says when RabbitMQ refuses a message for a full queue", async (t) => {
    const queue = freshName();
    await withRaw((channel) => channel.assertQueue(queue, { maxLength: 1, overflow: "reject-publish" }));
    const connection = await connect(t);

    await connection.publish({ exchange: "", routingKey: queue }, message("fits"));
    await assert.rejects(connection.publish({ exchange: "", routingKey: queue }, message("does not")), {
      code: "ERR_BROKER_UNAVAILABLE",
      message: /refused a message/,
    });

    assert.equal(await connection.depth(queue), 1);
  });
});

function message(body: string, correlationId?: string) {
  return { body: Buffer.from(body), properties: correlationId === undefined ? {} : { correlationId }, headers: {} };
}
