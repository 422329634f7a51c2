import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { OutcomeUnknownError } from "../../../src/kit/errors.ts";
import { StoreUnavailableError } from "../../../src/kit/store-errors.ts";
import type { Change, ScheduleStore } from "../../../src/schedule/store.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { add, BOB, dueAt, ok, retryAt, stateOf, swept } from "../../../src/testing/schedule-fixtures.ts";
import { Rig } from "./scheduler-rig.ts";

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

/** The store, with some of its operations done otherwise. */
function but(change: Partial<ScheduleStore>): (store: ScheduleStore) => ScheduleStore {
  return (store) =>
    new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(change, name) ?? Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
}

test("each callback is fired when it is due and never before, though timers wake early", async () => {
  for (const earlyWakeMs of [0, 1, 2]) {
    const { clock, store, scheduler, fired, ...r } = rig({ clock: new FakeClock({ earlyWakeMs }), slots: 100 });
    const at = clock.wallMs();
    const dues = [7, 1_500, 1_501, 7, 7_200_000, 12_345, 3_600_001];
    await store.put(dues.map((inMs) => dueAt(at + inMs)));
    await scheduler.start();
    await clock.advance(7_200_005);

    assert.deepEqual(
      fired.map(({ atMs }) => atMs - at),
      dues.toSorted((a, b) => a - b),
    );
    assert.ok(fired.every(({ lateMs, claim, atMs }) => lateMs === 0 && atMs === claim.callback.dueMs));
    assert.equal(r.logged.length, 0);
  }
});

test("what is overdue at the start is fired at once, earliest first, and told how late it is", async () => {
  const { clock, store, scheduler, fired } = rig();
  const at = clock.wallMs();
  await store.put([dueAt(at - 5), dueAt(at - 60_000)]);
  await scheduler.start();
  await clock.advance(0);
  assert.deepEqual(
    fired.map(({ lateMs }) => lateMs),
    [60_000, 5],
  );
});

test("a local callback earlier than the armed one is armed in the same turn", async () => {
  const { clock, store, scheduler, fired } = rig();
  const at = clock.wallMs();
  await add(store, dueAt(at + 700));
  await scheduler.start();
  await clock.advance(100);
  await add(store, dueAt(at + 150));
  scheduler.noticeDue(at + 150);
  await clock.advance(50);
  assert.deepEqual(
    fired.map(({ atMs }) => atMs - at),
    [150],
  );

  await add(store, dueAt(at));
  scheduler.noticeDue(at);
  await clock.advance(0);
  assert.equal(fired.length, 2);
});

test("a callback that another process put, and no hint of it, costs a second at most (I9)", async () => {
  const { clock, store, scheduler, fired } = rig();
  await scheduler.start();
  await clock.advance(5_250);
  const at = clock.wallMs();
  await add(store, dueAt(at + 1));
  await clock.advance(1_000);
  assert.equal(fired.length, 1);
  assert.ok((fired[0]?.lateMs ?? 0) < 1_000);
});

test("a hint of another process shortens the wait", async () => {
  let hint: () => void = () => undefined;
  const onChange = (listener: (change: Change) => void) => {
    hint = () => listener({});
    return () => undefined;
  };
  const { clock, store, scheduler, fired } = rig({ store: but({ onChange }) });
  await scheduler.start();
  await clock.advance(5_250);
  await add(store, dueAt(clock.wallMs() + 3));
  hint();
  await clock.advance(3);
  assert.deepEqual(
    fired.map(({ lateMs }) => lateMs),
    [0],
  );
});

test("no more is claimed than there are slots, and the next when one is free", async () => {
  const { clock, store, scheduler, fired } = rig({ slots: 2 });
  const at = clock.wallMs();
  await store.put([3, 2, 1, 4].map((n) => dueAt(at - n)));
  await scheduler.start();
  await clock.advance(0);
  assert.deepEqual(
    fired.map(({ lateMs }) => lateMs),
    [4, 3],
  );
  assert.deepEqual(await store.counts(), { scheduled: 2, running: 2 });

  fired[1]?.end(ok);
  await clock.advance(0);
  assert.deepEqual(
    fired.map(({ lateMs }) => lateMs),
    [4, 3, 2],
  );
  assert.deepEqual(await store.counts(), { scheduled: 1, running: 2, succeeded: 1 });
});

test("a thousand due at one moment are drained in order through ten slots, in few claims", async () => {
  let claims = 0;
  let target: ScheduleStore | undefined;
  const claimDue: ScheduleStore["claimDue"] = async (...args) => {
    claims += 1;
    return (target as ScheduleStore).claimDue(...args);
  };
  const r = rig({
    slots: 10,
    store: (store) => {
      target = store;
      return but({ claimDue })(store);
    },
  });
  const at = r.clock.wallMs() + 50;
  const answers = await r.store.put(Array.from({ length: 1_000 }, () => dueAt(at)));
  r.autoEnd = () => ok;
  await r.scheduler.start();
  await r.clock.advance(50);
  await r.clock.advance(0);

  assert.deepEqual(
    r.ids,
    answers.map((answer) => "id" in answer && answer.id),
  );
  assert.deepEqual(await r.store.counts(), { succeeded: 1_000 });
  assert.ok(claims <= 210, `${claims} claims for 1,000 callbacks and 10 slots`);
});

test("how a run ended is recorded and told; one that asks for another run gets it, at its time", async () => {
  const { clock, store, scheduler, fired, settled } = rig();
  const at = clock.wallMs();
  const id = await add(store, dueAt(at));
  await scheduler.start();
  await clock.advance(0);
  fired[0]?.end(retryAt(at + 2_000));
  await clock.advance(1_999);
  assert.equal(fired.length, 1);
  await clock.advance(1);
  assert.deepEqual([fired[1]?.claim.attempt, fired[1]?.lateMs], [2, 0]);
  fired[1]?.end(ok);
  await clock.advance(0);

  assert.equal(await stateOf(store, id), "succeeded");
  assert.deepEqual(
    settled.map(([callback, end]) => [callback.state, end.kind]),
    [
      ["waiting", "retry"],
      ["succeeded", "succeeded"],
    ],
  );
});

test("a run that could not be made counts as a crash, and is made again", async () => {
  const { clock, store, scheduler, fired, logged } = rig();
  await add(store, dueAt(clock.wallMs()));
  await scheduler.start();
  await clock.advance(0);
  fired[0]?.fail(new TypeError("no such thing"));
  await clock.advance(0);
  assert.match(logged.join(), /error: Callback .* could not be run/);
  assert.equal(fired[1]?.claim.attempt, 2);
});

test("a run longer than its lease keeps it: nobody else is given the callback", async () => {
  const { clock, store, scheduler, fired } = rig({ leaseMs: 3_000 });
  const id = await add(store, dueAt(clock.wallMs()));
  await scheduler.start();
  for (let i = 0; i < 60; i++) {
    await clock.advance(1_000);
    assert.deepEqual((await store.claimDue(BOB, 1, 3_000)).claims, []);
  }
  fired[0]?.end(ok);
  await clock.advance(0);
  assert.deepEqual([fired.length, await stateOf(store, id)], [1, "succeeded"]);
});

test("after standing still for more than half a lease it renews before it starts anything more", async () => {
  const clock = new FakeClock();
  let stalledMs = 0;
  // The process stands still: time goes on, and no timer of it runs.
  const time = {
    wallMs: () => clock.wallMs() + stalledMs,
    monoMs: () => clock.monoMs() + stalledMs,
    timeout: (fn: () => void, delayMs: number) => clock.timeout(fn, delayMs),
  };
  const calls: string[] = [];
  const watch = (store: ScheduleStore) =>
    new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (name === "renew" || name === "claimDue") calls.push(name);
          return value.apply(target, args);
        };
      },
    });
  const r = rig({ clock, time, store: watch, leaseMs: 30_000 });
  await add(r.store, dueAt(time.wallMs()));
  await r.scheduler.start();
  await clock.advance(0);
  assert.equal(r.fired.length, 1);

  await add(r.store, dueAt(time.wallMs()));
  calls.length = 0;
  stalledMs = 15_001;
  r.scheduler.wake();
  await clock.advance(0);

  assert.deepEqual(calls.slice(0, 2), ["renew", "claimDue"]);
  assert.equal((await r.store.get({ id: r.ids[0] as string }))?.leaseUntilMs, time.wallMs() + 30_000);
});

test("a claim is started only by an answer that is not late, also when it was asked again whether it stands", async () => {
  const clock = new FakeClock();
  let stalledMs = 0;
  const time = {
    wallMs: () => clock.wallMs() + stalledMs,
    monoMs: () => clock.monoMs() + stalledMs,
    timeout: (fn: () => void, delayMs: number) => clock.timeout(fn, delayMs),
  };
  let renewals = 0;
  const slow = (store: ScheduleStore) => {
    const claimDue = store.claimDue.bind(store);
    const renew = store.renew.bind(store);
    return Object.assign(store, {
      async claimDue(...args: Parameters<ScheduleStore["claimDue"]>) {
        const claimed = await claimDue(...args);
        if (claimed.claims.length > 0) stalledMs += 15_001;
        return claimed;
      },
      async renew(...args: Parameters<ScheduleStore["renew"]>) {
        const renewed = await renew(...args);
        if (args[0].length === 0 || ++renewals > 1) return renewed;
        // The answer is on its way for longer than the lease. Another worker recovers the callback, and it is cancelled.
        stalledMs += 30_001;
        assert.equal((await swept(store, 10, BOB)).length, 1);
        assert.equal((await store.cancel({ id })).answer, "stopped");
        return renewed;
      },
    });
  };
  const r = rig({ clock, time, store: slow, leaseMs: 30_000 });
  const id = await add(r.store, dueAt(time.wallMs()));
  await r.scheduler.start();
  await clock.advance(0);

  assert.deepEqual([renewals, r.fired.length, await stateOf(r.store, id)], [2, 0, "stopped"]);
  assert.equal(r.free, 4, "its slot is free again");
});

test("a lease that was lost is told once, and the end of that run is dropped", async () => {
  const { clock, store, scheduler, fired, settled, logged } = rig({ leaseMs: 30_000, slots: 1 });
  const id = await add(store, dueAt(clock.wallMs()));
  await scheduler.start();
  await clock.advance(0);
  // Another worker believes this one dead.
  await store.resign({ id: "me" });
  await swept(store, 10);
  const taken = await store.claimDue(BOB, 1, 3_600_000);
  assert.equal(taken.claims.length, 1);

  await clock.advance(60_000);
  assert.equal(logged.filter((line) => /lease on callback .* was lost/.test(line)).length, 1);
  fired[0]?.end(ok);
  await clock.advance(0);
  assert.match(logged.join("\n"), /end of callback .* is refused/);
  assert.deepEqual([settled.length, await stateOf(store, id)], [0, "running"]);
});

test("the end of a run is repeated until the store answers", async () => {
  let failures = 5;
  let inner: ScheduleStore | undefined;
  const settle: ScheduleStore["settle"] = (claim, end) => {
    if (failures-- > 0) return Promise.reject(new StoreUnavailableError("away"));
    return (inner as ScheduleStore).settle(claim, end);
  };
  const r = rig({
    store: (store) => {
      inner = store;
      return but({ settle })(store);
    },
  });
  const id = await add(r.store, dueAt(r.clock.wallMs()));
  await r.scheduler.start();
  await r.clock.advance(0);
  r.fired[0]?.end(ok);
  await r.clock.advance(10_000);
  assert.equal(await stateOf(r.store, id), "succeeded");
  assert.equal(r.settled.length, 1);
});

test("an end that the store refuses for what it holds is recorded as a failure", async () => {
  const { clock, store, scheduler, fired, settled } = rig();
  const id = await add(store, dueAt(clock.wallMs()));
  await scheduler.start();
  await clock.advance(0);
  fired[0]?.end(retryAt(Number.NaN));
  await clock.advance(0);
  assert.equal(await stateOf(store, id), "failed");
  assert.match((await store.get({ id }))?.reason ?? "", /dueMs must be/);
  assert.deepEqual(
    settled.map(([callback]) => callback.state),
    ["failed"],
  );
});

test("an end that was recorded though its answer was lost is told once, and is no lost lease", async () => {
  let inner: ScheduleStore | undefined;
  let first = true;
  const settle: ScheduleStore["settle"] = async (claim, end) => {
    const settled = await (inner as ScheduleStore).settle(claim, end);
    if (!first) return settled;
    first = false;
    throw new OutcomeUnknownError("the settle");
  };
  const r = rig({
    store: (store) => {
      inner = store;
      return but({ settle })(store);
    },
  });
  await add(r.store, dueAt(r.clock.wallMs()));
  await r.scheduler.start();
  await r.clock.advance(0);
  r.fired[0]?.end(ok);
  await r.clock.advance(500);
  assert.deepEqual(
    r.settled.map(([callback, end]) => [callback.state, end.kind]),
    [["succeeded", "succeeded"]],
  );
  assert.doesNotMatch(r.logged.join(), /refused/);
  assert.equal(r.scheduler.active, 0);
});

test("while the store does not answer nothing starts, it is said once, and it goes on by itself", async () => {
  let away = true;
  const guard =
    (name: "claimDue" | "upcoming" | "sweep" | "renew") =>
    (inner: () => ScheduleStore) =>
    (...args: never[]) => {
      if (away) return Promise.reject(new StoreUnavailableError("away"));
      return (inner()[name] as (...args: never[]) => Promise<never>).apply(inner(), args);
    };
  let inner: ScheduleStore | undefined;
  const get = () => inner as ScheduleStore;
  const r = rig({
    store: (store) => {
      inner = store;
      return but({ claimDue: guard("claimDue")(get), upcoming: guard("upcoming")(get), sweep: guard("sweep")(get) })(
        store,
      );
    },
  });
  await assert.rejects(r.scheduler.start(), { code: "ERR_STORE_UNAVAILABLE" });
  away = false;
  await r.scheduler.start();
  await add(r.store, dueAt(r.clock.wallMs() + 500));
  r.scheduler.noticeDue(r.clock.wallMs() + 500);
  away = true;
  await r.clock.advance(10_000);
  assert.equal(r.fired.length, 0);
  assert.equal(r.logged.filter((line) => /does not answer/.test(line)).length, 1);

  away = false;
  await r.clock.advance(1_000);
  assert.equal(r.fired.length, 1);
  assert.match(r.logged.at(-1) ?? "", /info: The schedule answers again/);
});

test("while every slot is taken and the store is away, nobody says that it answers again before it does", async () => {
  let away = false;
  const guarded =
    <Args extends unknown[], Answer>(ask: (...args: Args) => Promise<Answer>) =>
    (...args: Args) =>
      away ? Promise.reject(new StoreUnavailableError("away")) : ask(...args);
  const r = rig({
    slots: 1,
    store: (store) =>
      but({
        claimDue: guarded(store.claimDue.bind(store)),
        upcoming: guarded(store.upcoming.bind(store)),
        sweep: guarded(store.sweep.bind(store)),
      })(store),
  });
  await r.scheduler.start();
  for (let n = 0; n < 2; n += 1) await add(r.store, dueAt(r.clock.wallMs()));
  r.scheduler.noticeDue(r.clock.wallMs());
  await r.clock.advance(10);
  assert.equal(r.fired.length, 1, "the other one waits for the slot");

  away = true;
  await r.clock.advance(10_000);
  const said = () => r.logged.filter((line) => /does not answer|answers again/.test(line));
  assert.deepEqual(said(), ["error: The schedule does not answer; nothing starts until it does"]);

  away = false;
  await r.clock.advance(1_000);
  assert.deepEqual(said().slice(1), ["info: The schedule answers again"]);
});

test("no answer to a claim: nothing is started for it, and the lease gives it back", async () => {
  let inner: ScheduleStore | undefined;
  let lose = true;
  const claimDue: ScheduleStore["claimDue"] = async (...args) => {
    const answer = await (inner as ScheduleStore).claimDue(...args);
    if (!lose) return answer;
    lose = false;
    throw new OutcomeUnknownError("the claim");
  };
  const r = rig({
    leaseMs: 5_000,
    store: (store) => {
      inner = store;
      return but({ claimDue })(store);
    },
  });
  await add(r.store, dueAt(r.clock.wallMs()));
  await r.scheduler.start();
  await r.clock.advance(4_000);
  assert.equal(r.fired.length, 0);
  assert.equal(r.free, 4, "its slots are free again");
  await r.clock.advance(2_000);
  assert.deepEqual(
    r.fired.map(({ claim }) => claim.attempt),
    [2],
  );
});

test("an abort that somebody asked for reaches the run within a second", async () => {
  const { clock, store, scheduler, fired, aborts } = rig();
  await add(store, dueAt(clock.wallMs()));
  await scheduler.start();
  await clock.advance(10);
  await store.cancel({ id: fired[0]?.claim.callback.id as string }, { abort: true });
  await clock.advance(1_000);
  assert.deepEqual(aborts, [{ id: fired[0]?.claim.callback.id, token: 1 }]);
  assert.equal(fired.length, 1);
});

test("what expired, was skipped or was lost by others is told", async () => {
  const { clock, store, scheduler, ended, fired } = rig();
  const at = clock.wallMs();
  const lost = await add(store, dueAt(at));
  await store.claimDue(BOB, 1, 1_000);
  const expired = await add(store, dueAt(at, { expiresMs: at + 1 }));
  const skipped = await add(store, dueAt(at, { misfire: "skip" }));
  await clock.advance(5_000);
  await scheduler.start();
  await clock.advance(0);
  assert.deepEqual(
    ended.map(({ state, callback }) => [state, callback.id]),
    [
      ["waiting", lost],
      ["expired", expired],
      ["skipped", skipped],
    ],
  );
  assert.deepEqual(
    fired.map(({ claim }) => claim.callback.id),
    [lost],
  );
});

test("a wall that steps forward fires what it passed, one that steps back drops nothing (A7)", async () => {
  const { clock, store, scheduler, fired } = rig();
  await add(store, dueAt(clock.wallMs() + 7_200_000));
  const second = await add(store, dueAt(clock.wallMs() + 7_200_500));
  await scheduler.start();
  await clock.advance(100);
  clock.stepWall(7_200_000);
  await clock.advance(1_000);
  assert.equal(fired.length, 2);
  assert.equal(fired[1]?.claim.callback.id, second);

  const third = await add(store, dueAt(clock.wallMs() + 10));
  scheduler.noticeDue(clock.wallMs() + 10);
  clock.stepWall(-60_000);
  await clock.advance(59_000);
  assert.equal(fired.length, 2);
  await clock.advance(2_000);
  assert.equal(fired[2]?.claim.callback.id, third);
  assert.equal((fired[2]?.lateMs ?? -1) >= 0, true);
});

test("one that never began is given back, and claimed again after a pause", async () => {
  const r = rig();
  await add(r.store, dueAt(r.clock.wallMs()));
  r.autoEnd = () => "release";
  await r.scheduler.start();
  await r.clock.advance(1_000);
  assert.ok(r.fired.length >= 5 && r.fired.length <= 12, `${r.fired.length} claims in a second`);
  assert.ok(r.fired.every(({ claim }) => claim.attempt === 1));
  r.autoEnd = () => ok;
  await r.clock.advance(200);
  assert.deepEqual(await r.store.counts(), { succeeded: 1 });
});

test("stop claims no more, and waits for what runs and for its record", async () => {
  const { clock, store, scheduler, fired } = rig({ slots: 1 });
  const at = clock.wallMs();
  const first = await add(store, dueAt(at));
  const second = await add(store, dueAt(at));
  await scheduler.start();
  await clock.advance(0);
  let stopped = false;
  const stopping = scheduler.stop().then(() => {
    stopped = true;
  });
  const again = scheduler.stop();
  await clock.advance(120_000);
  assert.equal(stopped, false);
  assert.deepEqual(await swept(store, 10), [], "its lease was renewed all the time");
  fired[0]?.end(ok);
  await Promise.all([stopping, again]);
  assert.deepEqual([await stateOf(store, first), await stateOf(store, second)], ["succeeded", "scheduled"]);
  assert.equal(fired.length, 1);
});

test("stop with a deadline leaves what still runs to its lease", async () => {
  const { clock, store, scheduler, logged, hub } = rig();
  const id = await add(store, dueAt(clock.wallMs()));
  await scheduler.start();
  await clock.advance(0);
  const stopping = scheduler.stop({ deadlineMs: 5_000 });
  await clock.advance(5_000);
  await stopping;
  hub.stop();
  assert.match(logged.join(), /1 callbacks still run/);
  await clock.advance(60_000);
  assert.deepEqual(
    (await swept(store, 10)).map(({ callback }) => callback.id),
    [id],
  );
});

test("what a claim brings while it is being stopped is given back unstarted", async () => {
  let answer: () => void = () => undefined;
  let inner: ScheduleStore | undefined;
  const claimDue: ScheduleStore["claimDue"] = async (...args) => {
    const claims = await (inner as ScheduleStore).claimDue(...args);
    await new Promise<void>((resolve) => {
      answer = resolve;
    });
    return claims;
  };
  const r = rig({
    store: (store) => {
      inner = store;
      return but({ claimDue })(store);
    },
  });
  const id = await add(r.store, dueAt(r.clock.wallMs()));
  await r.scheduler.start();
  await r.clock.advance(0);
  assert.equal(await stateOf(r.store, id), "running");
  const stopping = r.scheduler.stop();
  answer();
  await stopping;
  assert.deepEqual([await stateOf(r.store, id), r.fired.length, r.free], ["scheduled", 0, 4]);
});

test("stop before start, and start that is overtaken by stop, leave nothing behind", async () => {
  const { clock, store, scheduler, fired } = rig();
  await add(store, dueAt(clock.wallMs()));
  const starting = scheduler.start();
  await scheduler.stop();
  await starting;
  scheduler.wake();
  scheduler.noticeDue(0);
  await clock.advance(10_000);
  assert.equal(fired.length, 0);
  assert.equal(clock.pending, 0);
});
