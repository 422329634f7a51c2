import assert from "node:assert/strict";
import { test } from "node:test";
import { inBatches } from "../../../src/kit/batches.ts";

test("batches are asked one after the other, and answered in order", async () => {
  let open = 0;
  let most = 0;
  const ask = async (item: number) => {
    most = Math.max(most, ++open);
    await new Promise((resolve) => setImmediate(resolve));
    open -= 1;
    return item * 2;
  };
  assert.deepEqual(await inBatches([1, 2, 3, 4, 5], ask, 2), [2, 4, 6, 8, 10]);
  assert.equal(most, 2);
  assert.deepEqual(await inBatches([], ask), []);
});

test("the first error ends it", async () => {
  const asked: number[] = [];
  const ask = async (item: number) => {
    asked.push(item);
    if (item === 2) throw new Error("no");
  };
  await assert.rejects(inBatches([1, 2, 3, 4], ask, 2), /no/);
  assert.deepEqual(asked, [1, 2]);
});
