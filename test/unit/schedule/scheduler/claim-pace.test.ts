import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ClaimPace } from "../../../../src/schedule/scheduler/claim-pace.ts";
import { Chance } from "../../../sim/random.ts";

/** Evenly spread: neither faster nor slower than its share. */
const middling = () => 0.5;

/** How many claims one of `workers` makes in so many ms, if it claims whenever it may. */
function claimsIn(ms: number, workers: number, found: (n: number) => number, limit = 10): number {
  const pace = new ClaimPace(middling);
  pace.setWorkers(workers, 0);
  let claims = 0;
  for (let nowMs = 0; nowMs < ms; nowMs++) {
    if (pace.waitMs(nowMs) > 0) continue;
    pace.claimed(found(claims), limit, nowMs);
    claims += 1;
  }
  return claims;
}

describe("the pace of claims", () => {
  test("holds nobody back who is alone, or who does not know of others", () => {
    const pace = new ClaimPace(middling);
    for (const workers of [undefined, 0, 1]) {
      pace.setWorkers(workers, 0);
      for (let i = 0; i < 1_000; i++) {
        assert.equal(pace.waitMs(0), 0);
        pace.claimed(0, 10, 0);
        pace.looked(0);
      }
    }
  });

  test("gives a fleet 400 claims a second that bring something, whatever its size", () => {
    for (const workers of [2, 8, 50]) {
      const each = claimsIn(60_000, workers, () => 1);
      assert.ok(Math.abs((each * workers) / 60 - 400) < 20, `${workers} workers: ${(each * workers) / 60} a second`);
    }
  });

  test("gives it a third of that when they bring nothing", () => {
    const each = claimsIn(60_000, 8, () => 0);
    assert.ok(Math.abs((each * 8) / 60 - 133) < 10, `${(each * 8) / 60} a second`);
  });

  test("does not count a claim that filled every slot", () => {
    assert.equal(
      claimsIn(1_000, 8, () => 10),
      1_000,
    );
  });

  test("lets a worker that was quiet claim some times at once", () => {
    const pace = new ClaimPace(middling);
    pace.setWorkers(8, 0);
    pace.claimed(0, 10, 0);
    let atOnce = 0;
    for (; pace.waitMs(60_000) === 0; atOnce++) pace.claimed(1, 10, 60_000);
    assert.ok(atOnce >= 8 && atOnce <= 12, `${atOnce} at once`);
  });

  test("lets no more than about eight of a quiet fleet come at one moment, and the others soon after", () => {
    const waits = Array.from({ length: 400 }, (_, i) => {
      const pace = new ClaimPace(new Chance(i).draw);
      pace.setWorkers(50, 0);
      return pace.stepBackMs(0);
    });
    const atOnce = waits.filter((ms) => ms === 0).length;
    assert.ok(atOnce > 400 * (4 / 50) && atOnce < 400 * (12 / 50), `${atOnce} of 400`);
    assert.ok(waits.every((ms) => ms <= 125));
    const small = new ClaimPace(middling);
    small.setWorkers(8, 0);
    assert.equal(small.stepBackMs(0), 0);
  });

  test("says how long to wait, and means it", () => {
    const chance = new Chance(7);
    const pace = new ClaimPace(chance.draw);
    pace.setWorkers(8, 0);
    let nowMs = 0;
    for (let i = 0; i < 1_000; i++) {
      const waitMs = pace.waitMs(nowMs);
      assert.ok(Number.isInteger(waitMs) && waitMs >= 0 && waitMs < 1_000);
      nowMs += waitMs;
      assert.ok(pace.waitMs(nowMs) <= 1);
      pace.claimed(chance.whole(0, 2), 10, nowMs);
    }
  });

  test("lets workers that woke together drift apart", () => {
    const moments = [1, 2, 3, 4].map((seed) => {
      const pace = new ClaimPace(new Chance(seed).draw);
      pace.setWorkers(4, 0);
      for (let i = 0; i < 20; i++) pace.claimed(1, 10, 0);
      return pace.waitMs(0);
    });
    assert.equal(new Set(moments).size, 4, String(moments));
  });
});
