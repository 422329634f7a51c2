/**
 * What a fleet asks of its store, by its size and by what is due, in virtual time: the real schedulers on the memory store, answers that
 * take 1 ms each way, runs of no length. Counts and lateness are the engine's own, whatever the machine does meanwhile.
 *
 *     node --conditions=lovage-source bench/pace.ts
 */
import { Hub } from "../src/hub/hub.ts";
import { sleep } from "../src/kit/deadline.ts";
import { silentLogger } from "../src/kit/log.ts";
import { Scheduler } from "../src/schedule/scheduler.ts";
import type { ScheduleStore } from "../src/schedule/store.ts";
import { openMemorySchedule } from "../src/schedule/stores/memory.ts";
import { FakeClock } from "../src/testing/fake-clock.ts";

const ONE_WAY_MS = 1;
const SLOTS = 25;

interface Seen {
  calls: number;
  claims: number;
  readonly late: number[];
  readonly shares: number[];
}

/** The store at the other end of a network. */
function far(store: ScheduleStore, clock: FakeClock, seen: Seen, alone: boolean): ScheduleStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function" || name === "onChange" || name === "close") return value;
      return async (...args: unknown[]) => {
        seen.calls += 1;
        if (name === "claimDue") seen.claims += 1;
        await sleep(ONE_WAY_MS, clock);
        const answer: unknown = await value.apply(target, args);
        await sleep(ONE_WAY_MS, clock);
        return name === "sweep" && alone ? { ...(answer as object), owners: 1 } : answer;
      };
    },
  });
}

async function measure(workers: number, perSecond: number, seconds: number, alone = false): Promise<Seen> {
  const clock = new FakeClock();
  const store = openMemorySchedule({ clock });
  const seen: Seen = { calls: 0, claims: 0, late: [], shares: Array.from({ length: workers }, () => 0) };
  const view = far(store, clock, seen, alone);
  const schedulers = Array.from({ length: workers }, (_, i) => {
    let free = SLOTS;
    const scheduler: Scheduler = new Scheduler({
      store: view,
      owner: { id: `w${i}` },
      hub: new Hub({ clock, log: silentLogger }),
      clock,
      log: silentLogger,
      slots: {
        reserve() {
          const all = free;
          free = 0;
          return all;
        },
        release(count) {
          free += count;
        },
      },
      async fire(_claim, lateMs) {
        seen.late.push(lateMs);
        seen.shares[i] = (seen.shares[i] ?? 0) + 1;
        free += 1;
        scheduler.noticeFree();
        return { kind: "succeeded" };
      },
    });
    return scheduler;
  });
  for (let i = 0; i < workers; i += 1) await store.enlist({ id: `w${i}` }, []);
  const started = Promise.all(schedulers.map((each) => each.start()));
  await clock.advance(3_000);
  await started;
  const atMs = clock.wallMs() + 100;
  const count = perSecond * seconds;
  await store.put(
    Array.from({ length: count }, (_, i) => ({
      dueMs: atMs + Math.floor((i * 1_000) / perSecond),
      queue: "celery",
      message: { task: "bench.noop", body: "[[], {}, {}]", retries: 0 },
    })),
  );
  for (const each of schedulers) each.noticeDue(atMs);
  seen.calls = seen.claims = 0;
  await clock.advance(seconds * 1_000 + 200);
  const stopped = Promise.all(schedulers.map((each) => each.stop()));
  await clock.advance(1_000);
  await stopped;
  return seen;
}

const show = (value: number) => value.toFixed(2).padStart(8);
console.log("workers   due/s   calls/start  claims/start   late p50   p99   max   least - most share");
for (const [workers, perSecond, alone] of [
  [1, 1_000, false],
  [8, 1, false],
  [8, 10, false],
  [8, 100, false],
  [8, 1_000, false],
  [8, 1_000, true],
  [8, 3_000, false],
  [50, 10, false],
  [50, 1_000, false],
  [50, 1_000, true],
] as const) {
  const seconds = perSecond >= 1_000 ? 5 : 20;
  const { calls, claims, late, shares } = await measure(workers, perSecond, seconds, alone);
  const sorted = late.toSorted((a, b) => a - b);
  const at = (q: number) => String(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]).padStart(6);
  const fair = late.length / workers;
  console.log(
    `${String(workers).padStart(7)} ${String(perSecond).padStart(7)} ${show(calls / late.length)}     ${show(claims / late.length)}     ` +
      `${at(0.5)} ${at(0.99)} ${at(1)}   ${show(Math.min(...shares) / fair)} -${show(Math.max(...shares) / fair)}` +
      `${alone ? "   each told that it is alone" : ""}`,
  );
}
