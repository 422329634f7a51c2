/** Owners that serve some queues: what every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Owner, ScheduleStore } from "../schedule/store.ts";
import { ALICE, add, crashed, dueAt, LEASE_MS, type Opened, retryAt } from "./schedule-fixtures.ts";

const MAIL: Owner = { id: "mail-1", queues: ["mail", "почта"] };
const BILL: Owner = { id: "bill-1", queues: ["bill"] };
const ANY: Owner = { id: "any-1" };
const NONE: Owner = { id: "none-1", queues: [] };

export function testQueues(opened: Opened): void {
  /** What the owner claims, by its queue; given back. `upcoming` must agree with it. */
  async function claimable(store: ScheduleStore, owner: Owner): Promise<string> {
    const before = await store.upcoming(owner);
    const { claims, ended, upcoming } = await store.claimDue(owner, 100, LEASE_MS);
    assert.deepEqual(ended, []);
    assert.equal(
      before.dueMs !== undefined && before.dueMs <= before.nowMs,
      claims.length > 0,
      "upcoming says otherwise",
    );
    assert.deepEqual(upcoming, await store.upcoming(owner));
    assert.ok(upcoming.dueMs === undefined || upcoming.dueMs > upcoming.nowMs, "it would be asked again at once");
    await store.release(claims);
    return claims.map(({ callback }) => callback.queue).join(" ");
  }

  test("a sweep tells how many live owners share a queue with the one that sweeps, itself counted", async () => {
    const { store } = await opened();
    const owners = async (owner: Owner) => (await store.sweep(owner, 10)).owners;
    await store.enlist(MAIL, []);
    assert.equal(await owners(MAIL), 1);
    await store.enlist(BILL, []);
    assert.deepEqual([await owners(MAIL), await owners(BILL)], [1, 1]);
    const both: Owner = { id: "both-1", queues: ["bill", "mail"] };
    await store.enlist(both, []);
    assert.deepEqual([await owners(MAIL), await owners(BILL), await owners(both)], [2, 2, 3]);
    await store.enlist(ANY, []);
    assert.deepEqual([await owners(MAIL), await owners(ANY)], [3, 4]);
    await store.resign(both);
    assert.deepEqual([await owners(MAIL), await owners(BILL), await owners(ANY)], [2, 2, 3]);
  });

  test("an owner that cannot send on leaves what nobody serves, and takes what is its own", async () => {
    const { store, clock } = await opened();
    for (const queue of ["python", "mail", "bill"]) await add(store, dueAt(clock.wallMs(), { queue }));
    const alone: Owner = { ...MAIL, sendsOn: false };
    await store.enlist(alone, []);
    assert.equal(await claimable(store, alone), "mail");
    await store.enlist(BILL, []);
    assert.equal(await claimable(store, alone), "mail");
    assert.equal(await claimable(store, BILL), "python bill");
    await store.resign(BILL);
    assert.equal(await claimable(store, alone), "mail", "what the other one left waits for it");
    assert.equal(await claimable(store, { id: "late", queues: ["bill"], sendsOn: false }), "bill");
  });

  test("an owner claims from its queues, and from those that nobody serves; one without queues claims from all", async () => {
    const { store, clock } = await opened();
    for (const queue of ["mail", "bill", "python", "почта"]) await add(store, dueAt(clock.wallMs(), { queue }));
    await store.enlist(MAIL, []);
    assert.equal(await claimable(store, MAIL), "mail bill python почта", "nobody else is there");
    await store.enlist(BILL, []);
    assert.equal(await claimable(store, MAIL), "mail python почта");
    assert.equal(await claimable(store, BILL), "bill python");
    assert.equal(await claimable(store, NONE), "python");
    assert.equal(await claimable(store, ALICE), "mail bill python почта");
    assert.equal(await claimable(store, { id: "bill-2", queues: ["bill", "mail"] }), "mail bill python");
  });

  test("an owner without queues serves every queue", async () => {
    const { store, clock } = await opened();
    for (const queue of ["mail", "bill", "python"]) await add(store, dueAt(clock.wallMs(), { queue }));
    await store.enlist(MAIL, []);
    await store.enlist(ANY, []);
    assert.equal(await claimable(store, MAIL), "mail");
    assert.equal(await claimable(store, NONE), "");
    await store.resign(ANY);
    assert.equal(await claimable(store, MAIL), "mail bill python");
    await store.resign(MAIL);
    assert.equal(await claimable(store, NONE), "mail bill python", "nobody is left to leave it to");
  });

  test("what an owner serves is what it announced last; every other process sees it", async () => {
    const { store, other, clock } = await opened();
    const second = await other();
    for (const queue of ["mail", "bill"]) await add(store, dueAt(clock.wallMs(), { queue }));
    await second.enlist(BILL, [process.pid]);
    assert.equal(await claimable(store, MAIL), "mail");
    await second.enlist({ ...BILL, queues: ["python"] }, []);
    assert.equal(await claimable(store, MAIL), "mail bill");
    await second.enlist({ id: BILL.id }, []);
    assert.equal(await claimable(store, MAIL), "mail");
    await second.resign(BILL);
    assert.equal(await claimable(store, MAIL), "mail bill");
  });

  test("what is left to others neither takes a slot nor hides what is behind it, nor is it asked for again and again", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await store.enlist(BILL, []);
    await store.put(Array.from({ length: 1_500 }, () => dueAt(at - 5, { queue: "bill" })));
    assert.deepEqual(await store.upcoming(MAIL), { dueMs: undefined, nowMs: at });
    await add(store, dueAt(at, { queue: "mail" }));
    await add(store, dueAt(at + 7, { queue: "mail" }));

    const { claims, upcoming } = await store.claimDue(MAIL, 1, LEASE_MS);

    assert.deepEqual(
      claims.map(({ callback }) => callback.queue),
      ["mail"],
    );
    assert.deepEqual(upcoming, { dueMs: at + 7, nowMs: at });
    assert.equal((await store.upcoming()).dueMs, at - 5);
    assert.equal((await store.upcoming(ANY)).dueMs, at - 5);
  });

  test("a retry waits for the owners of its queue; a lost run is given back by whoever finds it, and left to them", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await store.enlist(BILL, []);
    const id = await add(store, dueAt(at, { queue: "bill" }));
    const [first] = (await store.claimDue(BILL, 1, LEASE_MS)).claims;
    await store.settle(first!, retryAt(at));
    assert.equal(await claimable(store, MAIL), "");
    const [second] = (await store.claimDue(BILL, 1, LEASE_MS)).claims;
    assert.equal((await store.settle(second!, crashed)).state, "waiting");
    await store.claimDue(BILL, 1, LEASE_MS);
    await clock.advance(LEASE_MS);
    // Its claim says that this owner lives, where only time can tell.
    await store.enlist(BILL, []);

    const { claims, ended } = await store.claimDue(MAIL, 1, LEASE_MS);

    assert.deepEqual([claims, ended.map(({ callback, state }) => [callback.id, state])], [[], [[id, "waiting"]]]);
    assert.equal(await claimable(store, BILL), "bill");
  });

  test("a lost run of a queue that nobody serves is taken over by the claim that finds it", async () => {
    const { store, clock } = await opened();
    await store.enlist(BILL, []);
    await store.enlist(MAIL, []);
    const id = await add(store, dueAt(clock.wallMs(), { queue: "python" }));
    await store.claimDue(MAIL, 1, LEASE_MS);
    await clock.advance(LEASE_MS);
    const { claims, ended } = await store.claimDue(BILL, 1, LEASE_MS);
    assert.deepEqual(
      [claims, ended].map((each) => each.map(({ callback }) => callback.id)),
      [[id], [id]],
    );
  });

  test("a callback that is given another queue goes to the owners of that one", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await store.enlist(MAIL, []);
    await store.enlist(BILL, []);
    await add(store, dueAt(at, { key: "k", queue: "mail" }));
    assert.equal(await claimable(store, BILL), "");
    await store.put([dueAt(at, { key: "k", queue: "bill", onConflict: "replace" })]);
    assert.equal(await claimable(store, BILL), "bill");
    assert.equal(await claimable(store, MAIL), "");
  });

  test("a queue without a name is refused", async () => {
    const { store } = await opened();
    const wrong: Owner = { id: "a", queues: ["mail", ""] };
    const refusal = { code: "ERR_INVALID_INPUT", message: /owner\.queues\[1\]/ };
    await assert.rejects(store.enlist(wrong, []), refusal);
    await assert.rejects(store.claimDue(wrong, 1, LEASE_MS), refusal);
    await assert.rejects(store.upcoming(wrong), refusal);
  });
}
