/** A task starts as often as its rate allows, in order, and stands in nobody's way meanwhile. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { startsPerSecond } from "../../../src/app/rate.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { RateLimits } from "../../../src/worker/rate-limits.ts";

function limits() {
  const clock = new FakeClock({ wallMs: 0 });
  const gone: [item: string, atMs: number][] = [];
  const startMs = clock.monoMs();
  const rates = new RateLimits<string>(clock, (item) => gone.push([item, clock.monoMs() - startMs]));
  return { clock, gone, rates };
}

describe("a rate limit", () => {
  test("lets one go at once, then one for each token, in order", async () => {
    const { clock, gone, rates } = limits();
    rates.set("slow", 2);
    for (const each of ["a", "b", "c"]) rates.add("slow", each);
    rates.add("other", "x");
    assert.deepEqual(gone, [
      ["a", 0],
      ["x", 0],
    ]);
    await clock.advance(499);
    assert.equal(gone.length, 2);
    await clock.advance(1);
    await clock.advance(10_000);
    assert.deepEqual(gone.slice(2), [
      ["b", 500],
      ["c", 1_000],
    ]);
    for (const each of ["d", "e"]) rates.add("slow", each);
    assert.deepEqual(gone.at(-1)?.[0], "d", "no more than one token is saved up");
  });

  test("follows a new rate, lets all go without one, and gives back what waits", async () => {
    const { clock, gone, rates } = limits();
    rates.set("t", 1 / 3_600);
    for (const each of ["a", "b", "c"]) rates.add("t", each);
    rates.set("t", 10);
    await clock.advance(100);
    assert.deepEqual(
      gone.map(([item]) => item),
      ["a", "b"],
    );
    rates.set("t", undefined);
    assert.deepEqual(
      gone.map(([item]) => item),
      ["a", "b", "c"],
    );
    rates.set("t", 1);
    rates.add("t", "d");
    rates.add("t", "e");
    rates.set("other", 1);
    for (const each of ["x", "y", "z"]) rates.add("other", each);
    assert.equal(rates.waiting, 3, "e, y and z");
    assert.deepEqual(rates.drain(), ["e", "y", "z"]);
    assert.equal(rates.waiting, 0);
    await clock.advance(60_000);
    assert.deepEqual(
      gone.map(([item]) => item),
      ["a", "b", "c", "d", "x"],
    );
  });

  test("gives a token to who takes one past the queue, but never before those who wait", async () => {
    const { clock, gone, rates } = limits();
    rates.set("t", 1);
    assert.equal(rates.take("nothing is said of it"), true);
    assert.equal(rates.take("t"), true);
    assert.equal(rates.take("t"), false);
    rates.add("t", "a");
    await clock.advance(1_000);
    assert.deepEqual(gone, [["a", 1_000]]);
    assert.equal(rates.take("t"), false);
    await clock.advance(1_000);
    assert.equal(rates.take("t"), true);
  });

  test("lets go of what is not to run any more within a second, without a token", async () => {
    const clock = new FakeClock({ wallMs: 0 });
    const gone: string[] = [];
    const unwanted = new Set<string>();
    const rates = new RateLimits<string>(
      clock,
      (item) => gone.push(item),
      (item) => unwanted.has(item),
    );
    rates.set("t", 1 / 3_600);
    for (const each of ["a", "b", "c"]) rates.add("t", each);
    unwanted.add("c");
    await clock.advance(1_000);
    assert.deepEqual(gone, ["a", "c"]);
    await clock.advance(3_600_000);
    assert.deepEqual(gone, ["a", "c", "b"]);
  });

  test("is read as Celery reads it", () => {
    const { rate } = JSON.parse(readFileSync(new URL("../../fixtures/vectors.json", import.meta.url), "utf8")) as {
      readonly rate: readonly { readonly rate_limit: string | null; readonly tokens_per_second: number | object }[];
    };
    assert.ok(rate.length > 5);
    for (const { rate_limit, tokens_per_second } of rate) {
      if (typeof tokens_per_second === "object") assert.throws(() => startsPerSecond(rate_limit), TypeError);
      else assert.equal(startsPerSecond(rate_limit) ?? 0, tokens_per_second, String(rate_limit));
    }
    assert.equal(startsPerSecond("100/m"), 100 / 60);
    assert.equal(startsPerSecond("10/s"), 10);
    assert.equal(startsPerSecond("36/h"), 0.01);
    assert.equal(startsPerSecond(2.5), 2.5);
    for (const none of [null, undefined, "", 0, "0", "0/s"])
      assert.equal(startsPerSecond(none), undefined, String(none));
    assert.throws(() => startsPerSecond("10/y"), /rateLimit must be/);
  });
});
