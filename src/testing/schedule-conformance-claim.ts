/** Claiming and settling: what every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewCallback } from "../schedule/callback.ts";
import {
  ALICE,
  add,
  BOB,
  claimOne,
  dueAt,
  failed,
  LEASE_MS,
  message,
  nextDue,
  type Opened,
  ok,
  retryAt,
  running,
  stateOf,
  stopped,
  waitingUntil,
} from "./schedule-fixtures.ts";

export function testClaiming(opened: Opened): void {
  test("nothing is claimed before it is due, and everything when it is (I7)", async () => {
    const { store, clock } = await opened();
    const id = await add(store, dueAt(clock.wallMs() + 1_000));
    await clock.advance(999);
    const upcoming = { dueMs: clock.wallMs() + 1, nowMs: clock.wallMs() };
    assert.deepEqual(await store.claimDue(ALICE, 5, LEASE_MS), { claims: [], ended: [], upcoming });
    assert.deepEqual(await store.upcoming(), upcoming);
    await clock.advance(1);

    const claim = await claimOne(store);

    assert.deepEqual(
      [claim.callback.id, claim.callback.state, claim.token, claim.attempt, claim.leaseUntilMs],
      [id, "running", 1, 1, clock.wallMs() + LEASE_MS],
    );
    assert.equal(claim.callback.claimedMs, clock.wallMs());
    assert.deepEqual(await store.get({ id }), claim.callback);
    assert.equal(await nextDue(store), undefined);
  });

  test("the earliest comes first, then the one added first, as many as there are slots; retries among them", async () => {
    const under = await opened();
    const { store, clock } = under;
    const at = clock.wallMs();
    const retry = await waitingUntil(under, at - 2);
    const ids = [];
    for (const dueMs of [at, at - 3, at - 1, at, at - 2, at + 1]) ids.push(await add(store, dueAt(dueMs)));

    const first = await store.claimDue(ALICE, 3, LEASE_MS);
    const second = await store.claimDue(BOB, 100, LEASE_MS);

    assert.deepEqual(
      first.claims.map(({ callback }) => callback.id),
      [ids[1], retry, ids[4]],
    );
    assert.deepEqual(
      second.claims.map(({ callback }) => callback.id),
      [ids[2], ids[0], ids[3]],
    );
  });

  test("no slot, no claim", async () => {
    const { store } = await opened();
    await add(store, dueAt(0));
    const { claims, ended, upcoming } = await store.claimDue(ALICE, 0, LEASE_MS);
    assert.deepEqual([claims, ended, upcoming.dueMs], [[], [], 0]);
    assert.deepEqual(await store.counts(), { scheduled: 1 });
  });

  test("many claimers at once start each callback once (I10)", async () => {
    const { store, other } = await opened();
    await store.put(Array.from({ length: 100 }, (_, i) => dueAt(i)));
    const stores = [store, await other()];
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (stores[i % 2] ?? store).claimDue({ id: `owner-${i}` }, 7, LEASE_MS)),
    );
    const ids = answers.flatMap(({ claims }) => claims.map(({ callback }) => callback.id));
    assert.equal(ids.length, 100);
    assert.equal(new Set(ids).size, 100);
  });

  test("each end of a run is recorded, with its reason and its moment", async () => {
    const under = await opened();
    const { store, clock } = under;
    for (const [end, state, reason] of [
      [ok, "succeeded", undefined],
      [failed, "failed", "ValueError: no"],
      [stopped, "stopped", "asked to"],
    ] as const) {
      const claim = await running(under);
      await clock.advance(5);
      const settled = await store.settle(claim, end);
      assert.deepEqual([settled.state, settled.reason, settled.endedMs], [state, reason, clock.wallMs()]);
      assert.deepEqual(await store.get({ id: claim.callback.id }), settled);
    }
  });

  test("a run that asks for another waits for it, with its new message", async () => {
    const under = await opened();
    const { store, clock } = under;
    const claim = await running(under, { tags: ["t"] });
    const again = message({ retries: 1, body: '["again"]', headers: { x: 1 }, priority: 3 });
    const settled = await store.settle(claim, {
      kind: "retry",
      dueMs: clock.wallMs() + 60,
      reason: "r",
      message: again,
    });

    assert.deepEqual([settled.state, settled.dueMs, settled.attempts], ["waiting", clock.wallMs() + 60, 1]);
    assert.equal(await nextDue(store), clock.wallMs() + 60);
    assert.deepEqual((await store.list({ tags: ["t"], limit: 9 })).callbacks, [settled]);
    await clock.advance(60);
    const second = await claimOne(store);
    assert.deepEqual([second.attempt, second.token, second.callback.message], [2, 2, again]);
    assert.equal((await store.settle(second, ok)).attempts, 2);
  });

  test("what is given back unstarted is as if it had never been claimed, but for its token (I3)", async () => {
    const under = await opened();
    const { store, clock } = under;
    const claim = await running(under);
    await store.release([claim, claim]);
    const back = await store.get({ id: claim.callback.id });
    assert.deepEqual([back?.state, back?.attempts, back?.token, back?.claimedMs], ["scheduled", 0, 1, undefined]);
    await assert.rejects(store.settle(claim, ok), { code: "ERR_LEASE_LOST" });
    assert.equal((await store.cancel({ id: claim.callback.id })).answer, "cancelled");

    const id = await waitingUntil(under, clock.wallMs());
    const second = await claimOne(store);
    await store.release([second]);
    assert.deepEqual([await stateOf(store, id), (await claimOne(store)).attempt], ["waiting", 2]);
    await store.release([]);
  });

  test("what must not start any more ends at the claim, is told, and takes no slot", async () => {
    const under = await opened();
    const { store, clock } = under;
    const at = clock.wallMs();
    const past: Partial<NewCallback>[] = [
      { expiresMs: at + 2_000 },
      { expiresMs: at + 2_001 },
      { misfire: "skip" },
      { misfire: "skip", graceMs: 1_000 },
      { misfire: "skip", graceMs: 999 },
      {},
    ];
    const ids = [];
    for (const of of past) ids.push(await add(store, dueAt(at, of)));
    await clock.advance(2_000);

    const { claims, ended } = await store.claimDue(ALICE, 3, LEASE_MS);

    assert.deepEqual(
      claims.map(({ callback }) => callback.id),
      [ids[1], ids[3], ids[5]],
    );
    assert.deepEqual(
      ended.map(({ state, callback }) => [state, callback.id]),
      [
        ["expired", ids[0]],
        ["skipped", ids[2]],
        ["skipped", ids[4]],
      ],
    );
    for (const { callback, state } of ended) {
      assert.equal(callback.state, state);
      assert.ok(callback.reason);
    }
  });

  test("a retry that comes too late to start ends failed: expired would say that it never ran", async () => {
    const under = await opened();
    const { store, clock } = under;
    const id = await waitingUntil(under, clock.wallMs() + 100, { expiresMs: clock.wallMs() + 50, misfire: "skip" });
    await clock.advance(5_000);
    const { claims, ended } = await store.claimDue(ALICE, 1, LEASE_MS);
    assert.deepEqual([claims, ended.map(({ state, callback }) => [state, callback.id])], [[], [["failed", id]]]);
  });

  test("three thousand that expired do not keep the one behind them from its slot for long", async () => {
    const { store, clock } = await opened();
    await store.put(Array.from({ length: 3_000 }, () => dueAt(1, { expiresMs: 2 })));
    const id = await add(store, dueAt(clock.wallMs()));
    let claimed: string[] = [];
    for (let pass = 0; pass < 5 && claimed.length === 0; pass++) {
      claimed = (await store.claimDue(ALICE, 1, LEASE_MS)).claims.map(({ callback }) => callback.id);
    }
    assert.deepEqual(claimed, [id]);
    assert.deepEqual(await store.counts(), { expired: 3_000, running: 1 });
  });

  test("the store's clock stepped back after the wake-up: nothing is claimed, and nothing is dropped (A7)", async () => {
    const { store, clock } = await opened();
    const id = await add(store, dueAt(clock.wallMs()));
    clock.stepWall(-60_000);
    assert.deepEqual((await store.claimDue(ALICE, 1, LEASE_MS)).claims, []);
    assert.equal(await nextDue(store), clock.wallMs() + 60_000);
    await clock.advance(60_000);
    assert.equal((await claimOne(store)).callback.id, id);
  });

  test("an earlier callback of another process is the next due one at once (A4)", async () => {
    const { store, other, clock } = await opened();
    await add(store, dueAt(clock.wallMs() + 1_000));
    await add(await other(), dueAt(clock.wallMs() + 5));
    assert.equal(await nextDue(store), clock.wallMs() + 5);
  });

  test("whatever the reason's text is, the end is recorded", async () => {
    const under = await opened();
    const { store } = under;
    for (const [reason, kept] of [
      ["cut \ud83d emoji \0 nul", "cut \ufffd emoji \ufffd nul"],
      ["x".repeat(100_000), `${"x".repeat(2_000)}…`],
      ["", ""],
    ] as const) {
      const settled = await store.settle(await running(under), { kind: "failed", reason });
      assert.equal(settled.reason, kept);
      assert.deepEqual(await store.get({ id: settled.id }), settled);
    }
  });

  test("wrong input of a claimer is refused by name", async () => {
    const under = await opened();
    const { store } = under;
    const claim = await running(under);
    const bad = { code: "ERR_INVALID_INPUT" };
    await assert.rejects(store.claimDue({ id: "" }, 1, 1_000), { ...bad, message: /owner\.id/ });
    await assert.rejects(store.claimDue(ALICE, -1, 1_000), { ...bad, message: /limit/ });
    await assert.rejects(store.claimDue(ALICE, 1, 0), { ...bad, message: /leaseMs/ });
    await assert.rejects(store.renew([claim], 0.5), { ...bad, message: /leaseMs/ });
    await assert.rejects(store.settle(claim, retryAt(Number.NaN)), { ...bad, message: /dueMs/ });
    assert.equal((await store.settle(claim, ok)).state, "succeeded");
  });
}
