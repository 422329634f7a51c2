/** Several brokers as one: the next is used when one cannot be, and who is left says why. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Broker, BrokerConnection } from "../../../src/brokers/broker.ts";
import { BrokerUnavailableError } from "../../../src/brokers/errors.ts";
import { failover } from "../../../src/brokers/failover.ts";
import { openMemoryBroker } from "../../../src/brokers/memory.ts";

const OPTIONS = { name: "t", timeoutMs: 100 };

/** One that can be taken down. */
async function broker(name: string, asked: string[]): Promise<Broker & { up: boolean; open: boolean }> {
  const { traits, ...memory } = await openMemoryBroker(`memory://${name}`).then((each) => ({
    traits: each.traits,
    connect: (): Promise<BrokerConnection> => each.connect(OPTIONS),
    close: () => each.close(),
  }));
  const made: Broker & { up: boolean; open: boolean } = {
    url: name,
    traits,
    up: true,
    open: true,
    async connect() {
      asked.push(name);
      if (!made.up) throw new BrokerUnavailableError(`${name} is away`);
      return memory.connect();
    },
    async close() {
      made.open = false;
      await memory.close();
    },
  };
  return made;
}

async function three() {
  const asked: string[] = [];
  const brokers = [await broker("a", asked), await broker("b", asked), await broker("c", asked)] as const;
  return { asked, brokers };
}

describe("several brokers", () => {
  test("are tried in order, from the one that was used last", async () => {
    const { asked, brokers } = await three();
    const [a, b] = brokers;
    const all = failover(brokers);
    assert.equal(all.url, "a;b;c");
    await all.connect(OPTIONS);
    a.up = false;
    await all.connect(OPTIONS);
    a.up = true;
    await all.connect(OPTIONS);
    b.up = false;
    await all.connect(OPTIONS);
    assert.equal(asked.join(""), "aabbbc");
    await all.close();
    assert.ok(brokers.every((each) => !each.open));
  });

  test("that are all away say each why", async () => {
    const { brokers } = await three();
    for (const each of brokers) each.up = false;
    await assert.rejects(failover(brokers).connect(OPTIONS), {
      code: "ERR_BROKER_UNAVAILABLE",
      message: "none of 3 brokers can be used: a is away; b is away; c is away",
    });
  });

  test("are tried in any order where that is asked for, each once", async () => {
    const { asked, brokers } = await three();
    for (const each of brokers) each.up = false;
    const numbers = [0.9, 0.1, 0.5];
    const all = failover(brokers, { strategy: "shuffle", random: () => numbers.shift() ?? 0 });
    await assert.rejects(all.connect(OPTIONS));
    assert.equal(asked.join(""), "bca");
  });

  test("that are one are that one", async () => {
    const one = await broker("only", []);
    assert.equal(failover([one]), one);
  });
});
