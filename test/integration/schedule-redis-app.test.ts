/** An application whose schedule is in Redis: one setting, and nothing else of it changes. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, describe, type TestContext, test } from "node:test";
import { currentTask, Lovage } from "lovage";
import { Worker } from "lovage/worker";
import { createLogger } from "../../src/kit/log.ts";
import { atEnd } from "../support/cleanup.ts";
import { dropNamespaces, needRedis, REDIS_URL, testNamespace } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip } = await needRedis();
const HANG = { timeout: 60_000, skip };
const run = testNamespace();
let names = 0;

describe("with Redis", HANG, () => {
  after(() => dropNamespaces(run));

  function newApp(t: TestContext, namespace: string): Lovage {
    const name = randomUUID();
    const settings = { broker: `memory://${name}`, schedule: REDIS_URL, namespace, workerPool: "solo" } as const;
    const app = new Lovage(name, settings, { env: {} });
    atEnd(t, () => app.close());
    return app;
  }

  async function startWorker(t: TestContext, app: Lovage): Promise<string[]> {
    const lines: string[] = [];
    const log = createLogger({ level: "info", destination: (line) => lines.push(line) });
    const worker = new Worker(app, { concurrency: 4, log });
    atEnd(t, () => worker.stop("warm"));
    await worker.start();
    return lines;
  }

  test("callbacks fire when they are due, each once, whichever of two workers has them; what was cancelled does not", async (t) => {
    const namespace = `${run}-${names++}`;
    const started: { order: number; lateMs: number; attempt: number }[] = [];
    const apps = [newApp(t, namespace), newApp(t, namespace)] as const;
    const tasks = apps.map((app) =>
      app.task("remind", (order: number, dueMs: number) => {
        started.push({ order, lateMs: Date.now() - dueMs, attempt: currentTask().fence?.attempt ?? 0 });
      }),
    );
    const logs = await Promise.all(apps.map((app) => startWorker(t, app)));
    const dueMs = Date.now() + 200;
    const put = Array.from({ length: 40 }, (_, i) =>
      (tasks[i % 2] as (typeof tasks)[0]).callAt(new Date(dueMs + i), [i, dueMs + i], { key: `order:${i}` }),
    );
    const callbacks = await Promise.all(put);
    const cancelled = await Promise.all(callbacks.filter((_, i) => i % 4 === 0).map((each) => each.cancel()));
    assert.deepEqual(new Set(cancelled), new Set(["cancelled"]));

    await until(() => started.length === 30);

    assert.deepEqual(
      started.map(({ order }) => order).toSorted((a, b) => a - b),
      Array.from({ length: 40 }, (_, i) => i).filter((i) => i % 4 !== 0),
    );
    for (const { lateMs, attempt, order } of started) {
      assert.ok(lateMs >= 0, `${order} started ${-lateMs} ms early`);
      assert.equal(attempt, 1);
    }
    assert.doesNotMatch(logs.flat().join("\n"), /ERROR|Traceback/);
  });
});
