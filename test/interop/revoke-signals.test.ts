/** What ends a running task: the signal that was named, in time, whoever revoked it, and whatever else the schedule is used for. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Lovage } from "lovage";
import { type Interop, interop } from "../support/interop.ts";
import { needRabbitmq } from "../support/servers.ts";

const { skip } = await needRabbitmq();
const APP = join(import.meta.dirname, "../support/apps/abort-app.ts");

interface Under {
  readonly world: Interop;
  readonly client: Lovage;
  /** Send the worker a command as Python's client does: the schedule is not named in it. */
  revoke(given: Record<string, unknown>): Promise<unknown>;
  /** The task, once it runs. */
  running(options?: { readonly countdown?: number }): Promise<string>;
  stop(): Promise<unknown>;
}

async function setUp(t: TestContext): Promise<Under> {
  const world = await interop(t, { app: APP, concurrency: 1 });
  const client = world.client();
  const node = `signals-${world.queue}@here`;
  const worker = await world.worker({}, "-n", node);
  return {
    world,
    client,
    async revoke(given) {
      const to = { destination: [node], timeout: 30 };
      return (await client.control.broadcast("revoke", given, to))[node];
    },
    async running(options = {}) {
      const { id } = await client.signature("abort.deaf", options).delay();
      await world.ledger.waitFor(1, "began", "abort.deaf", id);
      return id;
    },
    stop: () => worker.stop(),
  };
}

async function terminated(client: Lovage, id: string): Promise<void> {
  await assert.rejects(client.result(id).get({ timeout: 30 }), { code: "ERR_TASK_REVOKED", how: "terminated" });
}

describe("a running task that is to be ended", { skip, timeout: 120_000, concurrency: true }, () => {
  test("is ended while others change the schedule without a pause", async (t) => {
    const { world, client, running, stop } = await setUp(t);
    const id = await running();
    let over = false;
    const busy = (async () => {
      while (!over) {
        await client.schedule.callAfter("1d", client.signature("nobody.here", { queue: `${world.queue}-other` }));
        await wait(200);
      }
    })();
    try {
      await client.result(id).revoke({ terminate: true });
      await terminated(client, id);
    } finally {
      over = true;
      await busy;
    }
    await stop();
  });

  for (const [what, options] of [
    ["a message", {}],
    ["a callback", { countdown: 1 }],
  ] as const) {
    test(`is sent the signal that Python's client names: ${what}`, async (t) => {
      const { world, client, running, revoke, stop } = await setUp(t);
      const id = await running(options);
      assert.deepEqual(await revoke({ task_id: id, terminate: true, signal: "SIGHUP" }), { ok: `terminate: ${id}` });
      await terminated(client, id);
      assert.equal(world.ledger.count("signal"), 1);
      assert.equal(world.ledger.count("signal", "SIGHUP"), 1);
      await stop();
    });
  }

  test("goes on where the signal is none, and who named it is told; its worker goes on too", async (t) => {
    const { client, running, revoke, stop } = await setUp(t);
    const id = await running();
    const answer = (await revoke({ task_id: id, terminate: true, signal: "SIGFOO" })) as { error?: string };
    assert.match(answer.error ?? "", /^InvalidInputError\(.*SIGFOO/);
    await assert.rejects(client.control.terminate(id, "SIGFOO" as NodeJS.Signals), { code: "ERR_INVALID_INPUT" });
    assert.equal(await client.result(id).ready(), false);
    // By its number, as Celery takes it.
    assert.deepEqual(await revoke({ task_id: id, terminate: true, signal: 9 }), { ok: `terminate: ${id}` });
    await terminated(client, id);
    await stop();
  });
});
