import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ScheduleEventMap } from "../../../src/schedule/events.ts";
import { openApp } from "./schedule-app.ts";

/** What the app tells from now on, as it comes. */
function hear<Name extends "scheduled" | "cancelled">(app: ReturnType<typeof openApp>["app"], name: Name) {
  const heard: ScheduleEventMap[Name][] = [];
  app.schedule.events.on(name, (event) => heard.push(event));
  return heard;
}

describe("what a process changes in the schedule", () => {
  test("is told when it is added, replaced and moved, and not when all stays as it was", async (t) => {
    const { app, tick } = openApp(t);
    const heard = hear(app, "scheduled");
    const at = new Date("2099-01-01T00:00:00Z");
    const dueMs = at.getTime();

    const { id } = await tick.callAt(at, [1], { key: "k", tags: ["a"], queue: "q" });
    await tick.callAt(at, [1], { key: "k" });
    await tick.callAt(new Date(dueMs + 1), [1], { key: "k", onConflict: "replace" });
    await app.schedule.reschedule("k", { by: 1 });
    await assert.rejects(app.schedule.reschedule("nope", { by: 1 }));

    assert.deepEqual(heard, [
      { change: "added", id, key: "k", task: "test.tick", queue: "q", tags: ["a"], dueMs },
      { change: "replaced", id, key: "k", task: "test.tick", queue: "celery", tags: [], dueMs: dueMs + 1 },
      { change: "moved", id, dueMs: dueMs + 1_001 },
    ]);
  });

  test("is told of what recurs: when it is declared, replaced and resumed", async (t) => {
    const { app, tick } = openApp(t);
    const heard = hear(app, "scheduled");
    const when = { cron: "0 0 1 1 *", startAt: "2098-06-01T00:00:00Z" };

    const handle = await tick.callRepeatedly(when, [1], { key: "k" });
    await tick.callRepeatedly(when, [1], { key: "k" });
    await handle.pause();
    await handle.resume();
    await handle.resume();
    await tick.callRepeatedly(when, [2], { key: "k", tags: ["b"] });

    const told = { change: "recurs", id: handle.id, key: "k", task: "test.tick", queue: "celery", tags: [] };
    const dueMs = Date.UTC(2099, 0, 1);
    assert.deepEqual(heard, [
      { ...told, dueMs },
      { ...told, dueMs },
      { ...told, tags: ["b"], dueMs },
    ]);
  });

  test("is told when it is cancelled, by one word or by many, by revoke too", async (t) => {
    const { app, tick } = openApp(t);
    const ids = await Promise.all([1, 2, 3].map(async (n) => (await tick.callAfter("1h", [n], { queue: `q${n}` })).id));
    const recurs = await tick.callRepeatedly({ every: "1h" }, [4]);
    const heard = hear(app, "cancelled");

    await app.schedule.cancel(ids[0] ?? "");
    await app.schedule.cancelAll({ queue: "q2" }, { dryRun: true });
    await app.schedule.cancelAll({ queue: "q2" });
    await app.result(ids[2] ?? "").revoke();
    await recurs.cancel();
    await recurs.cancel();
    await app.schedule.cancel("nope");

    assert.deepEqual(
      heard,
      [...ids, recurs.id].map((id) => ({ id, answer: "cancelled" })),
    );
  });

  test("is told nobody when nobody listens any more", async (t) => {
    const { app, tick } = openApp(t);
    const heard: unknown[] = [];
    const off = app.schedule.events.on("scheduled", (event) => heard.push(event));
    await tick.callAfter("1h", [1]);
    off();
    await tick.callAfter("1h", [2]);

    assert.equal(heard.length, 1);
  });
});
