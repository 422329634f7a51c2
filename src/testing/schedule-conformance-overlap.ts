/** Occurrences that meet an earlier one of their recurrence: what every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Claim, Overlap, RunEnd } from "../schedule/callback.ts";
import type { NewOccurrence } from "../schedule/recurrence.ts";
import type { ScheduleStore } from "../schedule/store.ts";
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
  stopped,
  swept,
} from "./schedule-fixtures.ts";
import {
  addRecurrence,
  definition,
  NO_MORE,
  occurrenceAt,
  occurrencesOf,
  planOf,
  recurring,
  shownOf,
} from "./schedule-recurrence-fixtures.ts";

/** The longest that a held one is left alone. */
const HOLD_MS = 1_000;

async function overlapping(
  store: ScheduleStore,
  overlap: Overlap,
  occurrences: readonly (number | NewOccurrence)[],
  call: Parameters<typeof definition>[1] = {},
): Promise<string> {
  return await addRecurrence(store, planOf(...occurrences), { definition: definition({ overlap }, call) });
}

/** Nominal times of all that can be claimed now, from `at` on. */
async function claimedNow(store: ScheduleStore, at: number): Promise<number[]> {
  const { claims } = await store.claimDue(BOB, 100, LEASE_MS);
  return claims.map(({ callback }) => (callback.occurrence?.nominalMs ?? Number.NaN) - at);
}

export function testOverlapping(opened: Opened): void {
  test("allow: they run beside each other", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "allow", [at - 2, at - 1, at]);
    assert.deepEqual(await claimedNow(store, at), [-2, -1, 0]);
  });

  test("skip: one that is due while another has started and not ended is skipped, and says why", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await overlapping(store, "skip", [at, at + 1, at + 2, at + 3, at + 4]);
    const first = await claimOne(store);
    await clock.advance(1);
    const { claims, ended } = await store.claimDue(BOB, 9, LEASE_MS);
    assert.deepEqual([claims, ended.map(({ state }) => state)], [[], ["skipped"]]);
    assert.match(ended[0]?.callback.reason ?? "", /had not ended/);
    await store.settle(first, retryAt(at + 3));
    await clock.advance(1);
    assert.deepEqual(await claimedNow(store, at), [], "it waits to run again, and so has not ended");
    await clock.advance(1);
    const { claims: again } = await store.claimDue(BOB, 9, LEASE_MS);
    assert.deepEqual(
      again.map(({ callback, attempt }) => [callback.id, attempt]),
      [[first.callback.id, 2]],
    );
    await store.settle(again[0] as Claim, ok);
    await clock.advance(1);
    assert.deepEqual(await claimedNow(store, at), [4]);
    const states = (await occurrencesOf(store, id)).map(({ state }) => state);
    assert.deepEqual(states.sort(), ["running", "skipped", "skipped", "skipped", "succeeded"]);
  });

  test("queue: one that is due waits until the other has ended, and then starts at once; the oldest first, never two", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "queue", [at, at + 1, at + 2, at + 3]);
    let running = await claimOne(store);
    await clock.advance(3);
    const started = [];
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(await claimedNow(store, at), []);
      const { dueMs = Number.POSITIVE_INFINITY } = await store.upcoming(BOB);
      assert.ok(dueMs > clock.wallMs() && dueMs <= clock.wallMs() + HOLD_MS, "looked at again within a second");
      await clock.advance(10);
      await store.settle(running, i === 0 ? failed : ok);
      assert.equal((await store.upcoming(BOB)).dueMs, at + 1 + i, "its turn has come");
      running = await claimOne(store);
      started.push((running.callback.occurrence?.nominalMs ?? 0) - at);
    }
    assert.deepEqual(started, [1, 2, 3]);
  });

  test("queue: what is due when nobody has looked yet does not overtake what is held", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "queue", [at, at + 1, at + 5]);
    const running = await claimOne(store);
    await clock.advance(1);
    assert.deepEqual(await claimedNow(store, at), []);
    await clock.advance(9);
    await store.settle(running, ok);
    assert.deepEqual(await claimedNow(store, at), [1]);
  });

  for (const overlap of ["skip", "queue"] as const) {
    test(`${overlap}: of those that are due at one claim one starts`, async () => {
      const { store, clock } = await opened();
      const at = clock.wallMs();
      const id = await overlapping(store, overlap, [at - 3, at - 2, at - 1, at]);
      await overlapping(store, overlap, [at - 9, at - 8]);
      await add(store, dueAt(at));
      assert.deepEqual(await claimedNow(store, at), [-9, -3, Number.NaN]);
      const states = (await occurrencesOf(store, id)).map(({ state }) => state).sort();
      const rest = overlap === "skip" ? "skipped" : "scheduled";
      assert.deepEqual(states, ["running", ...new Array(3).fill(rest)]);
    });

    test(`${overlap}: of many claimers at once one starts one`, async () => {
      const { unwatched, store, other, clock } = await opened();
      const at = clock.wallMs();
      await overlapping(store, overlap, [at - 3, at - 2, at - 1, at]);
      const openings = [unwatched, await other(), await other()];
      const claimed = await Promise.all(openings.flatMap((each) => [claimedNow(each, at), claimedNow(each, at)]));
      assert.deepEqual(claimed.flat(), [-3]);
    });

    test(`${overlap}: a replacement waits for what the old generation has started`, async () => {
      const { store, clock } = await opened();
      const at = clock.wallMs();
      const of = { key: "k", definition: definition({ overlap }) };
      const { id, generation } = await store.recurrences.put(recurring(planOf(at), of));
      const running = await claimOne(store);
      await store.recurrences.put(recurring(planOf(at, at + 5), { ...of, fingerprint: "two" }));
      assert.deepEqual(await claimedNow(store, at), []);
      await store.settle(running, ok);
      await clock.advance(5);
      assert.deepEqual(await claimedNow(store, at), overlap === "queue" ? [0] : [5]);
      assert.equal((await shownOf(store, id, at))[0], `${generation}/0 succeeded`);
    });
  }

  test("queue: slots go to others while occurrences are held", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "queue", [at - 500]);
    await claimOne(store);
    for (let i = 0; i < 3; i++) {
      const id = await overlapping(store, "queue", [at - 400]);
      await claimOne(store);
      const generation = (await store.recurrences.get({ id }))?.generation ?? 0;
      const more = planOf(...Array.from({ length: 100 }, (_, n) => at - 300 + n));
      await store.recurrences.advance(id, { generation, nextMs: at - 400 }, more);
    }
    const plain = [await add(store, dueAt(at)), await add(store, dueAt(at))];
    const { claims, ended } = await store.claimDue(BOB, 2, LEASE_MS);
    assert.deepEqual([claims.map(({ callback }) => callback.id), ended], [plain, []]);
  });

  /** Each way in which a run of an occurrence ends, or was none. What it does with the running one; another one is held meanwhile. */
  const settling = (end: RunEnd) => async (store: ScheduleStore, claim: Claim) => void (await store.settle(claim, end));
  const ways: Readonly<Record<string, (store: ScheduleStore, claim: Claim) => Promise<void>>> = {
    succeeded: settling(ok),
    failed: settling(failed),
    stopped: settling(stopped),
    "crashed too often": settling(crashed),
    "lost too often": settling({ kind: "lost", reason: "a cold stop" }),
    "waited, and was cancelled": async (store, claim) => {
      await store.settle(claim, retryAt(claim.callback.dueMs + 60_000));
      await store.cancel({ id: claim.callback.id });
    },
    "waited, and was revoked": async (store, claim) => {
      await store.settle(claim, retryAt(claim.callback.dueMs + 60_000));
      await store.revoke(claim.callback.id, 0);
    },
    "was to be aborted, and asked for a retry": async (store, claim) => {
      await store.cancel({ id: claim.callback.id }, { abort: true });
      await store.settle(claim, retryAt(claim.callback.dueMs));
    },
    "was held by an owner that resigned": async (store) => {
      await store.resign(ALICE);
      assert.deepEqual(
        (await swept(store, 10, BOB)).map(({ state }) => state),
        ["dead"],
      );
    },
    "was to be aborted, and was given back": async (store, claim) => {
      await store.cancel({ id: claim.callback.id }, { abort: true });
      await store.release([claim]);
    },
  };
  for (const [way, end] of Object.entries(ways)) {
    test(`queue: the turn comes when the running one ${way}`, async () => {
      const { store, clock } = await opened({ limits: { crashLimit: 1, lostLimit: 1 } });
      const at = clock.wallMs();
      await store.enlist(ALICE, []);
      await overlapping(store, "queue", [at, at + 1]);
      const claim = await claimOne(store);
      await clock.advance(1);
      assert.deepEqual(await claimedNow(store, at), []);
      await end(store, claim);
      assert.deepEqual(await claimedNow(store, at), [1]);
    });
  }

  test("queue: the turn comes when the lease runs out for good, and with the claim after one that ended what waited", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "queue", [at, at + 1], { onLost: "fail" });
    await claimOne(store, ALICE, 500);
    await clock.advance(1);
    assert.deepEqual(await claimedNow(store, at), []);
    await clock.advance(499);
    assert.deepEqual(await claimedNow(store, at), [1]);

    await overlapping(store, "queue", [occurrenceAt(at + 100, { expiresMs: at + 600 }), at + 101]);
    const claim = await claimOne(store);
    assert.deepEqual(await claimedNow(store, at), []);
    await store.settle(claim, retryAt(at + 700));
    await clock.advance(200);
    const { claims, ended, upcoming } = await store.claimDue(BOB, 9, LEASE_MS);
    assert.deepEqual([claims, ended.map(({ state }) => state)], [[], ["failed"]]);
    assert.equal(upcoming.dueMs, at + 101);
    assert.deepEqual(await claimedNow(store, at), [101]);
  });

  test("queue: an unstarted claim that is given back goes before what was held for it", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "queue", [at, at + 1]);
    const claim = await claimOne(store);
    await clock.advance(1);
    assert.deepEqual(await claimedNow(store, at), []);
    await store.release([claim]);
    const dues = (await occurrencesOf(store, claim.callback.occurrence?.recurrence ?? "")).map(
      ({ dueMs }) => dueMs - at,
    );
    assert.deepEqual(dues, [0, 1], "should it be cancelled, the other has not to wait");
    assert.deepEqual(await claimedNow(store, at), [0]);
  });

  test("queue: one that was moved while it was held keeps its new time when the turn comes", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await overlapping(store, "queue", [at, at + 1]);
    const claim = await claimOne(store);
    await clock.advance(1);
    assert.deepEqual(await claimedNow(store, at), []);
    const [, held] = await occurrencesOf(store, id);
    await store.reschedule({ id: held?.id ?? "" }, { dueMs: at + 9_000 });
    await store.settle(claim, ok);
    assert.equal((await store.upcoming()).dueMs, at + 9_000);
  });

  test("queue: the clock stepped back while it was held: its turn does not bring it before its time (A7)", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "queue", [at, at + 5]);
    const claim = await claimOne(store);
    await clock.advance(5);
    assert.deepEqual(await claimedNow(store, at), []);
    clock.stepWall(-60_000);
    await store.settle(claim, ok);
    assert.deepEqual(await claimedNow(store, at), []);
    assert.equal((await store.upcoming()).dueMs, at + 5);
    await clock.advance(60_000);
    assert.deepEqual(await claimedNow(store, at), [5]);
  });

  test("queue: should nobody say that the turn has come, it is found within a second", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await overlapping(store, "queue", [at, at + 1, at + 2]);
    const claim = await claimOne(store);
    await clock.advance(2);
    assert.deepEqual(await claimedNow(store, at), []);
    const held = await occurrencesOf(store, id);
    // The turn goes to the oldest. When that one is moved away, the other has to find out by itself.
    await store.settle(claim, ok);
    await store.reschedule(
      { id: held.find(({ occurrence }) => occurrence?.nominalMs === at + 1)?.id ?? "" },
      { dueMs: at + 9_000 },
    );
    assert.deepEqual(await claimedNow(store, at), []);
    await clock.advance(HOLD_MS);
    assert.deepEqual(await claimedNow(store, at), [2]);
  });

  test("queue: however often it is held, the moment until which it may start stays; from then on it is skipped", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const late = { misfire: "skip", graceMs: 2_500 } as const;
    const id = await overlapping(store, "queue", [at, occurrenceAt(at + 10, late), at + 60_000]);
    await claimOne(store, ALICE, 60_000);
    await clock.advance(10);
    const seen = [];
    for (;;) {
      const { claims, ended, upcoming } = await store.claimDue(BOB, 9, LEASE_MS);
      assert.deepEqual(claims, []);
      if (ended.length > 0) {
        assert.equal(ended[0]?.state, "skipped");
        assert.match(ended[0]?.callback.reason ?? "", /2500 ms late, with a grace of 2500 ms.*newer/);
        break;
      }
      const [, held] = await occurrencesOf(store, id);
      seen.push((held?.dueMs ?? 0) - at, held?.graceMs);
      await clock.advance((upcoming.dueMs ?? 0) - clock.wallMs());
    }
    assert.deepEqual(seen, [1_010, 1_500, 2_010, 500, 2_510, 0]);
  });

  test("queue: when the turn has come, it may be as late as before", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await overlapping(store, "queue", [
      at,
      occurrenceAt(at + 10, { dueMs: at + 15, misfire: "skip", graceMs: 200 }),
    ]);
    const claim = await claimOne(store);
    await clock.advance(20);
    assert.deepEqual(await claimedNow(store, at), []);
    await store.settle(claim, ok);
    const [, second] = (await occurrencesOf(store, id)).toSorted((a, b) => a.dueMs - b.dueMs);
    assert.deepEqual([second?.dueMs, second?.graceMs], [at + 10, 205]);
    await clock.advance(1_195);
    assert.deepEqual(await claimedNow(store, at), [10]);
  });

  test("an occurrence that nobody could start in time is skipped, in words of its own", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    await overlapping(store, "allow", [occurrenceAt(at, { dueMs: at + 5, misfire: "skip", graceMs: 100 })]);
    await clock.advance(1_106);
    const { ended } = await store.claimDue(ALICE, 9, LEASE_MS);
    assert.equal(ended[0]?.state, "skipped");
    assert.match(ended[0]?.callback.reason ?? "", /1106 ms late, with a grace of 105 ms.*newer/);
  });

  test("one that is held is cancelled, moved or expires like any that has not started", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const id = await overlapping(store, "queue", [at, at + 1, occurrenceAt(at + 2, { expiresMs: at + 1_500 }), at + 3]);
    await claimOne(store, ALICE, 60_000);
    await clock.advance(3);
    assert.deepEqual(await claimedNow(store, at), []);
    const [, first, , third] = (await occurrencesOf(store, id)).toSorted(
      (a, b) => (a.occurrence?.nominalMs ?? 0) - (b.occurrence?.nominalMs ?? 0),
    );
    assert.equal((await store.cancel({ id: first?.id ?? "" })).answer, "cancelled");
    assert.equal((await store.reschedule({ id: third?.id ?? "" }, { dueMs: at + 7_000 })).answer, "rescheduled");
    await clock.advance(2_000);
    const { claims, ended } = await store.claimDue(BOB, 9, LEASE_MS);
    assert.deepEqual([claims, ended.map(({ state }) => state)], [[], ["expired"]]);
    assert.equal((await store.upcoming()).dueMs, at + 7_000);
    const generation = first?.occurrence?.generation ?? 0;
    await store.recurrences.advance(id, { generation, nextMs: at + 3 }, NO_MORE);
    assert.equal((await store.recurrences.cancel({ id })).answer, "finished");
  });
}
