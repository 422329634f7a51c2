/** Revoke by id and by stamp, with workers up and down, and the mailbox, on RabbitMQ and on the embedded file. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { Lovage } from "lovage";
import { type Interop, interop } from "../support/interop.ts";
import { needCelery, runPython } from "../support/python.ts";
import { needRabbitmq } from "../support/servers.ts";
import { until } from "../support/until.ts";

const { skip } = await needRabbitmq();
const { skip: noCelery } = await needCelery();
const APP = join(import.meta.dirname, "../support/apps/life-app.ts");
const STAMPED = { stamps: { customer: ["7", "8"], order: 42 }, stamped_headers: ["customer", "order"] };

async function revoked(client: Lovage, id: string, how: string): Promise<void> {
  await assert.rejects(client.result(id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED", how });
}

/** Runs, and waits until it is told to go on. */
async function holds(world: Interop, client: Lovage, headers: Record<string, unknown> = {}): Promise<string> {
  const { id } = await client.signature("life.hold", { args: [join(world.folder, "never")], headers }).delay();
  await world.ledger.waitFor(1, "began", "life.hold", id);
  return id;
}

describe("revoke", { skip, timeout: 180_000, concurrency: true }, () => {
  test("C1: what was revoked while every worker was down does not run when one comes up", async (t) => {
    const world = await interop(t, { app: APP });
    const client = world.client();
    const sent = await client.signature("life.echo", { args: ["revoked"] }).delay();
    const later = await client.signature("life.echo", { args: ["revoked"], countdown: 1 }).delay();
    assert.equal(await sent.revoke(), "unknown");
    assert.deepEqual(await client.control.revoke([later.id, "nobody's"]), ["unknown", "unknown"]);
    const worker = await world.worker();
    await revoked(client, sent.id, "revoked");
    await revoked(client, later.id, "revoked");
    assert.equal(world.ledger.count("began"), 0);
    await worker.stop();
  });

  test("by a stamp: what waits in the schedule, in the queue, and what runs; others go on", async (t) => {
    const world = await interop(t, { app: APP, concurrency: 1 });
    const client = world.client();
    const worker = await world.worker();
    const send = (headers: Record<string, unknown>, more = {}) =>
      client.signature("life.echo", { args: ["x"], headers, ...more }).delay();
    const running = await holds(world, client, STAMPED);
    const [reserved, parked, other] = [
      await send(STAMPED),
      await send(STAMPED, { countdown: 3_600 }),
      await send({ stamps: { customer: "9" }, stamped_headers: ["customer"] }),
    ];
    await until(async () => (await client.schedule.counts()).scheduled === 1);
    await client.control.revokeByStampedHeaders({ customer: ["5", "8"] }, { terminate: true });
    await revoked(client, running, "terminated");
    await revoked(client, reserved.id, "revoked");
    await revoked(client, parked.id, "revoked");
    assert.equal(await other.get({ timeout: 60 }), "x");
    assert.equal(world.ledger.count("began", "life.echo"), 1);
    await worker.stop();
  });

  test("by a stamp: what waits does not run when the stamp is forgotten before it is due", async (t) => {
    const world = await interop(t, { app: APP });
    const client = world.client();
    const worker = await world.worker();
    const forgets = world.client({ LOVAGE_REVOKES_EXPIRE: "1" });
    const parked = await client.signature("life.echo", { args: ["x"], headers: STAMPED, countdown: 6 }).delay();
    await until(async () => (await client.schedule.counts()).scheduled === 1);
    await forgets.control.revokeByStampedHeaders({ order: 42 });
    await revoked(client, parked.id, "revoked");
    assert.equal((await client.schedule.counts()).cancelled, 1);
    const after = await client.signature("life.echo", { args: ["after"], countdown: 7 }).delay();
    assert.equal(await after.get({ timeout: 60 }), "after");
    assert.equal(world.ledger.count("began"), 1);
    await worker.stop();
  });

  test("with terminate, from another process: what runs in the worker is ended, alone", async (t) => {
    const world = await interop(t, { app: APP });
    const client = world.client();
    const worker = await world.worker();
    const [one, other] = [await holds(world, client), await holds(world, client)];
    await client.control.terminate(one);
    await revoked(client, one, "terminated");
    assert.equal(await client.result(other).ready(), false);
    await client.control.terminate(other, "SIGKILL");
    await revoked(client, other, "terminated");
    await worker.stop();
  });

  test("the workers that are up answer a ping; what no command is is an error", async (t) => {
    const world = await interop(t, { app: APP });
    const client = world.client();
    const name = `ping-${world.queue}@here`;
    const worker = await world.worker({}, "-n", name);
    assert.deepEqual(await client.control.ping({ destination: [name], timeout: 30 }), { [name]: { ok: "pong" } });
    assert.deepEqual(await client.control.broadcast("dance", {}, { destination: [name], timeout: 30 }), {
      [name]: { error: "KeyError('dance')" },
    });
    const pinged = await world.cli("inspect", "ping", "-d", name, "-t", "30");
    assert.equal(pinged.stdout, `${name}: pong`);
    const nobody = await world.cli("control", "ping", "-d", "nobody@here", "-t", "0.2");
    assert.deepEqual([nobody.status, nobody.stdout], [1, ""]);
    const later = await client.signature("life.echo", { args: ["x"], countdown: 3_600 }).delay();
    await until(async () => (await client.schedule.counts()).scheduled === 1);
    const told = await world.cli("control", "revoke", later.id, "another");
    assert.equal(told.stdout, `${later.id}: cancelled\nanother: unknown`);
    assert.equal((await world.cli("control", "revoke", later.id, "--signal", "kill -9")).status, 2);
    await worker.stop();
  });
});

describe("Celery's own command line", { skip: skip || noCelery, timeout: 120_000 }, () => {
  test("pings a Lovage worker, and revokes a task of its", async (t) => {
    const world = await interop(t, { app: APP });
    const client = world.client();
    const name = `celery-${world.queue}@here`;
    const worker = await world.worker({}, "-n", name);
    const later = await client.signature("life.echo", { args: ["x"], countdown: 3_600 }).delay();
    await until(async () => (await client.schedule.counts()).scheduled === 1);
    const answers = await celery(t, world.brokerUrl, name, later.id);
    assert.deepEqual(answers, [
      [{ [name]: { ok: "pong" } }],
      [{ [name]: { ok: `tasks {'${later.id}'} flagged as revoked` } }],
    ]);
    await revoked(client, later.id, "revoked");
    assert.equal((await client.schedule.counts()).scheduled ?? 0, 0);
    await worker.stop();
  });
});

async function celery(t: TestContext, url: string, node: string, id: string): Promise<unknown> {
  const code = `
import json, sys
from celery import Celery
app = Celery("c", broker=${JSON.stringify(url)}, set_as_current=False)
to = [${JSON.stringify(node)}]
print(json.dumps([
    app.control.broadcast("ping", destination=to, reply=True, timeout=30, limit=1),
    app.control.revoke(${JSON.stringify(id)}, destination=to, reply=True, timeout=30, limit=1),
]))
`;
  return JSON.parse(await runPython(t, code));
}

describe("on the embedded file", { timeout: 120_000 }, () => {
  test("a revoke with terminate ends what runs in another process", async (t) => {
    const world = await interop(t, { app: APP, broker: "sqlite" });
    const client = world.client();
    const worker = await world.worker();
    const id = await holds(world, client);
    await client.result(id).revoke({ terminate: true });
    await revoked(client, id, "terminated");
    await assert.rejects(client.control.ping(), { code: "ERR_INVALID_INPUT", message: /carries no control commands/ });
    await worker.stop();
  });
});
