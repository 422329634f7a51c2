/** How a worker stops: warm, cold, and what stands afterwards. Real processes, on the embedded file. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { interop } from "../support/interop.ts";

/** Longer than what counts as one signal that came twice. */
const ANOTHER_SIGNAL_MS = 600;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("a worker that is told to stop", () => {
  test("TERM lets what runs finish, takes nothing more, and ends with status 0", async (t) => {
    const world = await interop(t, { broker: "sqlite", concurrency: 1 });
    const worker = await world.worker();
    const client = world.client();
    const gate = join(world.folder, "gate");
    const running = await client.signature("demo.hold", { args: [gate] }).delay();
    const waiting = await client.signature("demo.foo", { args: ["waits"] }).delay();
    await world.ledger.waitFor(1, "holding");

    const ended = worker.stop("SIGTERM");
    await worker.waitForLine(/Warm shutdown/);
    await writeFile(gate, "");

    assert.deepEqual(await ended, { status: 0, signal: null });
    assert.equal(await running.status(), "SUCCESS");
    assert.equal(await waiting.status(), "PENDING");
    assert.equal(world.ledger.count("foo"), 0);

    await world.worker();
    assert.deepEqual(await waiting.get({ timeout: 60 }), { word: "waits", times: 1 });
  });

  test("TERM ends a worker that has not found its broker yet", async (t) => {
    const world = await interop(t, { broker: { url: "amqp://guest:secret@127.0.0.1:9//" } });
    const worker = world.startWorker();
    await worker.waitForLine(/Cannot connect to amqp:\/\/guest:\*\*@127\.0\.0\.1:9.*Trying again/);

    assert.deepEqual(await worker.stop("SIGTERM"), { status: 0, signal: null });
    assert.doesNotMatch(worker.text, /secret/);
  });

  test("a signal that comes twice at once, as npm and timeout send it, is still a warm stop", async (t) => {
    const world = await interop(t, { broker: "sqlite", concurrency: 1 });
    const worker = await world.worker();
    const gate = join(world.folder, "gate");
    const running = await world
      .client()
      .signature("demo.hold", { args: [gate] })
      .delay();
    await world.ledger.waitFor(1, "holding");

    worker.signal("SIGINT");
    worker.signal("SIGINT");
    await worker.waitForLine(/Warm shutdown/);
    await writeFile(gate, "");

    assert.deepEqual(await worker.ended, { status: 0, signal: null });
    assert.equal(await running.status(), "SUCCESS");
    assert.doesNotMatch(worker.text, /Cold shutdown/);
  });

  for (const [name, signals] of [
    ["a second TERM", ["SIGTERM", "SIGTERM"]],
    ["QUIT", ["SIGQUIT"]],
  ] as const) {
    test(`${name} ends what runs now, leaves no process, and says what became of each`, async (t) => {
      const world = await interop(t, { broker: "sqlite" });
      const worker = await world.worker();
      const client = world.client();
      const { id } = await world.call<{ id: string }>(client, "demo.plan", 0, "long", 3_600);
      const early = await client.signature("demo.hold", { args: [join(world.folder, "never")] }).delay();
      const pid = (await world.ledger.waitFor(1, "scream", "long"))[0]?.[2] as number;
      await world.ledger.waitFor(1, "holding");

      for (const [i, signal] of signals.entries()) {
        if (i > 0) await wait(ANOTHER_SIGNAL_MS);
        worker.signal(signal);
      }

      assert.deepEqual(await worker.ended, { status: 0, signal: null });
      assert.equal(isAlive(pid), false);
      // Acknowledged before it ran, as Celery does by default: it is not repeated, and who waits is told.
      await assert.rejects(early.get({ timeout: 60 }), { excType: "WorkerLostError" });
      assert.equal((await client.schedule.get(id))?.state, "waiting");
      assert.equal(await client.schedule.cancel(id), "stopped", "it ran before: no further run");

      const again = await client.schedule.callAfter(0, client.signature("demo.scream", { args: ["again"] }));
      await world.worker();
      await again.result.get({ timeout: 60 });
      assert.equal(world.ledger.count("scream", "long"), 1);
    });
  }

  test("kill -9 of a sub-process costs its own run only, and it is replaced", async (t) => {
    const world = await interop(t, { broker: "sqlite" });
    await world.worker();
    const client = world.client();
    const { id } = await world.call<{ id: string }>(client, "demo.plan", 0, "victim", 2);
    const gate = join(world.folder, "gate");
    const other = await client.signature("demo.hold", { args: [gate] }).delay();
    const pid = (await world.ledger.waitFor(1, "scream", "victim"))[0]?.[2] as number;
    await world.ledger.waitFor(1, "holding");

    process.kill(pid, "SIGKILL");
    const starts = await world.ledger.waitFor(2, "scream", "victim");
    await writeFile(gate, "");

    assert.notEqual(starts[1]?.[2], pid);
    await client.result(id).get({ timeout: 60 });
    assert.equal((await client.schedule.get(id))?.attempts, 2);
    assert.equal(typeof (await other.get({ timeout: 60 })), "number");
  });
});
