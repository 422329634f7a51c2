import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Blueprint, type BlueprintOptions } from "../../../src/blueprint/blueprint.ts";
import { type AnyStep, defineStep, given, type Needs } from "../../../src/blueprint/step.ts";
import { StepSet } from "../../../src/blueprint/step-set.ts";
import { UnavailableError } from "../../../src/kit/errors.ts";
import { createLogger } from "../../../src/kit/log.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

class AwayError extends UnavailableError {
  readonly code = "ERR_AWAY";
}

function setUp() {
  const clock = new FakeClock();
  const lines: string[] = [];
  const seen: string[] = [];
  const log = createLogger({ destination: (line) => lines.push(line.replace(/^.*Process\] /, "")), clock });
  const blueprint = (steps: AnyStep[], options: Partial<BlueprintOptions> = {}) =>
    new Blueprint("worker", { steps, log, clock, stopTimeoutMs: 10_000, ...options });
  /** A step that notes its start and its stop. */
  const step = (name: string, needs: Needs = {}, more: Partial<AnyStep> = {}): AnyStep => ({
    name,
    needs,
    start() {
      seen.push(`+${name}`);
      return { part: `${name}'s part`, stop: () => void seen.push(`-${name}`) };
    },
    ...more,
  });
  return { clock, lines, seen, blueprint, step };
}

describe("a boot", () => {
  test("starts steps after their needs, gives them their parts, and a stop goes back the same way", async () => {
    const { blueprint, seen } = setUp();
    const hub = defineStep({
      name: "hub",
      async start() {
        seen.push("+hub");
        return { part: { turns: 7 }, stop: () => void seen.push("-hub") };
      },
    });
    const timer = defineStep({
      name: "timer",
      needs: { hub, limit: given<number>("limit") },
      start({ hub: { turns }, limit }) {
        seen.push(`+timer ${turns} ${limit}`);
        return {
          async stop() {
            await null;
            seen.push("-timer");
          },
        };
      },
    });
    const quiet = defineStep({ name: "quiet", start: () => void seen.push("+quiet") });
    const set = new StepSet();
    for (const each of [timer, hub, quiet]) set.add(each as AnyStep);
    assert.equal(set.size, 3);
    const worker = blueprint([...set], { given: [[given<number>("limit"), 3]] });
    assert.equal(worker.state, "waiting");
    assert.deepEqual([...worker.states.values()], ["waiting", "waiting", "waiting"]);

    await worker.boot();
    assert.equal(worker.state, "running");
    assert.deepEqual(
      [...worker.states],
      [
        ["hub", "running"],
        ["timer", "running"],
        ["quiet", "running"],
      ],
    );
    assert.deepEqual(worker.part(hub), { turns: 7 });

    await worker.stop();
    assert.equal(worker.state, "stopped");
    assert.deepEqual(seen, ["+hub", "+timer 7 3", "+quiet", "-timer", "-hub"]);
    assert.deepEqual([...worker.states.values()], ["stopped", "stopped", "stopped"]);
  });

  test("that fails stops what had started, in reverse, and names the step, with the cause", async () => {
    const { blueprint, step, seen } = setUp();
    const cause = new TypeError("no such file");
    const fails = step("pool", {}, { start: () => Promise.reject(cause) });
    const worker = blueprint([step("hub"), step("timer"), fails, step("http")]);

    await assert.rejects(worker.boot(), {
      name: "StepFailedError",
      code: "ERR_STEP_FAILED",
      step: "pool",
      message: 'step "pool" did not start: no such file',
      cause,
    });
    assert.deepEqual(seen, ["+hub", "+timer", "-timer", "-hub"]);
    assert.deepEqual([...worker.states.values()], ["stopped", "stopped", "failed", "waiting"]);
    assert.equal(worker.state, "failed");
    await worker.stop();
    assert.equal(seen.length, 4);
  });

  test("that fails because something is away says so by its family", async () => {
    const { blueprint, step } = setUp();
    const away = step(
      "connection",
      {},
      {
        start() {
          throw new AwayError("nobody answers at 127.0.0.1:5672");
        },
      },
    );
    await assert.rejects(blueprint([away]).boot(), (error: Error & { code?: string }) => {
      assert.ok(error instanceof UnavailableError);
      assert.equal(error.code, "ERR_STEP_UNAVAILABLE");
      assert.ok(error.cause instanceof AwayError);
      return true;
    });
  });

  test("that fails, and whose roll-back fails too, rolls back the rest and tells of the first failure", async () => {
    const { blueprint, step, seen, lines } = setUp();
    const stubborn = step(
      "stubborn",
      {},
      {
        start: () => ({
          stop() {
            throw new Error("I stay");
          },
        }),
      },
    );
    const fails = step("fails", {}, { start: () => Promise.reject(new Error("boom")) });
    await assert.rejects(blueprint([step("hub"), stubborn, fails]).boot(), /step "fails" did not start: boom/);
    assert.deepEqual(seen, ["+hub", "-hub"]);
    assert.deepEqual(lines, ['worker: stubborn did not stop properly error="I stay"']);
  });

  test("starts nothing when a need is nowhere to be found, and names who needs it", async () => {
    const { blueprint, step, seen } = setUp();
    const timer = given("timer");
    const worker = blueprint([step("hub"), step("presence", { timer }), step("stats", { clock: timer })]);
    await assert.rejects(worker.boot(), {
      code: "ERR_STEP_MISSING",
      step: "timer",
      message: 'the worker blueprint has no step "timer", and "presence", "stats" needs it: add that step too',
    });
    assert.deepEqual(seen, []);
    assert.equal(worker.state, "failed");
  });

  test("that is asked for twice is one boot", async () => {
    const { blueprint, step, seen } = setUp();
    const worker = blueprint([step("hub")]);
    await Promise.all([worker.boot(), worker.boot()]);
    await worker.boot();
    assert.deepEqual(seen, ["+hub"]);
  });

  test("of a stopped or failed blueprint starts it anew", async () => {
    const { blueprint, step, seen } = setUp();
    let fail = true;
    const moody = step(
      "moody",
      {},
      {
        start() {
          if (fail) throw new Error("not yet");
          return {};
        },
      },
    );
    const worker = blueprint([step("hub"), moody]);
    await assert.rejects(worker.boot());
    fail = false;
    for (let i = 0; i < 2; i++) {
      await worker.boot();
      assert.equal(worker.state, "running");
      await worker.stop();
      assert.equal(worker.state, "stopped");
    }
    assert.deepEqual(seen, ["+hub", "-hub", "+hub", "-hub", "+hub", "-hub"]);
  });
});

describe("parts", () => {
  test("come from a step, then from what is given, then from the outer blueprint", async () => {
    const { blueprint, step } = setUp();
    const settings = given<string>("settings");
    let made = 0;
    const lazy = given<{ n: number }>("lazy");
    const outer = blueprint([step("hub"), step("shared")], {
      given: [
        [settings, "outer settings"],
        [lazy, () => ({ n: ++made })],
      ],
    });
    const inner = blueprint([step("shared")], { outer, given: [[given("mine"), 1]] });
    await outer.boot();
    await inner.boot();

    assert.equal(inner.part(settings), "outer settings");
    assert.equal(inner.part(given("hub")), "hub's part");
    assert.equal(inner.part(given("mine")), 1);
    assert.equal(inner.has(given("hub")), true);
    assert.equal(outer.has(given("mine")), false);
    assert.deepEqual([inner.part(lazy), inner.part(lazy)], [{ n: 1 }, { n: 1 }]);

    await inner.stop();
    assert.throws(() => inner.part(given("shared")), {
      code: "ERR_CLOSED",
      message: 'step "shared" of the worker blueprint is not running',
    });
    assert.throws(() => inner.part(given("nowhere")), { code: "ERR_STEP_MISSING" });
  });

  test("of the outer blueprint can be needed by inner steps", async () => {
    const { blueprint, step, seen } = setUp();
    const outer = blueprint([step("hub")]);
    const inner = blueprint(
      [
        step(
          "tasks",
          { hub: given<string>("hub") },
          { start: ({ hub }) => void seen.push(`+tasks with ${String(hub)}`) },
        ),
      ],
      { outer },
    );
    await outer.boot();
    await inner.boot();
    assert.deepEqual(seen, ["+hub", "+tasks with hub's part"]);
  });

  test("of a step that failed or has not started cannot be had", async () => {
    const { blueprint, step } = setUp();
    const worker = blueprint([step("hub")]);
    assert.throws(() => worker.part(given("hub")), { code: "ERR_CLOSED" });
    const inner = blueprint([step("tasks", { hub: given("hub") })], { outer: worker });
    await assert.rejects(inner.boot(), /step "tasks" did not start: step "hub" of the worker blueprint is not running/);
  });
});

describe("a stop", () => {
  test("reaches every step, whatever the others do, and is once", async () => {
    const { blueprint, step, seen, lines } = setUp();
    const throwing = step(
      "throwing",
      {},
      {
        start: () => ({
          stop() {
            throw new Error("sync");
          },
        }),
      },
    );
    const rejecting = step("rejecting", {}, { start: () => ({ stop: () => Promise.reject(new Error("async")) }) });
    const worker = blueprint([step("a"), throwing, step("b"), rejecting]);
    await worker.boot();
    const first = worker.stop();
    assert.equal(worker.stop(), first);
    await first;
    await worker.stop();

    assert.deepEqual(seen, ["+a", "+b", "-b", "-a"]);
    assert.deepEqual(lines, [
      "worker: rejecting did not stop properly error=async",
      "worker: throwing did not stop properly error=sync",
    ]);
    assert.deepEqual([...worker.states.values()], ["stopped", "failed", "stopped", "failed"]);
  });

  test("before any boot does nothing", async () => {
    const { blueprint, step } = setUp();
    const worker = blueprint([step("a")]);
    await worker.stop();
    assert.equal(worker.state, "waiting");
    await worker.boot();
    assert.equal(worker.state, "running");
  });

  test("waits for a step no longer than its time, tells it so, and goes on", async () => {
    const { blueprint, step, seen, lines, clock } = setUp();
    let told: unknown;
    const hangs = step(
      "hangs",
      {},
      {
        start: () => ({
          stop(signal) {
            signal.addEventListener("abort", () => {
              told = signal.reason;
            });
            return new Promise(() => {});
          },
        }),
      },
    );
    const worker = blueprint([step("a"), hangs]);
    await worker.boot();
    const stopped = worker.stop();
    await clock.advance(9_999);
    assert.equal(told, undefined);
    assert.deepEqual(seen, ["+a"]);
    await clock.advance(1);
    await stopped;

    assert.match(String(told), /the time to stop "hangs" has passed/);
    assert.deepEqual(seen, ["+a", "-a"]);
    assert.deepEqual(lines, [
      'worker: hangs did not stop properly error="the time to stop \\"hangs\\" has passed (ERR_TIMEOUT)"',
    ]);
    assert.equal(clock.pending, 0);
  });

  test("waits as long as a step says that it needs", async () => {
    const { blueprint, step, seen, clock } = setUp();
    let finish: () => void = () => undefined;
    const patient = step(
      "patient",
      {},
      {
        stopTimeoutMs: Number.POSITIVE_INFINITY,
        start: () => ({ stop: () => new Promise<void>((resolve) => (finish = resolve)) }),
      },
    );
    const worker = blueprint([step("a"), patient]);
    await worker.boot();
    const stopped = worker.stop();
    await clock.advance(3_600_000);
    assert.deepEqual(seen, ["+a"]);

    finish();
    await stopped;
    assert.deepEqual(seen, ["+a", "-a"]);
  });

  test("shares its deadline among all steps; who comes too late is asked and not waited for", async () => {
    const { blueprint, step, seen, clock } = setUp();
    const slow = (name: string) =>
      step(
        name,
        {},
        {
          start: () => ({
            stop(signal) {
              seen.push(`${name} asked${signal.aborted ? " too late" : ""}`);
              return new Promise(() => {});
            },
          }),
        },
      );
    const worker = blueprint([step("quick"), slow("a"), slow("b")]);
    await worker.boot();
    const stopped = worker.stop({ deadlineMs: 2_000 });
    await clock.advance(2_000);
    await stopped;
    assert.equal(clock.monoMs(), 2_000);
    assert.deepEqual(seen, ["+quick", "b asked", "a asked too late", "-quick"]);
  });

  test("that is repeated with a nearer deadline hurries, also for the step it waits for", async () => {
    const { blueprint, step, clock } = setUp();
    const hangs = step("hangs", {}, { start: () => ({ stop: () => new Promise(() => {}) }) });
    const worker = blueprint([hangs], { stopTimeoutMs: Number.POSITIVE_INFINITY });
    await worker.boot();
    let over = false;
    const warm = worker.stop().then(() => {
      over = true;
    });
    await clock.advance(3_600_000);
    assert.equal(over, false);
    void worker.stop({ deadlineMs: 2_000 });
    await clock.advance(1_999);
    assert.equal(over, false);
    await clock.advance(1);
    await warm;

    // The deadline was that stop's, and not the next one's.
    await worker.boot();
    let again = false;
    void worker.stop().then(() => {
      again = true;
    });
    await clock.advance(60_000);
    assert.equal(again, false);
  });

  test("gives a boot up: the starting step is told, what had started is stopped, the rest never starts", async () => {
    const { blueprint, step, seen, clock } = setUp();
    const connecting = step(
      "connecting",
      {},
      {
        start: (_, signal) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              seen.push("connecting told");
              reject(signal.reason);
            });
          }),
      },
    );
    const worker = blueprint([step("hub"), connecting, step("never")]);
    const booted = assert.rejects(worker.boot(), {
      code: "ERR_CLOSED",
      message: "the boot of the worker blueprint was given up: it was stopped",
    });
    await clock.advance(0);
    assert.equal(worker.state, "starting");
    await assert.rejects(async () => {
      void worker.stop();
      await worker.boot();
    }, /is being stopped/);
    await worker.stop();
    await booted;

    assert.deepEqual(seen, ["+hub", "connecting told", "-hub"]);
    assert.deepEqual([...worker.states.values()], ["stopped", "failed", "waiting"]);
    assert.equal(worker.state, "stopped");
  });

  test("during the boot undoes a start that succeeds all the same", async () => {
    const { blueprint, seen, step, clock } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    const deaf = step(
      "deaf",
      {},
      {
        async start() {
          await promise;
          seen.push("+deaf");
          return { stop: () => void seen.push("-deaf") };
        },
      },
    );
    const worker = blueprint([step("hub"), deaf]);
    const booted = assert.rejects(worker.boot(), { code: "ERR_CLOSED" });
    await clock.advance(0);
    const stopped = worker.stop();
    resolve();
    await Promise.all([stopped, booted]);
    assert.deepEqual(seen, ["+hub", "+deaf", "-deaf", "-hub"]);
  });

  test("during the boot does not wait for ever for a start that hangs, and undoes it when it comes", async () => {
    const { blueprint, seen, step, clock, lines } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    const deaf = step(
      "deaf",
      {},
      {
        async start() {
          await promise;
          return { stop: (signal) => void seen.push(`-deaf ${signal.aborted}`) };
        },
      },
    );
    const worker = blueprint([step("hub"), deaf]);
    const booted = assert.rejects(worker.boot(), { code: "ERR_CLOSED" });
    await clock.advance(0);
    const stopped = worker.stop();
    await clock.advance(10_000);
    await Promise.all([stopped, booted]);
    assert.deepEqual(seen, ["+hub", "-hub"]);
    assert.deepEqual(lines, ["worker: deaf did not give its start up in time"]);
    resolve();
    await clock.advance(0);
    assert.deepEqual(seen, ["+hub", "-hub", "-deaf true"]);
  });
});

test("five hundred boots and stops at odd moments leave nothing running", async () => {
  const { blueprint, clock } = setUp();
  let running = 0;
  const unit = (name: string, needs: Needs): AnyStep => ({
    name,
    needs,
    async start() {
      for (let i = name.length; i > 0; i--) await null;
      running += 1;
      return {
        async stop() {
          await null;
          running -= 1;
        },
      };
    },
  });
  const worker = blueprint([unit("a", {}), unit("bbbbbb", { a: given("a") }), unit("ccc", {})]);
  for (let i = 0; i < 500; i++) {
    const booted = worker.boot().catch((error) => assert.equal(error.code, "ERR_CLOSED"));
    for (let turns = i % 25; turns > 0; turns--) await null;
    await Promise.all([worker.stop(), worker.stop(), booted]);
    assert.equal(running, 0, `round ${i}`);
    assert.equal(worker.state, "stopped");
  }
  assert.equal(clock.pending, 0);
});
