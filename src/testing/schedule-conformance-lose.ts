/** Losing runs, and sweeping: what every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ALICE,
  add,
  BOB,
  claimOne,
  crashed,
  dueAt,
  failed,
  LEASE_MS,
  type Opened,
  ok,
  retryAt,
  running,
  stateOf,
  swept,
} from "./schedule-fixtures.ts";

const DAY_MS = 86_400_000;

export function testLosing(opened: Opened): void {
  test("a lease that runs out gives the callback back, and the old holder is refused (A2)", async () => {
    const under = await opened();
    const { store, clock } = under;
    const stalled = await running(under);
    await clock.advance(LEASE_MS - 1);
    assert.deepEqual((await store.claimDue(BOB, 1, LEASE_MS)).claims, []);
    await clock.advance(1);

    const taken = await claimOne(store, BOB);

    assert.deepEqual([taken.callback.id, taken.attempt, taken.token], [stalled.callback.id, 2, 2]);
    for (const end of [ok, failed, crashed, retryAt(1)]) {
      await assert.rejects(store.settle(stalled, end), { code: "ERR_LEASE_LOST" });
    }
    assert.deepEqual(await store.renew([stalled, taken], LEASE_MS), [undefined, clock.wallMs() + LEASE_MS]);
    await store.release([stalled]);
    assert.equal(await stateOf(store, taken.callback.id), "running");
    await store.settle(taken, ok);
    await assert.rejects(store.settle(stalled, failed), { code: "ERR_LEASE_LOST" });
    assert.equal(await stateOf(store, taken.callback.id), "succeeded", "the newer outcome stands");
    await assert.rejects(store.settle(taken, ok), { code: "ERR_LEASE_LOST" });
  });

  test("a renewed lease holds from now on", async () => {
    const under = await opened();
    const { store, clock } = under;
    const claim = await running(under);
    for (let i = 0; i < 5; i++) {
      await clock.advance(LEASE_MS - 1);
      assert.deepEqual(await store.renew([claim], LEASE_MS), [clock.wallMs() + LEASE_MS]);
      assert.deepEqual(await swept(store, 10), []);
      assert.deepEqual((await store.claimDue(BOB, 1, LEASE_MS)).claims, []);
    }
    assert.equal((await store.get({ id: claim.callback.id }))?.leaseUntilMs, clock.wallMs() + LEASE_MS);
    assert.deepEqual(await store.renew([], LEASE_MS), []);
    await store.settle(claim, ok);
    assert.deepEqual(await store.renew([claim], LEASE_MS), [undefined]);
  });

  test("a callback that keeps killing its child ends dead, with its evidence (G10)", async () => {
    const under = await opened({ limits: { crashLimit: 3 } });
    const { store } = under;
    const states = [];
    let claim = await running(under);
    for (let i = 0; i < 3; i++) {
      const settled = await store.settle(claim, { kind: "crashed", reason: `SIGSEGV ${i}` });
      states.push(settled.state);
      if (settled.state === "waiting") claim = await claimOne(store);
    }
    assert.deepEqual(states, ["waiting", "waiting", "dead"]);
    const dead = await store.get({ id: claim.callback.id });
    assert.match(dead?.reason ?? "", /died 3 times.*SIGSEGV 2/);
    assert.equal(dead?.attempts, 3);
  });

  test("a lost run follows onLost: fail ends it with WorkerLostError, and it never runs again (G4)", async () => {
    const under = await opened();
    const { store, clock } = under;
    const claim = await running(under, { onLost: "fail" });
    assert.match((await store.settle(claim, crashed)).reason ?? "", /WorkerLostError.*SIGSEGV/);

    const second = await running(under, { onLost: "fail" });
    await clock.advance(LEASE_MS);
    const { claims, ended } = await store.claimDue(BOB, 1, LEASE_MS);
    assert.deepEqual(
      [claims, ended.map(({ state, callback }) => [state, callback.id])],
      [[], [["failed", second.callback.id]]],
    );
    assert.match((await store.get({ id: second.callback.id }))?.reason ?? "", /WorkerLostError/);
  });

  test("a run that its worker gave up is a loss of the worker, and no crash: restarts kill no innocent callback (G10)", async () => {
    const under = await opened({ limits: { crashLimit: 2, lostLimit: 3 } });
    const { store } = under;
    let claim = await running(under);
    for (let i = 0; i < 2; i++) {
      assert.equal((await store.settle(claim, { kind: "lost", reason: "a cold stop" })).state, "waiting");
      claim = await claimOne(store);
    }

    const dead = await store.settle(claim, { kind: "lost", reason: "a cold stop" });

    assert.equal(dead.state, "dead");
    assert.match(dead.reason ?? "", /a cold stop, 3 times/);
  });

  test("a lost worker counts apart from crashes, and has a limit of its own (G10)", async () => {
    const under = await opened({ limits: { crashLimit: 2, lostLimit: 4 } });
    const { store, clock } = under;
    let claim = await running(under);
    await store.settle(claim, crashed);
    for (let i = 0; i < 3; i++) {
      claim = await claimOne(store);
      await clock.advance(LEASE_MS);
      assert.deepEqual(
        (await swept(store, 10)).map(({ state }) => state),
        ["waiting"],
      );
    }
    claim = await claimOne(store);
    await clock.advance(LEASE_MS);
    const [ended] = await swept(store, 10);
    assert.equal(ended?.state, "dead");
    assert.match(ended.callback.reason ?? "", /4 times/);
  });

  test("what an owner that resigned still holds is given back by the next sweep, without waiting for the lease", async () => {
    const under = await opened();
    const { store } = under;
    await store.enlist(ALICE, []);
    await store.enlist(ALICE, [process.pid]);
    const claim = await running(under);
    assert.deepEqual(await swept(store, 10), []);
    await store.resign(ALICE);
    await store.resign(ALICE);
    const [given] = await swept(store, 10);
    assert.deepEqual([given?.state, given?.callback.id], ["waiting", claim.callback.id]);
    assert.deepEqual(await swept(store, 10), []);
    assert.equal((await claimOne(store, BOB)).attempt, 2);
  });

  test("two sweepers at once give each lost callback back once (A6)", async () => {
    const under = await opened();
    const { store, clock } = under;
    await store.put(Array.from({ length: 40 }, () => dueAt(clock.wallMs())));
    await store.claimDue(ALICE, 40, LEASE_MS);
    await clock.advance(LEASE_MS);
    const other = await under.other();
    const given = await Promise.all([swept(store, 100), swept(other, 100), swept(store, 100)]);
    assert.equal(given.flat().length, 40);
    assert.deepEqual(await store.counts(), { waiting: 40 });
  });

  test("sweeping goes in steps", async () => {
    const under = await opened({ limits: { keepMs: 0 } });
    const { store, clock } = under;
    await store.put(Array.from({ length: 10 }, () => dueAt(clock.wallMs())));
    const { claims } = await store.claimDue(ALICE, 10, LEASE_MS);
    await clock.advance(LEASE_MS);
    assert.equal((await swept(store, 4)).length, 4);
    assert.equal((await swept(store, 4)).length, 4);
    assert.equal((await swept(store, 4)).length, 2);
    const again = await store.claimDue(BOB, 10, LEASE_MS);
    await Promise.all(again.claims.map((claim) => store.settle(claim, ok)));
    await swept(store, 3);
    assert.deepEqual(await store.counts(), { succeeded: 7 });
    assert.equal(claims.length, 10);
  });

  test("an ended callback is kept for a day, one with a key for a week, and then it is unknown", async () => {
    const under = await opened();
    const { store, clock } = under;
    const plain = await running(under, { taskId: "t", tags: ["x"] });
    await store.settle(plain, ok);
    const keyed = await add(store, dueAt(clock.wallMs() + 10 * DAY_MS, { key: "k" }));
    await store.cancel({ id: keyed });

    await clock.advance(DAY_MS - 1);
    await swept(store, 100);
    assert.equal(await stateOf(store, plain.callback.id), "succeeded");
    await clock.advance(1);
    await swept(store, 100);
    assert.equal(await stateOf(store, plain.callback.id), undefined);
    assert.deepEqual(await store.cancel({ id: plain.callback.id }), { answer: "unknown" });
    assert.deepEqual((await store.list({ tags: ["x"], limit: 10 })).callbacks, []);
    assert.equal((await store.put([dueAt(clock.wallMs(), { taskId: "t" })]))[0]?.put, "added");

    await clock.advance(6 * DAY_MS - 1);
    await swept(store, 100);
    assert.equal((await store.get({ key: "k" }))?.state, "cancelled");
    await clock.advance(1);
    await swept(store, 100);
    assert.equal(await store.get({ key: "k" }), undefined);
    assert.equal((await store.cancel({ id: keyed })).answer, "unknown");
  });

  test("what was claimed and never answered for is claimed again when its lease is over (A3)", async () => {
    const { store, clock } = await opened();
    const id = await add(store, dueAt(clock.wallMs()));
    await store.claimDue(ALICE, 1, LEASE_MS); // the answer is lost on its way
    await clock.advance(LEASE_MS);
    const { claims, ended } = await store.claimDue(ALICE, 1, LEASE_MS);
    assert.deepEqual(
      claims.map(({ callback, attempt }) => [callback.id, attempt]),
      [[id, 2]],
    );
    assert.deepEqual(
      ended.map(({ state }) => state),
      ["waiting"],
    );
  });
  for (const found of ["when its lease is over", "when it is known to be gone"] as const) {
    test(`a worker that dies between its claim and the start, found ${found}: one start in all (A9)`, async () => {
      const { store, other, clock } = await opened();
      await store.enlist(ALICE, []);
      const id = await add(store, dueAt(clock.wallMs()));
      const unstarted = await claimOne(store);
      const second = await other();
      if (found === "when its lease is over") await clock.advance(LEASE_MS);
      else await second.resign(ALICE);
      assert.deepEqual(
        (await swept(second, 10, BOB)).map(({ callback, state }) => [callback.id, state]),
        [[id, "waiting"]],
      );
      const started = await claimOne(second, BOB);
      assert.equal(started.callback.id, id);
      // What it left behind can neither give the run back nor tell its end.
      await store.release([unstarted]);
      await assert.rejects(store.settle(unstarted, ok), { code: "ERR_LEASE_LOST" });
      assert.deepEqual((await store.claimDue(ALICE, 9, LEASE_MS)).claims, []);
      await second.settle(started, ok);
      assert.deepEqual(await store.counts(), { succeeded: 1 });
    });
  }
}
