/** Several schedulers on one store. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import type { Change, Owner, ScheduleStore } from "../../../../src/schedule/store.ts";
import { openMemorySchedule } from "../../../../src/schedule/stores/memory.ts";
import { FakeClock } from "../../../../src/testing/fake-clock.ts";
import { add, dueAt, ok, stateOf } from "../../../../src/testing/schedule-fixtures.ts";
import { Chance } from "../../../sim/random.ts";
import { Rig } from "../scheduler-rig.ts";

const rigs: Rig[] = [];

afterEach(async () => {
  for (const each of rigs.splice(0)) {
    each.autoEnd = () => ok;
    for (const run of each.fired) run.end(ok);
    await each.stop();
  }
});

interface Fleet {
  readonly clock: FakeClock;
  readonly store: ScheduleStore;
  readonly workers: readonly Rig[];
  /** Calls of each operation, of all workers. */
  readonly calls: Map<string, number>;
}

/** Workers of these owners on one store, enlisted and started. */
async function fleet(
  owners: readonly Owner[],
  options: { slots?: number; leaseMs?: number; onChange?: ScheduleStore["onChange"] } = {},
): Promise<Fleet> {
  const clock = new FakeClock();
  const store = openMemorySchedule({ clock });
  const calls = new Map<string, number>();
  const counted = new Proxy<ScheduleStore>(store, {
    get(target, name) {
      const value: unknown = (name === "onChange" ? options.onChange : undefined) ?? Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        calls.set(String(name), (calls.get(String(name)) ?? 0) + 1);
        return value.apply(target, args);
      };
    },
  });
  const workers = owners.map((owner, i) => {
    const { slots = 10, leaseMs = 30_000 } = options;
    const rig = new Rig({ clock, shared: counted, owner, slots, leaseMs, random: new Chance(i + 1).draw });
    rigs.push(rig);
    return rig;
  });
  for (const owner of owners) await store.enlist(owner, []);
  for (const worker of workers) await worker.scheduler.start();
  await clock.advance(1_000);
  calls.clear();
  return { clock, store, workers, calls };
}

/** As a store tells of what was put. */
function hint(workers: readonly Rig[], dueMs: number): void {
  for (const { scheduler } of workers) scheduler.noticeDue(dueMs);
}

function owners(count: number, queues?: readonly string[]): Owner[] {
  return Array.from({ length: count }, (_, i) => ({ id: `w${i}`, ...(queues === undefined ? {} : { queues }) }));
}

describe("a fleet", () => {
  test("of eight, at 1,000 due a second, asks the store at most 1.5 times for each start, and shares fairly", async () => {
    const { clock, store, workers, calls } = await fleet(owners(8));
    const at = clock.wallMs() + 100;
    await store.put(Array.from({ length: 5_000 }, (_, i) => dueAt(at + i)));
    hint(workers, at);
    for (const worker of workers) worker.autoEnd = () => ok;
    for (let i = 0; i < 52; i++) await clock.advance(100);

    const starts = workers.map(({ fired }) => fired.length);
    assert.deepEqual(await store.counts(), { succeeded: 5_000 });
    const asked = [...calls.values()].reduce((sum, each) => sum + each, 0);
    assert.ok(asked / 5_000 <= 1.5, `${asked / 5_000} calls for each start: ${JSON.stringify([...calls])}`);
    for (const each of starts) assert.ok(each > 5_000 / 8 / 1.25 && each < (5_000 / 8) * 1.25, String(starts));
    const late = workers.flatMap(({ fired }) => fired.map(({ lateMs }) => lateMs)).toSorted((a, b) => a - b);
    assert.ok((late[2_500] ?? 0) <= 3 && (late[4_950] ?? 0) <= 20, `late ${late[2_500]}, ${late[4_950]}`);
  });

  test("that is idle when one callback is due starts it on the millisecond, once", async () => {
    const { clock, store, workers } = await fleet(owners(8));
    const at = clock.wallMs() + 5_000;
    await add(store, dueAt(at));
    await clock.advance(5_000);
    const fired = workers.flatMap((worker) => worker.fired);
    assert.deepEqual(
      fired.map(({ lateMs }) => lateMs),
      [0],
    );
  });

  test("asks in vain a bounded number of times, however often one callback is due and however many workers there are", async () => {
    const { clock, store, workers, calls } = await fleet(owners(30));
    const at = clock.wallMs() + 100;
    await store.put(Array.from({ length: 400 }, (_, i) => dueAt(at + i * 25)));
    for (const worker of workers) worker.autoEnd = () => ok;
    for (let i = 0; i < 110; i++) await clock.advance(100);
    assert.deepEqual(await store.counts(), { succeeded: 400 });
    const claims = calls.get("claimDue") ?? 0;
    // 400 that bring something, 133 a second that do not, and what thirty quiet workers had saved up.
    assert.ok(claims < 400 + 11 * 133 + 30 * 5, `${claims} claims`);
  });

  test("asks ever less often for what is due and is not to be had, as another's claim that is not committed yet", async () => {
    const clock = new FakeClock();
    const inner = openMemorySchedule({ clock });
    let claims = 0;
    let held = true;
    const store = new Proxy<ScheduleStore>(inner, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (name !== "claimDue") return typeof value === "function" ? value.bind(target) : value;
        return async (...args: Parameters<ScheduleStore["claimDue"]>) => {
          claims += 1;
          return target.claimDue(args[0], held ? 0 : args[1], args[2]);
        };
      },
    });
    const worker = new Rig({ clock, shared: store });
    rigs.push(worker);
    await add(inner, dueAt(clock.wallMs()));
    await worker.scheduler.start();
    await clock.advance(20);
    assert.ok(claims >= 3 && claims <= 5, `${claims} claims in 20 ms`);
    await clock.advance(980);
    assert.ok(claims <= 16, `${claims} claims in a second`);
    held = false;
    await clock.advance(130);
    assert.equal(worker.fired.length, 1);
  });

  test("drains what is due at one instant through all its slots, and claims no more than that takes", async () => {
    const { clock, store, workers, calls } = await fleet(owners(8), { slots: 25 });
    const at = clock.wallMs() + 100;
    await store.put(Array.from({ length: 1_000 }, () => dueAt(at)));
    hint(workers, at);
    for (const worker of workers) worker.autoEnd = () => ok;
    await clock.advance(100);
    assert.deepEqual(await store.counts(), { succeeded: 1_000 });
    assert.ok((calls.get("claimDue") ?? 0) <= 1_000 / 25 + 16, String(calls.get("claimDue")));
  });

  test("gives what a dead worker ran to another within its lease and a second", async () => {
    const { clock, store, workers } = await fleet(owners(3), { leaseMs: 5_000 });
    const id = await add(store, dueAt(clock.wallMs() + 10));
    hint(workers, clock.wallMs() + 10);
    await clock.advance(10);
    const dead = workers.find(({ fired }) => fired.length === 1);
    assert.ok(dead !== undefined);
    // Dead: nothing of it runs any more.
    dead.hub.stop();
    const diedMs = clock.wallMs();
    await clock.advance(6_000);
    const again = workers.filter((worker) => worker !== dead).flatMap(({ fired }) => fired);
    assert.deepEqual(
      again.map(({ claim }) => [claim.callback.id, claim.attempt]),
      [[id, 2]],
    );
    assert.ok((again[0]?.atMs ?? Number.POSITIVE_INFINITY) - diedMs <= 6_000);
  });
});

describe("queues", () => {
  test("are claimed from by those who serve them, and by anybody when nobody does", async () => {
    const { clock, store, workers } = await fleet([
      { id: "a", queues: ["mail"] },
      { id: "b", queues: ["celery"] },
    ]);
    const [mail, celery] = workers as [Rig, Rig];
    const at = clock.wallMs() + 100;
    const sent = await add(store, dueAt(at, { queue: "mail" }));
    const counted = await add(store, dueAt(at, { queue: "celery" }));
    const foreign = await add(store, dueAt(at, { queue: "python" }));
    await clock.advance(1_100);
    assert.ok(mail.ids.includes(sent) && !celery.ids.includes(sent));
    assert.ok(celery.ids.includes(counted) && !mail.ids.includes(counted));
    assert.equal([...mail.ids, ...celery.ids].filter((id) => id === foreign).length, 1);
  });

  test("that one worker alone serves are not paced by the workers of others", async () => {
    const { clock, store, workers } = await fleet([{ id: "a", queues: ["mail"] }, ...owners(10, ["celery"])]);
    const at = clock.wallMs() + 10;
    await store.put(Array.from({ length: 500 }, (_, i) => dueAt(at + 2 * i, { queue: "mail" })));
    hint(workers, at);
    for (const worker of workers) worker.autoEnd = () => ok;
    await clock.advance(1_100);
    assert.equal(workers[0]?.fired.length, 500);
    assert.ok(workers[0]?.fired.every(({ lateMs }) => lateMs === 0));
  });
});

describe("a hint of another process", () => {
  async function hinted(queues?: readonly string[]) {
    const listeners: ((change: Change) => void)[] = [];
    const made = await fleet([{ id: "a", ...(queues === undefined ? {} : { queues }) }], {
      onChange: (listener) => {
        listeners.push(listener);
        return () => undefined;
      },
    });
    await made.clock.advance(10);
    const [worker] = made.workers as [Rig];
    const tell = (change: Change) => {
      for (const listener of listeners) listener(change);
    };
    return { ...made, worker, tell };
  }

  test("with a due time arms for it, without a trip to the store", async () => {
    const { clock, store, calls, worker, tell } = await hinted(["celery"]);
    const at = clock.wallMs() + 60;
    await add(store, dueAt(at));
    calls.clear();
    tell({ dueMs: at, queue: "celery" });
    await clock.advance(59);
    assert.deepEqual([...calls], []);
    await clock.advance(1);
    assert.deepEqual([...calls], [["claimDue", 1]]);
    assert.equal(worker.fired[0]?.lateMs, 0);
  });

  test("for a queue that this worker does not serve is none of its business", async () => {
    const { clock, calls, tell } = await hinted(["celery"]);
    calls.clear();
    tell({ dueMs: clock.wallMs(), queue: "mail" });
    await clock.advance(20);
    assert.deepEqual([...calls], []);
  });

  test("of an abort is taken at once, and is no reason to look for work", async () => {
    const { clock, store, calls, worker, tell } = await hinted();
    const id = await add(store, dueAt(clock.wallMs()));
    tell({});
    await clock.advance(0);
    await store.cancel({ id }, { abort: true });
    calls.clear();
    tell({ abort: true });
    await clock.advance(0);
    assert.deepEqual([...calls], [["takeAborts", 1]]);
    assert.deepEqual(worker.aborts, [{ id, token: 1 }]);
  });

  test("that says nothing makes it look, and take aborts if it runs something", async () => {
    const { clock, store, calls, tell, worker } = await hinted();
    calls.clear();
    tell({});
    await clock.advance(0);
    assert.deepEqual([...calls], [["upcoming", 1]]);
    await add(store, dueAt(clock.wallMs()));
    tell({});
    await clock.advance(0);
    assert.equal(worker.fired.length, 1);
    calls.clear();
    tell({});
    await clock.advance(0);
    assert.deepEqual([...calls.keys()].toSorted(), ["takeAborts", "upcoming"]);
  });
});

describe("retention", () => {
  test("is swept by one worker at 4,000 rows a second, in steps, and no claim waits", async () => {
    const clock = new FakeClock();
    const inner = openMemorySchedule({ clock, limits: { keepMs: 1_000 } });
    let sweeps = 0;
    const store = new Proxy<ScheduleStore>(inner, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (name === "sweep") sweeps += 1;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const worker = new Rig({ clock, shared: store, slots: 10 });
    rigs.push(worker);
    const at = clock.wallMs();
    for (let i = 0; i < 20; i++) {
      const answers = await inner.put(Array.from({ length: 1_000 }, () => dueAt(at + 3_600_000)));
      for (const each of answers) if ("id" in each) await inner.cancel({ id: each.id });
    }
    await worker.scheduler.start();
    await clock.advance(1_000);
    const live = await add(inner, dueAt(clock.wallMs() + 500));
    worker.scheduler.noticeDue(clock.wallMs() + 500);
    await clock.advance(2_000);
    assert.equal((await inner.counts()).cancelled, undefined);
    assert.ok(sweeps >= 100, `${sweeps} sweeps of 200`);
    assert.deepEqual(worker.ids, [live]);
    assert.equal(worker.fired[0]?.lateMs, 0);
    assert.equal(await stateOf(inner, live), "running");
  });

  test("does not hold up a start: what dead workers held comes first, the rest later", async () => {
    const clock = new FakeClock();
    const inner = openMemorySchedule({ clock, limits: { keepMs: 0 } });
    for (let i = 0; i < 10; i++) {
      const answers = await inner.put(Array.from({ length: 1_000 }, () => dueAt(clock.wallMs() + 3_600_000)));
      for (const each of answers) if ("id" in each) await inner.cancel({ id: each.id });
    }
    const id = await add(inner, dueAt(clock.wallMs()));
    const worker = new Rig({ clock, shared: inner });
    rigs.push(worker);
    await worker.scheduler.start();
    await clock.advance(0);
    assert.deepEqual(worker.ids, [id]);
    assert.ok(((await inner.counts()).cancelled ?? 0) > 9_000);
    await clock.advance(1_000);
    assert.equal((await inner.counts()).cancelled, undefined);
  });
});
