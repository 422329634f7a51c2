/** What becomes of a message by how its run ends, by its rate, and when it comes again: on RabbitMQ, with a real worker. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type Interop, interop } from "../support/interop.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";
import { needVhosts, withVhost } from "../support/vhost.ts";

const { skip } = await needRabbitmq();
const APP = join(import.meta.dirname, "../support/apps/life-app.ts");

async function depth(world: Interop): Promise<number | undefined> {
  return (await world.client().producer.connection()).depth(world.queue);
}

describe("the life of a task", { skip, timeout: 120_000, concurrency: true }, () => {
  test("failed, late, and not to be acknowledged: in quarantine, and it can be sent again", async (t) => {
    const world = await interop(t, { app: APP });
    const worker = await world.worker();
    const client = world.client();
    const result = await client.signature("life.fail", { args: ["first"] }).delay();
    await assert.rejects(result.get({ timeout: 60 }), { code: "ERR_TASK_FAILED" });
    while ((await client.quarantine.count()) !== 1) await wait(20);
    for await (const each of client.quarantine.list()) {
      assert.equal(each.code, "ERR_TASK_FAILED");
      assert.equal(each.taskId, result.id);
    }
    await worker.stop();
    assert.equal(await depth(world), 0);
  });

  test("out of time, late, and not to be acknowledged: its message goes back, and it runs again", async (t) => {
    const world = await interop(t, { app: APP });
    const worker = await world.worker();
    const result = await world
      .client()
      .signature("life.slowOnce", { args: [join(world.folder, "ran")] })
      .delay();
    await world.ledger.waitFor(2, "began", "life.slowOnce");
    while ((await result.status()) !== "SUCCESS") await wait(20);
    await worker.stop();
  });

  test("not more often than its rate; others do not wait for it, and what waits goes back at the stop", async (t) => {
    const world = await interop(t, { app: APP, concurrency: 4 });
    const worker = await world.worker();
    const client = world.client();
    for (let i = 0; i < 4; i += 1) await client.signature("life.rare").delay();
    const other = await client.signature("life.echo", { args: ["at once"] }).delay();
    assert.equal(await other.get({ timeout: 60 }), "at once");
    await world.ledger.waitFor(1, "began", "life.rare");
    assert.equal(world.ledger.count("began", "life.rare"), 1);
    await worker.stop();
    assert.equal(await depth(world), 3);
  });

  test("not more often than its rate, also when its eta has come; a callback of its own is held to nothing but its time", async (t) => {
    const world = await interop(t, { app: APP });
    const worker = await world.worker();
    const client = world.client();
    await client.signature("life.rare").delay();
    await world.ledger.waitFor(1, "began", "life.rare");
    const later = await client.signature("life.rare").applyAsync({ countdown: 0.5 });
    await worker.waitForLine(new RegExp(`Callback life\\.rare\\[${later.id}\\] is due: sent to queue`));
    await worker.waitForLine(new RegExp(`Task life\\.rare\\[${later.id}\\] received`));
    const callback = await client.schedule.callAfter(0.5, client.signature("life.rare"));
    await callback.result.get({ timeout: 60 });
    assert.deepEqual(
      world.ledger.of("began", "life.rare").map(([, , id]) => id === later.id),
      [false, false],
    );
    await worker.stop();
    assert.equal(await depth(world), 1);
  });

  test("an ignored result keeps its error where that is asked for", async (t) => {
    const world = await interop(t, { app: APP });
    const worker = await world.worker({ LOVAGE_TASK_STORE_ERRORS_EVEN_IF_IGNORED: "1" });
    const client = world.client();
    const failed = await client.signature("life.fail", { args: ["x"], ignoreResult: true }).delay();
    while ((await failed.status()) !== "FAILURE") await wait(20);
    const kept = await client.signature("life.echo", { args: ["x"], ignoreResult: true }).delay();
    await world.ledger.waitFor(1, "began", "life.echo");
    await worker.stop();
    assert.equal(await kept.status(), "PENDING");
  });

  test("a soft shutdown ends what does not end by itself, and gives back what was acknowledged late", async (t) => {
    const world = await interop(t, { app: APP });
    const worker = await world.worker({ LOVAGE_WORKER_SOFT_SHUTDOWN_TIMEOUT: "0.5" });
    await world.client().signature("life.long").delay();
    await world.ledger.waitFor(1, "began", "life.long");
    assert.equal((await worker.stop("SIGQUIT")).status, 0);
    assert.ok(worker.lines.some((line) => line.includes("Initiating Soft Shutdown, terminating in 0.5 seconds")));
    while ((await depth(world)) !== 1) await wait(20);
  });
});

describe("a message that comes again", { ...(await needVhosts()), timeout: 120_000, concurrency: true }, () => {
  test("while its late-acknowledged run goes on: the run ends once, and its message is gone", async (t) => {
    const vhost = await withVhost(t);
    const world = await interop(t, { app: APP, broker: { url: vhost.url } });
    const worker = await world.worker();
    const go = join(world.folder, randomUUID());
    const result = await world
      .client()
      .signature("life.hold", { args: [go] })
      .delay();
    await world.ledger.waitFor(1, "began", "life.hold");
    const from = worker.lines.length;
    await vhost.closeAllConnections();
    await worker.waitForLine(/was delivered again; it is in hand/, from);
    const { writeFileSync } = await import("node:fs");
    writeFileSync(go, "");
    assert.equal(await result.get({ timeout: 60 }), "held");
    assert.equal(world.ledger.count("began", "life.hold"), 1);
    await worker.stop();
    assert.equal(await depth(world), 0);
    assert.ok(AMQP_URL.length > 0);
  });

  test("after its SUCCESS was stored: it is acknowledged, and not run, where that is asked for", async (t) => {
    const vhost = await withVhost(t);
    const world = await interop(t, { app: APP, broker: { url: vhost.url } });
    const client = world.client();
    const worker = await world.worker({ LOVAGE_WORKER_DEDUPLICATE_SUCCESSFUL_TASKS: "1" });
    const id = randomUUID();
    await client.signature("life.late", { args: ["once"], taskId: id }).delay();
    assert.equal(await client.result(id).get({ timeout: 60 }), "once");
    await worker.stop();
    // Delivered once, and given back by who never ran it: it comes marked.
    const connection = await client.producer.connection();
    await client.signature("life.late", { args: ["once"], taskId: id }).delay();
    const consumer = await connection.consume(world.queue, (delivery) => void delivery.requeue());
    await wait(200);
    await consumer.cancel();
    const from = world.ledger.count("began", "life.late");
    const again = await world.worker({ LOVAGE_WORKER_DEDUPLICATE_SUCCESSFUL_TASKS: "1" });
    await again.waitForLine(/Task already completed successfully/);
    await again.stop();
    assert.equal(world.ledger.count("began", "life.late"), from);
  });
});
