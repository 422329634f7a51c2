/** One thread through all layers, on memory backends and the solo pool: no server, no file, no sub-process. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Ignore, Lovage, type Settings } from "lovage";
import { timerStep, Worker } from "lovage/worker";
import { createLogger } from "../../src/kit/log.ts";
import { atEnd } from "../support/cleanup.ts";

function newApp(t: TestContext, settings: Settings = {}): Lovage {
  const name = randomUUID();
  const app = new Lovage(name, { broker: `memory://${name}`, workerPool: "solo", ...settings }, { env: {} });
  atEnd(t, () => app.close());
  return app;
}

async function startWorker(t: TestContext, app: Lovage, concurrency = 4): Promise<{ worker: Worker; log: string[] }> {
  const log: string[] = [];
  const worker = new Worker(app, {
    concurrency,
    log: createLogger({ level: "info", destination: (line) => log.push(line) }),
  });
  atEnd(t, () => worker.stop("cold"));
  await worker.start();
  return { worker, log };
}

describe("a worker on memory backends", () => {
  test("runs a task and keeps what it returns", async (t) => {
    const app = newApp(t);
    const add = app.task("add", (a: number, b: number) => ({ sum: a + b, big: 2n ** 70n }));
    await startWorker(t, app);

    const result = await add.delay(20, 22);

    assert.deepEqual(await result.get({ timeout: 10 }), { sum: 42, big: 2n ** 70n });
    assert.equal(await result.status(), "SUCCESS");
  });

  test("what a task throws reaches who waits, as data", async (t) => {
    const app = newApp(t);
    const fail = app.task("fail", (text: string) => {
      throw new RangeError(text);
    });
    await startWorker(t, app);

    const result = await fail.delay("too far");

    await assert.rejects(result.get({ timeout: 10 }), (error: { code: string; excType: string; traceback: string }) => {
      assert.equal(error.code, "ERR_TASK_FAILED");
      assert.equal(error.excType, "RangeError");
      assert.match(error.traceback, /worker-memory\.test/);
      return true;
    });
  });

  test("fires a callback when it is due, never before, and hands it its fence", async (t) => {
    const app = newApp(t);
    const starts: { lateMs: number; fence: unknown }[] = [];
    const fire = app.task("fire", (dueMs: number) => {
      starts.push({ lateMs: Date.now() - dueMs, fence: currentTask().fence });
      return "fired";
    });
    await startWorker(t, app);

    const due = new Date(Date.now() + 300);
    const callback = await fire.callAt(due, [due.getTime()]);

    assert.equal(await callback.result.get({ timeout: 10 }), "fired");
    assert.equal(starts.length, 1);
    assert.ok((starts[0]?.lateMs ?? -1) >= 0, "not early");
    assert.deepEqual(starts[0]?.fence, { id: callback.id, attempt: 1, token: (await callback.get())?.token });
    assert.equal(await callback.cancel(), "finished");
  });

  test("a callback that was cancelled never fires; a moved one fires at its new time", async (t) => {
    const app = newApp(t);
    const fired: string[] = [];
    const note = app.task("note", (word: string) => {
      fired.push(word);
    });
    await startWorker(t, app);

    const gone = await note.callAfter("200ms", ["gone"]);
    const moved = await note.callAfter("100ms", ["moved"], { key: "m" });
    const kept = await note.callAfter(99, ["not this one"], { key: "m" });
    await moved.reschedule({ by: "+300ms" });
    assert.equal(await gone.cancel(), "cancelled");
    assert.equal(kept.id, moved.id);
    assert.equal(kept.put, "existing");
    const last = await note.callAfter("500ms", ["last"]);
    await last.result.get({ timeout: 10 });

    assert.deepEqual(fired, ["moved", "last"]);
    assert.equal(await app.schedule.cancel("nobody"), "unknown");
  });

  test("a message with an eta waits in the schedule, and not in the broker", async (t) => {
    const app = newApp(t);
    const later = app.task("later", (word: string) => word);
    const { log } = await startWorker(t, app);

    const result = await later.applyAsync(["soon"], { countdown: "300ms", taskId: "the-task" });
    const far = await later.applyAsync(["far"], { countdown: "90d" });
    while (!log.some((line) => line.includes(far.id))) await wait(5);
    const waiting = [];
    for await (const each of app.schedule.list({ task: "later" })) waiting.push(each.taskId);

    assert.deepEqual(waiting.sort(), ["the-task", far.id].sort());
    assert.equal(await result.get({ timeout: 10 }), "soon");
    assert.equal(await far.revoke(), "cancelled");
  });

  test("a revoked task that was not yet received is discarded when it comes", async (t) => {
    const app = newApp(t);
    let ran = 0;
    const never = app.task("never", () => {
      ran += 1;
    });
    const result = await never.delay();
    assert.equal(await result.revoke(), "unknown");
    await startWorker(t, app);

    await assert.rejects(result.get({ timeout: 10 }), { code: "ERR_TASK_REVOKED", how: "revoked" });
    assert.equal(ran, 0);
  });

  test("retries come through the schedule, and count up to the limit", async (t) => {
    const app = newApp(t);
    const tries: number[] = [];
    const flaky = app.task(
      "flaky",
      { maxRetries: 2, retryBackoff: false, defaultRetryDelay: "20ms", autoretryFor: [RangeError] },
      () => {
        tries.push(currentTask().request.retries);
        throw new RangeError("not yet");
      },
    );
    await startWorker(t, app);

    await assert.rejects((await flaky.delay()).get({ timeout: 10 }), { excType: "RangeError" });
    await assert.rejects((await flaky.callAfter(0, [])).result.get({ timeout: 10 }), { excType: "RangeError" });

    assert.deepEqual(tries, [0, 1, 2, 0, 1, 2]);
  });

  test("what it cannot run is in quarantine, and who waits for an unknown task is told", async (t) => {
    const app = newApp(t);
    await startWorker(t, app);

    const result = await app.signature("nobody.knows", { args: [1] }).delay();

    await assert.rejects(result.get({ timeout: 10 }), { excType: "NotRegistered" });
    const [kept] = await (await app.backends.quarantine()).list({ limit: 10 });
    assert.equal(kept?.code, "ERR_UNKNOWN_TASK");
    assert.equal(kept?.taskId, result.id);
  });

  test("a callback for a queue that it does not serve is sent there when it is due", async (t) => {
    const app = newApp(t);
    const mail = app.task("mail", (word: string) => word);
    await startWorker(t, app);

    const callback = await app.schedule.callAfter("50ms", mail.s("hello"), { queue: "mail" });
    while ((await callback.get())?.state !== "succeeded") await wait(5);

    assert.equal(await (await app.producer.connection()).depth("mail"), 1);
  });

  test("expired callbacks end as expired, and their results as revoked", async (t) => {
    const app = newApp(t);
    let ran = 0;
    const late = app.task("late", () => {
      ran += 1;
    });
    const callback = await late.callAfter(0, [], { expires: "1ms" });
    await wait(10);
    await startWorker(t, app);

    await assert.rejects(callback.result.get({ timeout: 10 }), { code: "ERR_TASK_REVOKED", how: "expired" });
    assert.equal((await callback.get())?.state, "expired");
    assert.equal(ran, 0);
  });

  test("a warm stop lets what runs finish, and gives back what waits", async (t) => {
    const app = newApp(t);
    const ended: string[] = [];
    const slow = app.task("slow", async (word: string) => {
      await wait(200);
      ended.push(word);
      return word;
    });
    const { worker, log } = await startWorker(t, app, 1);
    const [first] = await Promise.all([slow.delay("first"), slow.delay("second")]);
    while (log.filter((line) => / received$/.test(line)).length < 2) await wait(5);
    const peek = await app.producer.connection();

    await worker.stop();

    assert.deepEqual(ended, ["first"]);
    void first;
    void peek;
  });

  test("bootsteps of the user's get the parts that they need, and are stopped", async (t) => {
    const app = newApp(t);
    const seen: string[] = [];
    app.steps.worker.add({
      name: "presence",
      needs: { timer: timerStep },
      start({ timer }) {
        const entry = timer.callAfter("10ms", () => seen.push("ping"));
        return {
          stop() {
            entry.cancel();
            seen.push("stopped");
          },
        };
      },
    });
    app.steps.consumer.add({ name: "hello", start: () => ({ stop: () => void seen.push("goodbye") }) });
    const { worker } = await startWorker(t, app);

    while (!seen.includes("ping")) await wait(5);
    assert.equal(worker.states.worker.get("presence"), "running");
    assert.equal(worker.states.consumer?.get("hello"), "running");
    await worker.stop();

    assert.deepEqual(seen, ["ping", "goodbye", "stopped"]);
    assert.deepEqual([...new Set(worker.states.worker.values())], ["stopped"]);
    assert.match(Worker.graph(app, { pool: "solo" }, "text"), /presence/);
    assert.match(Worker.graph(app, { pool: "solo" }, "dot"), /digraph[\s\S]*presence/);
  });

  test("Ignore stores nothing", async (t) => {
    const app = newApp(t);
    const ignore = app.task("ignore", () => {
      throw new Ignore();
    });
    const { log } = await startWorker(t, app);

    const result = await ignore.delay();
    while (!log.some((line) => line.includes("ignored"))) await wait(5);

    assert.equal(await result.status(), "PENDING");
  });
});
