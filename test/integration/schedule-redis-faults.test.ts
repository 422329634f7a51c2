/** A schedule in Redis when the server, the line or its memory fails: what is said, what is kept, and that it goes on by itself. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import type { Callback, Claim } from "../../src/schedule/callback.ts";
import type { ScheduleStore } from "../../src/schedule/store.ts";
import { openRedisSchedule, type RedisScheduleOptions } from "../../src/schedule/stores/redis.ts";
import { ALICE, add, BOB, dueAt, message, ok, retryAt } from "../../src/testing/schedule-fixtures.ts";
import { NO_MORE, planOf, recurring } from "../../src/testing/schedule-recurrence-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { needRedisServer, type PrivateRedis, rawClient, startRedis, throughProxy } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip } = needRedisServer();
const HANG = { timeout: 90_000, skip };
const LEASE_MS = 60_000;
const FAR_MS = Date.now() + 3_600_000;
const DURABLE = ["appendonly yes", "appendfsync always"];

async function opened(t: TestContext, url: string, options: RedisScheduleOptions = {}) {
  const store = await openRedisSchedule(url, options);
  atEnd(t, () => store.close());
  return store;
}

/** It is connected, whatever happened before. */
async function connected(store: ScheduleStore): Promise<void> {
  await until(() =>
    store.nowMs().then(
      () => true,
      () => false,
    ),
  );
}

async function claimed(store: ScheduleStore, limit = 1): Promise<Claim[]> {
  return (await store.claimDue(ALICE, limit, LEASE_MS)).claims;
}

describe("a change whose answer is lost", HANG, () => {
  /** Each change, done to a callback or a recurrence that is there; told apart from one that was not made by what it left. */
  interface Prepared {
    readonly scheduled: Callback;
    readonly claim: Claim;
    readonly recurrence: string;
    readonly generation: number;
  }
  const changes: Readonly<Record<string, (store: ScheduleStore, made: Prepared) => Promise<unknown>>> = {
    put: (store) => store.put([dueAt(FAR_MS, { key: "lost" })]),
    cancel: (store, { scheduled }) => store.cancel({ id: scheduled.id }),
    reschedule: (store, { scheduled }) => store.reschedule({ id: scheduled.id }, { dueMs: FAR_MS + 1 }),
    claimDue: (store) => store.claimDue(BOB, 1, LEASE_MS),
    renew: (store, { claim }) => store.renew([claim], LEASE_MS),
    settle: (store, { claim }) => store.settle(claim, ok),
    "settle with a retry": (store, { claim }) => store.settle(claim, retryAt(FAR_MS)),
    release: (store, { claim }) => store.release([claim]),
    sweep: (store) => store.sweep(ALICE, 10),
    takeAborts: (store) => store.takeAborts(ALICE),
    revoke: (store, { scheduled }) => store.revoke(scheduled.taskId, FAR_MS),
    enlist: (store) => store.enlist(ALICE, []),
    resign: (store) => store.resign(BOB),
    "put of a recurrence": (store) => store.recurrences.put(recurring(planOf(FAR_MS), { key: "lost" })),
    advance: (store, { recurrence, generation }) =>
      store.recurrences.advance(recurrence, { generation, nextMs: FAR_MS }, planOf(FAR_MS + 1)),
    pause: (store, { recurrence }) => store.recurrences.pause({ id: recurrence }),
    resume: (store, { recurrence, generation }) => store.recurrences.resume({ id: recurrence }, generation, NO_MORE),
    "cancel of a recurrence": (store, { recurrence }) => store.recurrences.cancel({ id: recurrence }),
  };
  const reads: Readonly<Record<string, (store: ScheduleStore, made: Prepared) => Promise<unknown>>> = {
    nowMs: (store) => store.nowMs(),
    get: (store, { scheduled }) => store.get({ id: scheduled.id }),
    list: (store) => store.list({ limit: 1 }),
    "list by a key": (store) => store.list({ limit: 1, keyPrefix: "k" }),
    counts: (store) => store.counts(),
    upcoming: (store) => store.upcoming(ALICE),
    revoked: (store) => store.revoked(["t"]),
    "recurrences.get": (store, { recurrence }) => store.recurrences.get({ id: recurrence }),
    "recurrences.list": (store) => store.recurrences.list({ limit: 1 }),
    "recurrences.due": (store) => store.recurrences.due(1),
  };

  async function prepared(store: ScheduleStore): Promise<Prepared> {
    const [first] = await store.put([dueAt(1, { message: message({ task: "runs" }) }), dueAt(FAR_MS, { key: "k" })]);
    assert.equal(first?.put, "added");
    const [claim] = await claimed(store);
    await store.put([dueAt(2)]);
    const recurrence = await store.recurrences.put(recurring(planOf(FAR_MS), { key: "r" }));
    const scheduled = await store.get({ key: "k" });
    assert.ok(claim !== undefined && scheduled !== undefined);
    return { claim, scheduled, recurrence: recurrence.id, generation: recurrence.generation };
  }

  test("is said to be unknown, and a read that nothing was read; the line is there again by itself", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const warm = await opened(t, server.url, { namespace: "warm" });
    const made = await prepared(warm);
    for (const run of [...Object.values(changes), ...Object.values(reads)])
      await run(warm, made).catch(() => undefined);

    for (const [all, code] of [
      [changes, "ERR_OUTCOME_UNKNOWN"],
      [reads, "ERR_STORE_UNAVAILABLE"],
    ] as const) {
      for (const [name, run] of Object.entries(all)) {
        const store = await opened(t, url, { namespace: `lost ${name}` });
        const before = await prepared(store);
        proxy.cutAnswers(true);
        await assert.rejects(run(store, before), { code }, name);
        proxy.cutAnswers(false);
        await connected(store);
        await store.close();
      }
    }
  });

  test("names its key, was made once, and is safe to repeat", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const store = await opened(t, url);
    await add(store, dueAt(FAR_MS)); // the script is there
    proxy.cutAnswers(true);
    await assert.rejects(store.put([dueAt(FAR_MS, { key: "order:42" })]), {
      key: "order:42",
      message: /"order:42" is safe/,
    });
    proxy.cutAnswers(false);
    await connected(store);
    assert.deepEqual(await store.counts(), { scheduled: 2 }, "it was made, and not sent again");
    assert.equal((await store.put([dueAt(FAR_MS, { key: "order:42" })]))[0]?.put, "existing");

    const cancelled = await store.get({ key: "order:42" });
    proxy.cutAnswers(true);
    await assert.rejects(store.cancel({ key: "order:42" }), { code: "ERR_OUTCOME_UNKNOWN" });
    proxy.cutAnswers(false);
    await connected(store);
    assert.deepEqual(await store.cancel({ key: "order:42" }), { answer: "cancelled", id: cancelled?.id });
  });

  test("of a claim: nothing of it starts unheard of, and the next claim has it, as its first run (A3)", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const store = await opened(t, url);
    await store.claimDue(ALICE, 1, LEASE_MS);
    const ids = [
      await add(store, dueAt(1, { onLost: "fail" })),
      await add(store, dueAt(2)),
      await add(store, dueAt(3)),
    ];
    proxy.cutAnswers(true);
    await assert.rejects(store.claimDue(ALICE, 2, LEASE_MS), { code: "ERR_OUTCOME_UNKNOWN" });
    proxy.cutAnswers(false);
    await connected(store);
    assert.deepEqual(await store.counts(), { running: 2, scheduled: 1 });

    const other = await store.claimDue(BOB, 1, LEASE_MS);
    assert.deepEqual(
      other.claims.map(({ callback }) => callback.id),
      [ids[2]],
      "they are nobody else's",
    );
    const [first, ...rest] = await claimed(store, 1);

    assert.deepEqual([first?.callback.id, first?.attempt, rest], [ids[0], 1, []]);
    assert.equal((await store.settle(first as Claim, ok)).state, "succeeded");
    const [second] = await claimed(store, 5);
    assert.deepEqual([second?.callback.id, second?.attempt], [ids[1], 1], "what was too much was given back");
    assert.deepEqual(await claimed(store, 5), []);
  });

  test("because nobody answered for too long is unknown too, and the line is opened anew", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const store = await opened(t, url, { answerMs: 200 });
    proxy.freeze();
    const asked = [store.put([dueAt(1)]), store.get({ key: "k" }), store.recurrences.pause({ key: "k" })];
    const [put, get, pause] = await Promise.allSettled(asked);
    assert.equal(put?.status === "rejected" && put.reason.code, "ERR_OUTCOME_UNKNOWN");
    assert.equal(get?.status === "rejected" && get.reason.code, "ERR_STORE_UNAVAILABLE");
    assert.equal(pause?.status === "rejected" && pause.reason.code, "ERR_OUTCOME_UNKNOWN");
    await assert.rejects(store.put([dueAt(1)]), { code: "ERR_STORE_UNAVAILABLE", message: /did not come within/ });
  });
});

describe("a schedule in Redis goes on", HANG, () => {
  test("when its scripts are flushed, in the middle of everything (A10)", async (t) => {
    const server = await startRedis(t);
    const store = await opened(t, server.url);
    const client = rawClient(t, server.url);
    await client.script("FLUSH");
    const puts = Array.from({ length: 1_000 }, (_, i) => store.put([dueAt(i)]));
    await client.script("FLUSH");
    const ids = (await Promise.all(puts)).flat().map((answer) => "id" in answer && answer.id);
    await client.script("FLUSH");
    const claims = await claimed(store, 1_000);
    await client.script("FLUSH");
    await Promise.all(claims.map((claim) => store.settle(claim, ok)));
    assert.equal(new Set(ids).size, 1_000);
    assert.deepEqual(await store.counts(), { succeeded: 1_000 });
  });

  test("when its connections are killed; what was not sent is said to be unavailable, at once", async (t) => {
    const server = await startRedis(t);
    const store = await opened(t, server.url);
    const client = rawClient(t, server.url);
    for (let i = 0; i < 5; i++) {
      await add(store, dueAt(FAR_MS + i));
      await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      await connected(store);
    }
    assert.deepEqual(await store.counts(), { scheduled: 5 });
    await server.stop();
    await until(() =>
      store.put([dueAt(1)]).then(
        () => false,
        (error: Error & { code: string }) => error.code === "ERR_STORE_UNAVAILABLE",
      ),
    );
    await assert.rejects(store.counts(), { code: "ERR_STORE_UNAVAILABLE", message: /nothing listens there|was lost/ });
  });

  test("when the server is killed with -9, and has all that it acknowledged with appendfsync always", async (t) => {
    const server = await startRedis(t, ...DURABLE);
    const store = await opened(t, server.url);
    assert.equal(store.durability, "strict");
    const acknowledged = new Set<string>();
    let unknown = 0;
    for (let round = 0; round < 3; round++) {
      let killed = false;
      const writing = Array.from({ length: 20 }, async (_, w) => {
        for (let i = 0; !killed; i++) {
          const key = `${round}/${w}/${i}`;
          await store.put([dueAt(FAR_MS, { key })]).then(
            () => acknowledged.add(key),
            () => {
              unknown += 1;
            },
          );
        }
      });
      await until(() => acknowledged.size > 500 * (round + 1));
      await server.kill9();
      killed = true;
      await Promise.all(writing);
      await server.start();
      await connected(store);
    }
    const kept = new Set<string>();
    let cursor: string | undefined;
    do {
      const page = await store.list({ limit: 1_000, ...(cursor === undefined ? {} : { cursor }) });
      for (const { key } of page.callbacks) kept.add(key ?? "");
      cursor = page.next;
    } while (cursor !== undefined);
    assert.deepEqual(
      [...acknowledged].filter((key) => !kept.has(key)),
      [],
    );
    assert.ok(kept.size <= acknowledged.size + unknown);
    assert.deepEqual(await store.counts(), { scheduled: kept.size });
  });

  test("when its data is gone, but says so, and knows none of the old callbacks", async (t) => {
    const server = await startRedis(t);
    const lines: string[] = [];
    const line = (text: string) => void lines.push(text);
    const store = await opened(t, server.url, { log: { info: line, warn: line, error: line } });
    const old = await add(store, dueAt(FAR_MS));
    await server.kill9();
    await server.start();
    await connected(store);
    assert.match(lines.join("\n"), /has lost what it acknowledged: .*knows 0 of at least 1 callbacks/);
    const id = await add(store, dueAt(FAR_MS));
    assert.notEqual(id, old);
    assert.deepEqual(await store.cancel({ id: old }), { answer: "unknown" });
    assert.equal(await store.get({ id: old }), undefined);
  });
});

describe("a schedule in a Redis that is out of memory", HANG, () => {
  async function filled(t: TestContext): Promise<{ server: PrivateRedis; store: ScheduleStore; added: number }> {
    const server = await startRedis(t, "maxmemory 8mb");
    const store = await opened(t, server.url);
    const body = JSON.stringify([["x".repeat(1_000)], {}, {}]);
    let added = 0;
    for (;;) {
      const all = await Promise.allSettled(
        Array.from({ length: 50 }, () => store.put([dueAt(1, { message: message({ body }) })])),
      );
      added += all.filter(({ status }) => status === "fulfilled").length;
      const failure = all.find(({ status }) => status === "rejected");
      if (failure?.status !== "rejected") continue;
      assert.equal(failure.reason.code, "ERR_STORE_FULL");
      assert.match(failure.reason.message, /out of memory \(maxmemory\).*give it more/);
      return { server, store, added };
    }
  }

  test("refuses what is new, with nothing of it added; all else goes on: claims, ends, cancels, sweeps", async (t) => {
    const { server, store, added } = await filled(t);
    assert.deepEqual(await store.counts(), { scheduled: added });
    await assert.rejects(store.recurrences.put(recurring(planOf(FAR_MS))), { code: "ERR_STORE_FULL" });

    const claims = await claimed(store, 4);
    assert.equal(claims.length, 4);
    const [first, second, third, fourth] = claims as [Claim, Claim, Claim, Claim];
    assert.equal((await store.settle(first, ok)).state, "succeeded");
    assert.equal((await store.settle(second, retryAt(FAR_MS))).state, "waiting");
    assert.equal((await store.cancel({ id: second.callback.id })).answer, "stopped");
    assert.equal((await store.cancel({ id: third.callback.id }, { abort: true })).answer, "running");
    assert.equal((await store.takeAborts(ALICE)).length, 1);
    await store.renew([third], LEASE_MS);
    await store.release([fourth]);
    await store.sweep(ALICE, 10);
    await store.enlist(ALICE, []);
    assert.equal((await store.list({ limit: 3 })).callbacks.length, 3);
    assert.equal((await store.revoke(fourth.callback.id, FAR_MS)).answer, "cancelled");

    await rawClient(t, server.url).config("SET", "maxmemory", "0");
    await add(store, dueAt(1));
  });
});
