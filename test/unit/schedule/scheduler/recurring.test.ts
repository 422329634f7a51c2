/** What recurs, as schedulers bring it up to date. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { StoreUnavailableError } from "../../../../src/kit/store-errors.ts";
import { type ScheduleEventMap, ScheduleEvents } from "../../../../src/schedule/events.ts";
import { firstPlan } from "../../../../src/schedule/recurrence/plan.ts";
import { evaluatorOf } from "../../../../src/schedule/recurrence/rule.ts";
import type { Definition } from "../../../../src/schedule/recurrence.ts";
import type { ScheduleStore } from "../../../../src/schedule/store.ts";
import { openMemorySchedule } from "../../../../src/schedule/stores/memory.ts";
import { FakeClock } from "../../../../src/testing/fake-clock.ts";
import { add, crashed, dueAt, ok, retryAt } from "../../../../src/testing/schedule-fixtures.ts";
import {
  definition,
  NO_MORE,
  occurrencesOf,
  planOf,
  recurring,
} from "../../../../src/testing/schedule-recurrence-fixtures.ts";
import { Rig } from "../scheduler-rig.ts";

const rigs: Rig[] = [];

function rig(options: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const made = new Rig(options);
  rigs.push(made);
  return made;
}

afterEach(async () => {
  for (const each of rigs.splice(0)) {
    each.autoEnd = () => ok;
    for (const run of each.fired) run.end(ok);
    await each.stop();
  }
});

/** Put one, as the app does. */
async function recur(store: ScheduleStore, nowMs: number, of: Partial<Definition>, key?: string): Promise<string> {
  const wanted = definition(of);
  const plan = firstPlan(wanted, await evaluatorOf(wanted), nowMs, key);
  const { id } = await store.recurrences.put({
    ...(key === undefined ? {} : { key }),
    definition: wanted,
    fingerprint: JSON.stringify(of),
    plan,
  });
  return id;
}

describe("a recurrence", () => {
  test("fires at each of its times, on the millisecond, however many workers there are", async () => {
    const clock = new FakeClock();
    const store = openMemorySchedule({ clock });
    const workers = ["a", "b", "c"].map((id) => rig({ clock, shared: store, owner: { id } }));
    for (const worker of workers) {
      worker.autoEnd = () => ok;
      await store.enlist({ id: `w${workers.indexOf(worker)}` }, []);
      await worker.scheduler.start();
    }
    const at = clock.wallMs();
    const id = await recur(store, at, { rule: { kind: "every", everyMs: 700, anchorMs: at } });
    await clock.advance(7_000);
    const fired = workers.flatMap((worker) => worker.fired).toSorted((a, b) => a.atMs - b.atMs);
    assert.deepEqual(
      fired.map(({ claim, atMs }) => [
        (claim.callback.occurrence?.nominalMs ?? 0) - at,
        atMs - at - claim.callback.dueMs + at,
      ]),
      Array.from({ length: 10 }, (_, i) => [700 * (i + 1), 0]),
    );
    assert.equal((await occurrencesOf(store, id)).length, 11);
  });

  test("is brought up to date at the start, by its own policy, before anything is claimed", async () => {
    const { clock, store, scheduler, fired } = rig({ slots: 50 });
    const at = clock.wallMs();
    const everyMs = 1_000;
    await recur(store, at, { rule: { kind: "every", everyMs, anchorMs: at }, misfire: { kind: "coalesce" } });
    await recur(
      store,
      at,
      { rule: { kind: "every", everyMs, anchorMs: at + 1 }, misfire: { kind: "all", limit: 3 } },
      "all",
    );
    await clock.advance(3_600_000);
    await scheduler.start();
    await clock.advance(0);
    assert.deepEqual(
      fired.map(({ claim }) => (claim.callback.occurrence?.nominalMs ?? 0) - at).toSorted((a, b) => a - b),
      [3_597_001, 3_598_001, 3_599_001, 3_600_000],
    );
  });

  test("that a thousand share is brought up to date in pages, behind those that cannot be worked out", async () => {
    const { clock, store, scheduler, logged } = rig({ slots: 1 });
    const at = clock.wallMs();
    const broken: Definition = definition({ rule: { kind: "cron", cron: "no pattern at all", timezone: "UTC" } });
    for (let i = 0; i < 150; i++) {
      await store.recurrences.put(recurring(planOf(at + 1), { definition: broken, fingerprint: String(i) }));
    }
    const good: string[] = [];
    for (let i = 0; i < 250; i++) {
      good.push(
        await recur(store, at, { rule: { kind: "every", everyMs: 60_000, anchorMs: at + 1_000 } }, `good ${i}`),
      );
    }
    await clock.advance(1_000);
    await scheduler.start();
    const { recurrences } = await store.recurrences.list({ limit: 1_000 });
    const next = new Map(recurrences.map(({ id, nextMs }) => [id, nextMs]));
    assert.ok(good.every((id) => next.get(id) === at + 61_000));
    assert.equal(recurrences.filter(({ state, nextMs }) => state === "active" && nextMs === at + 1).length, 150);
    await clock.advance(5_000);
    const said = logged.filter((line) => line.includes("cannot be worked out"));
    assert.equal(said.length, 150, "each is said once");
    assert.match(said[0] ?? "", /^error: Recurrence r-\S+ of demo\.scream cannot be worked out, and waits as it is$/);
  });

  test("that another worker advanced first is as good", async () => {
    let inner: ScheduleStore | undefined;
    const r = rig({
      slots: 4,
      store: (store) => {
        inner = store;
        const recurrences = new Proxy(store.recurrences, {
          get(target, name) {
            const value: unknown = Reflect.get(target, name);
            if (name === "advance") {
              return async (...args: Parameters<typeof target.advance>) => {
                await target.advance(...args);
                return target.advance(...args);
              };
            }
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
        return new Proxy(store, {
          get(target, name) {
            const value: unknown = name === "recurrences" ? recurrences : Reflect.get(target, name);
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
      },
    });
    const at = r.clock.wallMs();
    await recur(inner as ScheduleStore, at, { rule: { kind: "every", everyMs: 1_000, anchorMs: at } });
    r.autoEnd = () => ok;
    await r.scheduler.start();
    await r.clock.advance(3_500);
    assert.equal(r.fired.length, 3);
    assert.deepEqual(r.logged, []);
  });

  test("of which nothing follows ends, and a store that is away is tried again with the next tick", async () => {
    let away = true;
    const clock = new FakeClock();
    const inner = openMemorySchedule({ clock });
    const recurrences = new Proxy(inner.recurrences, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (name === "due" && away) return () => Promise.reject(new StoreUnavailableError("away"));
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const store = new Proxy<ScheduleStore>(inner, {
      get(target, name) {
        const value: unknown = name === "recurrences" ? recurrences : Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    away = false;
    const r = rig({ clock, shared: store });
    const at = clock.wallMs();
    const id = await recur(inner, at, { rule: { kind: "every", everyMs: 1_000, anchorMs: at }, untilMs: at + 2_000 });
    r.autoEnd = () => ok;
    await r.scheduler.start();
    away = true;
    await clock.advance(3_000);
    assert.equal(r.fired.length, 1);
    away = false;
    await clock.advance(2_000);
    assert.equal((await inner.recurrences.get({ id }))?.state, "ended");
    assert.equal(r.fired.length, 2);
  });

  test("with overlap queue starts what waited as soon as the one before it has ended", async () => {
    const { clock, store, scheduler, fired } = rig();
    const at = clock.wallMs();
    await recur(store, at, {
      rule: { kind: "every", everyMs: 1_000, anchorMs: at },
      overlap: "queue",
      misfire: { kind: "all", limit: 5 },
    });
    await scheduler.start();
    await clock.advance(2_300);
    assert.equal(fired.length, 1);
    fired[0]?.end(ok);
    await clock.advance(0);
    assert.equal(fired.length, 2);
    assert.equal((fired[1]?.claim.callback.occurrence?.nominalMs ?? 0) - at, 2_000);
  });

  test("of which an occurrence was skipped goes on at once, and not with the next tick", async () => {
    const { clock, store, scheduler, fired, ended } = rig();
    const at = clock.wallMs();
    await recur(store, at, { rule: { kind: "every", everyMs: 200, anchorMs: at }, overlap: "skip" });
    await scheduler.start();
    await clock.advance(620);
    assert.equal(fired.length, 1);
    assert.deepEqual(
      ended.map(({ state, callback }) => [state, (callback.occurrence?.nominalMs ?? 0) - at]),
      [
        ["skipped", 400],
        ["skipped", 600],
      ],
    );
    fired[0]?.end(ok);
    await clock.advance(200);
    assert.deepEqual([fired[1]?.lateMs, (fired[1]?.claim.callback.dueMs ?? 0) - at], [0, 800]);
  });

  test("without a rule that goes on, ends at its advance", async () => {
    const { clock, store, scheduler } = rig();
    const at = clock.wallMs();
    const { id } = await store.recurrences.put(
      recurring(planOf(at + 10), {
        definition: definition({ untilMs: at + 10, rule: { kind: "every", everyMs: 1_000, anchorMs: at + 10 } }),
      }),
    );
    await scheduler.start();
    await clock.advance(10);
    assert.equal((await store.recurrences.get({ id }))?.state, "ended");
    assert.deepEqual(NO_MORE.occurrences, []);
  });
});

describe("events", () => {
  /** All that is told, in short. */
  function listening(): { events: ScheduleEvents; told: string[] } {
    const told: string[] = [];
    const events = new ScheduleEvents(() => ({ error: (text) => void told.push(text) }));
    const on = <Name extends keyof ScheduleEventMap>(name: Name, show: (event: ScheduleEventMap[Name]) => string) =>
      events.on(name, (event) => void told.push(`${name} ${show(event)}`));
    on("started", ({ lateMs, attempt, token }) => `${lateMs} ${attempt} ${token}`);
    on("settled", ({ end, state }) => `${end} ${state}`);
    on("expired", ({ state }) => state);
    on("lost", ({ state }) => state);
    on("clock-step", ({ deltaMs }) => String(deltaMs));
    return { events, told };
  }

  test("tell of starts with their lateness, and of ends", async () => {
    const { events, told } = listening();
    const { clock, store, scheduler, fired } = rig({ events });
    await add(store, dueAt(clock.wallMs() - 70));
    await scheduler.start();
    await clock.advance(0);
    fired[0]?.end(retryAt(clock.wallMs()));
    await clock.advance(0);
    fired[1]?.end(crashed);
    await clock.advance(0);
    fired[2]?.end(ok);
    await clock.advance(0);
    assert.deepEqual(told, [
      "started 70 1 1",
      "settled retry waiting",
      "started 0 2 2",
      "settled crashed waiting",
      "lost waiting",
      "started 0 3 3",
      "settled succeeded succeeded",
    ]);
  });

  test("tell what was too late, what others lost, and a step of the clock", async () => {
    const { events, told } = listening();
    const { clock, store, scheduler, fired } = rig({ events });
    const at = clock.wallMs();
    await add(store, dueAt(at));
    await add(store, dueAt(at, { onLost: "fail" }));
    await store.claimDue({ id: "other" }, 2, 1_000);
    await add(store, dueAt(at, { expiresMs: at + 1 }));
    await add(store, dueAt(at, { misfire: "skip" }));
    await clock.advance(5_000);
    await scheduler.start();
    await clock.advance(0);
    assert.deepEqual(told.toSorted(), [
      "expired expired",
      "expired skipped",
      "lost failed",
      "lost waiting",
      "started 0 2 2",
    ]);
    fired[0]?.end(ok);
    told.length = 0;
    clock.stepWall(5_000);
    await clock.advance(1_000);
    assert.ok(told.includes("clock-step 5000"));
  });
});
