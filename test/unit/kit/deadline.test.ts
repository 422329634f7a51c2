import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sleep, withDeadline } from "../../../src/kit/deadline.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const DAY_MS = 86_400_000;

describe("withDeadline", () => {
  test("gives what comes in time, and leaves no timeout behind", async () => {
    const clock = new FakeClock();
    const { promise, resolve } = Promise.withResolvers<string>();
    const waited = withDeadline(promise, 1_000, clock, "the answer");
    await clock.advance(999);
    resolve("here");
    assert.equal(await waited, "here");
    assert.equal(clock.pending, 0);
  });

  test("passes a failure on, and leaves no timeout behind", async () => {
    const clock = new FakeClock();
    await assert.rejects(withDeadline(Promise.reject(new Error("no")), 1_000, clock, "the answer"), /^Error: no$/);
    assert.equal(clock.pending, 0);
  });

  test("says what did not come, and a late failure harms nobody", async () => {
    const clock = new FakeClock();
    const { promise, reject } = Promise.withResolvers<void>();
    const waited = assert.rejects(withDeadline(promise, 1_500, clock, "the broker's answer"), {
      code: "ERR_TIMEOUT",
      message: "the broker's answer did not come within 1.5 s",
    });
    await clock.advance(1_500);
    await waited;
    reject(new Error("too late"));
    await clock.advance(1);
  });

  test("waits for ever when told to", async () => {
    const clock = new FakeClock();
    const { promise, resolve } = Promise.withResolvers<number>();
    const waited = withDeadline(promise, Number.POSITIVE_INFINITY, clock, "x");
    assert.equal(clock.pending, 0);
    resolve(1);
    assert.equal(await waited, 1);
  });
});

describe("sleep", () => {
  test("is not shorter than asked, though timeouts wake early", async () => {
    const clock = new FakeClock({ earlyWakeMs: 1.94 });
    let woke = 0;
    const done = sleep(50, clock).then(() => (woke = clock.monoMs()));
    await clock.advance(60);
    await done;
    assert.ok(woke >= 50 && woke < 52, String(woke));
  });

  test("may be longer than Node's longest timeout", async () => {
    const clock = new FakeClock();
    let woke = 0;
    const done = sleep(60 * DAY_MS, clock).then(() => (woke = clock.monoMs()));
    await clock.advance(100 * DAY_MS);
    await done;
    assert.equal(woke, 60 * DAY_MS);
  });

  test("ends at once with the signal's reason, and leaves nothing behind", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const done = assert.rejects(sleep(1_000, clock, controller.signal), /stopping/);
    controller.abort(new Error("stopping"));
    await done;
    assert.equal(clock.pending, 0);
    await assert.rejects(sleep(1_000, clock, controller.signal), /stopping/);
    assert.equal(clock.pending, 0);
  });
});
