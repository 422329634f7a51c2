/** What lies in Redis, and what is made of what others put there: kombu's layout, its exchanges, and items that are none of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FOREIGN_TYPE } from "../../src/brokers/redis/envelope.ts";
import { exchangeNamed, queueNamed } from "../../src/brokers/topology.ts";
import { needRedis } from "../support/redis.ts";
import { Deliveries, envelope, RedisWorld, SEP, toQueue, wire } from "../support/redis-broker.ts";
import { until } from "../support/until.ts";

const { skip } = await needRedis();
const HANG = { timeout: 60_000, skip };

describe("kombu's layout in Redis", HANG, () => {
  test("a queue is its binding until a message waits, and then a list for its step", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();

    await connection.declareQueue("q");
    assert.deepEqual(await world.keys(), ["_kombu.binding.q"]);
    assert.deepEqual(await world.raw.smembers(world.key("_kombu.binding.q")), [`q${SEP}${SEP}q`]);
    for (const priority of [0, 3, 5, 9, 200])
      await connection.publish(toQueue("q"), wire(`p${priority}`, { priority }));

    assert.deepEqual(await world.keys(), ["_kombu.binding.q", "q", `q${SEP}3`, `q${SEP}9`]);
    assert.equal(await connection.depth("q"), 5);
    const deliveries = await Deliveries.open(connection, "q");
    await deliveries.atLeast(5);
    assert.deepEqual(deliveries.texts, ["p0", "p3", "p5", "p9", "p200"]);
  });

  test("what is in hand is recorded as kombu records it, and gone when it is acknowledged", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("a"));
    const [raw = ""] = await world.list("q");

    const deliveries = await Deliveries.open(connection, "q");
    const [delivery] = await deliveries.atLeast(1);

    const { delivery_tag: tag } = (JSON.parse(raw) as { properties: { delivery_tag: string } }).properties;
    const record = JSON.parse((await world.raw.hget(world.key("unacked"), tag)) ?? "") as unknown[];
    assert.deepEqual(record, [JSON.parse(raw), "", "q"]);
    const [seconds = 0] = await world.raw.time();
    const score = Number(await world.raw.zscore(world.key("unacked_index"), tag));
    assert.ok(Math.abs(Number(seconds) - score) < 30, `${seconds} and ${score}`);
    await delivery?.ack();
    assert.deepEqual(await world.keys(), ["_kombu.binding.q"]);
  });

  test("all names are those that the options say", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect({
      sep: "|",
      priority_steps: [0, 5],
      unacked_key: "u",
      unacked_index_key: "ui",
    });
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("a", { priority: 7 }));
    assert.deepEqual(await world.keys(), ["_kombu.binding.q", "q|5"]);

    await (await Deliveries.open(connection, "q")).atLeast(1);

    assert.deepEqual(await world.keys(), ["_kombu.binding.q", "u", "ui"]);
  });

  test("the more urgent step goes first over all queues, and queues of one step take turns", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.setPrefetch(1);
    for (const queue of ["a", "b"]) await connection.declareQueue(queue);
    for (const [queue, priority] of [
      ["b", 9],
      ["a", 0],
      ["a", 0],
      ["b", 3],
      ["b", 0],
    ] as const) {
      await connection.publish(toQueue(queue), wire(`${queue}${priority}`, { priority }));
    }
    await connection.publish(toQueue("a"), wire("hold", { priority: 0 }));
    const seen: string[] = [];
    const onDelivery = (delivery: Deliveries["all"][0]) => {
      seen.push(Buffer.from(delivery.message.body).toString());
      void delivery.ack();
    };

    await connection.consume("a", onDelivery);
    await connection.consume("b", onDelivery);
    await until(() => seen.length === 6);

    assert.deepEqual(seen.slice(-2), ["b3", "b9"]);
    assert.ok(seen.indexOf("b0") < 3, seen.join());
  });

  test("a topic exchange sends to every queue that matches, each copy under a tag of its own", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    const exchange = exchangeNamed("media", { type: "topic" });
    await connection.declareQueue(queueNamed("one", { exchange, routingKey: "media.*.video" }));
    await connection.declareQueue(queueNamed("two", { exchange, routingKey: "media.#" }));
    const target = { exchange: "media", exchangeType: "topic" } as const;

    await connection.publish({ ...target, routingKey: "media.x.video" }, wire("both"));
    await connection.publish({ ...target, routingKey: "media.x" }, wire("second"));

    await assert.rejects(connection.publish({ ...target, routingKey: "x" }, wire("none")), { code: "ERR_UNROUTABLE" });
    await connection.publish({ ...target, routingKey: "x", unheard: true }, wire("none"));
    const [one, two] = [await world.list("one"), await world.list("two")];
    assert.deepEqual([one.length, two.length], [1, 2]);
    const tags = [...one, ...two].map((each) => JSON.parse(each).properties.delivery_tag as string);
    assert.equal(new Set(tags).size, 3);
    const deliveries = await Deliveries.open(connection, "one");
    const [delivery] = await deliveries.atLeast(1);
    assert.deepEqual([delivery?.exchange, delivery?.routingKey, delivery?.queue], ["media", "media.x.video", "one"]);
  });

  test("what nobody routes goes to the dead-letter queue, if there is one", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect({ deadletter_queue: "dead" });

    await connection.publish({ exchange: "nobody", routingKey: "x" }, wire("a"));
    await connection.publish(toQueue("nowhere"), wire("b"));

    assert.equal((await world.list("dead")).length, 2);
  });

  test("a queue with x-expires has that time with each message", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue(queueNamed("q", { arguments: { "x-expires": 60_000 } }));

    await connection.publish(toQueue("q"), wire("a", { priority: 3 }));

    const ms = await world.raw.pttl(world.key(`q${SEP}3`));
    assert.ok(ms > 0 && ms <= 60_000, String(ms));
  });

  test("an item that is too large to be carried is put aside, and those behind it come", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    await world.raw.lpush(world.key("q"), Buffer.alloc(65 * 1024 * 1024, "x"));
    await connection.publish(toQueue("q"), wire("small"));

    const deliveries = await Deliveries.open(connection, "q");
    await deliveries.atLeast(1);

    assert.deepEqual(deliveries.texts, ["small"]);
    assert.equal(await world.raw.llen(world.key(`q${SEP}too-large`)), 1);
    assert.ok(world.logged.some((text) => /68157440 bytes.*put aside/.test(text)));
  });

  test("a binding that cannot be read, and one of others, do no harm", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue(queueNamed("q", { exchange: exchangeNamed("e"), routingKey: "k" }));
    await world.raw.sadd(world.key("_kombu.binding.e"), "nonsense", `a${SEP}b`, `k${SEP}^(${SEP}broken`);

    await connection.publish({ exchange: "e", routingKey: "k" }, wire("a"));

    assert.equal((await world.list("q")).length, 1);
    assert.ok(world.logged.some((text) => /binding of exchange e/.test(text)));
  });

  test("exchanges of a kind that Redis has not are refused", async (t) => {
    const connection = await new RedisWorld(t).connect();
    const exchange = exchangeNamed("h", { type: "headers" });

    await assert.rejects(connection.declareExchange(exchange), { code: "ERR_INVALID_INPUT" });
    await assert.rejects(connection.declareQueue(queueNamed("q", { exchange })), { code: "ERR_QUEUE_REFUSED" });
    await assert.rejects(connection.publish({ exchange: "h", routingKey: "", exchangeType: "headers" }, wire("a")), {
      code: "ERR_INVALID_INPUT",
    });
  });
});

describe("fanout and reply queues in Redis", HANG, () => {
  test("a fanout exchange is heard by all that listen then, by pattern", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    const exchange = exchangeNamed(`ev-${crypto.randomUUID()}`, { type: "fanout" });
    const queue = (name: string, routingKey: string) => queueNamed(name, { exchange, routingKey, autoDelete: true });
    const heard: string[] = [];
    const hear = (name: string) => (message: { message: { body: Uint8Array }; routingKey: string; exchange: string }) =>
      void heard.push(
        `${name} ${Buffer.from(message.message.body)} ${message.routingKey} ${message.exchange === exchange.name}`,
      );
    const all = await connection.subscribe(queue("all", "#"), hear("all"));
    await connection.subscribe(queue("workers", "worker.#"), hear("workers"));
    const target = { exchange: exchange.name, exchangeType: "fanout" } as const;

    await connection.publish({ ...target, routingKey: "worker.online" }, wire("1"));
    await connection.publish({ ...target, routingKey: "task.sent" }, wire("2"));
    await until(() => heard.length === 3);
    await all.cancel();
    await connection.publish({ ...target, routingKey: "worker.offline" }, wire("3"));
    await until(() => heard.length === 4);

    assert.deepEqual(heard.toSorted(), [
      "all 1 worker.online true",
      "all 2 task.sent true",
      "workers 1 worker.online true",
      "workers 3 worker.offline true",
    ]);
    await assert.rejects(connection.publish({ ...target, routingKey: "task.sent" }, wire("4")), {
      code: "ERR_UNROUTABLE",
    });
    await connection.publish({ ...target, routingKey: "task.sent", unheard: true }, wire("5"));
    assert.deepEqual(await world.raw.smembers(world.key(`_kombu.binding.${exchange.name}`)), [
      `worker.#${SEP}${SEP}workers`,
    ]);
    await connection.close();
    assert.deepEqual(await world.keys(), []);
  });

  test("a reply queue is a list, read without acknowledgement and outside the window, and gone afterwards", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.setPrefetch(1);
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("in hand"));
    await (await Deliveries.open(connection, "q")).atLeast(1);
    const exchange = exchangeNamed("reply.celery.pidbox", { durable: false });
    const queue = queueNamed("oid.reply.celery.pidbox", { exchange, routingKey: "oid", autoDelete: true });
    const heard: string[] = [];
    const consumer = await connection.subscribe(
      queue,
      ({ message }) => void heard.push(String(Buffer.from(message.body))),
    );
    assert.deepEqual(await world.raw.smembers(world.key("_kombu.binding.reply.celery.pidbox")), [
      `oid${SEP}${SEP}oid.reply.celery.pidbox`,
    ]);

    for (const text of ["1", "2"]) {
      await connection.publish({ exchange: exchange.name, routingKey: "oid" }, wire(text));
    }
    await until(() => heard.length === 2);

    assert.deepEqual(heard, ["1", "2"]);
    assert.equal(await world.raw.hlen(world.key("unacked")), 1);
    await consumer.cancel();
    await connection.publish({ exchange: exchange.name, routingKey: "oid", unheard: true }, wire("late"));
    assert.deepEqual(await world.keys(), ["_kombu.binding.q", "unacked", "unacked_index"]);
  });

  test("a broadcast queue is consumed with a window, and its messages can be settled", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.setPrefetch(2);
    const exchange = exchangeNamed("all-hands", { type: "fanout" });
    const queue = queueNamed("mine", { exchange, routingKey: "", autoDelete: true });
    await connection.declareQueue(queue);
    const deliveries = await Deliveries.open(connection, queue);
    const target = { exchange: "all-hands", routingKey: "", exchangeType: "fanout" } as const;

    for (const text of ["1", "2", "3"]) await connection.publish(target, wire(text));
    const [first, second] = await deliveries.atLeast(2);
    await sleep(0);
    assert.equal(deliveries.all.length, 2);
    await first?.requeue();
    await second?.ack();
    await deliveries.atLeast(4);

    assert.deepEqual(deliveries.texts.toSorted(), ["1", "1", "2", "3"]);
    assert.equal(deliveries.all.filter(({ redelivered }) => redelivered).length, 1);
  });
});

describe("items that are none of kombu's", HANG, () => {
  test("reach the consumer whole, among good ones, and are settled like them", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    const foreign = [
      "not json",
      "[1]",
      "5",
      '{"headers": 7}',
      "",
      JSON.stringify(envelope("x", {}, { body_encoding: "rot13" })),
    ];
    const items: (string | Buffer)[] = [
      JSON.stringify(envelope("good")),
      ...foreign,
      Buffer.from([0xff, 0x00, 0x80]),
      JSON.stringify(envelope("no tag", {}, { delivery_tag: undefined })),
      JSON.stringify(envelope("tag is a number", {}, { delivery_tag: 7 })),
      JSON.stringify(envelope("no info", {}, { delivery_info: null })),
      JSON.stringify(envelope("no properties", { properties: undefined, body: "plain" })),
      JSON.stringify(envelope("last")),
    ];
    for (const item of items) await world.raw.lpush(world.key("q"), item);

    const deliveries = await Deliveries.open(connection, "q");
    await deliveries.atLeast(items.length);

    const kinds = deliveries.all.map(({ message }) => message.properties.contentType === FOREIGN_TYPE);
    assert.deepEqual(kinds, [false, ...foreign.map(() => true), true, false, false, false, false, false]);
    assert.deepEqual(
      deliveries.all.filter((_, i) => kinds[i]).map(({ message }) => Buffer.from(message.body)),
      [...foreign, Buffer.from([0xff, 0x00, 0x80])].map((item) => Buffer.from(item)),
    );
    const records = await world.raw.hvals(world.key("unacked"));
    assert.equal(records.length, items.length);
    for (const record of records) {
      const [message, exchange, key] = JSON.parse(record) as [Record<string, unknown>, string, string];
      // What kombu does with a record when it gives a message back.
      assert.equal(typeof (message.headers ?? {}), "object");
      assert.deepEqual([typeof exchange, typeof key], ["string", "string"]);
    }
    await Promise.all(deliveries.all.map((delivery) => delivery.requeue()));
    await deliveries.atLeast(items.length * 2);
    const again = deliveries.all.slice(items.length);
    assert.ok(again.every(({ redelivered }) => redelivered));
    assert.equal(
      again.filter(({ message }) => message.properties.contentType === FOREIGN_TYPE).length,
      foreign.length + 1,
    );
    for (const delivery of again) await delivery.reject();
    assert.deepEqual(await world.keys(), ["_kombu.binding.q"]);
  });

  test("two messages of one tag are two: neither is forgotten with the other", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    for (const text of ["a", "b"]) {
      await world.raw.lpush(world.key("q"), JSON.stringify(envelope(text, {}, { delivery_tag: "same" })));
    }

    const deliveries = await Deliveries.open(connection, "q");
    const [first] = await deliveries.atLeast(2);
    await first?.ack();

    assert.equal(await world.raw.hlen(world.key("unacked")), 1);
    await connection.close();
    assert.equal((await world.list("q")).length, 1);
    assert.match((await world.list("q"))[0] ?? "", /"id": ?"b"/);
  });

  test("a key that is no list stops its queue and no other, and says so", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    for (const queue of ["bad", "good"]) await connection.declareQueue(queue);
    await world.raw.set(world.key("bad"), "text");
    const [bad, good] = [await Deliveries.open(connection, "bad"), await Deliveries.open(connection, "good")];

    await connection.publish(toQueue("good"), wire("a"));
    await good.atLeast(1);
    await assert.rejects(connection.publish(toQueue("bad"), wire("b")), {
      code: "ERR_BROKER_UNAVAILABLE",
      message: /WRONGTYPE/,
    });
    assert.ok(world.logged.some((text) => /bad.*is no list/.test(text)));
    await world.raw.del(world.key("bad"));
    await connection.publish(toQueue("bad"), wire("c"));
    await bad.atLeast(1);

    assert.deepEqual(bad.texts, ["c"]);
  });
});
