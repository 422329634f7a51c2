/** The broker in a file between processes: who is woken, and what becomes of the messages of a process that dies. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { BrokerConnection, Delivery } from "../../src/brokers/broker.ts";
import { openSqliteBroker, type SqliteBroker } from "../../src/brokers/sqlite.ts";
import { atEnd } from "../support/cleanup.ts";
import { startNode } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const CHILD = join(import.meta.dirname, "../support/apps/broker-process.ts");

async function setup(t: TestContext): Promise<{ file: string; broker: SqliteBroker; connection: BrokerConnection }> {
  const file = join(await tempDir(t), "broker.db");
  const broker = await openSqliteBroker(file);
  atEnd(t, () => broker.close());
  return { file, broker, connection: await broker.connect({ name: "test", timeoutMs: 20_000 }) };
}

const start = (t: TestContext, ...args: string[]) => startNode(t, CHILD, { args });

/** Deliveries one by one. */
async function consume(connection: BrokerConnection, queue: string): Promise<() => Promise<Delivery>> {
  const arrived: Delivery[] = [];
  const takers: ((delivery: Delivery) => void)[] = [];
  await connection.consume(queue, (delivery) => {
    const taker = takers.shift();
    if (taker === undefined) arrived.push(delivery);
    else taker(delivery);
  });
  return () =>
    new Promise((resolve) => {
      const delivery = arrived.shift();
      if (delivery === undefined) takers.push(resolve);
      else resolve(delivery);
    });
}

const text = (delivery: Delivery) => Buffer.from(delivery.message.body).toString();
const to = (queue: string) => ({ exchange: "", routingKey: queue });
const message = (body: string) => ({ body: Buffer.from(body), properties: {}, headers: {} });

test("what another process publishes reaches a consumer that was idle", async (t) => {
  const { file, connection } = await setup(t);
  await connection.declareQueue("q");
  const next = await consume(connection, "q");

  const publisher = start(t, file, "publish", "q", "first", "second", "třetí 🐎");
  const got = [await next(), await next(), await next()];

  assert.deepEqual(got.map(text), ["first", "second", "třetí 🐎"]);
  assert.deepEqual(await publisher.ended, { status: 0, signal: null });
  await Promise.all(got.map((delivery) => delivery.ack()));
  assert.equal(await connection.depth("q"), 0);
});

test("what a killed process held goes to another one, marked, and what it had acknowledged does not", async (t) => {
  const { file, broker, connection } = await setup(t);
  await connection.declareQueue("q");
  for (const each of ["a", "b", "c"]) await connection.publish(to("q"), message(each));
  const other = start(t, file, "consume", "q", "2");
  await other.waitForLine(/^got a$/);
  await other.waitForLine(/^got b$/);
  const next = await consume(connection, "q");
  const free = await next();
  assert.equal(text(free), "c");
  assert.equal(free.redelivered, false);

  await other.kill9();
  const back = [await next(), await next()];

  assert.deepEqual(back.map(text), ["a", "b"]);
  assert.ok(back.every((delivery) => delivery.redelivered));
  await Promise.all([free, ...back].map((delivery) => delivery.ack()));
  await connection.close();
  const later = await broker.connect({ name: "later", timeoutMs: 20_000 });
  assert.equal(await later.depth("q"), 0);
});

test("the next process that connects has at once what a killed one held", async (t) => {
  const file = join(await tempDir(t), "broker.db");
  const first = start(t, file, "publish", "q", "kept");
  await first.ended;
  const second = start(t, file, "consume", "q");
  await second.waitForLine(/^got kept$/);
  await second.kill9();

  const broker = await openSqliteBroker(file);
  atEnd(t, () => broker.close());
  const connection = await broker.connect({ name: "test", timeoutMs: 20_000 });
  const delivery = await (await consume(connection, "q"))();

  assert.equal(text(delivery), "kept");
  assert.equal(delivery.redelivered, true);
  await delivery.ack();
});

test("two processes that consume one queue get each message once", async (t) => {
  const { file, connection } = await setup(t);
  await connection.declareQueue("q");
  const consumers = [start(t, file, "consume", "q", "0"), start(t, file, "consume", "q", "0")];
  await Promise.all(consumers.map((consumer) => consumer.waitForLine(/^consuming$/)));

  await Promise.all(Array.from({ length: 200 }, (_, i) => connection.publish(to("q"), message(String(i)))));
  const seen = () => consumers.flatMap((consumer) => consumer.lines.filter((line) => line.startsWith("got ")));
  for (let i = 0; i < 200; i += 1)
    await Promise.any(consumers.map((consumer) => consumer.waitForLine(new RegExp(`^got ${i}$`))));

  assert.equal(new Set(seen()).size, 200);
  assert.equal(seen().length, 200);
});
