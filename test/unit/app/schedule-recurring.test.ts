import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Lovage } from "../../../src/app/app.ts";
import { Recurring } from "../../../src/app/recurring.ts";
import type { ScheduleSource } from "../../../src/app/schedule.ts";
import type { Recurrence } from "../../../src/schedule/recurrence.ts";
import { atEnd } from "../../support/cleanup.ts";
import { tempDir } from "../../support/temp.ts";
import { allOf, openApp } from "./schedule-app.ts";

/** Once a year, in a year far away: nothing of it comes due while a test runs. */
const NEW_YEAR = { cron: "0 0 1 1 *", timezone: "Europe/Berlin" } as const;
const IN_2098 = { startAt: "2098-06-01T00:00:00Z" } as const;

type App = ReturnType<typeof openApp>["app"];

async function occurrences(app: App, recurrence: string) {
  return allOf(app.schedule.list({ recurrence }));
}

describe("callRepeatedly", () => {
  test("puts the next occurrence into the schedule, and answers a handle on what recurs", async (t) => {
    const { app, tick } = openApp(t);

    const handle = await tick.callRepeatedly(NEW_YEAR, [7], { ...IN_2098, key: "new-year", tags: ["a"], queue: "q" });

    assert.match(handle.id, /^r-/);
    assert.equal(handle.key, "new-year");
    assert.equal(handle.put, "added");
    assert.equal(handle.next?.toISOString(), "2098-12-31T23:00:00.000Z");
    assert.equal(JSON.stringify({ handle }), `{"handle":"${handle.id}"}`);
    const [next, ...others] = await occurrences(app, "new-year");
    assert.deepEqual(others, []);
    assert.equal(next?.dueMs, handle.next?.getTime());
    assert.equal(next?.occurrence?.recurrence, handle.id);
    assert.deepEqual([next?.queue, next?.tags, next?.message.task], ["q", ["a"], "test.tick"]);
    assert.equal((await handle.get())?.state, "active");
    assert.equal((await app.schedule.recurrence("new-year"))?.id, handle.id);
    assert.deepEqual(
      (await allOf(app.schedule.recurrences())).map(({ id }) => id),
      [handle.id],
    );
  });

  test("of the same again changes nothing, in whichever process it is said; another definition replaces it", async (t) => {
    const file = `sqlite:${await tempDir(t)}/shared.db`;
    const open = () => {
      const app = new Lovage("declares", { broker: file }, { env: {} });
      atEnd(t, () => app.close());
      return app.task("test.tick", (n: number) => n);
    };
    const [first, second] = [open(), open()];
    const hourly = { every: "1h" } as const;

    const added = await first.callRepeatedly(hourly, [1], { key: "hourly", tags: ["x", "y"] });
    const again = await second.callRepeatedly(hourly, [1], { key: "hourly", tags: ["y", "x"] });
    const changed = await second.callRepeatedly(hourly, [2], { key: "hourly", tags: ["x", "y"] });

    assert.deepEqual([again.put, again.id, again.generation], ["existing", added.id, added.generation]);
    assert.deepEqual(again.next, added.next, "what stands there goes on; it does not begin anew");
    assert.deepEqual([changed.put, changed.id], ["replaced", added.id]);
    assert.ok(changed.generation > added.generation);
  });

  test("keeps, or refuses, when a recurrence has the key and that is wanted", async (t) => {
    const { tick } = openApp(t);
    const { id } = await tick.callRepeatedly(NEW_YEAR, [1], { key: "k" });

    const kept = await tick.callRepeatedly(NEW_YEAR, [2], { key: "k", onConflict: "keep" });

    assert.deepEqual([kept.put, kept.id], ["existing", id]);
    await assert.rejects(tick.callRepeatedly(NEW_YEAR, [2], { key: "k", onConflict: "reject" }), {
      code: "ERR_KEY_TAKEN",
      message: new RegExp(`"k" belongs to recurrence ${id}`),
      id,
    });
  });

  test("refuses what can never come, and what is not meant so, before anything is stored", async (t) => {
    const { app, tick } = openApp(t);
    const wrong: [Parameters<typeof tick.callRepeatedly>[0], object, RegExp][] = [
      [{ cron: "0 0 30 2 *" }, {}, /30/],
      [{ cron: "61 * * * *" }, {}, /61/],
      [{ cron: "* * * * *", timezone: "Europe/Atlantis" }, {}, /Europe\/Atlantis/],
      [{ every: "1ms" }, {}, /at least 100 ms/],
      [{} as never, {}, /one of every, cron and rrule/],
      [undefined as never, {}, /when it recurs must be/],
      [{ every: "1h", until: "2001-01-01T00:00:00Z" }, {}, /no occurrence/],
      [
        { every: "1h", until: "2099-01-01T00:00:00Z" },
        { until: "2098-01-01T00:00:00Z" },
        /until stands in when and in the options/,
      ],
      [NEW_YEAR, { timezone: "UTC" }, /no option "timezone": it stands beside the cron pattern/],
      [NEW_YEAR, { onMisfire: "skip" }, /no option "onMisfire"; did you mean "misfire"/],
      [NEW_YEAR, { overlap: "never" }, /overlap must be/],
      [NEW_YEAR, { key: "" }, /key is empty/],
      [NEW_YEAR, { expires: 0 }, /expires/],
      [NEW_YEAR, { expires: new Date() }, /expires of what recurs is a duration from each nominal time/],
    ];

    for (const [when, options, message] of wrong) {
      await assert.rejects(tick.callRepeatedly(when, [1], options as never), { code: "ERR_INVALID_INPUT", message });
    }
    assert.deepEqual(await allOf(app.schedule.recurrences()), []);
    assert.equal((await app.schedule.counts()).scheduled, 0);
  });

  test("counts expires from each occurrence's time: the call's own, the signature's, the task's", async (t) => {
    const { app, tick } = openApp(t);
    const hasty = app.task("test.hasty", { expires: "10m" }, () => null);
    const expiresAfter = async (key: string) => {
      const [next] = await occurrences(app, key);
      return ((next?.expiresMs ?? Number.NaN) - (next?.dueMs ?? Number.NaN)) / 60_000;
    };

    await hasty.callRepeatedly(NEW_YEAR, [], { key: "task" });
    await hasty.callRepeatedly(NEW_YEAR, [], { key: "call", expires: "1h" });
    await app.schedule.callRepeatedly(NEW_YEAR, app.signature("x", { expires: "5m" }), { key: "signature" });
    await tick.callRepeatedly(NEW_YEAR, [1], { key: "none" });

    assert.deepEqual(
      [await expiresAfter("task"), await expiresAfter("call"), await expiresAfter("signature")],
      [10, 60, 5],
    );
    assert.equal((await occurrences(app, "none"))[0]?.expiresMs, undefined);
  });

  test("goes by the app's zone when the pattern has none of its own", async (t) => {
    const { tick } = openApp(t, { timezone: "Asia/Tokyo" });

    const { next } = await tick.callRepeatedly({ cron: "0 9 1 1 *", ...IN_2098 }, [1]);

    assert.equal(next?.toISOString(), "2099-01-01T00:00:00.000Z");
  });
});

describe("a recurrence", () => {
  test("that is paused has nothing to come; resumed, it goes on from now", async (t) => {
    const { app, tick } = openApp(t);
    const handle = await tick.callRepeatedly(NEW_YEAR, [1], { key: "k", ...IN_2098 });

    assert.equal(await handle.pause(), true);
    assert.equal(await app.schedule.pause("k"), false);
    assert.deepEqual(await occurrences(app, "k"), []);
    assert.equal((await handle.get())?.state, "paused");
    const next = await app.schedule.resume("k");

    assert.equal(next?.toISOString(), "2098-12-31T23:00:00.000Z");
    assert.equal((await occurrences(app, "k")).length, 1);
    assert.deepEqual(await handle.resume(), next, "it is active already");
    assert.ok(((await handle.get())?.generation ?? 0) > handle.generation);
  });

  test("that has ended, or that there is not, can be neither paused nor resumed", async (t) => {
    const { app, tick } = openApp(t);
    const handle = await tick.callRepeatedly(NEW_YEAR, [1], { key: "k" });
    await handle.cancel();

    await assert.rejects(handle.pause(), { code: "ERR_RECURRENCE_ENDED", id: handle.id });
    await assert.rejects(app.schedule.resume("k"), { code: "ERR_RECURRENCE_ENDED" });
    await assert.rejects(app.schedule.pause("nope"), { code: "ERR_UNKNOWN_RECURRENCE", message: /"nope"/ });
    await assert.rejects(app.schedule.resume({ id: "r-nope" }), { code: "ERR_UNKNOWN_RECURRENCE" });
    assert.equal(await app.schedule.recurrence("nope"), undefined);
    assert.deepEqual(await allOf(app.schedule.recurrences()), []);
    assert.equal((await allOf(app.schedule.recurrences({ states: ["ended"] }))).length, 1);
  });

  test("is cancelled by its id, by its key, and by its handle, with what was to come", async (t) => {
    const { app, tick } = openApp(t);
    const byId = await tick.callRepeatedly(NEW_YEAR, [1]);
    await tick.callRepeatedly(NEW_YEAR, [2], { key: "by key" });
    const byHandle = await tick.callRepeatedly(NEW_YEAR, [3]);

    assert.equal(await app.schedule.cancel(byId.id), "cancelled");
    assert.equal(await app.schedule.cancel("by key"), "cancelled");
    assert.equal(await byHandle.cancel(), "cancelled");
    assert.equal(await app.schedule.cancel({ id: byId.id }), "finished");
    assert.equal(await app.schedule.cancel("by key"), "finished");

    assert.equal(await app.schedule.cancel("nope"), "unknown");
    assert.equal(await app.schedule.cancel("r-nope"), "unknown");
    assert.equal((await app.schedule.counts()).scheduled, 0);
  });

  test("and a callback of the same key: cancel means the one that has not ended, the callback first", async (t) => {
    const { app, tick } = openApp(t);
    await tick.callAfter("1h", [1], { key: "k" });
    const handle = await tick.callRepeatedly(NEW_YEAR, [2], { key: "k" });

    assert.equal(await app.schedule.cancel("k"), "cancelled");
    assert.equal((await handle.get())?.state, "active", "it was the callback");
    assert.equal((await app.schedule.get("k"))?.state, "cancelled");

    assert.equal(await app.schedule.cancel({ key: "k" }), "cancelled");
    assert.equal((await handle.get())?.state, "ended");

    await tick.callAfter("1h", [3], { key: "k" });
    assert.equal(await app.schedule.cancel("k"), "cancelled");
    assert.equal((await app.schedule.counts()).scheduled, 0);
  });

  test("is previewed from its rule or by its name, and marks what a clock change moved", async (t) => {
    const { app, tick } = openApp(t);
    const rule = { cron: "30 2 * * *", timezone: "Europe/Berlin", startAt: "2027-03-27T00:00:00Z" };
    const handle = await tick.callRepeatedly(rule, [1], { key: "k" });

    const times = await app.schedule.preview(rule, { count: 3 });

    assert.deepEqual(
      times.map(({ text, moved, at }) => [text, moved, at.toISOString()]),
      [
        ["2027-03-27T02:30:00+01:00", false, "2027-03-27T01:30:00.000Z"],
        ["2027-03-28T03:00:00+02:00", true, "2027-03-28T01:00:00.000Z"],
        ["2027-03-29T02:30:00+02:00", false, "2027-03-29T00:30:00.000Z"],
      ],
    );
    assert.deepEqual(await handle.preview(3), times);
    assert.deepEqual((await app.schedule.preview("k")).slice(0, 3), times);
    assert.equal((await app.schedule.preview({ key: "k" })).length, 10);
    await assert.rejects(app.schedule.preview("nope"), { code: "ERR_UNKNOWN_RECURRENCE" });
    await assert.rejects(app.schedule.preview(rule, { count: 0 }), { code: "ERR_INVALID_INPUT" });
    await assert.rejects(app.schedule.preview({ cron: "0 0 31 4 *" }), { code: "ERR_INVALID_INPUT" });
  });

  test("that others change while it is resumed is looked at again, with their generation", async (t) => {
    const { app, tick } = openApp(t);
    const handle = await tick.callRepeatedly(NEW_YEAR, [1], { key: "k" });
    await handle.pause();
    const paused = await handle.get();
    let asked: number[] = [];
    const recurring = (stales: number) => {
      let left = stales;
      asked = [];
      const ask = async (op: string, params: { generation?: number }) => {
        if (op === "recurrence.get") return { ...(paused as Recurrence), generation: asked.length + 1 };
        asked.push(params.generation ?? 0);
        left -= 1;
        return left >= 0 ? { answer: "stale", id: "r-1" } : { answer: "changed", id: "r-1" };
      };
      const source = { ask, clock: app.clock, config: () => app.config } as unknown as ScheduleSource;
      return new Recurring(source, app.schedule);
    };

    await recurring(2).resume("k");
    assert.deepEqual(asked, [1, 2, 3]);

    await assert.rejects(recurring(1_000).resume("k"), { code: "ERR_OVERTAKEN" });
    assert.equal(asked.length, 20);
  });
});
