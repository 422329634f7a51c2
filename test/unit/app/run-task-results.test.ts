/** What a run says of itself: what it sent, and its states, with the extended fields. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { currentTask, Lovage } from "lovage";
import { runTask } from "../../../src/app/run-task.ts";
import { silentLogger } from "../../../src/kit/log.ts";
import type { Ask } from "../../../src/pool/asks.ts";
import type { Job, Outcome } from "../../../src/pool/pool.ts";
import type { ResultDocument } from "../../../src/protocol/result.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

function world() {
  const clock = new FakeClock();
  const app = new Lovage("run", {}, { clock, env: {} });
  const documents: ResultDocument[] = [];
  let refuses = false;
  const ask = ((op: string, params: { document: ResultDocument }) => {
    if (op === "result.store") documents.push(structuredClone(params.document));
    return refuses ? Promise.reject(new Error("the broker is away")) : Promise.resolve(null);
  }) as unknown as Ask;
  app.useAsk(ask);
  const run = (task: string, body = "[[], {}, {}]", job: Partial<Job> = {}): Promise<Outcome> =>
    runTask(
      {
        message: { task, id: "parent", body, retries: 0 },
        hostname: "w@h",
        deliveryInfo: { exchange: "", routingKey: "celery", priority: 0, redelivered: false },
        ...job,
      },
      { registry: app.registry, ask, log: silentLogger, clock, signal: new AbortController().signal },
    );
  const refuse = (value: boolean) => {
    refuses = value;
  };
  return { app, documents, run, refuse };
}

test("what a task sends is among the children of its result, also of one that fails or asks to run again", async () => {
  const { app, run } = world();
  const other = app.task("other", () => 1);
  const sends = async () => {
    await other.applyAsync([], { taskId: "a" });
    await app.signature("elsewhere").applyAsync({ taskId: "b" });
  };
  app.task("returns", sends);
  app.task("fails", async () => {
    await sends();
    throw new Error("x");
  });
  app.task("retries", async () => {
    await sends();
    currentTask().retry();
  });
  app.task("nothing", () => 1);

  const both = [
    [["a", null], null],
    [["b", null], null],
  ];
  for (const [task, kind] of [
    ["returns", "succeeded"],
    ["fails", "failed"],
    ["retries", "retry"],
  ] as const) {
    const outcome = await run(task);
    assert.deepEqual([outcome.kind, outcome.children], [kind, both], task);
  }
  assert.equal((await run("nothing")).children, undefined);
});

test("what could not be sent is no child, nor what is sent after the end, nor what another run sends", async () => {
  const { app, run, refuse } = world();
  let late: Promise<unknown> = Promise.resolve();
  const go = Promise.withResolvers<void>();
  app.task("tries", async () => {
    refuse(true);
    await assert.rejects(app.signature("x").delay());
    refuse(false);
    late = go.promise.then(() => app.signature("late").delay());
  });
  app.task("sends", async () =>
    app
      .signature("x")
      .applyAsync({ taskId: "mine" })
      .then(() => undefined),
  );

  const tries = await run("tries");
  const sends = await run("sends");
  go.resolve();
  await late;

  assert.equal(tries.children, undefined);
  assert.deepEqual(sends.children, [[["mine", null], null]]);
});

test("a task that sends very many names the first ten thousand, and says so", async () => {
  const { app, run } = world();
  app.task("many", async () => {
    for (let i = 0; i < 10_005; i += 1) await app.signature("x").delay();
  });

  assert.equal((await run("many")).children?.length, 10_000);
});

test("a custom state names what was sent so far; with resultExtended also what ran where, and the stamps", async () => {
  const { app, documents, run } = world();
  app.task("t", async () => {
    await currentTask().updateState("PROGRESS", { done: 1 });
    await app.signature("x").applyAsync({ taskId: "a" });
    await currentTask().updateState("PROGRESS", { done: 2 });
  });

  await run("t");
  await run("t", '[[], {}, {"callbacks": null}]', { resultExtended: true });

  const children = documents.map((each) => each.children);
  assert.deepEqual(children, [[], [[["a", null], null]], [], [[["a", null], null]]]);
  assert.equal("name" in (documents[0] ?? {}), false);
  const { name, args, kwargs, worker, retries, queue } = documents[2] ?? ({} as ResultDocument);
  assert.deepEqual([name, args, kwargs, worker, retries, queue], ["t", "[]", "{}", "w@h", 0, "celery"]);
});

test("with trackStarted the run stores STARTED before the handler begins, and begins also where it cannot", async () => {
  const { app, documents, run, refuse } = world();
  const order: (string | undefined)[] = [];
  app.task("t", () => void order.push(documents.at(-1)?.status));

  await run("t", undefined, { trackStarted: true });
  await run("t", undefined, {});
  refuse(true);
  const outcome = await run("t", undefined, { trackStarted: true });

  const { status, result, children, date_done } = documents[0] as ResultDocument;
  assert.deepEqual(
    [status, JSON.parse(result), children, date_done],
    ["STARTED", { pid: process.pid, hostname: "w@h" }, [], null],
  );
  assert.deepEqual([order, documents.length], [["STARTED", "STARTED", "STARTED"], 2]);
  assert.equal(outcome.kind, "succeeded");
});
