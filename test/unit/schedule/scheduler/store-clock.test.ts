import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { StoreClock } from "../../../../src/schedule/scheduler/store-clock.ts";

/** Our wall, and a store's that is ahead of it. */
function clocks(aheadMs: number) {
  const wall = { nowMs: 1_000_000 };
  const clock = new StoreClock({ wallMs: () => wall.nowMs });
  /** An answer that took so long there and back. */
  const answer = (thereMs: number, backMs: number) => {
    const askedMs = wall.nowMs;
    wall.nowMs += thereMs;
    const storeMs = wall.nowMs + aheadMs;
    wall.nowMs += backMs;
    clock.learn(storeMs, askedMs);
  };
  return { wall, clock, answer };
}

describe("the store's clock", () => {
  test("is ours, exactly, as long as it is the same: however long answers take, there or back", () => {
    const { wall, clock, answer } = clocks(0);
    for (const [thereMs, backMs] of [
      [0, 0],
      [500, 1],
      [0, 700],
      [3, 3],
    ] as const) {
      answer(thereMs, backMs);
      assert.equal(clock.aheadMs, 0);
      assert.equal(clock.nowMs(), wall.nowMs);
    }
  });

  test("is known to half a round trip when it is another, ahead or behind", () => {
    for (const aheadMs of [86_400_000, 37, -37, -5_000]) {
      const { clock, answer, wall } = clocks(aheadMs);
      answer(2, 4);
      assert.ok(Math.abs(clock.aheadMs - aheadMs) <= 3);
      answer(0, 1);
      assert.ok(Math.abs(clock.aheadMs - aheadMs) <= 1, `${clock.aheadMs} for ${aheadMs}`);
      assert.equal(clock.wallOf(clock.nowMs()), wall.nowMs);
    }
  });

  test("is believed until an answer contradicts it, and then anew", () => {
    const { clock, answer } = clocks(100);
    answer(1, 1);
    const believed = clock.aheadMs;
    answer(400, 20);
    assert.equal(clock.aheadMs, believed, "a slow answer says less, and changes nothing");
    clock.learn(2_000_000, 1_000_421);
    assert.notEqual(clock.aheadMs, believed);
  });

  test("learns nothing from an answer during which our own wall stepped back", () => {
    const { clock, wall } = clocks(0);
    const askedMs = wall.nowMs;
    wall.nowMs -= 60_000;
    clock.learn(askedMs + 1, askedMs);
    assert.equal(clock.aheadMs, 0);
  });
});
