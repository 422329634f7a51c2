import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Fifo } from "../../../src/kit/fifo.ts";
import { newTaskId } from "../../../src/kit/ids.ts";

test("a queue behaves as an array does, whatever is done to it", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.nat({ max: 99 }).map((n) => ({ do: "push" as const, n })) },
    { weight: 2, arbitrary: fc.nat({ max: 99 }).map((n) => ({ do: "unshift" as const, n })) },
    { weight: 4, arbitrary: fc.constant({ do: "shift" as const, n: 0 }) },
    { weight: 1, arbitrary: fc.integer({ min: 10, max: 70 }).map((n) => ({ do: "flood" as const, n })) },
    { weight: 1, arbitrary: fc.constant({ do: "drain" as const, n: 0 }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new Fifo<number>();
      const model: number[] = [];
      const push = (n: number) => {
        queue.push(n);
        model.push(n);
      };
      for (const each of steps) {
        if (each.do === "push") push(each.n);
        if (each.do === "unshift") {
          queue.unshift(each.n);
          model.unshift(each.n);
        }
        if (each.do === "shift") assert.equal(queue.shift(), model.shift());
        for (let i = 0; each.do === "flood" && i < each.n; i++) push(i);
        while (each.do === "drain" && model.length > 1) assert.equal(queue.shift(), model.shift());
        assert.equal(queue.length, model.length);
        assert.equal(queue.peek(), model[0]);
        assert.deepEqual([...queue], model);
      }
    }),
  );
});

test("a queue of a million keeps its order, and can be cleared", () => {
  const queue = new Fifo<number>();
  for (let i = 0; i < 1_000_000; i++) queue.push(i);
  for (let i = 0; i < 999_999; i++) assert.equal(queue.shift(), i);
  assert.equal(queue.length, 1);
  queue.clear();
  assert.equal(queue.length, 0);
  assert.equal(queue.shift(), undefined);
  assert.equal(queue.peek(), undefined);
});

test("task ids are random UUIDs of version 4, in lower case", () => {
  const ids = new Set(Array.from({ length: 1_000 }, newTaskId));
  assert.equal(ids.size, 1_000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
