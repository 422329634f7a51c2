import assert from "node:assert/strict";
import { test } from "node:test";
import { type Expiring, ExpiryQueue } from "../../../src/results/expiry.ts";

const entry = (untilMs: number): Expiring => ({ untilMs, gone: false });

test("what expires is taken in order, and only when its time is past", () => {
  const queue = new ExpiryQueue<Expiring>();
  // 7 has no common divisor with 101: each of 0 … 100 once, in no order.
  for (let i = 0; i < 101; i++) queue.add(entry((i * 7) % 101));

  const taken: number[] = [];
  for (let next = queue.take(49); next !== undefined; next = queue.take(49)) taken.push(next.untilMs);
  assert.deepEqual(
    taken,
    Array.from({ length: 50 }, (_, i) => i),
  );
  assert.equal(queue.take(49), undefined);
  for (let next = queue.take(100); next !== undefined; next = queue.take(100)) taken.push(next.untilMs);

  assert.deepEqual(
    taken.slice(50),
    [...Array(51).keys()].map((i) => i + 50),
  );
  assert.equal(queue.size, 0);
});

test("what never expires takes no room, and what was dropped is not taken", () => {
  const queue = new ExpiryQueue<Expiring>();
  const [always, dropped, kept] = [entry(Number.POSITIVE_INFINITY), entry(1), entry(2)];
  for (const each of [always, dropped, kept]) queue.add(each);
  queue.drop(always);
  queue.drop(dropped);
  queue.drop(dropped);

  assert.equal(queue.size, 2);
  assert.equal(queue.take(10), kept);
  assert.equal(kept.gone, true);
  assert.equal(queue.take(10), undefined);
});

test("a document that is replaced again and again leaves no heap of marks behind", () => {
  const queue = new ExpiryQueue<Expiring>();
  const kept = Array.from({ length: 100 }, (_, i) => entry(1_000 + i));
  for (const each of kept) queue.add(each);
  let last: Expiring | undefined;
  let largest = 0;
  for (let i = 0; i < 100_000; i++) {
    if (last !== undefined) queue.drop(last);
    last = entry(2_000 - (i % 1_000));
    queue.add(last);
    largest = Math.max(largest, queue.size);
  }

  assert.ok(largest <= 250, `${largest} entries for 101`);
  const order: number[] = [];
  for (let next = queue.take(5_000); next !== undefined; next = queue.take(5_000)) order.push(next.untilMs);
  assert.equal(order.length, 101);
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
  );
});
