/** Listing, counting, closing: what every schedule store must do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Callback } from "../schedule/callback.ts";
import type { ListQuery, ScheduleStore } from "../schedule/store.ts";
import {
  ALICE,
  add,
  claimOne,
  dueAt,
  LEASE_MS,
  message,
  nextDue,
  type Opened,
  ok,
  swept,
} from "./schedule-fixtures.ts";

export function testListing(opened: Opened): void {
  test("pages follow each other in due order, then in the order of adding, each callback once", async () => {
    const { store } = await opened();
    const dues = [5, 3, 5, -1, 5, 4, 5, 0, 5, 5];
    const ids: string[] = [];
    for (const dueMs of dues) ids.push(await add(store, dueAt(dueMs)));
    const order = [3, 7, 1, 5, 0, 2, 4, 6, 8, 9].map((i) => ids[i]);

    for (const limit of [1, 2, 3, 9, 10, 11]) {
      assert.deepEqual(
        (await all(store, { limit })).map(({ id }) => id),
        order,
        `pages of ${limit}`,
      );
    }
    assert.equal((await store.list({ limit: 10 })).next, undefined, "the last page says so");
    assert.notEqual((await store.list({ limit: 9 })).next, undefined);
  });

  test("nothing is an empty page", async () => {
    const { store } = await opened();
    assert.deepEqual(await store.list({ limit: 1 }), { callbacks: [] });
    assert.deepEqual(await store.counts(), {});
    assert.equal(await nextDue(store), undefined);
  });

  test("filters hold alone and together", async () => {
    const { store, clock } = await opened();
    const at = clock.wallMs();
    const names = new Map<string, string>();
    for (const [name, callback] of Object.entries({
      a: dueAt(at, { key: "order:1", tags: ["red", "big"], queue: "mail", message: message({ task: "shop.remind" }) }),
      b: dueAt(at + 1, { key: "order:2", tags: ["red"], message: message({ task: "shop.close" }) }),
      c: dueAt(at + 2, { key: "other", tags: ["big", "red"], queue: "mail", message: message({ task: "bill.close" }) }),
      d: dueAt(at + 3, { message: message({ task: "a*b" }) }),
      e: dueAt(at - 1),
    })) {
      names.set(await add(store, callback), name);
    }
    const done = await claimOne(store);
    await store.settle(done, ok);
    await claimOne(store);

    const found = async (query: Partial<ListQuery>) => {
      const pages = await Promise.all([1, 2, 100].map((limit) => all(store, { ...query, limit })));
      const shown = pages.map((page) => page.map(({ id }) => names.get(id)).join(""));
      assert.equal(new Set(shown).size, 1, "whatever the size of the page");
      return shown[0];
    };
    assert.equal(await found({}), "eabcd");
    assert.equal(await found({ states: ["succeeded"] }), "e");
    assert.equal(await found({ states: ["running", "scheduled"] }), "abcd");
    assert.equal(await found({ states: [] }), "");
    assert.equal(await found({ task: "shop.*" }), "ab");
    assert.equal(await found({ task: "*.close" }), "bc");
    assert.equal(await found({ task: "*o*e*" }), "eabc");
    assert.equal(await found({ task: "shop.remind" }), "a");
    assert.equal(await found({ task: "a*b" }), "d");
    assert.equal(await found({ task: "*" }), "eabcd");
    assert.equal(await found({ task: "" }), "");
    assert.equal(await found({ task: "shop.[rc]*" }), "");
    assert.equal(await found({ keyPrefix: "order:" }), "ab");
    assert.equal(await found({ keyPrefix: "o" }), "abc");
    assert.equal(await found({ keyPrefix: "" }), "abc");
    assert.equal(await found({ keyPrefix: "order:1x" }), "");
    assert.equal(await found({ tags: ["red"] }), "abc");
    assert.equal(await found({ tags: ["red", "big"] }), "ac");
    assert.equal(await found({ tags: [] }), "eabcd");
    assert.equal(await found({ tags: ["none"] }), "");
    assert.equal(await found({ queue: "mail" }), "ac");
    assert.equal(await found({ dueFromMs: at + 1 }), "bcd");
    assert.equal(await found({ dueBeforeMs: at + 1 }), "ea");
    assert.equal(await found({ dueFromMs: at, dueBeforeMs: at + 2 }), "ab");
    assert.equal(await found({ tags: ["red"], queue: "mail", dueFromMs: at + 1, states: ["scheduled"] }), "c");
    assert.equal(await found({ keyPrefix: "order", tags: ["big"], task: "shop.*" }), "a");
  });

  test("a key prefix is a beginning and no pattern, in any script", async () => {
    const { store } = await opened();
    const keys = [
      "%",
      "%a",
      "_",
      "*",
      "a%",
      "é",
      "éa",
      "é\u{10ffff}",
      "\u{10ffff}",
      "\u{10ffff}x",
      "\ud7ffx",
      "\ue000x",
      "ab\u0001c",
    ];
    for (const key of keys) await add(store, dueAt(1, { key }));
    for (const keyPrefix of [
      "%",
      "_",
      "*",
      "é",
      "é\u{10ffff}",
      "\u{10ffff}",
      "\ud7ff",
      "\ue000",
      "ab",
      "ab\u0001",
      "a",
    ]) {
      const expected = keys.filter((key) => key.startsWith(keyPrefix)).sort();
      const found = (await all(store, { keyPrefix, limit: 3 })).map(({ key }) => key).sort();
      assert.deepEqual(found, expected, JSON.stringify(keyPrefix));
    }
  });

  test("few among many are found, whatever is looked for", async () => {
    const { store } = await opened();
    const many = 6_000;
    await store.put(
      Array.from({ length: many }, (_, i) =>
        dueAt(i % 7, {
          key: `key:${i}`,
          queue: i === 5_999 ? "rare" : "common",
          ...(i % 3_000 === 0 ? { tags: ["rare"] } : {}),
          message: message({ task: i === 4_321 ? "rare" : "common" }),
        }),
      ),
    );
    const counted = async (query: Partial<ListQuery>) => (await all(store, { ...query, limit: 100 })).length;
    assert.equal(await counted({ queue: "rare" }), 1);
    assert.equal(await counted({ task: "r*e" }), 1);
    assert.equal(await counted({ tags: ["rare"] }), 2);
    assert.equal(await counted({ keyPrefix: "key:599" }), 11);
    assert.equal(await counted({ keyPrefix: "key:" }), many);
    assert.equal(await counted({ dueFromMs: 6 }), 857);
    assert.equal(await counted({ states: ["running"] }), 0);
  });

  test("a page goes on where the last one ended, though its last callback has gone", async () => {
    const { store } = await opened();
    const ids: string[] = [];
    for (const dueMs of [1, 2, 3, 4]) ids.push(await add(store, dueAt(dueMs)));
    const first = await store.list({ limit: 2, states: ["scheduled"] });
    await store.cancel({ id: ids[1] as string });
    const rest = await store.list({ limit: 2, states: ["scheduled"], cursor: first.next as string });
    assert.deepEqual(
      rest.callbacks.map(({ id }) => id),
      [ids[2], ids[3]],
    );
  });

  test("a query that cannot be is refused by name", async () => {
    const { store } = await opened();
    const wrong: [Partial<ListQuery>, RegExp][] = [
      [{ limit: 0 }, /limit/],
      [{ limit: 1_001 }, /limit/],
      [{ limit: 1.5 }, /limit/],
      [{ states: ["done" as never] }, /"done".*scheduled/],
      [{ cursor: "x" }, /cursor/],
      [{ cursor: "" }, /cursor/],
      [{ dueFromMs: Number.NaN }, /dueFromMs/],
      [{ tags: [""] }, /tags/],
      [{ task: "\ud800" }, /task/],
    ];
    for (const [query, named] of wrong) {
      await assert.rejects(store.list({ limit: 1, ...query }), { code: "ERR_INVALID_INPUT", message: named });
    }
  });

  test("the clock is the store's, and hints can be had and given up twice", async () => {
    const { store, clock } = await opened();
    assert.equal(await store.nowMs(), clock.wallMs());
    const stop = store.onChange(() => undefined);
    stop();
    stop();
    assert.ok(["strict", "process", "memory"].includes(store.durability));
    assert.match(store.url, /^[a-z]+:/);
  });

  test("after close every call is refused, and what was asked before is done", async () => {
    const { unwatched: store } = await opened();
    const asked = Array.from({ length: 10 }, () => add(store, dueAt(1)));
    const closing = store.close();
    assert.equal(new Set(await Promise.all(asked)).size, 10);
    await closing;
    await store.close();

    const closed = { code: "ERR_CLOSED" };
    await assert.rejects(store.put([dueAt(1)]), closed);
    await assert.rejects(store.cancel({ key: "k" }), closed);
    await assert.rejects(store.list({ limit: 1 }), closed);
    await assert.rejects(store.claimDue(ALICE, 1, LEASE_MS), closed);
    await assert.rejects(nextDue(store), closed);
    await assert.rejects(store.nowMs(), closed);
    await assert.rejects(swept(store, 1), closed);
    await assert.rejects(store.revoked(["a"]), closed);
  });
}

async function all(store: ScheduleStore, query: ListQuery): Promise<Callback[]> {
  const found: Callback[] = [];
  let page = await store.list(query);
  for (let turns = 0; ; turns++) {
    assert.ok(turns < 100_000, "the pages never end");
    found.push(...page.callbacks);
    if (page.next === undefined) return found;
    page = await store.list({ ...query, cursor: page.next });
  }
}
