import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { retryDelayMs, retryPolicyRule } from "../../../src/app/retry-policy.ts";

function delays(policy: unknown, upTo = 20): number[] {
  const read = retryPolicyRule(policy, "retryPolicy");
  const all: number[] = [];
  for (let i = 0; i < upTo; i += 1) {
    const delayMs = retryDelayMs(read, i);
    if (delayMs === undefined) return all;
    all.push(delayMs);
  }
  return all;
}

describe("a retry policy", () => {
  test("is Celery's unless it says otherwise", () => {
    assert.deepEqual(delays({}), [0, 200, 400]);
    assert.deepEqual(delays({ max_retries: 3, interval_start: 0, interval_step: 0.2, interval_max: 1 }), [0, 200, 400]);
  });

  test("waits longer each time, up to the longest, as kombu's interval range does", () => {
    assert.deepEqual(delays({ maxRetries: 8 }), [0, 200, 400, 600, 800, 1_000, 1_000, 1_000]);
    assert.deepEqual(
      delays({ maxRetries: 4, intervalStart: 2, intervalStep: 3, intervalMax: 5 }),
      [2_000, 5_000, 7_000, 7_000],
    );
  });

  test("may have no retry at all, or no end", () => {
    assert.deepEqual(delays({ max_retries: 0 }), []);
    assert.equal(delays({ max_retries: null }, 1_000).length, 1_000);
  });

  test("can cross to a pool process as JSON", () => {
    const read = retryPolicyRule({ maxRetries: null }, "p");
    assert.deepEqual(JSON.parse(JSON.stringify(read)), read);
  });

  test("passes over what is Python's, and names what is wrong", () => {
    assert.deepEqual(retryPolicyRule({ retry_errors: null, timeout: 4 }, "p"), {});
    assert.throws(() => retryPolicyRule({ maxRetires: 3, intervalStep: -1, max_retries: 1.5 }, "p"), {
      problems: [
        'p has no "maxRetires"; did you mean "maxRetries"?',
        "p.intervalStep must be a number of seconds; it was -1",
        "p.max_retries must be a whole number of at least 0, or null for no limit; it was 1.5",
      ],
    });
    assert.throws(() => retryPolicyRule(3, "p"), /p must be an object/);
  });
});
