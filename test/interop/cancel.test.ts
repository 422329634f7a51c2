/** Cancel from everywhere: one schedule, one truthful answer. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { AsyncResult } from "lovage";
import { interop } from "../support/interop.ts";
import { needRabbitmq } from "../support/servers.ts";

const { skip: noRabbitmq } = await needRabbitmq();

/** Seconds: long enough for a command line to start on a busy machine. */
const LATER = 8;

for (const [name, broker, skip] of [
  ["the embedded file", "sqlite", false],
  ["RabbitMQ", undefined, noRabbitmq],
] as const) {
  describe(`cancel, with a worker on ${name}`, { skip }, () => {
    test("from its own sub-process, a sibling, a client and the command line: cancelled, and none fires", async (t) => {
      const world = await interop(t, broker === undefined ? {} : { broker });
      const worker = await world.worker();
      const client = world.client();

      const own = await world.call<{ id: string; answer: string }>(client, "demo.changeMind", LATER, "own");
      const bySibling = await world.call<{ id: string; pid: number }>(client, "demo.plan", LATER, "sibling");
      const byClient = await world.call<{ id: string }>(client, "demo.plan", LATER, "client");
      const byCli = await world.call<{ id: string }>(client, "demo.plan", LATER, "cli");

      await world.call(client, "demo.plan", LATER, "by-key");

      const sibling = await cancelFrom(world, client, bySibling.id, bySibling.pid);
      assert.equal(sibling.answer, "cancelled");
      assert.notEqual(sibling.pid, bySibling.pid);
      assert.equal(own.answer, "cancelled");
      assert.equal(await client.schedule.cancel(byClient.id), "cancelled");
      const cli = await world.cli("schedule", "cancel", byCli.id);
      assert.deepEqual([cli.stdout, cli.status], ["cancelled", 0]);
      assert.equal(await client.schedule.cancel("by-key"), "cancelled");
      assert.equal(await client.schedule.cancel("by-key"), "cancelled", "the same promise again");

      // A callback that is due after all of them has run: none of them did.
      const last = await client.schedule.callAfter(LATER + 0.5, client.signature("demo.scream", { args: ["last"] }));
      await last.result.get({ timeout: 60 });
      assert.deepEqual(
        world.ledger.of("scream").map(([, word]) => word),
        ["last"],
      );
      await worker.stop();
    });

    test("while it runs: running; after it fired: finished; of what nobody knows: unknown", async (t) => {
      const world = await interop(t, broker === undefined ? {} : { broker });
      await world.worker();
      const client = world.client();
      const { id } = await world.call<{ id: string }>(client, "demo.plan", 0.2, "long", LATER);

      await world.ledger.waitFor(1, "scream", "long");
      assert.equal(await client.schedule.cancel(id), "running");
      const cli = await world.cli("schedule", "cancel", id, "--json");
      assert.deepEqual([JSON.parse(cli.stdout).answer, cli.status], ["running", 1]);

      await client.result(id).get({ timeout: 60 });
      while ((await client.schedule.get(id))?.state === "running") await wait(20);
      assert.equal(world.ledger.count("screamed", "long"), 1);
      assert.equal(await client.schedule.cancel(id), "finished");
      assert.equal((await world.cli("schedule", "cancel", id)).stdout, "finished (succeeded)");
      assert.equal(await client.schedule.cancel("nobody-knows-it"), "unknown");
    });

    test("an abort ends the one that runs, and it runs no more", async (t) => {
      const world = await interop(t, broker === undefined ? {} : { broker });
      await world.worker();
      const client = world.client();
      const { id } = await world.call<{ id: string }>(client, "demo.plan", 0.2, "endless", 3_600);

      await world.ledger.waitFor(1, "scream", "endless");
      assert.equal(await client.schedule.cancel(id, { running: "abort" }), "running");

      await assert.rejects(client.result(id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED", how: "terminated" });
      while ((await client.schedule.get(id))?.state === "running") await wait(20);
      assert.equal((await client.schedule.get(id))?.state, "stopped");
      assert.equal(world.ledger.count("screamed", "endless"), 0);
    });
  });
}

/** Cancel from a sub-process that is not `pid`: hold sub-processes until `pid` is the one held; the other takes the task. */
async function cancelFrom(
  world: Awaited<ReturnType<typeof interop>>,
  client: ReturnType<typeof world.client>,
  id: string,
  pid: number,
): Promise<{ answer: string; pid: number }> {
  const holds: { gate: string; held: unknown; result: AsyncResult }[] = [];
  const hold = async () => {
    const gate = join(world.folder, `gate-${holds.length}`);
    const before = world.ledger.count("holding");
    const result = await client.signature("demo.hold", { args: [gate] }).delay();
    const held = (await world.ledger.waitFor(before + 1, "holding")).at(-1)?.[1];
    return { gate, held, result };
  };
  const release = async (each: (typeof holds)[number]) => {
    await writeFile(each.gate, "");
    await each.result.get({ timeout: 60 });
  };
  holds.push(await hold());
  if (holds[0]?.held !== pid) {
    holds.push(await hold());
    await release(holds[0]!); // there: it was pushed above
  }
  const answer = await world.call<{ answer: string; pid: number }>(client, "demo.cancel", id);
  for (const each of holds) if (each.held === pid) await release(each);
  return answer;
}
