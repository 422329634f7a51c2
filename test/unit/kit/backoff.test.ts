import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { backoffMs, FullJitterBackoff } from "../../../src/kit/backoff.ts";

describe("backoffMs", () => {
  test("doubles up to the cap, as Celery's retry_backoff does", () => {
    const vectors: { factor: number; retries: number; maximum: number; countdown: number }[] = JSON.parse(
      readFileSync(new URL("../../fixtures/vectors.json", import.meta.url), "utf8"),
    ).backoff_no_jitter;
    assert.ok(vectors.length > 30);
    for (const { factor, retries, maximum, countdown } of vectors) {
      const options = { firstMs: factor * 1_000, capMs: maximum * 1_000, jitter: false };
      assert.equal(
        backoffMs(retries, options, () => 0),
        countdown * 1_000,
      );
    }
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
