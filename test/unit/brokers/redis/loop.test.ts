import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Bell } from "../../../../src/brokers/redis/bell.ts";
import { Watchdog } from "../../../../src/brokers/redis/watchdog.ts";
import { FakeClock } from "../../../../src/testing/fake-clock.ts";

describe("the bell of a loop", () => {
  test("ends a wait, or the next one, once", async () => {
    const clock = new FakeClock();
    const bell = new Bell(clock);
    let woken = 0;
    const wait = () => void bell.wait(1_000).then(() => woken++);

    bell.ring();
    wait();
    await clock.advance(0);
    assert.equal(woken, 1, "it was rung before");
    wait();
    await clock.advance(999);
    assert.equal(woken, 1);
    await clock.advance(1);
    assert.equal(woken, 2, "after its time");
    wait();
    bell.ring();
    bell.ring();
    await clock.advance(0);
    assert.equal(woken, 3);
  });

  test("alone ends a wait without an end", async () => {
    const clock = new FakeClock();
    const bell = new Bell(clock);
    let woken = false;
    void bell.wait(Number.POSITIVE_INFINITY).then(() => {
      woken = true;
    });

    await clock.advance(10_000_000);
    assert.equal(woken, false);
    bell.ring();
    await clock.advance(0);
    assert.equal(woken, true);
  });
});

describe("the watchdog of a loop", () => {
  test("notices only one that has something to do and does not go on", () => {
    const watchdog = new Watchdog(3);
    const looks = [1, 1, 1, 2, 2, 2, undefined, undefined, undefined, undefined, 2, 2, 2, 2];

    assert.deepEqual(
      looks.map((progress) => watchdog.isStuck(progress)),
      [...looks.slice(1).map(() => false), true],
    );
  });
});
