import assert from "node:assert/strict";
import { test } from "node:test";
import {
  answerOfCancelRecurrence,
  outcomeOfAdvance,
  outcomeOfPause,
  outcomeOfPut,
  outcomeOfResume,
} from "../../../src/schedule/recurrence-rules.ts";

test("the same definition again stands, whatever was to happen to another; another one replaces it by default", () => {
  const holder = { fingerprint: "a" };
  const outcome = (fingerprint: string, onConflict?: "keep" | "replace" | "reject") =>
    outcomeOfPut(holder, { fingerprint, ...(onConflict === undefined ? {} : { onConflict }) });
  assert.equal(outcomeOfPut(undefined, { fingerprint: "a", onConflict: "reject" }), "added");
  assert.deepEqual([outcome("a"), outcome("a", "replace"), outcome("a", "reject")], new Array(3).fill("existing"));
  assert.deepEqual(
    [outcome("b"), outcome("b", "replace"), outcome("b", "keep"), outcome("b", "reject")],
    ["replaced", "replaced", "existing", "conflict"],
  );
});

test("only a plan that was worked out from what stands advances it", () => {
  const active = { state: "active", generation: 3, nextMs: 10 } as const;
  assert.equal(outcomeOfAdvance(active, { generation: 3, nextMs: 10 }), "changed");
  assert.equal(outcomeOfAdvance(active, { generation: 2, nextMs: 10 }), "stale");
  assert.equal(outcomeOfAdvance(active, { generation: 3, nextMs: 9 }), "stale");
  const from = { generation: 3, nextMs: 10 };
  assert.equal(outcomeOfAdvance({ ...active, state: "paused", nextMs: undefined }, from), "stale");
  assert.equal(outcomeOfAdvance({ ...active, state: "ended", nextMs: undefined }, from), "ended");
});

test("pausing what is paused and resuming what is active change nothing; what has ended stays so", () => {
  assert.deepEqual((["active", "paused", "ended"] as const).map(outcomeOfPause), ["changed", "unchanged", "ended"]);
  const resumed = (state: "active" | "paused" | "ended", generation: number) =>
    outcomeOfResume({ state, generation: 3, nextMs: undefined }, generation);
  assert.deepEqual(
    [resumed("paused", 3), resumed("paused", 2), resumed("active", 2), resumed("ended", 3)],
    ["changed", "stale", "unchanged", "ended"],
  );
});

test("cancel's answer holds for the recurrence as a whole", () => {
  const answer = (of: { state?: "paused" | "ended"; started?: boolean; running?: boolean }) =>
    answerOfCancelRecurrence("r-1", { state: "active", started: false, running: false, ...of });
  assert.deepEqual(answer({}), { answer: "cancelled", id: "r-1" });
  assert.deepEqual(answer({ state: "paused", started: true }), { answer: "stopped", id: "r-1" });
  assert.deepEqual(answer({ started: true, running: true }), { answer: "running", id: "r-1" });
  assert.deepEqual(answer({ state: "ended", running: true }), { answer: "finished", id: "r-1", state: "stopped" });
});
