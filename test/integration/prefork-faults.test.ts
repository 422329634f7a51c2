/** What tasks do to their process costs the run that did it, and nothing else. (FAULTS F-04, F-07, F-08) */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { createLogger } from "../../src/kit/log.ts";
import type { AskHandler, Outcome } from "../../src/pool/pool.ts";
import { type PreforkOptions, PreforkPool } from "../../src/pool/prefork/prefork.ts";
import { Gates, poolJob, runAll, until } from "../../src/testing/pool-conformance.ts";
import { isAlive } from "../support/alive.ts";

const appPath = join(import.meta.dirname, "../support/apps/pool-faults.ts");
const LONG_MS = 3_600_000;

interface Under {
  readonly pool: PreforkPool;
  /** What the pool logged. */
  readonly lines: string[];
  run(task: string, ...args: unknown[]): Promise<Outcome>;
}

async function startPool(
  t: TestContext,
  { ask = async () => null, ...options }: Partial<PreforkOptions> & { ask?: AskHandler } = {},
): Promise<Under> {
  const lines: string[] = [];
  const pool = new PreforkPool({
    size: 2,
    appPath,
    ask,
    log: createLogger({ level: "debug", destination: (line) => lines.push(line) }),
    // What the tasks throw is no news for whoever reads the test's output.
    childLog: { level: "critical" },
    ...options,
  });
  t.after(() => pool.stop(0));
  await pool.start();
  return { pool, lines, run: (task, ...args) => pool.submit(poolJob(task, args)).outcome };
}

function crashed(outcome: Outcome): Extract<Outcome, { kind: "crashed" }> {
  assert.ok(outcome.kind === "crashed", JSON.stringify(outcome));
  return outcome;
}

function result(outcome: Outcome): unknown {
  assert.ok(outcome.kind === "succeeded", JSON.stringify(outcome));
  return JSON.parse(outcome.result);
}

describe("a task that takes its process with it", { timeout: 120_000 }, () => {
  for (const [what, task, args, reason] of [
    ["leaves with status 0", "fault.exit", [0], /PoolWorker-\d+ \(pid \d+\) exited with status 0$/],
    ["leaves with a status", "fault.exit", [3], /exited with status 3$/],
    ["calls process.abort()", "fault.abort", [], /was killed by SIGABRT$/],
    ["is killed", "fault.signal", ["SIGKILL"], /was killed by SIGKILL$/],
    ["throws where nobody catches", "fault.uncaught", ["lost: ž"], /nobody caught: lost: ž; it exited with status 1$/],
    ["leaves a rejection unhandled", "fault.unhandled", ["oh"], /nobody caught: oh; it exited with status 1$/],
    [
      "overflows the stack in a callback",
      "fault.overflow-later",
      [],
      /nobody caught: Maximum call stack size exceeded/,
    ],
    ["catches what it threw, and is killed later", "fault.caught-by-itself", [], /\) was killed by SIGKILL$/],
    ["closes the channel", "channel.close", [], /closed its channel|exited with|was killed by/],
    [
      "writes garbage to the channel",
      "channel.garbage",
      ["hello\n"],
      /wrote to its channel "hello", which is no frame$/,
    ],
    [
      "floods the channel",
      "channel.flood",
      [64 * 1024 * 1024],
      /wrote to its channel a frame of more than 16777216 bytes$/,
    ],
  ] as const) {
    test(`and ${what} is crashed; its neighbour goes on, and another process takes its place`, async (t) => {
      const gates = new Gates();
      const { pool, run } = await startPool(t, { ask: gates.ask });
      const neighbour = pool.submit(poolJob("pool.gate", ["neighbour"]));
      await gates.reached("neighbour");
      const before = pool.pids;

      const outcome = crashed(await run(task, ...args));
      assert.match(outcome.reason, reason);
      assert.equal(outcome.started, true);

      await until(pool, () => pool.free === 1 && pool.pids.length === 2);
      assert.equal(pool.pids.filter((pid) => before.includes(pid)).length, 1, "one of the two is another");
      assert.equal(result(await run("pool.echo", "next")), "next");
      gates.open("neighbour");
      assert.equal((await neighbour.outcome).kind, "succeeded");
    });
  }

  test("and was done before is not called crashed", async (t) => {
    const { pool, run } = await startPool(t);
    for (let i = 0; i < 5; i += 1) {
      const { pids } = pool;
      assert.equal(result(await run("fault.return-and-exit")), "done before");
      await until(pool, () => pool.free === 2 && pool.pids.some((pid) => !pids.includes(pid)));
    }
  });

  test("and whose own child holds on to everything is noticed all the same", async (t) => {
    const { pool, run } = await startPool(t);
    const grandchild = result(await run("look.grandchild")) as number;
    t.after(() => process.kill(grandchild, "SIGKILL"));
    await until(pool, () => pool.free === 2 && pool.pids.length === 2);
  });
});

describe("a child that lies", { timeout: 60_000 }, () => {
  test("about a run that it was not given is refused, and the refusal is logged", async (t) => {
    const { run, lines } = await startPool(t, { size: 1 });
    const forged = [
      { kind: "done", run: 99, outcome: { kind: "succeeded", result: '"forged"' } },
      { kind: "done", run: 0, outcome: { kind: "succeeded", result: '"forged"' } },
      { kind: "accept", run: 1 },
      { kind: "accept", run: 2 },
      { kind: "ready" },
      { kind: "broken", code: "", message: "", stack: "" },
      { kind: "ask", ask: 1, run: 99, op: "result.get", params: { taskId: "x" } },
    ];
    assert.equal(result(await run("channel.frame", forged, "mine")), "mine");
    const refused = lines.filter((line) => line.includes("does not fit what it was given; refused"));
    assert.equal(refused.length, forged.length, lines.join("\n"));
  });

  test("cannot say that it crashed or timed out: such an end is none, and the process is ended", async (t) => {
    const { pool, run } = await startPool(t);
    for (const outcome of [{ kind: "crashed", reason: "x", started: false }, { kind: "timed-out", limitMs: 1 }, 7]) {
      const lie = { kind: "done", run: 1, outcome };
      assert.match(crashed(await run("channel.frame", [lie], "x")).reason, /sent a "done" that cannot be read$/);
      await until(pool, () => pool.free === 2);
    }
  });

  test("a frame of a kind that nobody knows is dropped with a line in the log", async (t) => {
    const { run, lines } = await startPool(t);
    assert.equal(result(await run("channel.unknown-kind")), "all the same");
    assert.ok(
      lines.some((line) => line.includes('unknown kind \\"gossip\\"') || line.includes('unknown kind "gossip"')),
    );
  });

  test("is answered only what the table has, and stores the state only of what it runs", async (t) => {
    const asked: string[] = [];
    const { run } = await startPool(t, {
      ask: async (op) => {
        asked.push(op);
        return null;
      },
    });
    const refused = async (op: string, params: unknown) => result(await run("ask.raw", op, params));
    assert.deepEqual(await refused("store.drop", {}), { code: "ERR_UNKNOWN_ASK" });
    assert.deepEqual(await refused("__proto__", {}), { code: "ERR_UNKNOWN_ASK" });
    for (const params of [
      null,
      {},
      { document: null },
      { document: { task_id: 7 } },
      { document: { task_id: "another" } },
    ]) {
      assert.deepEqual(await refused("result.store", params), { code: "ERR_NOT_RUNNING_HERE" });
    }
    assert.deepEqual(asked, []);
    assert.deepEqual(await refused("result.get", { taskId: "x" }), { answer: null });
  });
});

describe("what is too large for the channel", { timeout: 60_000 }, () => {
  const TEN_MIB = 10 * 1024 * 1024; // of quotes: 20 MiB as JSON

  test("fails its job with a code, and nothing else", async (t) => {
    const { pool, run } = await startPool(t, { size: 1, ask: async () => '"'.repeat(TEN_MIB) });
    const [pid] = pool.pids;

    for (const [outcome, what] of [
      [await run("pool.echo", '"'.repeat(TEN_MIB)), /the task's message takes \d+ bytes/],
      [await run("big.result", TEN_MIB), /the task's result takes \d+ bytes|the result takes more than/],
    ] as const) {
      assert.ok(outcome.kind === "failed");
      assert.match(outcome.error.text, what);
    }
    assert.equal(result(await run("big.ask", TEN_MIB)), "ERR_FRAME_TOO_LARGE", "the ask");
    assert.equal(result(await run("big.ask", 1)), "ERR_FRAME_TOO_LARGE", "the answer");
    assert.equal(result(await run("look.pid")), pid, "it is still the same process");
  });

  test("what is no JSON fails its job with a code", async (t) => {
    const { pool, run } = await startPool(t, { size: 1 });
    const headers = { big: 1n };
    const run1 = pool.submit(poolJob("pool.noop", [], { headers }));
    assert.equal(await run1.accepted, undefined);
    const outcome = await run1.outcome;
    assert.ok(outcome.kind === "failed");
    assert.match(outcome.error.text, /the task's message is no JSON data/);
    assert.equal((await run("pool.noop")).kind, "succeeded");
  });

  test("twenty thousand asks at once are all answered", async (t) => {
    let most = 0;
    let open = 0;
    const { run } = await startPool(t, {
      ask: async (_op, params) => {
        open += 1;
        most = Math.max(most, open);
        await new Promise((resolve) => setImmediate(resolve));
        open -= 1;
        const [callback] = (params as { callbacks: { key: string }[] }).callbacks;
        return [{ put: "added", id: callback?.key, dueMs: 0 }];
      },
    });
    const ids = result(await run("pool.put", 20_000)) as string[];
    assert.deepEqual([ids.length, ids[0], ids.at(-1)], [20_000, "k0", "k19999"]);
    assert.ok(most <= 1_000, `${most} at once in the worker`);
  });
});

describe("what a process leaves behind", { timeout: 60_000 }, () => {
  test("an ask of one that died is answered to nobody, and harms nothing", async (t) => {
    const gates = new Gates();
    const { pool, run } = await startPool(t, { ask: gates.ask });
    const lost = pool.submit(poolJob("ask.and-leave", ["late"]));
    await gates.reached("late");
    process.kill((await lost.accepted) ?? 0, "SIGKILL");
    crashed(await lost.outcome);
    gates.open("late");
    assert.equal((await run("pool.noop")).kind, "succeeded");
  });

  test("a state that comes when the task has ended is stored no more", async (t) => {
    const gates = new Gates();
    const asked: string[] = [];
    const { pool, run } = await startPool(t, {
      size: 1,
      ask: (op, params) => {
        asked.push(op);
        return gates.ask(op, params);
      },
    });
    await run("state.late", "after");
    await gates.reached("after");
    gates.open("after");
    await run("pool.noop");
    assert.deepEqual(asked, ["result.get"]);
    assert.equal(pool.free, 1);
  });

  test("a loop that a task left behind keeps it from accepting: it is replaced, and the job never started", async (t) => {
    const { pool, run } = await startPool(t, { size: 1, acceptTimeoutMs: 200 });
    assert.equal(result(await run("fault.busy-afterwards")), "left a loop behind");
    const next = pool.submit(poolJob("pool.noop"));
    const outcome = crashed(await next.outcome);
    assert.deepEqual([outcome.started, await next.accepted], [false, undefined]);
    assert.match(outcome.reason, /did not take the job within 0.2 s$/);
    await until(pool, () => pool.free === 1);
    assert.equal((await run("pool.noop")).kind, "succeeded");
  });
});

describe("ending a process that does not listen", { timeout: 60_000 }, () => {
  test("the hard limit kills the one that loops, and no other", async (t) => {
    const gates = new Gates();
    const { pool } = await startPool(t, { ask: gates.ask });
    const neighbour = pool.submit(poolJob("pool.gate", ["neighbour"], { hardLimitMs: LONG_MS }));
    await gates.reached("neighbour");
    const loop = pool.submit(poolJob("fault.busy", [], { hardLimitMs: 100 }));
    const pid = (await loop.accepted) ?? 0;

    assert.deepEqual(await loop.outcome, { kind: "timed-out", limitMs: 100 });
    assert.equal(isAlive(pid), false);
    gates.open("neighbour");
    assert.equal((await neighbour.outcome).kind, "succeeded");
  });

  test("an abort kills one that loops when its grace is over, or at once when the second abort has none", async (t) => {
    const { pool } = await startPool(t);
    const [patient, impatient] = [pool.submit(poolJob("fault.busy")), pool.submit(poolJob("fault.busy"))];
    const pids = await Promise.all([patient.accepted, impatient.accepted]);
    patient.abort("revoked", 50);
    impatient.abort("revoked", LONG_MS);
    impatient.abort("again", 0);
    for (const run of [patient, impatient]) assert.deepEqual(await run.outcome, { kind: "aborted", reason: "revoked" });
    for (const pid of pids) assert.equal(isAlive(pid ?? 0), false);
  });

  test("a cold stop ends one that loops; nothing of the pool is left", async (t) => {
    const { pool } = await startPool(t);
    const loop = pool.submit(poolJob("fault.busy"));
    await loop.accepted;
    const { pids } = pool;
    await pool.stop(0);
    assert.equal((await loop.outcome).kind, "aborted");
    assert.deepEqual(pids.map(isAlive), [false, false]);
    assert.deepEqual(pool.pids, []);
  });
});

describe("processes come and go", { timeout: 120_000 }, () => {
  test("one that is killed before it took its job has not started it", async (t) => {
    const { pool } = await startPool(t, { size: 1 });
    const [pid = 0] = pool.pids;
    process.kill(pid, "SIGSTOP");
    const run = pool.submit(poolJob("pool.noop"));
    process.kill(pid, "SIGKILL");
    const outcome = crashed(await run.outcome);
    assert.deepEqual([outcome.started, await run.accepted], [false, undefined]);
    await until(pool, () => pool.free === 1);
  });

  test("an idle one that dies is replaced, and said so", async (t) => {
    const { pool, run, lines } = await startPool(t);
    const [pid = 0] = pool.pids;
    process.kill(pid, "SIGKILL");
    await until(pool, () => pool.pids.length === 2 && !pool.pids.includes(pid) && pool.free === 2);
    assert.equal((await run("pool.noop")).kind, "succeeded");
    assert.ok(lines.some((line) => line.includes(`(pid ${pid}) was killed by SIGKILL; another takes its place`)));
  });

  test("each is replaced after maxTasksPerChild runs, and no run is lost by it", async (t) => {
    const { pool, lines } = await startPool(t, { maxTasksPerChild: 3 });
    const outcomes = await runAll(
      pool,
      Array.from({ length: 12 }, () => poolJob("look.pid")),
    );
    const runs = new Map<unknown, number>();
    for (const outcome of outcomes) runs.set(result(outcome), (runs.get(result(outcome)) ?? 0) + 1);
    assert.ok(
      [...runs.values()].every((count) => count <= 3),
      JSON.stringify([...runs]),
    );
    assert.ok(!lines.some((line) => line.includes("another takes its place")), "that is no accident");
  });

  test("what a terminal sends to the whole group does not end a run", async (t) => {
    const gates = new Gates();
    const { pool } = await startPool(t, { size: 1, ask: gates.ask });
    const run = pool.submit(poolJob("pool.gate", ["held"]));
    await gates.reached("held");
    const [pid = 0] = pool.pids;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) process.kill(pid, signal);
    const stopping = pool.stop(LONG_MS);
    gates.open("held");
    assert.equal((await run.outcome).kind, "succeeded");
    await stopping;
    assert.equal(isAlive(pid), false);
  });

  test("while children are killed one after the other, every other run ends as it should", async (t) => {
    const { pool } = await startPool(t, { size: 3 });
    const jobs = Array.from({ length: 600 }, (_, i) => poolJob("pool.echo", [i]));
    let finished = false;
    const killed = new Set<number>();
    const all = runAll(pool, jobs).finally(() => {
      finished = true;
    });
    while (!finished) {
      const pid = pool.pids[Math.floor(Math.random() * pool.pids.length)];
      if (pid !== undefined && pool.free < pool.size && killed.size < 10) {
        killed.add(pid);
        process.kill(pid, "SIGKILL");
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const outcomes = await all;
    let lost = 0;
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.kind === "crashed") lost += 1;
      else assert.deepEqual(outcome, { kind: "succeeded", result: String(i) });
    }
    assert.ok(lost <= killed.size, `${lost} lost, ${killed.size} killed`);
  });
});
