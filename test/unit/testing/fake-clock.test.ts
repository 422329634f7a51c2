import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

describe("the fake clock", () => {
  test("stands still until it is moved", async () => {
    const clock = new FakeClock({ wallMs: "2026-11-22T18:54:00Z" });
    let ran = false;
    clock.timeout(() => (ran = true), 0);

    await new Promise((resolve) => setImmediate(resolve));

    assert.equal(ran, false);
    assert.equal(clock.monoMs(), 0);
    assert.equal(clock.wallMs(), Date.UTC(2026, 10, 22, 18, 54));
  });

  test("runs what is due in order, each at its own moment, and equal ones in the order they were set", async () => {
    const clock = new FakeClock({ wallMs: 1_000 });
    const seen: string[] = [];
    const at = (name: string) => () => seen.push(`${name} at ${clock.monoMs()}`);
    clock.timeout(at("c"), 30);
    clock.timeout(at("a"), 10);
    clock.timeout(at("b1"), 20);
    clock.timeout(at("b2"), 20);

    await clock.advance(29);
    assert.deepEqual(seen, ["a at 10", "b1 at 20", "b2 at 20"]);
    assert.equal(clock.pending, 1);
    assert.equal(clock.nextInMs, 1);

    await clock.advance(1);
    assert.deepEqual(seen.at(-1), "c at 30");
    assert.equal(clock.wallMs(), 1_030);
    assert.equal(clock.nextInMs, undefined);
  });

  test("lets promises and turns of the event loop settle before time goes on", async () => {
    const clock = new FakeClock();
    const seen: string[] = [];
    clock.timeout(async () => {
      for (let i = 0; i < 20; i++) await null;
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
      seen.push(`first at ${clock.monoMs()}`);
      clock.timeout(() => seen.push(`set by the first at ${clock.monoMs()}`), 5);
    }, 10);
    clock.timeout(() => seen.push(`second at ${clock.monoMs()}`), 11);

    await clock.advance(100);

    assert.deepEqual(seen, ["first at 10", "second at 11", "set by the first at 15"]);
  });

  test("runs what is set before the first turn of an awaited promise", async () => {
    const clock = new FakeClock();
    let ran = 0;
    void Promise.resolve().then(() => clock.timeout(() => ran++, 3));
    await clock.advance(3);
    assert.equal(ran, 1);
  });

  test("does not run what was cancelled, also when cancelled twice or after it ran", async () => {
    const clock = new FakeClock();
    const seen: number[] = [];
    const timeouts = [1, 1, 1, 2].map((ms, i) => clock.timeout(() => seen.push(i), ms));

    timeouts[1]?.cancel();
    timeouts[1]?.cancel();
    assert.equal(clock.pending, 3);
    await clock.advance(1);
    timeouts[0]?.cancel();
    timeouts[3]?.cancel();
    await clock.advance(10);

    assert.deepEqual(seen, [0, 2]);
    assert.equal(clock.pending, 0);
  });

  test("steps the wall alone", async () => {
    const clock = new FakeClock({ wallMs: 5_000 });
    let firedAt = 0;
    clock.timeout(() => (firedAt = clock.monoMs()), 100);

    clock.stepWall(-4_000);
    await clock.advance(100);

    assert.equal(clock.wallMs(), 1_100);
    assert.equal(firedAt, 100);
  });

  test("wakes early when asked to, as Node does, and still gets there when the waker re-arms", async () => {
    const clock = new FakeClock({ earlyWakeMs: 1.94 });
    const wakes: number[] = [];
    const dueMs = 50;
    const arm = () => {
      clock.timeout(
        () => {
          wakes.push(clock.monoMs());
          if (clock.monoMs() < dueMs) arm();
        },
        Math.ceil(dueMs - clock.monoMs()),
      );
    };
    arm();

    await clock.advance(60);

    assert.ok(wakes.length > 1);
    assert.ok((wakes[0] ?? 0) < dueMs);
    assert.ok((wakes.at(-1) ?? 0) >= dueMs);
    assert.equal(clock.pending, 0);
  });

  test("keeps the order of two calls of advance that overlap", async () => {
    const clock = new FakeClock();
    const seen: number[] = [];
    for (const ms of [5, 15]) clock.timeout(() => seen.push(clock.monoMs()), ms);
    await Promise.all([clock.advance(10), clock.advance(10)]);
    assert.deepEqual(seen, [5, 15]);
    assert.equal(clock.monoMs(), 20);
  });

  test("rejects with what a timeout's function threw, and goes on when moved again", async () => {
    const clock = new FakeClock();
    let ran = false;
    clock.timeout(() => {
      throw new Error("boom");
    }, 1);
    clock.timeout(() => (ran = true), 2);
    await assert.rejects(clock.advance(5), /boom/);
    await clock.advance(5);
    assert.equal(ran, true);
  });

  test("refuses a delay that Node would take as one millisecond", () => {
    const clock = new FakeClock();
    for (const delayMs of [2 ** 31, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => clock.timeout(() => {}, delayMs), RangeError);
    }
    assert.equal(clock.pending, 0);
  });

  test("says so when a timeout sets itself again without time passing", async () => {
    const clock = new FakeClock();
    let left = 200_000;
    const again = () => {
      if (left-- > 0) clock.timeout(again, 0);
    };
    again();
    await assert.rejects(clock.advance(1), /without time passing/);
  });

  test("refuses to go back, or to start at no moment", () => {
    assert.throws(() => new FakeClock().advance(-1), RangeError);
    assert.throws(() => new FakeClock().advance(Number.NaN), RangeError);
    assert.throws(() => new FakeClock({ wallMs: "yesterday" }), RangeError);
    assert.throws(() => new FakeClock({ earlyWakeMs: 3 }), RangeError);
    assert.throws(() => new FakeClock().stepWall(0.5), RangeError);
  });

  test("holds ten thousand timeouts", async () => {
    const clock = new FakeClock();
    let sum = 0;
    for (let i = 0; i < 10_000; i++) clock.timeout(() => (sum += 1), (i * 7919) % 10_000);
    await clock.advance(10_000);
    assert.equal(sum, 10_000);
  });
});
