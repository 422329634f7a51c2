import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { openMemoryBroker } from "../../src/brokers/memory.ts";
import { brokerConformance } from "../../src/testing/broker-conformance.ts";

brokerConformance("memory", { fanout: false }, async () => {
  const broker = await openMemoryBroker(`memory://${randomUUID()}`);
  return { broker, keepsPlace: true, sever: () => broker.sever(), close: () => broker.close() };
});

const OPTIONS = { name: "test", timeoutMs: 1_000 };
const wire = (text: string, priority?: number) => ({
  body: Buffer.from(text),
  properties: priority === undefined ? {} : { priority },
  headers: {},
});

test("brokers of one URL share their queues, those of another do not", async () => {
  const url = `memory://${randomUUID()}`;
  const [one, two, other] = await Promise.all([url, url, `${url}-other`].map(openMemoryBroker));
  assert.ok(one && two && other);
  const publishing = await one.connect(OPTIONS);
  await publishing.declareQueue("q");
  await publishing.publish({ exchange: "", routingKey: "q" }, wire("x"));

  assert.equal(await (await two.connect(OPTIONS)).depth("q"), 1);
  assert.equal(await (await other.connect(OPTIONS)).depth("q"), undefined);

  await Promise.all([one, two, other].map((broker) => broker.close()));
  const later = await openMemoryBroker(url);
  assert.equal(await (await later.connect(OPTIONS)).depth("q"), 1, "closing the last handle loses no message");
  await (await later.connect(OPTIONS)).purge("q");
  await later.close();
});

test("a URL that is not the memory broker's is refused by name", async () => {
  for (const url of ["amqp://localhost", "memory://x?y", "memoryx"]) {
    await assert.rejects(openMemoryBroker(url), { code: "ERR_INVALID_INPUT", message: /memory:\/\/name/ });
  }
});
