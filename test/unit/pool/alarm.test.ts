import assert from "node:assert/strict";
import { test } from "node:test";
import { Alarm } from "../../../src/pool/alarm.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const DAY_MS = 86_400_000;

function alarm(clock: FakeClock): { alarm: Alarm; rang: number[] } {
  const rang: number[] = [];
  return { alarm: new Alarm(clock, () => rang.push(clock.monoMs())), rang };
}

test("it rings once, and not early although its timeout wakes early", async () => {
  const clock = new FakeClock({ earlyWakeMs: 2 });
  const { alarm: each, rang } = alarm(clock);
  each.within(10.5);
  await clock.advance(100);
  assert.equal(rang.length, 1);
  assert.ok((rang[0] ?? 0) >= 10.5);
});

test("the sooner moment counts, whichever came first", async () => {
  const clock = new FakeClock();
  const { alarm: each, rang } = alarm(clock);
  each.within(1_000);
  each.within(200);
  each.within(500);
  each.within(Number.POSITIVE_INFINITY);
  await clock.advance(5_000);
  assert.deepEqual(rang, [200]);
});

test("cleared it does not ring, and can be set anew; a time that has passed rings in the next turn", async () => {
  const clock = new FakeClock();
  const { alarm: each, rang } = alarm(clock);
  each.within(100);
  each.clear();
  each.clear();
  await clock.advance(1_000);
  assert.deepEqual(rang, []);
  each.within(-5);
  assert.deepEqual(rang, []);
  await clock.advance(0);
  assert.deepEqual(rang, [1_000]);
  assert.equal(clock.pending, 0);
});

test("further away than a timeout of Node reaches", async () => {
  const clock = new FakeClock();
  const { alarm: each, rang } = alarm(clock);
  each.within(60 * DAY_MS);
  await clock.advance(60 * DAY_MS - 1);
  assert.deepEqual(rang, []);
  await clock.advance(1);
  assert.deepEqual(rang, [60 * DAY_MS]);
});
