import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { checkOptions, duration, flag, listOf, oneOf, suggest, text, whole } from "../../../src/kit/options.ts";

const rules = {
  concurrency: whole({ min: 1, max: 1_000 }),
  pool: oneOf("solo", "prefork"),
  queues: listOf(text()),
  acksLate: flag(),
  timeLimit: duration(),
};

describe("checkOptions", () => {
  test("answers what was given, read, and nothing of what was left out", () => {
    const given = { concurrency: 8, pool: "solo", queues: ["a", "b"], acksLate: undefined, timeLimit: "5m" };
    assert.deepEqual(checkOptions("worker", given, rules), {
      concurrency: 8,
      pool: "solo",
      queues: ["a", "b"],
      timeLimit: 300_000,
    });
    assert.deepEqual(checkOptions("worker", {}, rules), {});
  });

  test("names every wrong option at once", () => {
    const given = {
      concurency: 8,
      concurrency: 0,
      pool: "prefrok",
      queues: ["a", ""],
      acksLate: "yes",
      timeLimit: -1,
      x: 1,
    };
    assert.throws(
      () => checkOptions("worker", given, rules),
      (error: Error & { code?: string; problems?: string[] }) => {
        assert.equal(error.code, "ERR_INVALID_CONFIG");
        assert.deepEqual(error.problems, [
          'worker has no option "concurency"; did you mean "concurrency"?',
          "concurrency must be a whole number from 1 to 1000; it was 0",
          'pool must be "solo" or "prefork"; it was "prefrok"; did you mean "prefork"?',
          'queues[1] must be a non-empty text; it was ""',
          'acksLate must be true or false; it was "yes"',
          "timeLimit -1 must not be negative",
          'worker has no option "x"',
        ]);
        assert.equal(error.message, error.problems?.join("; "));
        return true;
      },
    );
  });

  test("refuses what is no object, and names of the prototype", () => {
    for (const given of [null, [], "x", 1])
      assert.throws(() => checkOptions("pool", given, rules), /options of pool must be/);
    assert.throws(
      () => checkOptions("pool", JSON.parse('{"__proto__":1,"constructor":1}'), rules),
      (error: Error) => {
        assert.match(error.message, /no option "__proto__".*no option "constructor"/);
        return true;
      },
    );
  });
});

describe("suggest", () => {
  test("finds the name that was meant", () => {
    const names = ["taskAcksLate", "workerConcurrency", "broker", "backend"];
    assert.equal(suggest("task_acks_late", names), '; did you mean "taskAcksLate"?');
    assert.equal(suggest("workerConcurency", names), '; did you mean "workerConcurrency"?');
    assert.equal(suggest("borker", names), '; did you mean "broker"?');
  });

  test("is silent when nothing is near", () => {
    assert.equal(suggest("prefetch", ["broker", "backend"]), "");
    assert.equal(suggest("x", ["yz", "abc"]), "");
    assert.equal(suggest("", ["a-long-name"]), "");
    assert.equal(suggest("anything", []), "");
    assert.equal(suggest("y".repeat(100_000), ["broker"]), "");
  });
});
