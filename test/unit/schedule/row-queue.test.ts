import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RowQueue } from "../../../src/schedule/stores/memory/row-queue.ts";

interface Row {
  readonly n: number;
  atMs: number | undefined;
}

test("the first row is the earliest, then the one made first, however rows are moved and dropped", () => {
  const step = fc.tuple(fc.constantFrom("add", "move", "drop", "take"), fc.nat(30), fc.integer({ min: -5, max: 5 }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
      const queue = new RowQueue<Row>((row) => row.atMs);
      const rows: Row[] = [];
      for (const [what, which, atMs] of steps) {
        const row = rows[which % Math.max(1, rows.length)];
        if (what === "add") {
          const made = { n: rows.length, atMs };
          rows.push(made);
          queue.add(made);
        } else if (row?.atMs !== undefined && what !== "take") {
          row.atMs = what === "move" ? atMs : undefined;
          queue.drop();
          queue.add(row);
        } else if (what === "take") {
          const first = queue.peek();
          if (first !== undefined) {
            first.atMs = undefined;
            queue.drop();
          }
        }
        const live = rows.filter((each) => each.atMs !== undefined);
        const expected = live.toSorted((a, b) => (a.atMs as number) - (b.atMs as number) || a.n - b.n)[0];
        assert.equal(queue.peek(), expected);
      }
    }),
    { seed: 11, numRuns: 300 },
  );
});

test("rows that left are not kept: a hundred thousand that come and go leave no more than a few", () => {
  const queue = new RowQueue<Row>((row) => row.atMs);
  const kept: WeakRef<Row>[] = [];
  for (let n = 0; n < 100_000; n++) {
    const row: Row = { n, atMs: 1_000_000 - n };
    queue.add(row);
    row.atMs = undefined;
    queue.drop();
    if (n % 10_000 === 0) kept.push(new WeakRef(row));
  }
  assert.equal(queue.peek(), undefined);
  const stays: Row = { n: 1, atMs: 5 };
  queue.add(stays);
  assert.equal(queue.peek(), stays);
  assert.equal(kept.length, 10);
});
