/** What a client may do with the schedule, a task may do from its sub-process. Real worker, real children, the embedded file. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Lovage } from "lovage";
import { atEnd } from "../support/cleanup.ts";
import { startWorker } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const APP = join(import.meta.dirname, "../support/apps/schedule-tasks.ts");

async function startWorld(t: TestContext, env: Record<string, string> = {}) {
  const settings = { LOVAGE_BROKER_URL: `sqlite:${join(await tempDir(t), "in-task.db")}`, ...env };
  const worker = startWorker(t, { app: APP, args: ["-l", "info", "-c", "1"], env: settings });
  const client = new Lovage("in-task-client", {}, { env: settings });
  atEnd(t, () => client.close());
  await worker.waitForLine(/ ready\.$/);
  const call = async (task: string) =>
    (await (await client.signature(task).delay()).get({ timeout: 60 })) as Record<string, unknown>;
  return { client, worker, call };
}

describe("a task in its sub-process", () => {
  test("declares what recurs, looks at it, pauses, resumes, previews and ends it", async (t) => {
    const { call, worker, client } = await startWorld(t);

    const { pid, ...answer } = await call("in-task.recurs");

    assert.notEqual(pid, worker.pid);
    assert.deepEqual(answer, {
      puts: ["added", "existing"],
      next: "2098-12-31T23:00:00.000Z",
      waiting: 1,
      parents: [null, null],
      paused: true,
      resumed: "2098-12-31T23:00:00.000Z",
      preview: ["2099-01-01T00:00:00+01:00"],
      listed: ["new-year"],
      state: "active",
      cancelled: "cancelled",
    });
    assert.equal((await client.schedule.recurrence("new-year"))?.state, "ended");
  });

  test("counts, and takes back many at once; its worker is told of what it changes", async (t) => {
    const { call, worker } = await startWorld(t);

    const { pid, ids, ...answer } = await call("in-task.many");

    assert.notEqual(pid, worker.pid);
    assert.deepEqual(answer, { dry: 3, scheduled: 3, done: 3 });
    for (const id of ids as string[]) {
      await worker.waitForLine(new RegExp(`scheduled ${id}, told in ${worker.pid}`));
      await worker.waitForLine(new RegExp(`cancelled ${id}, told in ${worker.pid}`));
    }
    assert.doesNotMatch(worker.text, new RegExp(`told in ${String(pid)}`));
  });

  test("is told that the schedule is full, by the code and in the words that a client is told", async (t) => {
    const { call, client } = await startWorld(t, { LOVAGE_MAX_PENDING: "2" });

    const answer = await call("in-task.too-many");

    await assert.rejects(client.schedule.callAfter(1, client.signature("x")), (refusal: Error) => {
      assert.deepEqual(answer, {
        added: 2,
        code: "ERR_BACKPRESSURE",
        name: refusal.name,
        message: refusal.message,
        limit: 2,
      });
      return true;
    });
  });
});
