/** Taking back, moving, revoking: what every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CallbackState } from "../schedule/callback.ts";
import {
  ALICE,
  add,
  BOB,
  claimOne,
  crashed,
  dueAt,
  failed,
  LEASE_MS,
  nextDue,
  type Opened,
  ok,
  retryAt,
  running,
  type ScheduleUnderTest,
  stateOf,
  stopped,
  swept,
  waitingUntil,
} from "./schedule-fixtures.ts";

const HOUR_MS = 3_600_000;

export function testCancelling(opened: Opened): void {
  test("cancel answers by what it found, by id and by key, and a second time the same", async () => {
    for (const [state, make] of Object.entries(EVERY_STATE)) {
      for (const by of ["id", "key"] as const) {
        const under = await opened({ limits: { crashLimit: 1 } });
        const id = await make(under);
        assert.equal(await stateOf(under.store, id), state);
        const target = by === "id" ? { id } : { key: "k" };

        const first = await under.store.cancel(target);
        const after = await stateOf(under.store, id);
        const second = await under.store.cancel(target);

        const [answer, then, again] = CANCEL_TABLE[state as CallbackState];
        assert.deepEqual(first, { answer, id, ...(answer === "finished" ? { state } : {}) }, `${state} by ${by}`);
        assert.equal(after, then, `after cancel of ${state}`);
        assert.deepEqual(
          second,
          { answer: again, id, ...(again === "finished" ? { state: then } : {}) },
          `again, ${state}`,
        );
      }
    }
  });

  test("what nobody has is unknown: an id of another store, no id at all, a key that never was", async () => {
    const { store } = await opened();
    const id = await add(store, dueAt(1));
    const none = [
      "",
      "0-0",
      "nonsense",
      "9999-abcdef",
      `${id}0`,
      id.slice(0, -1),
      `0${id}`,
      "-1-1",
      "1-1; DROP TABLE",
      "🧾",
    ];
    for (const wrong of none) {
      assert.deepEqual(await store.cancel({ id: wrong }), { answer: "unknown" }, wrong);
      assert.equal(await store.get({ id: wrong }), undefined, wrong);
      assert.deepEqual(await store.reschedule({ id: wrong }, { dueMs: 1 }), { answer: "unknown" }, wrong);
    }
    assert.deepEqual(await store.cancel({ key: "never" }), { answer: "unknown" });
    assert.equal(await stateOf(store, id), "scheduled");
  });

  test("a cancelled callback is never claimed", async () => {
    const { store, clock } = await opened();
    const id = await add(store, dueAt(clock.wallMs() + 10));
    assert.equal((await store.cancel({ id })).answer, "cancelled");
    await clock.advance(HOUR_MS);
    assert.deepEqual((await store.claimDue(ALICE, 10, LEASE_MS)).claims, []);
    assert.equal(await nextDue(store), undefined);
  });

  test("cancel between claim and start says running, and the run goes on (A1)", async () => {
    const under = await opened();
    const claim = await running(under);
    assert.equal((await under.store.cancel({ id: claim.callback.id })).answer, "running");
    assert.equal((await under.store.settle(claim, ok)).state, "succeeded");
  });

  test("of a cancel and a claim at the same time one is first, and the cancel tells the truth", async () => {
    const { store, clock } = await opened();
    for (let i = 0; i < 50; i++) {
      const id = await add(store, dueAt(clock.wallMs()));
      const cancel = () => store.cancel({ id });
      const claim = () => store.claimDue(ALICE, 1, LEASE_MS);
      const both = i % 2 === 0 ? [cancel(), claim()] : [claim(), cancel()];
      const [one, two] = await Promise.all(both);
      const answer = [one, two].find((each) => each !== undefined && "answer" in each);
      const claimed = [one, two].find((each) => each !== undefined && "claims" in each);
      assert.ok(answer && "answer" in answer && claimed && "claims" in claimed);
      assert.equal(answer.answer, claimed.claims.length === 0 ? "cancelled" : "running");
      for (const each of claimed.claims) await store.settle(each, ok);
    }
  });

  test("an abort is handed to the owner that runs it, once", async () => {
    const under = await opened();
    const { store } = under;
    const claim = await running(under);
    const { id } = claim.callback;
    assert.deepEqual(await store.takeAborts(ALICE), []);
    assert.deepEqual(await store.cancel({ id }, { abort: true }), { answer: "running", id });
    await store.cancel({ id }, { abort: true });

    assert.deepEqual(await store.takeAborts(BOB), []);
    assert.deepEqual(await store.takeAborts(ALICE), [{ id, token: claim.token }]);
    await store.cancel({ id }, { abort: true });
    assert.deepEqual(await store.takeAborts(ALICE), []);
    assert.equal((await store.settle(claim, stopped)).state, "stopped");
  });

  test("what was to be aborted does not run again: not after a retry, a crash, or a lost lease", async () => {
    for (const lose of ["retry", "crash", "lease"] as const) {
      const under = await opened();
      const { store, clock } = under;
      const claim = await running(under);
      const { id } = claim.callback;
      await store.cancel({ id }, { abort: true });
      if (lose === "retry") await store.settle(claim, retryAt(clock.wallMs()));
      if (lose === "crash") await store.settle(claim, crashed);
      if (lose === "lease") {
        await clock.advance(LEASE_MS);
        assert.deepEqual(
          (await swept(store, 10)).map(({ state }) => state),
          ["stopped"],
        );
      }
      assert.equal(await stateOf(store, id), "stopped", lose);
      assert.match((await store.get({ id }))?.reason ?? "", /does not run again/);
    }
  });

  test("an abort of one that never started, and is given back, leaves it cancelled", async () => {
    const under = await opened();
    const { store, clock } = under;
    const claim = await running(under);
    await store.cancel({ id: claim.callback.id }, { abort: true });
    await store.release([claim]);
    assert.equal(await stateOf(store, claim.callback.id), "cancelled");

    const id = await waitingUntil(under, clock.wallMs());
    const again = await claimOne(store);
    await store.cancel({ id }, { abort: true });
    await store.release([again]);
    assert.equal(await stateOf(store, id), "stopped");
  });

  test("a scheduled callback is moved to a moment, or by a time, later and earlier", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await add(store, dueAt(at + 1_000, { key: "k", tags: ["t"] }));

    assert.deepEqual(await store.reschedule({ key: "k" }, { dueMs: at + 500 }), {
      answer: "rescheduled",
      id,
      dueMs: at + 500,
    });
    assert.deepEqual(await store.reschedule({ id }, { byMs: 2_000 }), { answer: "rescheduled", id, dueMs: at + 2_500 });
    assert.deepEqual(await store.reschedule({ id }, { byMs: -2_400 }), { answer: "rescheduled", id, dueMs: at + 100 });

    assert.equal(await nextDue(store), at + 100);
    assert.equal((await store.get({ id }))?.token, 3);
    assert.deepEqual(
      (await store.list({ tags: ["t"], limit: 9 })).callbacks.map(({ dueMs }) => dueMs),
      [at + 100],
    );
    await clock.advance(99);
    assert.deepEqual((await store.claimDue(ALICE, 1, LEASE_MS)).claims, []);
    await clock.advance(1);
    assert.equal((await claimOne(store)).token, 4);
  });

  test("one that has started, or has ended, is not moved", async () => {
    for (const [state, make] of Object.entries(EVERY_STATE)) {
      if (state === "scheduled") continue;
      const under = await opened({ limits: { crashLimit: 1 } });
      const id = await make(under);
      const before = await under.store.get({ id });
      assert.deepEqual(await under.store.reschedule({ id }, { dueMs: 1 }), { answer: "too_late", id, state });
      assert.deepEqual(await under.store.get({ id }), before);
    }
  });

  test("a move that is no number of milliseconds is refused; one past the end of time stays within it", async () => {
    const { store } = await opened();
    const id = await add(store, dueAt(0));
    for (const to of [{ dueMs: 0.5 }, { byMs: Number.NaN }, { dueMs: 9e15 }, { byMs: -9e15 }]) {
      await assert.rejects(store.reschedule({ id }, to), { code: "ERR_INVALID_INPUT" });
    }
    await store.reschedule({ id }, { dueMs: 8_640_000_000_000_000 });
    const moved = await store.reschedule({ id }, { byMs: 5 });
    assert.deepEqual(moved, { answer: "rescheduled", id, dueMs: 8_640_000_000_000_000 });
  });

  test("a revoked task id that nobody knows yet is discarded when it arrives, until its tombstone is over", async () => {
    const { store, clock } = await opened();
    const untilMs = clock.wallMs() + HOUR_MS;
    assert.deepEqual(await store.revoke("t-9", untilMs), { answer: "unknown" });
    await store.revoke("t-9", clock.wallMs() + 1);

    assert.deepEqual(await store.revoked(["t-9", "t-8", "t-9"]), new Set(["t-9"]));
    assert.deepEqual(await store.put([dueAt(1, { taskId: "t-9" })]), [{ put: "revoked" }]);
    await clock.advance(HOUR_MS - 1);
    await swept(store, 100);
    assert.deepEqual(await store.revoked(["t-9"]), new Set(["t-9"]));
    await clock.advance(1);
    await swept(store, 100);
    assert.deepEqual(await store.revoked(["t-9"]), new Set());
    await add(store, dueAt(1, { taskId: "t-9" }));
  });

  test("revoke cancels what carries the task id, and says what stood for it", async () => {
    const under = await opened();
    const { store, clock } = under;
    const untilMs = clock.wallMs() + HOUR_MS;
    const scheduled = await add(store, dueAt(clock.wallMs() + 5, { taskId: "a" }));
    assert.deepEqual(await store.revoke("a", untilMs), { answer: "cancelled", id: scheduled });
    assert.deepEqual(await store.revoke("a", untilMs), { answer: "cancelled", id: scheduled });

    const own = await add(store, dueAt(clock.wallMs() + 5));
    assert.deepEqual(await store.revoke(own, untilMs), { answer: "cancelled", id: own });

    const claim = await running(under, { taskId: "b" });
    assert.deepEqual(await store.revoke("b", untilMs, { abort: true }), { answer: "running", id: claim.callback.id });
    assert.deepEqual(await store.takeAborts(ALICE), [{ id: claim.callback.id, token: claim.token }]);
    await store.settle(claim, failed);
    assert.deepEqual(await store.revoke("b", untilMs), { answer: "finished", id: claim.callback.id, state: "failed" });
  });

  test("a revoked task that runs is not stopped, but does not run again", async () => {
    const under = await opened();
    const { store, clock } = under;
    for (const taskId of ["t", undefined]) {
      const claim = await running(under, taskId === undefined ? {} : { taskId });
      await store.revoke(taskId ?? claim.callback.id, clock.wallMs() + HOUR_MS);
      assert.deepEqual(await store.takeAborts(ALICE), []);
      assert.equal((await store.settle(claim, retryAt(clock.wallMs()))).state, "stopped");
    }
  });

  test("of a task with an earlier run, revoke does not say that it never started", async () => {
    const under = await opened();
    const { store, clock } = under;
    await store.settle(await running(under, { taskId: "t" }), ok);
    const retry = await add(
      store,
      dueAt(clock.wallMs() + 9, { taskId: "t", message: { task: "x", body: "", retries: 1 } }),
    );
    assert.deepEqual(await store.revoke("t", 0), { answer: "stopped", id: retry });
    assert.equal(await stateOf(store, retry), "cancelled");
    assert.deepEqual(await store.revoked(["t"]), new Set(), "until a moment that has passed: no tombstone");
  });

  test("revoked of none is none", async () => {
    const { store } = await opened();
    assert.deepEqual(await store.revoked([]), new Set());
    await assert.rejects(store.revoke("", 1), { code: "ERR_INVALID_INPUT", message: /taskId/ });
  });
}

/** How to get there, with key "k". */
const EVERY_STATE: Record<CallbackState, (under: ScheduleUnderTest) => Promise<string>> = {
  scheduled: ({ store, clock }) => add(store, dueAt(clock.wallMs() + HOUR_MS, { key: "k" })),
  waiting: (under) => waitingUntil(under, under.clock.wallMs() + HOUR_MS, { key: "k" }),
  running: async (under) => (await running(under, { key: "k" })).callback.id,
  succeeded: async (under) => (await under.store.settle(await running(under, { key: "k" }), ok)).id,
  failed: async (under) => (await under.store.settle(await running(under, { key: "k" }), failed)).id,
  dead: async (under) => (await under.store.settle(await running(under, { key: "k" }), crashed)).id,
  cancelled: async (under) => {
    const id = await EVERY_STATE.scheduled(under);
    await under.store.cancel({ id });
    return id;
  },
  stopped: async (under) => (await under.store.settle(await running(under, { key: "k" }), stopped)).id,
  expired: async (under) => passedOver(under, { expiresMs: under.clock.wallMs() }),
  skipped: async (under) => {
    const id = await add(under.store, dueAt(under.clock.wallMs(), { key: "k", misfire: "skip" }));
    await under.clock.advance(1_001);
    await under.store.claimDue(ALICE, 1, LEASE_MS);
    return id;
  },
};

async function passedOver({ store, clock }: ScheduleUnderTest, of: { expiresMs: number }): Promise<string> {
  const id = await add(store, dueAt(clock.wallMs(), { key: "k", ...of }));
  await store.claimDue(ALICE, 1, LEASE_MS);
  return id;
}

/** Answer, state afterwards, and the answer of a second cancel. SEMANTICS 4. */
const CANCEL_TABLE: Record<CallbackState, [string, CallbackState, string]> = {
  scheduled: ["cancelled", "cancelled", "cancelled"],
  cancelled: ["cancelled", "cancelled", "cancelled"],
  waiting: ["stopped", "stopped", "finished"],
  running: ["running", "running", "running"],
  succeeded: ["finished", "succeeded", "finished"],
  failed: ["finished", "failed", "finished"],
  dead: ["finished", "dead", "finished"],
  stopped: ["finished", "stopped", "finished"],
  expired: ["finished", "expired", "finished"],
  skipped: ["finished", "skipped", "finished"],
};
