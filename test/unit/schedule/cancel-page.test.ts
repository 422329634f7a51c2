import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { CancelAnswer } from "../../../src/schedule/callback.ts";
import { CANCEL_PAGE, type CancelPageAnswer, cancelPage, NONE_CANCELLED } from "../../../src/schedule/cancel-page.ts";
import { openMemorySchedule } from "../../../src/schedule/stores/memory.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { ALICE, dueAt, LEASE_MS, ok, retryAt } from "../../../src/testing/schedule-fixtures.ts";

const LIVE = { states: ["scheduled", "waiting", "running"] } as const;
const CHANGE = { query: LIVE, abort: false, dryRun: false } as const;

function open() {
  const clock = new FakeClock();
  return { clock, store: openMemorySchedule({ clock }) };
}

/** One of each: scheduled, waiting, running, succeeded; in due order. */
async function oneOfEach({ clock, store }: ReturnType<typeof open>): Promise<void> {
  const now = clock.wallMs();
  await store.put(["waits", "runs", "is done"].map((key, i) => dueAt(now + i - 10, { key })));
  const { claims } = await store.claimDue(ALICE, 3, LEASE_MS);
  const [waits, , done] = claims;
  assert.ok(waits && done);
  await store.settle(waits, retryAt(now + 5));
  await store.settle(done, ok);
  await store.put([dueAt(now + 60_000, { key: "is to come" })]);
}

describe("a page of cancelling many", () => {
  test("counts each by the answer that cancel itself would give", async () => {
    const under = open();
    await oneOfEach(under);
    const told: CancelAnswer[] = [];

    const page = await cancelPage(under.store, { ...CHANGE, query: {} }, (answer) => told.push(answer));

    assert.deepEqual(page.counts, { cancelled: 1, stopped: 1, running: 1, finished: 1, unknown: 0 });
    assert.deepEqual(told.map(({ answer }) => answer).sort(), ["cancelled", "finished", "running", "stopped"]);
    assert.deepEqual(await under.store.counts(), { running: 1, succeeded: 1, cancelled: 1, stopped: 1 });
  });

  test("that is a dry one tells the same, and changes and tells nobody", async () => {
    const under = open();
    await oneOfEach(under);
    const before = await under.store.counts();

    const page = await cancelPage(under.store, { ...CHANGE, query: {}, dryRun: true, abort: true }, () =>
      assert.fail("told"),
    );

    assert.deepEqual(page.counts, { cancelled: 1, stopped: 1, running: 1, finished: 1, unknown: 0 });
    assert.deepEqual(await under.store.counts(), before);
    assert.deepEqual(await under.store.takeAborts(ALICE), []);
  });

  test("asks those that run to end, when that is wanted", async () => {
    const { clock, store } = open();
    await store.put([dueAt(clock.wallMs())]);
    const { claims } = await store.claimDue(ALICE, 1, LEASE_MS);

    await cancelPage(store, { ...CHANGE, abort: true });

    assert.deepEqual(await store.takeAborts(ALICE), [{ id: claims[0]?.callback.id, token: claims[0]?.token }]);
  });

  test("passes over what was added after the first page", async () => {
    const { clock, store } = open();
    const soon = clock.wallMs() + 1_000;
    await store.put(Array.from({ length: CANCEL_PAGE + 1 }, () => dueAt(soon)));
    const first = await cancelPage(store, CHANGE);
    await clock.advance(1);
    await store.put([dueAt(soon + 1), dueAt(soon - 1)]);

    const rest = await cancelPage(store, {
      ...CHANGE,
      query: { ...LIVE, ...cursorOf(first) },
      addedUntilMs: first.addedUntilMs,
    });

    assert.equal(first.counts.cancelled, CANCEL_PAGE);
    assert.deepEqual(rest.counts, { ...NONE_CANCELLED, cancelled: 1 });
    assert.equal(rest.passed, 1, "the one before the cursor is not even met");
    assert.equal(rest.next, undefined);
    assert.equal((await store.counts()).scheduled, 2);
  });

  test("of which one cancel fails tells what became of the others, and throws", async () => {
    const { clock, store } = open();
    await store.put([1, 2, 3].map((i) => dueAt(clock.wallMs() + i)));
    const second = (await store.list({ limit: 2 })).callbacks[1]?.id;
    const told: string[] = [];
    const failing = {
      nowMs: () => store.nowMs(),
      list: store.list.bind(store),
      cancel: (async (target: { id: string }) => {
        if (target.id === second) throw new Error("the disk is gone");
        return store.cancel(target);
      }) as typeof store.cancel,
    };

    await assert.rejects(
      cancelPage(failing, CHANGE, ({ answer }) => told.push(answer)),
      /the disk is gone/,
    );

    assert.deepEqual(told, ["cancelled", "cancelled"]);
    assert.equal((await cancelPage(store, CHANGE)).counts.cancelled, 1, "to begin again goes on");
  });
});

function cursorOf({ next }: CancelPageAnswer): { cursor: string } {
  assert.ok(next);
  return { cursor: next };
}
