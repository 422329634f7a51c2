import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MemoryQueue, type Waiting } from "../../../src/brokers/memory-queue.ts";

const wire = (text: string, priority: number) => ({ body: Buffer.from(text), properties: { priority }, headers: {} });
const textOf = (waiting: Waiting | undefined) => waiting && Buffer.from(waiting.message.body).toString();

test("higher priority comes sooner, and equal ones in order", () => {
  const queue = new MemoryQueue();
  for (const [text, priority] of [
    ["a", 0],
    ["b", 9],
    ["c", 0],
    ["d", 255],
    ["e", 9],
  ] as const) {
    queue.push(wire(text, priority), "", "q");
  }

  const order = Array.from({ length: 6 }, () => textOf(queue.shift()));

  assert.deepEqual(order, ["d", "b", "e", "a", "c", undefined]);
});

test("whatever is taken and given back, the queue stays in the order of priority and place", () => {
  const commands = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant("push" as const), priority: fc.integer({ min: 0, max: 3 }) }),
      fc.record({ do: fc.constant("shift" as const) }),
      fc.record({ do: fc.constant("back" as const), which: fc.nat() }),
      fc.record({ do: fc.constant("clear" as const) }),
    ),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(commands, (script) => {
      const queue = new MemoryQueue();
      let model: { place: number; priority: number }[] = [];
      const held: Waiting[] = [];
      let places = 0;
      for (const step of script) {
        if (step.do === "push") {
          queue.push(wire("x", step.priority), "", "q");
          model.push({ place: places++, priority: step.priority });
        } else if (step.do === "shift") {
          model.sort((a, b) => b.priority - a.priority || a.place - b.place);
          const expected = model.shift();
          const got = queue.shift();
          assert.equal(got?.place, expected?.place);
          if (got !== undefined) held.push(got);
        } else if (step.do === "back") {
          const [waiting] = held.splice(step.which % Math.max(1, held.length), 1);
          if (waiting === undefined) continue;
          queue.putBack(waiting);
          model.push({ place: waiting.place, priority: waiting.priority });
          assert.equal(waiting.redelivered, true);
        } else {
          assert.equal(queue.clear(), model.length);
          model = [];
        }
        assert.equal(queue.size, model.length);
      }
    }),
  );
});

test("a hundred thousand messages go in and out in order", () => {
  const queue = new MemoryQueue();
  let out = 0;
  for (let i = 0; i < 100_000; i += 1) {
    queue.push(wire(String(i), 0), "", "q");
    if (i % 3 === 2) assert.equal(textOf(queue.shift()), String(out++));
  }
  while (queue.size > 0) assert.equal(textOf(queue.shift()), String(out++));
  assert.equal(out, 100_000);
});

test("giving a hundred thousand back, youngest first, costs a push each", () => {
  const queue = new MemoryQueue();
  for (let i = 0; i < 100_000; i += 1) queue.push(wire(String(i), 0), "", "q");
  const held = Array.from({ length: 100_000 }, () => queue.shift() as Waiting);

  for (const waiting of held.reverse()) queue.putBack(waiting);

  for (let i = 0; i < 100_000; i += 1) assert.equal(queue.shift()?.place, i);
});
