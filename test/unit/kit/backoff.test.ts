import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { backoffMs, FullJitterBackoff } from "../../../src/kit/backoff.ts";

describe("backoffMs", () => {
  test("doubles up to the cap, as Celery's retry_backoff does", () => {
    const seconds = Array.from(
      { length: 12 },
      (_, attempt) => backoffMs(attempt, { firstMs: 3_000, capMs: 600_000, jitter: false }, () => 0) / 1_000,
    );
    assert.deepEqual(seconds, [3, 6, 12, 24, 48, 96, 192, 384, 600, 600, 600, 600]);
  });

  test("spreads over the whole wait, both ends included", () => {
    const options = { firstMs: 100, capMs: 100 };
    assert.equal(
      backoffMs(0, options, () => 0),
      0,
    );
    assert.equal(
      backoffMs(0, options, () => 1 - Number.EPSILON),
      100,
    );
    assert.equal(
      backoffMs(0, options, () => 0.5),
      50,
    );
  });

  test("stays whole and within bounds for any attempt", () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, at) => {
        const ms = backoffMs(attempt, { firstMs: 250, capMs: 30_000 }, () => at);
        assert.ok(Number.isInteger(ms) && ms >= 0 && ms <= 30_000);
      }),
    );
  });
});

test("a series of waits grows, and begins anew after a success", () => {
  const backoff = new FullJitterBackoff({ firstMs: 10, capMs: 60 }, () => 1 - Number.EPSILON);
  assert.deepEqual([backoff.nextMs(), backoff.nextMs(), backoff.nextMs(), backoff.nextMs()], [10, 20, 40, 60]);
  assert.equal(backoff.attempts, 4);
  backoff.reset();
  assert.equal(backoff.nextMs(), 10);
});
