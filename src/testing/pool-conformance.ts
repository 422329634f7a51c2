/**
 * What every pool must do, as tests. A pool's own test file calls this with an app that has the tasks of `pool-tasks.ts`,
 * and adds what only it can do.
 *
 * Nothing here waits for time: jobs are held by an ask that the test answers when it likes (`pool.gate`).
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, type TestContext, test } from "node:test";
import { InvalidInputError, LostError, UnavailableError } from "../kit/errors.ts";
import { type AskHandler, type Job, type Outcome, POOL_STOPPED, type Pool } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";

export interface PoolTestOptions {
  readonly size: number;
  readonly ask: AskHandler;
}

/** A test that hangs is ended; no test depends on it. */
const HANG = { timeout: 60_000 };
const LONG_MS = 3_600_000;

/** @param open a pool that is not started yet */
export function poolConformance(name: string, open: (options: PoolTestOptions) => Pool): void {
  describe(`${name} is a pool`, HANG, () => {
    async function started(t: TestContext, ask: AskHandler = async () => null, size = 2): Promise<Pool> {
      const pool = open({ size, ask });
      t.after(() => pool.stop(0));
      await pool.start();
      return pool;
    }

    const outcomeOf = (pool: Pool, task: string, args: readonly unknown[] = [], extra: Partial<TaskMessage> = {}) =>
      pool.submit(poolJob(task, args, extra)).outcome;

    test("it has no free slot before it is started, and every slot afterwards", async (t) => {
      const pool = open({ size: 3, ask: async () => null });
      t.after(() => pool.stop(0));

      assert.equal(pool.size, 3);
      assert.equal(pool.free, 0);
      assert.throws(() => pool.submit(poolJob("pool.noop")), { code: "ERR_POOL_BUSY" });
      await Promise.all([pool.start(), pool.start()]);
      assert.equal(pool.free, 3);
      assert.ok(pool.pids.length >= 1 && pool.pids.every((pid) => pid > 0));
    });

    test("it runs a job, and tells the pid that accepted it and what it returned", async (t) => {
      const pool = await started(t);
      const run = pool.submit(poolJob("pool.add", [2, 3]));

      const pid = await run.accepted;
      assert.ok(pid !== undefined && pool.pids.includes(pid));
      assert.deepEqual(await run.outcome, { kind: "succeeded", result: "5" });
    });

    test("when every slot is taken it refuses a job, and says when a slot is free again", async (t) => {
      const gates = new Gates();
      const pool = await started(t, gates.ask);
      const [one, two] = [pool.submit(poolJob("pool.gate", ["one"])), pool.submit(poolJob("pool.gate", ["two"]))];

      assert.equal(pool.free, 0);
      assert.throws(() => pool.submit(poolJob("pool.noop")), { code: "ERR_POOL_BUSY" });

      await gates.reached("one");
      const freed = until(pool, () => pool.free === 1);
      gates.open("one");
      await freed;
      assert.equal((await one.outcome).kind, "succeeded");
      assert.deepEqual(await outcomeOf(pool, "pool.nothing"), { kind: "succeeded", result: "null" });

      await gates.reached("two");
      gates.open("two");
      assert.equal((await two.outcome).kind, "succeeded");
      await until(pool, () => pool.free === 2);
    });

    test("a listener that stopped is not called, and one that throws harms nothing", async (t) => {
      const pool = await started(t);
      let calls = 0;
      const stop = pool.onFree(() => {
        calls += 1;
      });
      pool.onFree(() => {
        throw new Error("a listener's own fault");
      });
      await outcomeOf(pool, "pool.noop");
      await until(pool, () => pool.free === 2);
      const before = calls;
      assert.ok(before >= 1);

      stop();
      await outcomeOf(pool, "pool.noop");
      await until(pool, () => pool.free === 2);
      assert.equal(calls, before);
    });

    test("whatever a handler does, there is an outcome of the right kind", async (t) => {
      const pool = await started(t);

      assert.deepEqual(await outcomeOf(pool, "pool.ignore"), { kind: "ignored" });
      assert.deepEqual(await outcomeOf(pool, "pool.reject", [true]), {
        kind: "rejected",
        requeue: true,
        reason: "not mine",
      });
      for (const task of ["pool.fail", "pool.fail-async"]) {
        const failed = await outcomeOf(pool, task, ["boom"]);
        assert.ok(failed.kind === "failed" && !failed.expected);
        assert.deepEqual(failed.error.exception, { exc_type: "RangeError", exc_message: ["boom"], exc_module: null });
        assert.match(failed.error.text, /^RangeError\('boom'\)$/);
        assert.match(failed.error.traceback ?? "", /RangeError: boom\n +at .*pool-tasks/);
        assert.doesNotMatch(failed.error.traceback ?? "", /run-task/, "the stack is the user's");
      }
      const expected = await outcomeOf(pool, "pool.expected");
      assert.ok(expected.kind === "failed" && expected.expected);
      assert.equal(expected.error.exception.exc_type, "OutOfStock");
      for (const [task, type] of [
        ["pool.throw-undefined", "Error"],
        ["pool.throw-evil", "Error"],
        ["pool.overflow", "RangeError"],
        ["pool.function", "EncodeError"],
        ["pool.not-there", "NotRegistered"],
      ] as const) {
        const outcome = await outcomeOf(pool, task);
        assert.ok(outcome.kind === "failed", `${task}: ${outcome.kind}`);
        assert.equal(outcome.error.exception.exc_type, type, task);
      }
      const retry = await outcomeOf(pool, "pool.retry", [60], { retries: 2 });
      assert.ok(retry.kind === "retry");
      assert.deepEqual([retry.retries, retry.body], [3, "[[60],{},{}]"]);
      assert.equal(retry.error.exception.exc_type, "Error");
      assert.ok(Number.isSafeInteger(retry.etaMs));
    });

    test("texts of every script, and a million characters, arrive as they were", async (t) => {
      const pool = await started(t);
      const texts = [
        "",
        "žluťoučký",
        "日本語",
        '🧂 \u2028 \u0000 \\ " \n',
        "\ud800",
        "x".repeat(1_000_000),
        "ž€😀".repeat(200_000),
      ];
      for (const text of texts) {
        const outcome = await outcomeOf(pool, "pool.echo", [text]);
        assert.ok(outcome.kind === "succeeded");
        assert.ok(
          JSON.parse(outcome.result) === text,
          `${text.length} characters, from ${JSON.stringify(text.slice(0, 10))}`,
        );
      }
    });

    test("numbers that JavaScript cannot hold come back as Python wrote them", async (t) => {
      const pool = await started(t);
      const job = poolJob("pool.echo");
      const message = { ...job.message, body: "[[12345678901234567890, NaN, -Infinity], {}, {}]" };
      const outcome = await pool.submit({ ...job, message }).outcome;
      assert.deepEqual(outcome, { kind: "succeeded", result: "[12345678901234567890,NaN,-Infinity]" });
    });

    test("two thousand jobs run, each once", async (t) => {
      const pool = await started(t);
      const outcomes = await runAll(
        pool,
        Array.from({ length: 2_000 }, (_, i) => poolJob("pool.echo", [i])),
      );
      assert.deepEqual(
        outcomes,
        Array.from({ length: 2_000 }, (_, i) => ({ kind: "succeeded", result: String(i) })),
      );
    });

    test("a handler sees its request and its fence, after an await too", async (t) => {
      const pool = await started(t);
      const job: Job = {
        ...poolJob("pool.context", ["ž"], { retries: 4, headers: { mine: [1, null] } }),
        deliveryInfo: { exchange: "", routingKey: "celery", priority: 3, redelivered: true },
        fence: { id: "cb-1", attempt: 2, token: 7 },
      };
      const outcome = await pool.submit(job).outcome;
      assert.ok(outcome.kind === "succeeded");
      assert.deepEqual(JSON.parse(outcome.result), {
        before: job.message.id,
        id: job.message.id,
        task: "pool.context",
        args: ["ž"],
        retries: 4,
        hostname: job.hostname,
        headers: { mine: [1, null] },
        deliveryInfo: { exchange: "", routingKey: "celery", priority: 3, redelivered: true },
        fence: { id: "cb-1", attempt: 2, token: 7 },
      });
    });

    test("a task asks its worker and gets the answer; five hundred at once get each their own", async (t) => {
      const asked: string[] = [];
      const pool = await started(t, async (op, params) => {
        asked.push(op);
        const [callback] = (params as { callbacks: { key: string; dueMs: number }[] }).callbacks;
        return [{ put: "added", id: `id of ${callback?.key}`, dueMs: callback?.dueMs }];
      });
      for (const count of [1, 500]) {
        const outcome = await outcomeOf(pool, "pool.put", [count]);
        assert.ok(outcome.kind === "succeeded");
        const expected = Array.from({ length: count }, (_, i) => `id of k${i}`);
        assert.deepEqual(JSON.parse(outcome.result), expected);
      }
      assert.deepEqual(asked, Array(501).fill("schedule.put"));
    });

    test("an ask that fails keeps its code, its family and its message", async (t) => {
      class ShelfFullError extends UnavailableError {
        readonly code = "ERR_SHELF_FULL";
      }
      class ShelfLostError extends LostError {
        readonly code = "ERR_SHELF_LOST";
      }
      const errors: Error[] = [
        new ShelfFullError("no room: žluť"),
        new ShelfLostError("gone"),
        new InvalidInputError("a wrong id"),
        Object.assign(new TypeError("not ours"), { code: "EACCES" }),
      ];
      const pool = await started(t, () => Promise.reject(errors.shift() ?? new Error("asked too often")));
      for (const expected of [
        { name: "ShelfFullError", message: "no room: žluť", code: "ERR_SHELF_FULL", family: "unavailable" },
        { name: "ShelfLostError", message: "gone", code: "ERR_SHELF_LOST", family: "lost" },
        { name: "InvalidInputError", message: "a wrong id", code: "ERR_INVALID_INPUT", family: "contract" },
        { name: "TypeError", message: "not ours", code: "EACCES", family: "other" },
      ]) {
        const outcome = await outcomeOf(pool, "pool.ask-error");
        assert.ok(outcome.kind === "succeeded");
        assert.deepEqual(JSON.parse(outcome.result), expected);
      }
    });

    test("a state of the task's own is stored through the worker, under the task's id", async (t) => {
      const asked: unknown[] = [];
      const pool = await started(t, async (op, params) => {
        asked.push([op, params]);
        return null;
      });
      const job = poolJob("pool.state", ["PROGRESS", { done: 3 }]);
      assert.equal((await pool.submit(job).outcome).kind, "succeeded");
      const document = {
        task_id: job.message.id,
        status: "PROGRESS",
        result: '{"done":3}',
        traceback: null,
        children: [],
        date_done: null,
      };
      assert.deepEqual(asked, [["result.store", { document, address: {} }]]);

      const final = await outcomeOf(pool, "pool.state", ["SUCCESS", 1]);
      assert.ok(final.kind === "failed" && final.error.text.includes("SUCCESS"));
      assert.equal(asked.length, 1);
    });

    test("an abort reaches the handler's signal; what then throws is aborted, what then returns has succeeded", async (t) => {
      const gates = new Gates();
      const pool = await started(t, gates.ask);
      const [obedient, tidy] = [pool.submit(poolJob("pool.obedient")), pool.submit(poolJob("pool.tidy", ["tidy"]))];
      await Promise.all([obedient.accepted, gates.reached("tidy")]);

      for (const run of [obedient, tidy]) {
        run.abort("revoked", LONG_MS);
        run.abort("revoked twice", LONG_MS);
      }
      assert.deepEqual(await obedient.outcome, { kind: "aborted", reason: "revoked" });
      assert.deepEqual(await tidy.outcome, { kind: "succeeded", result: '"revoked"' });

      obedient.abort("too late", 0);
      await until(pool, () => pool.free === 2);
      assert.equal(
        (await outcomeOf(pool, "pool.noop")).kind,
        "succeeded",
        "an abort that came too late hits nobody else",
      );
    });

    test("an abort right after the submit is not lost", async (t) => {
      const pool = await started(t);
      const run = pool.submit(poolJob("pool.obedient"));
      run.abort("changed my mind", LONG_MS);
      assert.deepEqual(await run.outcome, { kind: "aborted", reason: "changed my mind" });
    });

    test("the soft limit aborts the handler, which fails with SoftTimeLimitExceeded", async (t) => {
      const pool = await started(t);
      const outcome = await outcomeOf(pool, "pool.obedient", [], { softLimitMs: 20 });
      assert.ok(outcome.kind === "failed");
      assert.deepEqual(outcome.error.exception, {
        exc_type: "SoftTimeLimitExceeded",
        exc_message: [],
        exc_module: "billiard.exceptions",
      });
    });

    test("the hard limit ends a handler that never settles, and the slot can be used again", async (t) => {
      const pool = await started(t);
      const outcome = await outcomeOf(pool, "pool.stubborn", [], { hardLimitMs: 30 });
      assert.deepEqual(outcome, { kind: "timed-out", limitMs: 30 });
      await until(pool, () => pool.free === 2);
      assert.equal((await outcomeOf(pool, "pool.noop")).kind, "succeeded");
    });

    test("a warm stop takes no more, and waits for what runs", async () => {
      const gates = new Gates();
      const pool = open({ size: 2, ask: gates.ask });
      await pool.start();
      const run = pool.submit(poolJob("pool.gate", ["one"]));
      await gates.reached("one");

      let stopped = false;
      const stopping = pool.stop(LONG_MS).then(() => {
        stopped = true;
      });
      assert.equal(pool.free, 0);
      assert.throws(() => pool.submit(poolJob("pool.noop")), { code: "ERR_POOL_BUSY" });
      gates.open("one");
      assert.equal((await run.outcome).kind, "succeeded");
      await stopping;
      assert.ok(stopped);
      await pool.stop(LONG_MS);
    });

    test("a stop whose time is over ends what still runs", async () => {
      const pool = open({ size: 2, ask: async () => null });
      await pool.start();
      const run = pool.submit(poolJob("pool.stubborn"));
      await run.accepted;
      await pool.stop(30);
      assert.deepEqual(await run.outcome, { kind: "aborted", reason: POOL_STOPPED });
    });

    test("a second stop with less patience is the one that counts, and all of them resolve", async () => {
      const pool = open({ size: 2, ask: async () => null });
      await pool.start();
      const run = pool.submit(poolJob("pool.stubborn"));
      await run.accepted;
      const warm = pool.stop(Number.POSITIVE_INFINITY);
      await Promise.all([pool.stop(0), warm, pool.stop(LONG_MS)]);
      assert.equal((await run.outcome).kind, "aborted");
    });

    test("a pool that was stopped before it was started does not start", async () => {
      const pool = open({ size: 1, ask: async () => null });
      await pool.stop(LONG_MS);
      await assert.rejects(pool.start(), { code: "ERR_CLOSED" });
    });
  });
}

export function poolJob(task: string, args: readonly unknown[] = [], extra: Partial<TaskMessage> = {}): Job {
  const message = { task, id: randomUUID(), body: JSON.stringify([args, {}, {}]), retries: 0, ...extra };
  return { message, hostname: "pool@test" };
}

/** Resolves when `holds` does; looked at whenever the pool says that something changed. */
export function until(pool: Pool, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!holds()) return;
      stop();
      resolve();
    };
    const stop = pool.onFree(look);
    look();
  });
}

/** Every job, as slots become free; the outcomes in the order of the jobs. */
export function runAll(pool: Pool, jobs: readonly Job[]): Promise<Outcome[]> {
  return new Promise((resolve) => {
    const outcomes: Promise<Outcome>[] = [];
    const pump = () => {
      for (let job = jobs[outcomes.length]; job !== undefined && pool.free > 0; job = jobs[outcomes.length]) {
        outcomes.push(pool.submit(job).outcome);
      }
      if (outcomes.length < jobs.length) return;
      stop();
      resolve(Promise.all(outcomes));
    };
    const stop = pool.onFree(pump);
    pump();
  });
}

/** Holds the jobs of `pool.gate`: each waits for the answer to its ask. */
export class Gates {
  readonly #gates = new Map<
    string,
    { readonly reached: PromiseWithResolvers<void>; readonly open: PromiseWithResolvers<null> }
  >();

  readonly ask: AskHandler = (_op, params) => {
    const gate = this.#gate((params as { taskId: string }).taskId);
    gate.reached.resolve();
    return gate.open.promise;
  };

  /** Resolves when a job waits there. */
  reached(name: string): Promise<void> {
    return this.#gate(name).reached.promise;
  }

  open(name: string): void {
    this.#gate(name).open.resolve(null);
  }

  #gate(name: string) {
    let gate = this.#gates.get(name);
    if (gate === undefined) {
      gate = { reached: Promise.withResolvers(), open: Promise.withResolvers() };
      this.#gates.set(name, gate);
    }
    return gate;
  }
}
