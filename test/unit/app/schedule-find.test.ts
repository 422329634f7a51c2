import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FrameTooLargeError } from "../../../src/pool/prefork/ipc.ts";
import type { ListQuery } from "../../../src/schedule/store.ts";
import { allOf, openApp } from "./schedule-app.ts";

describe("finding callbacks", () => {
  test("by any of the filters, in due order, and by all that are given", async (t) => {
    const { app, tick } = openApp(t);
    const day = (n: number) => new Date(Date.UTC(2099, 0, n));
    await tick.callAt(day(4), [4], { key: "order:4", tags: ["a"], queue: "mail" });
    await tick.callAt(day(1), [1], { key: "order:1", tags: ["a", "b"] });
    await tick.callAt(day(3), [3], { key: "other:3", tags: ["b"], queue: "mail" });
    await app.schedule.callAt(day(2), app.signature("shop.close"), { key: "order:2" });
    const keys = async (...[filter]: Parameters<typeof app.schedule.list>) => {
      const found: (string | undefined)[] = [];
      for await (const { key } of app.schedule.list(filter)) found.push(key);
      return found.join(" ");
    };

    assert.equal(await keys(), "order:1 order:2 other:3 order:4");
    assert.equal(await keys({ task: "test.*" }), "order:1 other:3 order:4");
    assert.equal(await keys({ keyPrefix: "order:" }), "order:1 order:2 order:4");
    assert.equal(await keys({ tags: ["a", "b"] }), "order:1");
    assert.equal(await keys({ queue: "mail", tags: ["a"] }), "order:4");
    assert.equal(await keys({ dueFrom: day(2), dueBefore: "2099-01-04T00:00:00Z" }), "order:2 other:3");
    assert.equal(await keys({ dueBefore: "2099-01-02T01:00", timezone: "Europe/Berlin" }), "order:1");
    assert.equal(await keys({ states: ["running", "cancelled"] }), "");
    assert.equal(await keys({ task: "nothing" }), "");
  });

  test("page by page, for those who page themselves", async (t) => {
    const { app, tick } = openApp(t);
    for (let i = 0; i < 5; i++) await tick.callAt(new Date(Date.UTC(2099, 0, i + 1)), [i], { key: `k${i}` });

    const first = await app.schedule.listPage({ limit: 2 });
    const second = await app.schedule.listPage({ limit: 2, cursor: first.next ?? "" });
    const third = await app.schedule.listPage({ limit: 2, cursor: second.next ?? "" });

    const pages = [first, second, third].map(({ callbacks }) => callbacks.map(({ key }) => key).join(" "));
    assert.deepEqual(pages, ["k0 k1", "k2 k3", "k4"]);
    assert.equal(third.next, undefined);
    await assert.rejects(app.schedule.listPage({ cursor: "here" }), /cursor "here" is none/);
    await assert.rejects(app.schedule.listPage({ limit: 0 }), { code: "ERR_INVALID_INPUT" });
  });

  test("in smaller pages where they are too large for the channel of a task's process", async (t) => {
    const { app, tick } = openApp(t);
    for (let n = 0; n < 30; n++) await tick.callAt(new Date(Date.UTC(2099, 0, n + 1)), [n], { key: `k${n}` });
    const limits: number[] = [];
    const tooLarge = new FrameTooLargeError("an answer", 20_000_000, 16_777_216);
    const own = app.ask;
    app.useAsk(((op: "schedule.list", params: { query: ListQuery }) => {
      limits.push(params.query.limit);
      return params.query.limit > 4 ? Promise.reject(tooLarge) : app.gateway.ask(op, params);
    }) as unknown as typeof own);

    const found = await allOf(app.schedule.list());

    assert.deepEqual(
      found.map(({ key }) => key),
      Array.from({ length: 30 }, (_, n) => `k${n}`),
    );
    assert.deepEqual([...new Set(limits)], [200, 25, 4]);

    app.useAsk((() => Promise.reject(tooLarge)) as unknown as typeof own);
    await assert.rejects(allOf(app.schedule.list()), { code: "ERR_FRAME_TOO_LARGE" });
  });

  test("refuses what would silently find others than meant", async (t) => {
    const { app } = openApp(t);

    await assert.rejects(
      app.schedule.listPage({ tag: "x" } as never),
      /listPage has no filter "tag"; did you mean "tags"/,
    );
    await assert.rejects(
      app.schedule.list({ state: "running" } as never).next(),
      /list has no filter "state"; did you mean "states"/,
    );
    await assert.rejects(
      app.schedule.list({ states: "running" } as never).next(),
      /states must be a list of texts, not running/,
    );
    await assert.rejects(app.schedule.list({ states: ["lost"] } as never).next(), /"lost" is no state of a callback/);
    await assert.rejects(app.schedule.list({ dueFrom: "tomorrow" }).next(), { code: "ERR_INVALID_INPUT" });
    await assert.rejects(app.schedule.list({ recurrence: "nobody's" }).next(), {
      code: "ERR_UNKNOWN_RECURRENCE",
      message: /id or key "nobody's"/,
    });
  });

  test("counts every state, those with none too", async (t) => {
    const { app, tick } = openApp(t);
    await tick.callAfter("1h", [1], { key: "a" });
    await tick.callAfter("1h", [2]);
    await app.schedule.cancel("a");

    assert.deepEqual(await app.schedule.counts(), {
      scheduled: 1,
      waiting: 0,
      running: 0,
      succeeded: 0,
      failed: 0,
      dead: 0,
      cancelled: 1,
      stopped: 0,
      expired: 0,
      skipped: 0,
    });
  });
});

describe("moving a callback", () => {
  test("to a countdown, a moment, or by so much, by id or key; into the past it is due at once", async (t) => {
    const { app, tick } = openApp(t);
    const at = new Date("2099-01-01T00:00:00Z");
    const { id } = await tick.callAt(at, [1], { key: "k" });

    assert.equal((await app.schedule.reschedule("k", { by: "+2h" })).toISOString(), "2099-01-01T02:00:00.000Z");
    assert.equal((await app.schedule.reschedule(id, { by: -3_600 })).toISOString(), "2099-01-01T01:00:00.000Z");
    assert.equal((await app.schedule.reschedule({ key: "k" }, { by: 0 })).toISOString(), "2099-01-01T01:00:00.000Z");
    const local = { eta: "2098-07-01T09:00", timezone: "Europe/Berlin" };
    assert.equal((await app.schedule.reschedule({ id }, local)).toISOString(), "2098-07-01T07:00:00.000Z");
    const before = Date.now();
    const soon = (await app.schedule.reschedule("k", { countdown: "1d" })).getTime();
    assert.ok(soon >= before + 86_400_000 && soon <= Date.now() + 86_400_000);
    assert.ok((await app.schedule.reschedule("k", { by: "-2d" })).getTime() < Date.now());
  });

  test("says what is wrong: no way to go or two, nothing there, too late, no reference", async (t) => {
    const { app, tick } = openApp(t);
    await tick.callAfter("1h", [1], { key: "gone" });
    await app.schedule.cancel("gone");

    for (const wrong of [{}, { countdown: 1, by: 1 }, { countdown: undefined }] as never[]) {
      await assert.rejects(app.schedule.reschedule("gone", wrong), /takes one of countdown, eta and by/);
    }
    await assert.rejects(app.schedule.reschedule("gone", { by: "soon" }), { code: "ERR_INVALID_INPUT" });
    await assert.rejects(app.schedule.reschedule("gone", { by: 1 }), { code: "ERR_TOO_LATE" });
    await assert.rejects(app.schedule.reschedule("nope", { by: 1 }), {
      code: "ERR_UNKNOWN_CALLBACK",
      message: /"nope"/,
    });
    await assert.rejects(
      app.schedule.reschedule("r-1-x", { by: 1 }),
      /"r-1-x" is a recurrence's id, and no callback's; .*list\(/,
    );
    for (const wrong of [7, null, {}, { id: "a", key: "b" }, { id: 7 }] as never[]) {
      await assert.rejects(
        async () => app.schedule.reschedule(wrong, { by: 1 }),
        /an id or a key is a text, \{ id \} or \{ key \}/,
      );
      await assert.rejects(async () => app.schedule.get(wrong), { code: "ERR_INVALID_INPUT" });
    }
  });
});
