/** What is in hand, and what becomes of it when nobody, somebody or somebody else holds it: kombu's visibility timeout from both sides. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { exchangeNamed, queueNamed } from "../../src/brokers/topology.ts";
import { needRedis } from "../support/redis.ts";
import { Deliveries, envelope, RedisWorld, SEP, toQueue, wire } from "../support/redis-broker.ts";
import { until } from "../support/until.ts";

const { skip } = await needRedis();
const HANG = { timeout: 60_000, skip };

/** Seconds. */
const SHORT = { visibility_timeout: 1, unacked_restore_interval: 0.2, unacked_restore_throttle: 1 };

type Given = Parameters<typeof envelope>[1];

/** A record that a worker left which is gone since. */
async function left(world: RedisWorld, text: string, age: number, given: Given = {}, properties: Given = {}) {
  const message = envelope(text, given, properties);
  const info = (message.properties as { delivery_info: { exchange: string; routing_key: string } }).delivery_info;
  const tag = `tag-${text}`;
  const [seconds = 0] = await world.raw.time();
  await world.raw.hset(world.key("unacked"), tag, JSON.stringify([message, info.exchange, info.routing_key]));
  await world.raw.zadd(world.key("unacked_index"), Number(seconds) - age, tag);
  return tag;
}

describe("what other workers left in hand", HANG, () => {
  test("comes back when a consumer starts, the oldest first, marked; what is not old enough stays", async (t) => {
    const world = new RedisWorld(t);
    for (const [text, age] of [
      ["old", 5_000],
      ["older", 6_000],
      ["fresh", 3_000],
    ] as const)
      await left(world, text, age);
    const connection = await world.connect();
    await connection.declareQueue("q");

    const deliveries = await Deliveries.open(connection, "q");
    await deliveries.atLeast(2);

    assert.deepEqual(deliveries.texts, ["older", "old"]);
    assert.ok(deliveries.all.every(({ redelivered }) => redelivered));
    assert.deepEqual((await world.raw.hkeys(world.key("unacked"))).toSorted(), ["tag-fresh", "tag-old", "tag-older"]);
    await until(async () => (await world.raw.exists(world.key("unacked_mutex"))) === 0);
    await Promise.all(deliveries.all.map((delivery) => delivery.ack()));
    assert.deepEqual(await world.raw.hkeys(world.key("unacked")), ["tag-fresh"]);
  });

  test("goes to the queues of its exchange, at its priority; what has none stays and is told", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect(SHORT);
    await connection.declareQueue(queueNamed("bound", { exchange: exchangeNamed("e"), routingKey: "k" }));
    await connection.declareQueue("other");
    const info = (exchange: string) => ({ delivery_info: { exchange, routing_key: "k" } });
    await left(world, "a", 100, {}, { ...info("e"), priority: 5 });
    await left(world, "b", 100, {}, info("nobody's"));

    await Deliveries.open(connection, "other");
    await until(async () => (await world.list(`bound${SEP}3`)).length === 1);

    assert.match((await world.list(`bound${SEP}3`))[0] ?? "", /"redelivered": true/);
    await until(() => world.logged.some((text) => /nobody's has no queue/.test(text)));
    assert.deepEqual(await world.raw.hkeys(world.key("unacked")), ["tag-b"]);
  });

  test("waits while another holds kombu's lock; a lock without an end is given one", async (t) => {
    const world = new RedisWorld(t);
    await left(world, "a", 100);
    await world.raw.set(world.key("unacked_mutex"), "another's", "PX", 60_000);
    const connection = await world.connect({ ...SHORT, unacked_mutex_expire: 0.5 });
    await connection.declareQueue("q");
    const deliveries = await Deliveries.open(connection, "q");
    await connection.publish(toQueue("q"), wire("b"));
    await deliveries.atLeast(1);
    assert.deepEqual(deliveries.texts, ["b"], "not while it is held");

    await world.raw.set(world.key("unacked_mutex"), "for ever");
    await deliveries.atLeast(2);

    assert.deepEqual(deliveries.texts, ["b", "a"]);
  });

  test("is looked through to its end, whatever lies before, and repaired where half of it is missing", async (t) => {
    const world = new RedisWorld(t);
    for (let i = 0; i < 150; i += 1) {
      await world.raw.hset(world.key("unacked"), `broken-${i}`, i % 2 === 0 ? "no JSON" : "[1, 2]");
      await world.raw.zadd(world.key("unacked_index"), 1_000_000 + i, `broken-${i}`);
    }
    await left(world, "behind", 1_000_000_000);
    await world.raw.zadd(world.key("unacked_index"), 1_000, "only-index");
    await world.raw.hset(world.key("unacked"), "only-record", JSON.stringify([envelope("adopted"), "", "q"]));
    await world.raw.hset(world.key("unacked"), "only-record-2", JSON.stringify([envelope("adopted 2"), "", "q"]));
    const connection = await world.connect(SHORT);
    await connection.declareQueue("q");

    const deliveries = await Deliveries.open(connection, "q");
    await deliveries.atLeast(3);

    assert.deepEqual(deliveries.texts.toSorted(), ["adopted", "adopted 2", "behind"]);
    assert.equal(await world.raw.zscore(world.key("unacked_index"), "only-index"), null);
    assert.ok(world.logged.some((text) => /cannot be read, and stays/.test(text)));
    assert.ok(world.logged.some((text) => /had no time of their own/.test(text)));
    await Promise.all(deliveries.all.map((delivery) => delivery.ack()));
    assert.equal(await world.raw.hlen(world.key("unacked")), 150);
  });

  test("of ten thousand comes back whole", async (t) => {
    const world = new RedisWorld(t);
    const many = Array.from({ length: 10_000 }, (_, i) => `m${i}`);
    const pipeline = world.raw.pipeline();
    for (const [i, text] of many.entries()) {
      pipeline.hset(world.key("unacked"), `tag-${text}`, JSON.stringify([envelope(text), "", "q"]));
      pipeline.zadd(world.key("unacked_index"), 1_000 + i, `tag-${text}`);
    }
    await pipeline.exec();
    const connection = await world.connect();
    await connection.declareQueue("q");
    const seen = new Set<string>();
    const order: string[] = [];
    await connection.consume("q", (delivery) => {
      const text = Buffer.from(delivery.message.body).toString();
      seen.add(text);
      order.push(text);
      void delivery.ack();
    });

    await until(() => seen.size === many.length);

    assert.equal(order.length, many.length);
    await until(async () => (await world.raw.exists(world.key("unacked"), world.key("unacked_index"))) === 0);
  });
});

describe("what we have in hand", HANG, () => {
  test("is refreshed for as long as we hold it, so that nobody gives it back", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect(SHORT);
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("a"));
    const deliveries = await Deliveries.open(connection, "q");
    const [delivery] = await deliveries.atLeast(1);
    const [tag = ""] = await world.raw.hkeys(world.key("unacked"));
    const score = async () => Number(await world.raw.zscore(world.key("unacked_index"), tag));
    const first = await score();
    // Another worker, which looks for what others left five times a second.
    const other = await Deliveries.open(await world.connect(SHORT), "q");

    await until(async () => (await score()) > first + 4);

    assert.deepEqual([deliveries.all.length, other.all.length], [1, 0]);
    await delivery?.ack();
    assert.deepEqual(await world.keys(), ["_kombu.binding.q"]);
  });

  test("and was given back by somebody else, is taken out of its list again when it is done", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("a"));
    const deliveries = await Deliveries.open(connection, "q");
    const [delivery] = await deliveries.atLeast(1);
    await deliveries.consumer.cancel();
    await connection.publish(toQueue("q"), wire("b"));
    await givenBack(world);
    assert.equal((await world.list("q")).length, 2);

    await delivery?.ack();

    assert.deepEqual(
      (await world.list("q")).map((raw) => JSON.parse(raw).headers.id),
      ["b"],
    );
    assert.ok(world.logged.some((text) => /taken out of its list again/.test(text)));
  });

  test("and was given back by somebody else, is not delivered twice when it comes to us again", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("a"));
    const deliveries = await Deliveries.open(connection, "q");
    const [delivery] = await deliveries.atLeast(1);

    await givenBack(world);
    await until(async () => (await world.raw.hlen(world.key("unacked"))) === 1);
    await connection.publish(toQueue("q"), wire("b"));
    await deliveries.atLeast(2);

    assert.deepEqual(deliveries.texts, ["a", "b"]);
    await Promise.all([delivery?.ack(), deliveries.all[1]?.ack()]);
    assert.deepEqual(await world.keys(), ["_kombu.binding.q"]);
  });

  test("and is somebody else's now, is his: our acknowledgement does not touch it", async (t) => {
    const world = new RedisWorld(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("a"));
    const deliveries = await Deliveries.open(connection, "q");
    const [delivery] = await deliveries.atLeast(1);
    await deliveries.consumer.cancel();
    await givenBack(world);
    const theirs = await Deliveries.open(await world.connect(), "q");
    const [other] = await theirs.atLeast(1);
    assert.equal(other?.redelivered, true);

    await delivery?.ack();
    assert.equal(await world.raw.hlen(world.key("unacked")), 1, "still recorded for whoever runs it");
    await connection.close();
    assert.equal(await world.raw.hlen(world.key("unacked")), 1);
    await other?.ack();

    assert.deepEqual(await world.keys(), ["_kombu.binding.q"]);
  });

  test("and what was acknowledged is not mixed up by a refresh at the same moment", async (t) => {
    const world = new RedisWorld(t);
    // A quarter of it between two refreshes; long enough that a machine that stands still for a moment gives nothing back.
    const connection = await world.connect({ ...SHORT, visibility_timeout: 2 });
    await connection.declareQueue("q");
    const texts = Array.from({ length: 200 }, (_, i) => String(i));
    const seen: string[] = [];
    await connection.setPrefetch(50);
    await connection.consume("q", (delivery) => {
      seen.push(Buffer.from(delivery.message.body).toString());
      setTimeout(() => void delivery.ack(), Math.random() * 1_500);
    });

    await Promise.all(texts.map((text) => connection.publish(toQueue("q"), wire(text))));
    await until(() => new Set(seen).size === texts.length);
    await until(async () => (await world.keys()).join() === "_kombu.binding.q");

    assert.equal(seen.length, texts.length, "none came twice");
  });
});

/** As kombu restores a message. */
async function givenBack(world: RedisWorld): Promise<void> {
  for (const [tag, record] of Object.entries(await world.raw.hgetall(world.key("unacked")))) {
    const [message, , key] = JSON.parse(record) as [ReturnType<typeof envelope>, string, string];
    Object.assign(message.headers, { redelivered: true });
    Object.assign(message.properties.delivery_info, { redelivered: true });
    await world.raw
      .multi()
      .zrem(world.key("unacked_index"), tag)
      .hdel(world.key("unacked"), tag)
      .rpush(world.key(key), JSON.stringify(message))
      .exec();
  }
}
