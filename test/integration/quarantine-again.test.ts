/** What an operator does with refused messages: mends the cause and sends them again, or drops them. On the embedded file. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Quarantined } from "lovage";
import { type Interop, interop } from "../support/interop.ts";

const EMBED = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}';

async function send(world: Interop, task: string, id: string, body: string, more: Record<string, unknown> = {}) {
  const client = world.client();
  await client.producer.publish(
    { exchange: "", routingKey: world.queue },
    {
      body: Buffer.from(body),
      properties: { contentType: "application/json", contentEncoding: "utf-8", expiration: "0" },
      headers: { task, id, ...more },
    },
  );
  return client;
}

async function kept(world: Interop, count: number): Promise<Quarantined[]> {
  const quarantine = world.client().quarantine;
  while ((await quarantine.count()) !== count) await wait(20);
  const records: Quarantined[] = [];
  for await (const each of quarantine.list()) records.push(each);
  return records;
}

describe("a refused message", () => {
  test("is sent again as it came when its cause is mended, and leaves the quarantine", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const worker = await world.worker();
    const [unknown, broken] = [randomUUID(), randomUUID()];
    const client = await send(world, "demo.renamed", unknown, `[["ahoj 🐎"], {"n": NaN}, ${EMBED}]`, { "x-own": 7 });
    await send(world, "demo.foo", broken, "[1, 2]");
    const [second, first] = await kept(world, 2);
    assert.deepEqual([first?.code, second?.code], ["ERR_UNKNOWN_TASK", "ERR_BODY_SHAPE"]);
    assert.equal((await client.result(unknown).status()) as string, "FAILURE");

    const sent = await world.cli("quarantine", "retry", "--all", "--task", "demo.renamed", "--to", "elsewhere");
    assert.equal(sent.stdout, `${first?.id}: sent to queue elsewhere\n1 of 1`);
    const again = await world.worker({ TEST_ALSO: "demo.renamed" }, "-Q", "elsewhere", "-n", "second");
    // Until then it says that the task is not registered.
    while ((await client.result(unknown).status()) !== "SUCCESS") await wait(20);
    assert.deepEqual(await client.result(unknown).get(), ["ahoj 🐎", null, 7]);
    assert.equal(await client.quarantine.count(), 1);

    const refused = await world.cli("quarantine", "retry", second?.id ?? "");
    assert.equal(refused.status, 0, refused.stderr);
    const [third] = await kept(world, 1);
    assert.notEqual(third?.id, second?.id, "it is refused again, and kept again");
    await again.stop();
    await worker.stop();
  });

  test("is dropped by its id, by what it is, or with all others; what is not there is told", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    const worker = await world.worker();
    for (const task of ["demo.a", "demo.b", "demo.b", "demo.foo"]) await send(world, task, randomUUID(), "[]");
    const records = await kept(world, 4);
    const [first = { id: "" }] = records.slice(-1);

    const dropped = await world.cli("quarantine", "drop", first.id, "000000099999");
    assert.equal(dropped.stdout, `${first.id}: dropped`);
    assert.match(dropped.stderr, /no message "000000099999" is in quarantine/);
    assert.equal(dropped.status, 1);
    const some = await world.cli("quarantine", "drop", "--all", "--code", "ERR_BODY_SHAPE");
    assert.match(some.stdout, /\n3 of 3$/);
    assert.equal((await world.cli("quarantine", "list")).stdout, "quarantine is empty");
    for (const args of [["drop"], ["drop", "1", "--all"], ["retry"], ["retry", "1", "--code", "X"]]) {
      assert.equal((await world.cli("quarantine", ...args)).status, 2, args.join(" "));
    }
    const limited = await world.cli("quarantine", "list", "--limit", "0");
    assert.equal(limited.status, 0);
    await worker.stop();
  });
});
