/** A schedule in Redis that several processes have open: who lives, what they tell each other, what they share. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import type { Change, Owner } from "../../src/schedule/store.ts";
import { scripts } from "../../src/schedule/stores/redis/scripts.ts";
import { openRedisSchedule, type RedisScheduleOptions } from "../../src/schedule/stores/redis.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { ALICE, add, BOB, dueAt, message, ok, retryAt, waitingUntil } from "../../src/testing/schedule-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import {
  dropNamespaces,
  needRedis,
  REDIS_URL,
  rawClient,
  startRedis,
  testNamespace,
  throughProxy,
} from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip } = await needRedis();
const HANG = { timeout: 60_000, skip };
const run = testNamespace();
let names = 0;

async function opened(t: TestContext, options: RedisScheduleOptions = {}, url = REDIS_URL) {
  const store = await openRedisSchedule(url, options);
  atEnd(t, () => store.close());
  return store;
}

describe("with Redis", HANG, () => {
  after(() => dropNamespaces(run));
  const namespaced = () => ({ namespace: `${run}-${names++}` });

  test("an owner that is silent for ten seconds serves its queues no more; claims and sweeps keep it alive", async (t) => {
    const clock = new FakeClock();
    const namespace = namespaced();
    const mine = await opened(t, { ...namespace, clock });
    const other = await opened(t, { ...namespace, clock });
    const mail: Owner = { id: "mail", queues: ["mail"] };
    const bill: Owner = { id: "bill", queues: ["bill"] };
    await mine.enlist(mail, []);
    await other.enlist(bill, []);
    await add(mine, dueAt(0, { queue: "bill" }));
    const claimable = async () => (await mine.upcoming(mail)).dueMs !== undefined;
    for (let i = 0; i < 5; i++) {
      await clock.advance(8_000);
      await (i % 2 === 0 ? other.claimDue(bill, 0, 1_000) : other.sweep(bill, 1));
      assert.equal(await claimable(), false);
    }
    await clock.advance(9_999);
    assert.equal(await claimable(), false);
    await clock.advance(1);
    assert.equal(await claimable(), true);
    await mine.sweep(mail, 10);
    assert.equal(await claimable(), true, "and is forgotten by a sweep");
    const { claims } = await other.claimDue(bill, 1, 60_000);
    assert.equal(claims.length, 1, "one that was only slow is back");
    await other.settle(claims[0]!, retryAt(0));
    assert.equal(await claimable(), false);
  });

  test("what a dead owner runs waits for its lease", async (t) => {
    const clock = new FakeClock();
    const store = await opened(t, { ...namespaced(), clock });
    await store.enlist(ALICE, []);
    const id = await add(store, dueAt(0));
    await store.claimDue(ALICE, 1, 30_000);
    await clock.advance(29_999);
    assert.deepEqual((await store.sweep(BOB, 10)).ended, []);
    await clock.advance(1);
    assert.deepEqual(
      (await store.sweep(BOB, 10)).ended.map(({ callback }) => callback.id),
      [id],
    );
  });

  test("what becomes the earliest of its queue is told to the others, and only that; so is an abort", async (t) => {
    const namespace = namespaced();
    const clock = new FakeClock();
    const mine = await opened(t, { ...namespace, clock });
    const other = await opened(t, { ...namespace, clock });
    const [told, own]: [Change[], Change[]] = [[], []];
    const stop = mine.onChange((change) => void told.push(change));
    atEnd(
      t,
      other.onChange((change) => void own.push(change)),
    );
    await until(() => told.length === 1 && own.length === 1);
    assert.deepEqual([told.pop(), own.pop()], [{}, {}], "once connected: something may have happened before");
    const at = clock.wallMs();

    await add(other, dueAt(at + 50, { key: "k" }));
    await add(other, dueAt(at + 60));
    await other.put([dueAt(at + 40), dueAt(at + 30), dueAt(at + 90, { queue: "mail" })]);
    await other.reschedule({ key: "k" }, { dueMs: at + 10 });
    await other.reschedule({ key: "k" }, { dueMs: at + 20 });
    await clock.advance(20);
    const { claims } = await other.claimDue(ALICE, 1, 10_000);
    await mine.cancel({ key: "k" }, { abort: true });
    await other.settle(claims[0]!, ok);
    await add(other, dueAt(at - 5));
    await until(() => told.some(({ dueMs }) => dueMs === at - 5));

    // Of what one call put, queues are told in any order.
    const shown = told.map(({ dueMs, queue }) => `${(dueMs ?? 0) - at} ${queue}`);
    assert.deepEqual(shown.toSorted(), ["-5 celery", "10 celery", "30 celery", "50 celery", "90 mail"]);
    assert.deepEqual([shown[0], shown[3], shown[4]], ["50 celery", "10 celery", "-5 celery"]);
    assert.deepEqual(own, [{ abort: true }], "nobody is told of what it did itself");
    stop();
    stop();
  });

  test("a retry, and what a lost lease gives back, are told like any other", async (t) => {
    const namespace = namespaced();
    const clock = new FakeClock();
    const store = await opened(t, { ...namespace, clock });
    const other = await opened(t, { ...namespace, clock });
    const told: Change[] = [];
    atEnd(
      t,
      other.onChange((change) => void told.push(change)),
    );
    await until(() => told.length === 1);
    const under = { store, clock, other: async () => other, close: async () => undefined };
    await waitingUntil(under, clock.wallMs() + 5);
    await clock.advance(5);
    await store.claimDue(ALICE, 1, 1_000);
    await clock.advance(1_000);
    await store.sweep(ALICE, 1);
    await until(() => told.at(-1)?.dueMs === clock.wallMs());
    assert.deepEqual(told.map(({ dueMs }) => dueMs).slice(1), [
      clock.wallMs() - 1_005,
      clock.wallMs() - 1_000,
      clock.wallMs(),
    ]);
  });

  test("a lost subscription is made again, and then told to look", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const store = await opened(t, {}, url);
    const told: Change[] = [];
    atEnd(
      t,
      store.onChange((change) => void told.push(change)),
    );
    await until(() => told.length === 1);
    proxy.sever();
    await until(() => told.length === 2);
    assert.deepEqual(told, [{}, {}]);
    const direct = await opened(t, {}, server.url);
    await add(direct, dueAt(7));
    await until(() => told.length === 3);
    assert.deepEqual(told[2], { dueMs: 7, queue: "celery" });
  });

  test("puts, cancels and settles of one turn are one call of a script each, two hundred at most", async (t) => {
    const server = await startRedis(t);
    const store = await opened(t, {}, server.url);
    const client = rawClient(t, server.url);
    const calls = async () => {
      const stats = await client.info("commandstats");
      const count = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
      return count("evalsha") + count("eval");
    };
    await add(store, dueAt(1));
    const before = await calls();
    const ids = await Promise.all(Array.from({ length: 450 }, () => add(store, dueAt(1))));
    assert.equal((await calls()) - before, 3);
    await Promise.all(ids.slice(0, 200).map((id) => store.cancel({ id })));
    assert.equal((await calls()) - before, 5, "the first call of a script is told its text");
    const { claims } = await store.claimDue(ALICE, 200, 10_000);
    const claimed = await calls();
    await Promise.all(claims.map((claim) => store.settle(claim, ok)));
    assert.equal((await calls()) - claimed, 2);
    await store.put(Array.from({ length: 10_000 }, (_, i) => dueAt(i)));
    assert.equal((await calls()) - claimed, 52);
  });

  test("a page of rows with bodies of a megabyte has them, and looking for others does not read them", async (t) => {
    const server = await startRedis(t);
    const store = await opened(t, {}, server.url);
    const body = JSON.stringify([["x".repeat(1_000_000)], {}, {}]);
    await store.put(Array.from({ length: 30 }, (_, i) => dueAt(i, { message: message({ body }) })));
    const { callbacks } = await store.list({ limit: 25 });
    assert.equal(callbacks.length, 25);
    assert.ok(callbacks.every((each) => each.message.body === body));
    const client = rawClient(t, server.url);
    const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await client.info("stats"))?.[1]);
    const before = await sent();
    assert.deepEqual((await store.list({ limit: 25, task: "none" })).callbacks, []);
    assert.ok((await sent()) - before < 100_000);
  });

  test("a namespace may have any name, and shares nothing with one that looks like it", async (t) => {
    const server = await startRedis(t);
    const strange = ["a", "a}", "{a", "a%7D", "a b", "é", "a:b"];
    const stores = await Promise.all(strange.map((namespace) => opened(t, { namespace }, server.url)));
    for (const [i, store] of stores.entries()) await store.put(Array.from({ length: i + 1 }, () => dueAt(1)));
    for (const [i, store] of stores.entries()) assert.deepEqual(await store.counts(), { scheduled: i + 1 });
  });

  test("no script runs into Lua's limits, and each says what it is in Redis' slow log", () => {
    for (const script of Object.values(scripts)) {
      const locals =
        script.text
          .match(/^local (?:function )?[\w, ]+/gm)
          ?.join(", ")
          .split(",").length ?? 0;
      assert.ok(locals < 200, `${script.name} has ${locals} local names`);
      assert.match(script.text, new RegExp(`^#!lua.*\\n-- lovage: ${script.name}\\n`));
    }
  });
});
