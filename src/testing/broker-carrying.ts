/** What a broker carries, unchanged, and what it refuses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { WireMessage, WireProperties } from "../protocol/message.ts";
import { type BrokerSuite, Inbox, message, nullProto, numbered, plain, text, to } from "./broker-suite.ts";

export function brokerCarries(suite: BrokerSuite): void {
  test("what is published is delivered as it was: body, properties and headers", async () => {
    const { connection, queue } = await suite.withQueue();
    const sent: WireMessage = {
      body: Buffer.from('[["žluťoučký kůň 🐎"],{},{}]'),
      properties: {
        contentType: "application/json",
        contentEncoding: "utf-8",
        deliveryMode: 2,
        priority: 0,
        correlationId: "id-ů-🐎",
        replyTo: "f0a1",
      },
      headers: nullProto({
        lang: "py",
        task: "demo.foo",
        eta: null,
        retries: 0,
        big: 2 ** 40,
        half: 0.5,
        ignore_result: false,
        timelimit: [null, 12.5],
        stamps: { ключ: ["a", { deep: true }] },
        "": "empty name",
      }),
    };

    await connection.publish({ exchange: "", routingKey: queue }, sent);
    const inbox = await Inbox.open(connection, queue);
    const [delivery] = await inbox.take(1);

    assert.ok(delivery);
    assert.deepEqual(Buffer.from(delivery.message.body), sent.body);
    assert.deepEqual({ ...delivery.message.properties }, { ...sent.properties });
    assert.equal(Object.getPrototypeOf(delivery.message.headers), null);
    assert.deepEqual(plain(delivery.message.headers), plain(sent.headers));
    assert.equal(delivery.queue, queue);
    assert.equal(delivery.exchange, "");
    assert.equal(delivery.routingKey, queue);
    assert.equal(delivery.redelivered, false);
    await delivery.ack();
  });

  test("a body may be empty, binary, or a megabyte", async () => {
    const { connection, queue } = await suite.withQueue();
    const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const large = Buffer.alloc(1_048_577, all);

    for (const body of [Buffer.alloc(0), all, large]) await connection.publish(to(queue), message(body));
    const deliveries = await (await Inbox.open(connection, queue)).take(3);

    assert.deepEqual(
      deliveries.map((each) => each.message.body.byteLength),
      [0, 256, 1_048_577],
    );
    assert.ok(all.equals(deliveries[1]?.message.body ?? Buffer.alloc(0)));
    assert.ok(large.equals(deliveries[2]?.message.body ?? Buffer.alloc(0)));
    await Promise.all(deliveries.map((each) => each.ack()));
  });

  test("the publisher may reuse its buffer once publish has resolved", async () => {
    const { connection, queue } = await suite.withQueue();
    const body = Buffer.from("first");

    await connection.publish(to(queue), message(body));
    body.write("XXXXX");
    const [delivery] = await (await Inbox.open(connection, queue)).take(1);

    assert.equal(text(delivery), "first");
    await delivery?.ack();
  });

  test("a message without properties and headers is carried", async () => {
    const { connection, queue } = await suite.withQueue();

    await connection.publish(to(queue), { body: Buffer.from("x"), properties: {}, headers: nullProto({}) });
    const [delivery] = await (await Inbox.open(connection, queue)).take(1);

    assert.deepEqual(Object.keys(delivery?.message.headers ?? { none: 1 }), []);
    assert.equal(delivery?.message.properties.contentType, undefined);
    await delivery?.ack();
  });

  test("a header named __proto__ reaches nobody's prototype", async () => {
    const { connection, queue } = await suite.withQueue();
    const headers = nullProto({ task: "demo.foo" });
    Object.defineProperty(headers, "__proto__", { value: { task: "evil" }, enumerable: true });

    await connection.publish(to(queue), { body: Buffer.from("x"), properties: {}, headers });
    const [delivery] = await (await Inbox.open(connection, queue)).take(1);

    assert.deepEqual(Object.keys(delivery?.message.headers ?? {}), ["task"]);
    assert.equal(Object.getPrototypeOf(delivery?.message.headers), null);
    assert.equal(({} as Record<string, unknown>).task, undefined);
    await delivery?.ack();
  });

  test("headers that JSON has no word for come out as plain data, and those that no broker carries are refused", async () => {
    const { connection, queue } = await suite.withQueue();
    const publish = (headers: Record<string, unknown>) =>
      connection.publish(to(queue), { body: Buffer.from("x"), properties: {}, headers });
    const deep: Record<string, unknown> = {};
    deep.deep = deep;

    await publish({
      when: new Date(1_893_456_000_000),
      bytes: Buffer.from("žluť"),
      long: 2n ** 40n,
      list: [undefined],
    });
    const refused = [Number.NaN, Number.NEGATIVE_INFINITY, () => 1, Symbol("x"), new Date(Number.NaN), deep];
    for (const value of refused) {
      await assert.rejects(publish({ stamps: { value } }), { code: "ERR_INVALID_INPUT", message: /"stamps\./ });
    }
    const [delivery] = await (await Inbox.open(connection, queue)).take(1);

    assert.deepEqual(
      { ...delivery?.message.headers },
      { when: "2030-01-01T00:00:00.000Z", bytes: "žluť", long: 2 ** 40, list: [null] },
    );
    await delivery?.ack();
  });

  test("messages wait for a consumer, and come in the order in which they were published", async () => {
    const { connection, queue } = await suite.withQueue();
    const texts = numbered(500);

    await Promise.all(texts.map((each) => connection.publish(to(queue), message(each))));
    assert.equal(await connection.depth(queue), 500);
    const deliveries = await (await Inbox.open(connection, queue)).take(500);

    assert.deepEqual(deliveries.map(text), texts);
    await Promise.all(deliveries.map((each) => each.ack()));
    assert.equal(await connection.depth(queue), 0);
  });

  test("a message reaches its queue through the direct exchange of the queue's name too", async () => {
    const { connection, queue } = await suite.withQueue();

    await connection.publish({ exchange: queue, routingKey: queue }, message("by exchange"));
    const [delivery] = await (await Inbox.open(connection, queue)).take(1);

    assert.equal(text(delivery), "by exchange");
    assert.equal(delivery?.exchange, queue);
    await delivery?.ack();
  });

  test("ten thousand messages in flight all arrive once", async () => {
    const { connection, queue } = await suite.withQueue();
    const consuming = await suite.connect(200);
    const inbox = await Inbox.open(consuming, queue, (delivery) => void delivery.ack());
    const texts = numbered(10_000);

    await Promise.all(texts.map((each) => connection.publish(to(queue), message(each))));
    const deliveries = await inbox.take(10_000);

    assert.deepEqual(deliveries.map(text), texts);
    assert.equal(inbox.waiting, 0);
  });

  test("a message for a queue that does not exist is refused", async () => {
    const connection = await suite.connect();
    const missing = suite.freshName();

    await assert.rejects(connection.publish(to(missing), message("lost")), { code: "ERR_UNROUTABLE" });
    await assert.rejects(connection.publish({ exchange: missing, routingKey: missing }, message("lost")), {
      code: "ERR_UNROUTABLE",
    });
    const { queue } = await suite.withQueue();
    await assert.rejects(connection.publish({ exchange: queue, routingKey: missing }, message("lost")), {
      code: "ERR_UNROUTABLE",
    });
    await connection.declareQueue(missing);
    assert.equal(await connection.depth(missing), 0);
    await connection.publish(to(missing), message("found"));
    assert.equal(await connection.depth(missing), 1);
  });

  test("one refused message among many harms none of the others", async () => {
    const { connection, queue } = await suite.withQueue();
    const missing = suite.freshName();
    const texts = numbered(50);

    const sent = texts.flatMap((each) => [
      connection.publish(to(queue), message(each)),
      connection.publish(to(missing), message(each)).then(
        () => assert.fail("it was taken"),
        (error: { code?: string }) => assert.equal(error.code, "ERR_UNROUTABLE"),
      ),
    ]);
    await Promise.all(sent);

    assert.equal(await connection.depth(queue), 50);
  });

  test("declaring a queue again, and by several at once, changes nothing", async () => {
    const { connection, queue } = await suite.withQueue();
    await connection.publish(to(queue), message("kept"));
    const other = await suite.connect();

    await Promise.all([connection.declareQueue(queue), other.declareQueue(queue), connection.declareQueue(queue)]);

    assert.equal(await other.depth(queue), 1);
  });

  test("input that a broker cannot carry is refused, and nothing else suffers", async () => {
    const { connection, queue } = await suite.withQueue();
    const refused = { code: "ERR_INVALID_INPUT" };
    const withProperties = (properties: WireProperties): WireMessage => ({ ...message("x"), properties });

    await assert.rejects(connection.declareQueue(""), refused);
    await assert.rejects(connection.declareQueue("ů".repeat(128)), refused);
    await assert.rejects(connection.setPrefetch(-1), refused);
    await assert.rejects(connection.setPrefetch(1.5), refused);
    await assert.rejects(connection.publish(to(""), message("x")), refused);
    await assert.rejects(connection.publish(to(queue), withProperties({ priority: 256 })), refused);
    await assert.rejects(connection.publish(to(queue), withProperties({ expiration: "soon" })), refused);
    await assert.rejects(connection.publish(to(queue), withProperties({ correlationId: "x".repeat(256) })), refused);

    await connection.publish(to(queue), message("still here"));
    assert.equal(await connection.depth(queue), 1);
  });
}
