import assert from "node:assert/strict";
import { test } from "node:test";
import { Pending } from "../../../src/sqlite/pending.ts";

test("answers go to the calls in order, failures to theirs alone", async () => {
  const pending = new Pending();
  const calls = ["a", "b", "c", "d"].map((what) => pending.push(what));
  pending.answer([1, undefined], [[1, { code: "ERR_STORE_FULL", message: "full" }]]);
  pending.answer([3, 4]);
  const settled = await Promise.allSettled(calls);
  assert.deepEqual(
    settled.map((each) => (each.status === "fulfilled" ? each.value : each.reason.code)),
    [1, "ERR_STORE_FULL", 3, 4],
  );
});

test("what was made before is drained; what is made later does not count", async () => {
  const pending = new Pending();
  await pending.drained();
  void pending.push("a");
  let drained = false;
  const draining = pending.drained().then(() => {
    drained = true;
  });
  void pending.push("b");
  await Promise.resolve();
  assert.equal(drained, false);
  pending.answer([1]);
  await draining;
  pending.answer([2]);
  await pending.drained();
});

test("calls that were never made are refused, those before them are still answered", async () => {
  const pending = new Pending();
  const [one, two, three] = ["a", "b", "c"].map((what) => pending.push(what));
  pending.failLast(2, "cannot be cloned");
  await assert.rejects(two as Promise<unknown>, { code: "ERR_STORE_OPERATION", message: "cannot be cloned" });
  await assert.rejects(three as Promise<unknown>, { code: "ERR_STORE_OPERATION" });
  pending.answer([1]);
  assert.equal(await one, 1);
  await pending.drained();
});

test("when the thread is gone, every call that waits is told that its outcome is unknown", async () => {
  const pending = new Pending();
  const calls = ["notes.add", "notes.remove"].map((what) => pending.push(what));
  pending.failAll("its thread has ended");
  for (const call of calls) await assert.rejects(call, { code: "ERR_OUTCOME_UNKNOWN", message: /notes\./ });
  await pending.drained();
});

test("a hundred thousand calls keep their order", async () => {
  const pending = new Pending();
  const seen: unknown[] = [];
  let answered = 0;
  for (let made = 0; made < 100_000; made++) {
    void pending.push("x").then((value) => seen.push(value));
    if (made % 700 !== 699) continue;
    pending.answer(Array.from({ length: 500 }, () => answered++));
  }
  pending.answer(Array.from({ length: 100_000 - answered }, () => answered++));
  await pending.drained();
  await Promise.resolve();
  assert.equal(seen.length, 100_000);
  assert.ok(seen.every((value, i) => value === i));
});
