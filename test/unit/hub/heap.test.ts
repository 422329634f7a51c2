import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { DeadlineHeap, type Handle } from "../../../src/hub/heap.ts";

function drain<T>(heap: DeadlineHeap<T>, nowMs = Number.POSITIVE_INFINITY): T[] {
  const taken: T[] = [];
  for (let each = heap.takeDue(nowMs); each !== undefined; each = heap.takeDue(nowMs)) taken.push(each);
  return taken;
}

describe("the deadline heap", () => {
  test("gives what is due, earliest first, and leaves the rest", () => {
    const heap = new DeadlineHeap<string>();
    for (const [name, atMs] of [
      ["c", 30],
      ["a", 10],
      ["d", 40.5],
      ["b", 20],
    ] as const)
      heap.add(atMs, name);

    assert.equal(heap.nextMs, 10);
    assert.deepEqual(drain(heap, 30), ["a", "b", "c"]);
    assert.equal(heap.nextMs, 40.5);
    assert.deepEqual(drain(heap, 40.4), []);
    assert.deepEqual(drain(heap, 40.5), ["d"]);
    assert.equal(heap.nextMs, undefined);
    assert.equal(heap.size, 0);
  });

  test("keeps the order of Celery's timer: lower priority number first, then the one added first", () => {
    const heap = new DeadlineHeap<string>();
    heap.add(5, "later, p-255", -255);
    heap.add(1, "p6", 6);
    heap.add(1, "p1", 1);
    heap.add(1, "p0 first");
    heap.add(1, "p0 second");
    heap.add(1, "p-1", -1);
    heap.add(1, "p255", 255);
    heap.add(1, "p255 second", 255);
    heap.add(1, "p0 third");
    assert.deepEqual(drain(heap), [
      "p-1",
      "p0 first",
      "p0 second",
      "p0 third",
      "p1",
      "p6",
      "p255",
      "p255 second",
      "later, p-255",
    ]);
  });

  test("drops by handle once, and never what came to the same place later", () => {
    const heap = new DeadlineHeap<string>();
    const a = heap.add(1, "a");
    assert.equal(heap.has(a), true);
    assert.equal(heap.cancel(a), true);
    assert.equal(heap.cancel(a), false);
    const b = heap.add(1, "b");
    assert.equal(heap.has(a), false);
    assert.equal(heap.cancel(a), false);
    assert.deepEqual(drain(heap), ["b"]);
    assert.equal(heap.cancel(b), false);
    for (const nothing of [-1, 0.5, 1e15, Number.NaN, 2 ** 26 - 1]) assert.equal(heap.cancel(nothing), false);
  });

  test("can be cleared, after which old handles name nothing", () => {
    const heap = new DeadlineHeap<number>();
    const old = Array.from({ length: 10_000 }, (_, i) => heap.add(i, i));
    heap.clear();
    assert.equal(heap.size, 0);
    assert.equal(heap.nextMs, undefined);
    for (let i = 0; i < 10_000; i++) heap.add(i, -i);
    for (const handle of old) assert.equal(heap.cancel(handle), false);
    assert.equal(heap.size, 10_000);
    assert.equal(drain(heap).length, 10_000);
  });

  test("refuses a deadline that has no place in an order", () => {
    const heap = new DeadlineHeap<string>();
    assert.throws(() => heap.add(Number.NaN, "x"), RangeError);
    heap.add(Number.POSITIVE_INFINITY, "never");
    heap.add(Number.NEGATIVE_INFINITY, "at once");
    assert.deepEqual(drain(heap, 0), ["at once"]);
    assert.equal(heap.size, 1);
  });

  test("does what a sorted list does, whatever is asked of it", () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constant("add" as const), at: fc.nat(20), p: fc.integer({ min: -2, max: 2 }) }),
      },
      { weight: 4, arbitrary: fc.record({ do: fc.constant("cancel" as const), at: fc.nat(1_000), p: fc.constant(0) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant("take" as const), at: fc.nat(25), p: fc.constant(0) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const heap = new DeadlineHeap<number>();
        const handles: Handle[] = [];
        let model: { at: number; p: number; n: number }[] = [];
        for (const { do: what, at, p } of steps) {
          if (what === "add") {
            model.push({ at, p, n: handles.length });
            handles.push(heap.add(at, handles.length, p));
          } else if (what === "cancel" && handles.length > 0) {
            const n = at % handles.length;
            assert.equal(
              heap.cancel(handles[n] ?? -1),
              model.some((each) => each.n === n),
            );
            model = model.filter((each) => each.n !== n);
          } else if (what === "take") {
            model.sort((a, b) => a.at - b.at || a.p - b.p || a.n - b.n);
            const first = model[0] !== undefined && model[0].at <= at ? model.shift() : undefined;
            assert.equal(heap.takeDue(at), first?.n);
          }
          assert.equal(heap.size, model.length);
          assert.equal(heap.nextMs, model.length === 0 ? undefined : Math.min(...model.map((each) => each.at)));
        }
      }),
      { numRuns: 300 },
    );
  });

  test("holds a million, in order, with every other one cancelled", () => {
    const heap = new DeadlineHeap<number>();
    const count = 1_000_000;
    const handles = new Float64Array(count);
    for (let i = 0; i < count; i++) handles[i] = heap.add((i * 7_919) % count, i);
    for (let i = 0; i < count; i += 2) assert.equal(heap.cancel(handles[i] ?? -1), true);
    assert.equal(heap.size, count / 2);
    let last = -1;
    for (let each = heap.takeDue(count); each !== undefined; each = heap.takeDue(count)) {
      const atMs = (each * 7_919) % count;
      if (atMs <= last || each % 2 === 0) assert.fail(`${each} at ${atMs} after ${last}`);
      last = atMs;
    }
    assert.equal(heap.size, 0);
  });
});
