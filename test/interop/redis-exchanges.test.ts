/** kombu's exchanges on Redis, declared and used by kombu itself on one side, and by us on the other; with a key prefix. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { exchangeNamed, queueNamed } from "../../src/brokers/topology.ts";
import { needCelery, startPython } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { Deliveries, RedisWorld, toQueue, wire } from "../support/redis-broker.ts";
import { until } from "../support/until.ts";

const { skip: noRedis } = needRedisServer();
const { skip: noCelery } = await needCelery();
const HANG = { timeout: 90_000, skip: noRedis || noCelery };

/** Declares, says "ready", publishes what comes on standard input, and prints what it consumes. */
const KOMBU = `
import json, os, socket, sys, threading
from kombu import Connection, Exchange, Queue, Consumer, Producer

url, prefix = sys.argv[1:3]
topic = Exchange("media", type="topic")
direct = Exchange("post", type="direct")
fanout = Exchange("news", type="fanout")
queues = [
    Queue("py-video", topic, routing_key="media.*.video"),
    Queue("py-letters", direct, routing_key="letters"),
    Queue("py-news", fanout, routing_key="#", auto_delete=True),
]
connection = Connection(url, transport_options={"global_keyprefix": prefix})

def seen(body, message):
    info = message.delivery_info
    print(json.dumps(["seen", body, info["exchange"], info["routing_key"], message.headers, bool(info.get("redelivered"))]), flush=True)
    message.ack()

publisher = Connection(url, transport_options={"global_keyprefix": prefix})
def publish():
    producer = Producer(publisher.channel())
    for line in sys.stdin:
        exchange, key, body = json.loads(line)
        producer.publish(body, exchange={"media": topic, "post": direct, "news": fanout, "": ""}[exchange], routing_key=key,
            serializer="json", declare=[topic, direct, fanout], headers={"from": "kombu"}, priority=4)

with Consumer(connection.channel(), queues=queues, callbacks=[seen], accept=["json"]):
    print("ready", flush=True)
    threading.Thread(target=publish, daemon=True).start()
    while True:
        try:
            connection.drain_events(timeout=1)
        except socket.timeout:
            pass
`;

describe("kombu's exchanges on Redis", HANG, () => {
  test("carry messages both ways: default, direct, topic and fanout, under a prefix", async (t) => {
    const server = await startRedis(t);
    const world = new RedisWorld(t, `${server.url}/3`, "shop:");
    const python = await startPython(t, { args: ["-c", KOMBU, world.url, world.prefix], keepInput: true });
    await python.waitForLine(/^ready/);
    const connection = await world.connect();
    const exchange = exchangeNamed("media", { type: "topic" });
    const video = queueNamed("ts-video", { exchange, routingKey: "media.#" });
    const letters = queueNamed("ts-letters", { exchange: exchangeNamed("post"), routingKey: "letters" });
    for (const queue of [video, letters, "ts-own"]) await connection.declareQueue(queue);
    const inboxes = await Promise.all([video, letters, "ts-own"].map((queue) => Deliveries.open(connection, queue)));
    const news: string[] = [];
    const fanout = exchangeNamed("news", { type: "fanout" });
    await connection.subscribe(
      queueNamed("ts-news", { exchange: fanout, routingKey: "a.#", autoDelete: true }),
      (heard) => {
        news.push(`${Buffer.from(heard.message.body)} ${heard.exchange} ${heard.routingKey}`);
      },
    );

    for (const sent of [
      ["media", "media.x.video", "film"],
      ["post", "letters", "letter"],
      ["", "ts-own", "žluť"],
      ["news", "a.b", "extra"],
    ]) {
      python.write(`${JSON.stringify(sent)}\n`);
    }
    await Promise.all(inboxes.map((inbox) => inbox.atLeast(1)));
    await until(() => news.length === 1);

    assert.deepEqual(
      inboxes.map(({ all: [first] }) => [
        JSON.parse(Buffer.from(first?.message.body ?? []).toString()),
        first?.exchange,
        first?.routingKey,
        first?.message.headers.from,
        first?.message.properties.priority,
      ]),
      [
        ["film", "media", "media.x.video", "kombu", 4],
        ["letter", "post", "letters", "kombu", 4],
        ["žluť", "", "ts-own", "kombu", 4],
      ],
    );
    assert.deepEqual(news, ['"extra" news a.b']);
    await Promise.all(inboxes.map(({ all: [first] }) => first?.ack()));

    const body = (text: string) => ({
      ...wire(JSON.stringify(text)),
      headers: { from: "lovage", big: 2 ** 40, list: [] },
    });
    await connection.publish({ exchange: "media", routingKey: "media.y.video", exchangeType: "topic" }, body("film 2"));
    await connection.publish({ exchange: "post", routingKey: "letters" }, body("letter 2"));
    await connection.publish({ exchange: "news", routingKey: "c", exchangeType: "fanout" }, body("extra 2"));
    // Empty, and bound to another exchange than that of its name: nothing in Redis says that it is there.
    await connection.declareQueue(queueNamed("py-letters", { noDeclare: true }));
    await connection.publish(toQueue("py-letters"), body("to the queue"));
    const seenBy = () =>
      python.lines
        .filter((line) => line.startsWith("["))
        .map((line) => JSON.parse(line) as [string, string, string, string, object]);
    await until(() => seenBy().filter(([, text]) => /2|queue/.test(text)).length === 4);

    const ours = seenBy().filter(([, text]) => /2|queue/.test(text));
    assert.deepEqual(ours.map(([, text, name, key]) => [text, name, key]).toSorted(), [
      ["extra 2", "news", "c"],
      ["film 2", "media", "media.y.video"],
      ["letter 2", "post", "letters"],
      ["to the queue", "", "py-letters"],
    ]);
    for (const [, , , , headers] of ours) assert.deepEqual(headers, { from: "lovage", big: 2 ** 40, list: [] });
    assert.ok((await world.raw.keys("*")).every((key) => key.startsWith("shop:")));
  });
});
