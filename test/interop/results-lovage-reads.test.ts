/** A Lovage client reads what a Python worker stores or sends; and a task reads it through its own worker. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type AsyncResult, Lovage, TaskError, TaskRevokedError } from "lovage";
import { startCeleryWorker } from "../support/celery.ts";
import { atEnd } from "../support/cleanup.ts";
import { startWorker } from "../support/processes.ts";
import { needCelery, runPython } from "../support/python.ts";
import { deleteQueues } from "../support/rabbitmq.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";
import { tempDir } from "../support/temp.ts";

const skip = (await needRabbitmq()).skip || (await needCelery()).skip || needRedisServer().skip;
const HANG = { timeout: 120_000 };

const TASKS = `
import time
from celery import group

app.conf.result_expires = 3600
app.conf.task_track_started = True

class Outer(Exception):
    class Inner(Exception): pass

class Unpicklable(Exception):
    def __init__(self, word, other):
        super().__init__(word)

@app.task(name="p.echo")
def echo(value):
    return value

@app.task(name="p.value")
def value(kind):
    return {
        "none": None,
        "unicode": {"žluť": ["🐎", "\\x00 \\" \\\\ \\n"]},
        "big": [2 ** 70, -(2 ** 63), 2 ** 53 - 1],
        "floats": [float("nan"), float("inf"), float("-inf"), 1.5],
        "tuple": (1, (2, [])),
    }[kind]

@app.task(name="p.fail")
def fail(kind):
    if kind == "value":
        raise ValueError("boom", 42)
    if kind == "nested":
        raise Outer.Inner("inner", {"k": [None]})
    if kind == "unpicklable":
        raise Unpicklable("žluť", object())
    return {}["missing"]

@app.task(name="p.progress", bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    # Longer than two states may take to be told apart: each is a message of its own.
    time.sleep(0.2)
    self.update_state(state="PROGRESS", meta={"done": 2, "big": 2 ** 70})
    time.sleep(0.2)
    return "all"

@app.task(name="p.retry", bind=True)
def retry(self):
    if self.request.retries == 0:
        raise self.retry(countdown=0.5, exc=RuntimeError("not yet"))
    return self.request.retries

@app.task(name="p.parent", bind=True)
def parent(self):
    echo.apply_async((1,), queue=self.request.delivery_info["routing_key"])
    group(echo.s(i).set(queue=self.request.delivery_info["routing_key"]) for i in (2, 3)).apply_async()
    return "sent"
`;

/** To every worker, and waits for their answers: other tests have workers on this server too. */
const REVOKE = `
import json, sys
from celery import Celery
order = json.load(sys.stdin)
replies = Celery(broker=order["broker"]).control.revoke(order["id"], reply=True, timeout=3)
assert replies, "no worker answered"
`;

/** Where messages and results are. */
const KINDS: Readonly<Record<string, (t: TestContext) => Promise<{ broker: string; backend: string }>>> = {
  redis: async (t) => ({ broker: AMQP_URL, backend: `${(await startRedis(t)).url}/2` }),
  rpc: async () => ({ broker: AMQP_URL, backend: "rpc://" }),
  "rpc on Redis": async (t) => ({ broker: `${(await startRedis(t)).url}/1`, backend: "rpc://" }),
};

async function world(t: TestContext, kind: string) {
  const queue = `lovage-test-${randomUUID()}`;
  const serverQueue = `${queue}-ts`;
  const { broker, backend } = await (KINDS[kind] as (typeof KINDS)[string])(t);
  if (broker === AMQP_URL) atEnd(t, () => deleteQueues([queue, serverQueue]));
  await startCeleryWorker(t, {
    url: broker,
    queue,
    tasks: `app.conf.result_backend = ${JSON.stringify(backend)}\n${TASKS}`,
  });
  const settings = { broker, backend, schedule: "memory://", taskDefaultQueue: queue } as const;
  const app = new Lovage("client", settings, { env: {} });
  atEnd(t, () => app.close());
  const call = (task: string, ...args: unknown[]) => app.signature(task, { args }).delay();
  return { app, call, queue, serverQueue, broker, backend };
}

/** Billiard, Python's pool, at times cannot pickle its own wrapper of an exception ("it's not the same object"): it is asked again. */
async function failureOf(call: () => Promise<AsyncResult<unknown>>): Promise<TaskError> {
  for (let tries = 1; ; tries += 1) {
    const error = await (await call()).get({ timeout: 60, propagate: false });
    assert.ok(error instanceof TaskError);
    if (error.excType !== "MaybeEncodingError" || tries === 5) return error;
  }
}

for (const kind of Object.keys(KINDS)) {
  describe(`a Lovage client reads results of a Python worker over ${kind}`, { skip, ...HANG }, () => {
    test("values, failures, states, retries, children, what has expired", async (t) => {
      const { app, call, broker } = await world(t, kind);

      const values = ["none", "unicode", "big", "floats", "tuple"];
      const sent = await Promise.all(values.map((each) => call("p.value", each)));
      assert.deepEqual(await app.results(sent).get({ timeout: 60 }), [
        null,
        { žluť: ["🐎", '\u0000 " \\ \n'] },
        [2n ** 70n, -(2n ** 63n), 2 ** 53 - 1],
        [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1.5],
        [1, [2, []]],
      ]);

      for (const [of, module, type, args] of [
        ["value", "builtins", "ValueError", ["boom", 42]],
        ["nested", "interop_tasks", "Outer.Inner", ["inner", { k: [null] }]],
        ["key", "builtins", "KeyError", ["missing"]],
        ["unpicklable", "interop_tasks", "Unpicklable", ["žluť"]],
      ] as const) {
        const error = await failureOf(() => call("p.fail", of));
        assert.deepEqual([error.excModule, error.excType, error.excArgs], [module, type, args]);
        assert.match(error.traceback ?? "", /Traceback \(most recent call last\)[\s\S]*interop_tasks\.py/);
      }

      const states: unknown[] = [];
      const progress = await call("p.progress");
      for await (const { state, meta } of progress.updates({ timeout: 60 })) {
        states.push(state === "STARTED" ? state : [state, meta]);
      }
      assert.deepEqual(states.slice(-3), [
        ["PROGRESS", { done: 1 }],
        ["PROGRESS", { done: 2, big: 2n ** 70n }],
        ["SUCCESS", "all"],
      ]);

      const retried: string[] = [];
      const retry = await call("p.retry");
      const value = await retry.get({ timeout: 60, onMessage: ({ state }) => void retried.push(state) });
      assert.equal(value, 1);
      assert.ok(retried.includes("RETRY"), retried.join(", "));

      const parent = await call("p.parent");
      assert.equal(await parent.get({ timeout: 60 }), "sent");
      const [first, group] = await parent.children();
      if (kind === "redis") {
        assert.equal(await first?.get({ timeout: 60 }), 1);
        assert.deepEqual(await group?.get({ timeout: 60 }), [2, 3]);
        assert.ok((await progress.dateDone()) instanceof Date);
        assert.equal((await (first as ReturnType<Lovage["result"]>).parent())?.id, parent.id);
        await progress.forget();
        assert.equal(await app.result(progress.id).state(), "PENDING");
      } else {
        // What the worker sent is answered to the worker.
        await assert.rejects(first?.get({ timeout: 60 }) ?? Promise.resolve(), { code: "ERR_RESULT_ELSEWHERE" });
      }

      const id = randomUUID();
      await runPython(t, REVOKE, { input: JSON.stringify({ broker, id }) });
      const revoked = await app.signature("p.echo", { args: [1] }).applyAsync({ taskId: id });
      await assert.rejects(revoked.get({ timeout: 60 }), { code: "ERR_TASK_REVOKED", how: "revoked" });
      const again = await revoked.get({ timeout: 60, propagate: false });
      assert.ok(again instanceof TaskRevokedError);
    });

    test("a task follows a Python task through its own worker, state by state", async (t) => {
      const { app, queue, serverQueue, broker, backend } = await world(t, kind);
      const folder = await tempDir(t);
      const worker = startWorker(t, {
        app: join(import.meta.dirname, "../support/apps/results-app.ts"),
        args: ["-l", "info", "-c", "2", "-Q", serverQueue],
        cwd: folder,
        env: {
          LOVAGE_BROKER_URL: broker,
          LOVAGE_RESULT_BACKEND: backend,
          LOVAGE_SCHEDULE_URL: `sqlite:${join(folder, "lovage.db")}`,
          LOVAGE_TASK_DEFAULT_QUEUE: queue,
        },
      });
      await worker.waitForLine(/ ready\.$/);

      const result = await app.signature("r.follow", { args: ["p.progress"] }).applyAsync({ queue: serverQueue });
      const followed = (await result.get({ timeout: 60 })) as { states: string[]; value: unknown; all: unknown };

      assert.deepEqual(followed.states.slice(-3), ["PROGRESS", "PROGRESS", "SUCCESS"]);
      assert.deepEqual([followed.value, followed.all], ["all", ["all"]]);
      assert.equal((await result.children()).length, 1);
    });
  });
}
