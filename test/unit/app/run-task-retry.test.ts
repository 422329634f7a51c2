import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { currentTask, type RetryOptions } from "../../../src/app/context.ts";
import { TaskRegistry } from "../../../src/app/registry.ts";
import { autoretryDelay, MaxRetriesExceededError } from "../../../src/app/retry.ts";
import { runTask } from "../../../src/app/run-task.ts";
import type { TaskOptions } from "../../../src/app/task-options.ts";
import { Ignore } from "../../../src/app/task-outcomes.ts";
import { createLogger } from "../../../src/kit/log.ts";
import type { Outcome } from "../../../src/pool/pool.ts";
import { isOutcome } from "../../../src/pool/prefork/outcome-data.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const NOW = Date.UTC(2030, 0, 1);
const BODY =
  '[["a", 1.0], {"k": 12345678901234567890}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]';

interface Setup {
  readonly options?: TaskOptions;
  readonly retries?: number;
  readonly random?: number;
  readonly lines?: string[];
}

function run(
  handler: () => unknown,
  { options = {}, retries = 0, random = 0, lines = [] }: Setup = {},
): Promise<Outcome> {
  const registry = new TaskRegistry();
  registry.add({ name: "shop.pay", options: { params: ["a", "b", "k"], ...options }, handler });
  return runTask(
    { message: { task: "shop.pay", id: "id-1", body: BODY, retries }, hostname: "w" },
    {
      registry,
      ask: () => Promise.reject(new Error("nobody answers")),
      log: createLogger({ destination: (line) => lines.push(line) }),
      clock: new FakeClock(),
      signal: new AbortController().signal,
      random: () => random,
    },
  );
}

const retrying = (retryOptions?: RetryOptions, setup?: Setup) => run(() => currentTask().retry(retryOptions), setup);

function retried(outcome: Outcome) {
  assert.ok(outcome.kind === "retry", JSON.stringify(outcome));
  return { ...outcome, inMs: outcome.etaMs - NOW };
}

function failed(outcome: Outcome) {
  assert.ok(outcome.kind === "failed", JSON.stringify(outcome));
  return outcome.error;
}

test("a retry runs again with the same text of its arguments, one more retry, after 180 s", async () => {
  const outcome = retried(await retrying());
  assert.deepEqual([outcome.inMs, outcome.retries, outcome.body], [180_000, 1, BODY]);
  assert.deepEqual(outcome.error.exception, {
    exc_type: "Retry",
    exc_message: ["Retry in 180s"],
    exc_module: "celery.exceptions",
  });
});

test("countdown, eta and the task's own delay say when; both at once is the caller's error", async () => {
  assert.equal(retried(await retrying({ countdown: 0 })).inMs, 0);
  assert.equal(retried(await retrying({ countdown: "1500ms" })).inMs, 1_500);
  assert.equal(retried(await retrying({ eta: new Date(NOW + 5_000) })).inMs, 5_000);
  assert.equal(retried(await retrying({ eta: "2030-01-01T01:00:00+01:00" })).inMs, 0);
  assert.equal(retried(await retrying({}, { options: { defaultRetryDelay: "2m" } })).inMs, 120_000);
  for (const wrong of [{ countdown: 1, eta: new Date() }, { countdown: -1 }, { eta: "2030-01-01T00:00" }]) {
    assert.equal(failed(await retrying(wrong)).exception.exc_type, "InvalidInputError");
  }
});

test("the cause is what is stored with the retry, and what is thrown when no retry is left", async () => {
  const cause = new RangeError("card declined");
  assert.equal(retried(await retrying({ cause })).error.exception.exc_type, "RangeError");
  assert.equal(failed(await retrying({ cause }, { retries: 3 })).exception.exc_type, "RangeError");
});

test("three retries by default; then MaxRetriesExceededError in Celery's words", async () => {
  assert.equal(retried(await retrying({}, { retries: 2 })).retries, 3);
  const error = failed(await retrying({}, { retries: 3 }));
  assert.deepEqual(
    [error.exception.exc_type, error.exception.exc_module],
    ["MaxRetriesExceededError", "celery.exceptions"],
  );
  assert.match(String(error.exception.exc_message[0]), /^Can't retry shop\.pay\[id-1\] args:\["a",1\] kwargs:/);
});

test("maxRetries of the task and of the call; null is no limit, 0 is none", async () => {
  assert.equal((await retrying({}, { retries: 3, options: { maxRetries: 4 } })).kind, "retry");
  assert.equal((await retrying({}, { retries: 1_000, options: { maxRetries: null } })).kind, "retry");
  assert.equal((await retrying({}, { options: { maxRetries: 0 } })).kind, "failed");
  assert.equal((await retrying({ maxRetries: 9 }, { retries: 8 })).kind, "retry");
  assert.equal((await retrying({ maxRetries: null }, { retries: 99, options: { maxRetries: 1 } })).kind, "retry");
  assert.equal((await retrying({ maxRetries: 0 }, { options: { maxRetries: null } })).kind, "failed");
});

test("other arguments for the next run take the place of those that are given, and only of those", async () => {
  const other = JSON.parse(retried(await retrying({ args: ["b"] })).body) as unknown[];
  assert.deepEqual(other[0], ["b"]);
  assert.match(retried(await retrying({ args: ["b"] })).body, /"k": ?12345678901234567890/);
  const kwargs = retried(await retrying({ kwargs: { k: new Date(NOW) } })).body;
  assert.match(kwargs, /^\[\["a", ?1(\.0)?\], ?\{"k": ?\{"__type__": ?"datetime"/);
  assert.match(failed(await retrying({ args: [() => 1] })).text, /args\[0\] is a function/);
});

test("a retry that was caught is no retry, and the log says so", async () => {
  const lines: string[] = [];
  const outcome = await run(
    () => {
      try {
        return currentTask().retry();
      } catch {
        return "went on";
      }
    },
    { lines },
  );
  assert.deepEqual(outcome, { kind: "succeeded", result: '"went on"' });
  assert.match(lines.join("\n"), /WARNING.*retry\(\) was called, but what it throws did not leave the handler/);
});

class Flaky extends Error {}
class VeryFlaky extends Flaky {}
const throwing = (error: unknown) => () => {
  throw error;
};

test("errors named in autoretryFor are retried by themselves, subclasses too, but for those of dontAutoretryFor", async () => {
  const options = { autoretryFor: [Flaky] };
  const outcome = retried(await run(throwing(new VeryFlaky("x")), { options }));
  assert.deepEqual([outcome.inMs, outcome.error.exception.exc_type], [180_000, "VeryFlaky"]);
  assert.equal((await run(throwing(new Error("x")), { options })).kind, "failed");
  const except = { ...options, dontAutoretryFor: [VeryFlaky] };
  assert.equal((await run(throwing(new VeryFlaky("x")), { options: except })).kind, "failed");
  assert.equal((await run(throwing(new Flaky("x")), { options: except })).kind, "retry");
  assert.equal((await run(throwing("a text"), { options: { autoretryFor: true } })).kind, "retry");
});

test("the last automatic retry leaves the error itself; Ignore and an own retry are not retried again", async () => {
  const options = { autoretryFor: true as const };
  assert.equal(failed(await run(throwing(new Flaky("x")), { options, retries: 3 })).exception.exc_type, "Flaky");
  assert.equal((await run(throwing(new Ignore()), { options })).kind, "ignored");
  assert.equal(retried(await retrying({ countdown: 7 }, { options })).inMs, 7_000);
  const exhausted = failed(await retrying({}, { retries: 3 }));
  assert.equal(exhausted.exception.exc_type, MaxRetriesExceededError.name);
});

test("back-off doubles from the factor up to its maximum, as Celery computes it", () => {
  const file = new URL("../../fixtures/vectors.json", import.meta.url);
  const { backoff_no_jitter: vectors } = JSON.parse(readFileSync(file, "utf8")) as {
    backoff_no_jitter: { factor: number; retries: number; maximum: number; countdown: number }[];
  };
  assert.ok(vectors.length > 20);
  for (const { factor, retries, maximum, countdown } of vectors) {
    const options = { retryBackoff: factor, retryBackoffMax: maximum, retryJitter: false };
    assert.equal(autoretryDelay(options, retries, Math.random), countdown, `${factor} ${retries} ${maximum}`);
  }
  assert.equal(autoretryDelay({ retryBackoff: true, retryJitter: false }, 3, Math.random), 8);
  assert.equal(autoretryDelay({ retryBackoff: true, retryJitter: false }, 5_000, Math.random), 600);
  assert.equal(autoretryDelay({ retryBackoff: 0.5, retryJitter: false }, 0, Math.random), 1);
  assert.equal(autoretryDelay({ retryBackoff: false }, 3, Math.random), undefined);
  assert.equal(autoretryDelay({}, 3, Math.random), undefined);
});

test("jitter is a whole number of seconds from 0 to the back-off, both included", async () => {
  const delays = new Set<number | undefined>();
  for (let i = 0; i < 9; i += 1) delays.add(autoretryDelay({ retryBackoff: true }, 3, () => i / 9));
  assert.deepEqual([...delays], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  const options = { autoretryFor: true as const, retryBackoff: 10 };
  assert.equal(retried(await run(throwing(new Error("x")), { options, retries: 1, random: 0.999 })).inMs, 20_000);
  assert.equal(retried(await run(throwing(new Error("x")), { options, retries: 1, random: 0 })).inMs, 0);
});

test("a retry may change how and where its next run is sent, and says no more than that", async () => {
  const expires = new Date(NOW + 9_000);
  const outcome = retried(
    await retrying({
      ...{ queue: "slow", priority: 2, expires, timeLimit: 20, softTimeLimit: "10s", headers: { "x-own": 1 } },
      ...{ ignoreResult: true, shadow: "pay again", args: ["b"] },
    }),
  );
  assert.deepEqual(outcome.to, { queue: "slow" });
  assert.deepEqual(outcome.changes, {
    ...{ argsRepr: "('b',)", expiresMs: NOW + 9_000, hardLimitMs: 20_000, softLimitMs: 10_000, priority: 2 },
    ...{ headers: { "x-own": 1 }, ignoreResult: true, shadow: "pay again" },
  });
  assert.match(outcome.body, /^\[\["b"\], \{"k":12345678901234567890\}, /);
  const plain = retried(await retrying());
  assert.ok(!("to" in plain) && !("changes" in plain));
  assert.equal(isOutcome(JSON.parse(JSON.stringify(outcome))), true, "it crosses the channel of a pool process");
});

test("an option of a retry that is unknown or wrong fails the task, and names what is wrong", async () => {
  const wrongs: [object, RegExp][] = [
    [{ countDown: 5 }, /no option "countDown".*countdown/],
    [{ queue: "" }, /queue of a retry must be a non-empty text/],
    [{ priority: 300 }, /priority must be a whole number/],
    [{ timeLimit: 1, softTimeLimit: 2 }, /softTimeLimit \(2 s\) is longer than timeLimit \(1 s\)/],
    [{ headers: { task: "x" } }, /headers has 'task'|headers has "task"/],
    [{ headers: [] }, /headers of a retry must be an object/],
  ];
  for (const [options, message] of wrongs) {
    const error = failed(await retrying(options as RetryOptions));
    assert.equal(error.exception.exc_type, "InvalidInputError", JSON.stringify(options));
    assert.match(String(error.exception.exc_message[0]), message);
  }
});

test("automatic retries are asked with retryKwargs; the delay of the back-off stands over theirs", async () => {
  const fails = () => {
    throw new RangeError("again");
  };
  const asked = (options: TaskOptions, retries = 0) =>
    run(fails, { options: { autoretryFor: [RangeError], ...options }, retries, random: 0.999 });
  assert.equal(retried(await asked({ retryKwargs: { countdown: 7, queue: "slow" } })).inMs, 7_000);
  assert.deepEqual(retried(await asked({ retryKwargs: { countdown: 7, queue: "slow" } })).to, { queue: "slow" });
  assert.equal(
    retried(await asked({ retryKwargs: { countdown: 7 }, retryBackoff: 4, retryJitter: false }, 1)).inMs,
    8_000,
  );
  assert.equal(
    retried(await asked({ retryKwargs: { eta: new Date(NOW) }, retryBackoff: true, retryJitter: false })).inMs,
    1_000,
  );
  assert.equal(failed(await asked({ retryKwargs: { maxRetries: 1 } }, 1)).exception.exc_type, "RangeError");
  assert.equal(retried(await asked({ retryKwargs: { maxRetries: null }, maxRetries: 0 }, 50)).retries, 51);
});

test("what a hostile process says of its next run is refused unless it is what a retry can say", () => {
  const error = { exception: { exc_type: "E", exc_message: [], exc_module: null }, text: "", traceback: null };
  const outcome = { kind: "retry", etaMs: 1, body: "[]", retries: 1, error };
  assert.equal(isOutcome({ ...outcome, changes: {}, to: {} }), true);
  for (const wrong of [
    { changes: { id: "another" } },
    { changes: { priority: 256 } },
    { changes: { headers: "x" } },
    { changes: [] },
    { to: { queue: 1 } },
    { to: { retryPolicy: {} } },
    { to: "queue" },
  ]) {
    assert.equal(isOutcome({ ...outcome, ...wrong }), false, JSON.stringify(wrong));
  }
});
