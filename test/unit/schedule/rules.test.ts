import assert from "node:assert/strict";
import { test } from "node:test";
import { CALLBACK_STATES } from "../../../src/schedule/callback.ts";
import { DEFAULT_LIMITS, limitsOf } from "../../../src/schedule/limits.ts";
import {
  answerOfCancel,
  answerOfRevoke,
  fateOfCrash,
  fateOfLoss,
  fateOfOverlap,
  fateOfRetry,
  fateWhenDue,
  isOutdated,
  keepMsOf,
  stateOfReleased,
  turnOfHeld,
} from "../../../src/schedule/rules.ts";

const due = { attempts: 0, dueMs: 1_000, expiresMs: null, misfire: "fire", graceMs: 0, nominalMs: null } as const;
const lost = { onLost: "rerun", crashes: 1, losses: 1, unwanted: false } as const;

test("from its expiry on a callback must not start; before it, it may", () => {
  assert.equal(fateWhenDue({ ...due, expiresMs: 5_000 }, 4_999), undefined);
  assert.equal(fateWhenDue({ ...due, expiresMs: 5_000 }, 5_000)?.state, "expired");
  assert.equal(fateWhenDue({ ...due, expiresMs: 5_000, attempts: 1 }, 5_000)?.state, "failed");
  assert.match(fateWhenDue({ ...due, expiresMs: 5_000 }, 9_000)?.reason ?? "", /1970-01-01T00:00:05\.000Z/);
});

test("a misfire is what comes later than its grace and what a lost hint may cost; only the first run can be one", () => {
  const skip = { ...due, misfire: "skip", graceMs: 500 } as const;
  assert.equal(fateWhenDue(skip, 1_000 + 1_500), undefined);
  assert.equal(fateWhenDue(skip, 1_000 + 1_501)?.state, "skipped");
  assert.equal(fateWhenDue({ ...skip, attempts: 1 }, 1_000_000), undefined);
  assert.equal(fateWhenDue({ ...skip, misfire: "fire" }, 1_000_000), undefined);
  assert.equal(fateWhenDue({ ...skip, expiresMs: 2_000 }, 1_000_000)?.state, "expired", "expiry is the stronger word");
});

test("of an occurrence lateness is counted from its nominal time, and newer ones are named", () => {
  const held = { ...due, misfire: "skip", graceMs: 500, nominalMs: 400 } as const;
  const reason = "it was 2200 ms late, with a grace of 1100 ms: it is left to newer occurrences";
  assert.deepEqual(fateWhenDue(held, 2_600), { state: "skipped", reason });
  assert.deepEqual(
    fateWhenDue({ ...held, nominalMs: null }, 2_600)?.reason,
    "it was 1600 ms late, with a grace of 500 ms",
  );
});

test("an occurrence that is blocked follows its overlap; what is not blocked, or has run, starts", () => {
  const first = { ...due, nominalMs: 1_000, overlap: "queue" } as const;
  assert.equal(fateOfOverlap(first, false, 2_000), undefined);
  assert.equal(fateOfOverlap({ ...first, attempts: 1 }, true, 2_000), undefined);
  assert.equal(fateOfOverlap({ ...first, overlap: "allow" }, true, 2_000), undefined);
  assert.equal(fateOfOverlap({ ...first, overlap: "skip" }, true, 2_000)?.state, "skipped");
  assert.deepEqual(fateOfOverlap(first, true, 2_000), { state: "held", dueMs: 3_000, graceMs: 0 });
});

test("however often one is held and let go, the last moment at which it may start stays the same", () => {
  let row = {
    ...due,
    dueMs: 1_000 as number,
    misfire: "skip" as const,
    graceMs: 2_300,
    nominalMs: 900,
    overlap: "queue" as const,
  };
  const lastMs = row.dueMs + row.graceMs;
  for (let nowMs = row.dueMs; ; nowMs = row.dueMs) {
    const fate = fateOfOverlap(row, true, nowMs);
    if (fate?.state !== "held") {
      assert.deepEqual([fate?.state, nowMs], ["skipped", lastMs]);
      break;
    }
    assert.ok(fate.dueMs > nowMs && fate.dueMs <= nowMs + 1_000);
    row = { ...row, dueMs: fate.dueMs, graceMs: fate.graceMs };
    assert.equal(row.dueMs + row.graceMs, lastMs);
    const turn = turnOfHeld(row, row.nominalMs);
    assert.deepEqual([turn.dueMs, turn.dueMs + turn.graceMs], [900, lastMs]);
  }
});

test("a turn never comes after the next look, nor before the nominal time", () => {
  assert.deepEqual(turnOfHeld({ dueMs: 2_000, misfire: "fire", graceMs: 0 }, 1_500), { dueMs: 1_500, graceMs: 0 });
  assert.deepEqual(turnOfHeld({ dueMs: 2_000, misfire: "skip", graceMs: 0 }, 9_000), { dueMs: 2_000, graceMs: 0 });
});

test("what is given back unstarted belongs to the past when its recurrence was replaced, resumed or paused", () => {
  assert.equal(isOutdated(2, { state: "active", generation: 2 }), false);
  assert.equal(isOutdated(2, { state: "active", generation: 3 }), true);
  assert.equal(isOutdated(2, { state: "paused", generation: 2 }), true);
  assert.equal(isOutdated(2, { state: "ended", generation: 2 }), false, "its rule has run out; the last one runs");
  assert.equal(isOutdated(2, undefined), false);
});

test("crashes and losses have limits of their own, and onLost fail comes before them", () => {
  assert.equal(fateOfCrash({ ...lost, crashes: 2, losses: 99 }, DEFAULT_LIMITS, "x").state, "waiting");
  assert.equal(fateOfCrash({ ...lost, crashes: 3 }, DEFAULT_LIMITS, "x").state, "dead");
  assert.equal(fateOfLoss({ ...lost, crashes: 99, losses: 9 }, DEFAULT_LIMITS).state, "waiting");
  assert.equal(fateOfLoss({ ...lost, losses: 10 }, DEFAULT_LIMITS).state, "dead");
  assert.equal(fateOfCrash({ ...lost, crashes: 3, onLost: "fail" }, DEFAULT_LIMITS, "x").state, "failed");
  assert.equal(fateOfLoss({ ...lost, losses: 10, onLost: "fail" }, DEFAULT_LIMITS).state, "failed");
});

test("what is unwanted does not run again, whatever happened to it", () => {
  const unwanted = { ...lost, unwanted: true };
  const fates = [fateOfCrash(unwanted, DEFAULT_LIMITS, "x"), fateOfLoss(unwanted, DEFAULT_LIMITS), fateOfRetry(true)];
  for (const fate of fates) assert.equal(fate.state, "stopped");
  assert.equal(fateOfRetry(false).state, "waiting");
  assert.deepEqual([stateOfReleased(0, true), stateOfReleased(2, true)], ["cancelled", "stopped"]);
  assert.deepEqual([stateOfReleased(0, false), stateOfReleased(2, false)], ["scheduled", "waiting"]);
});

test("cancel never says cancelled of what may have started", () => {
  for (const state of CALLBACK_STATES) {
    const { answer } = answerOfCancel("a", state);
    assert.equal(answer === "cancelled", state === "scheduled" || state === "cancelled", state);
  }
});

test("revoke answers for all callbacks of the task id", () => {
  const row = (state: (typeof CALLBACK_STATES)[number], attempts: number, id = `${state}${attempts}`) => ({
    id,
    state,
    attempts,
  });
  const answers = [
    [[], "unknown"],
    [[row("scheduled", 0)], "cancelled"],
    [[row("succeeded", 1), row("scheduled", 0)], "stopped"],
    [[row("waiting", 1), row("scheduled", 0)], "stopped"],
    [[row("scheduled", 0), row("running", 1), row("waiting", 2)], "running"],
    [[row("failed", 2), row("expired", 0)], "finished"],
    [[row("expired", 0), row("cancelled", 0)], "cancelled"],
    [[row("cancelled", 0), row("expired", 0)], "finished"],
  ] as const;
  for (const [rows, expected] of answers) assert.equal(answerOfRevoke(rows).answer, expected, JSON.stringify(rows));
  const both = answerOfRevoke([row("failed", 2), row("expired", 0)]);
  assert.deepEqual(both, { answer: "finished", id: "failed2", state: "failed" }, "the one that ran is told of");
});

test("limits are whole numbers in their range, and what is not given has its default", () => {
  assert.deepEqual(limitsOf(), DEFAULT_LIMITS);
  assert.equal(limitsOf({ crashLimit: 1 }).crashLimit, 1);
  for (const wrong of [{ crashLimit: 0 }, { lostLimit: 1.5 }, { keepMs: -1 }, { maxPending: Number.NaN }]) {
    assert.throws(() => limitsOf(wrong), {
      code: "ERR_INVALID_INPUT",
      message: new RegExp(Object.keys(wrong)[0] as string),
    });
  }
  assert.deepEqual([keepMsOf(false, DEFAULT_LIMITS), keepMsOf(true, DEFAULT_LIMITS)], [86_400_000, 604_800_000]);
});
