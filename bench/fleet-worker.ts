/** Some schedulers in a process of their own: `fleet.ts` starts it, tells it what to run on, and asks for what it counted. */
import { setTimeout as wait } from "node:timers/promises";
import { Hub } from "../src/hub/hub.ts";
import { systemClock } from "../src/kit/clock.ts";
import { silentLogger } from "../src/kit/log.ts";
import { Scheduler } from "../src/schedule/scheduler.ts";
import type { ScheduleStore } from "../src/schedule/store.ts";
import { openAt } from "./fleet-store.ts";

export interface FleetJob {
  readonly url: string;
  readonly schedulers: number;
  readonly slots: number;
  /** What a run takes, at most; evenly spread. 0: it ends in the turn in which it begins. */
  readonly runMs: number;
  /** Tell each that it is the only one: what it would be like without a pace. */
  readonly alone: boolean;
}

export interface FleetCount {
  /** Calls of each operation. */
  readonly calls: Record<string, number>;
  /** Turns of the event loop in which the store was asked for something: what batches in turns makes so many trips. */
  readonly trips: number;
  /** How late each start was, ms, of each scheduler. */
  readonly late: readonly (readonly number[])[];
}

let calls: Record<string, number> = {};
let trips = 0;
let late: number[][] = [];
const stops: (() => Promise<unknown>)[] = [];

function counted(store: ScheduleStore, { alone }: FleetJob): ScheduleStore {
  let asked = false;
  const note = (name: string) => {
    calls[name] = (calls[name] ?? 0) + 1;
    if (asked) return;
    asked = true;
    trips += 1;
    setImmediate(() => {
      asked = false;
    });
  };
  const wrap = <T extends object>(target: T, prefix: string): T =>
    new Proxy(target, {
      get(of, name) {
        const value: unknown = Reflect.get(of, name);
        if (name === "recurrences") return wrap(value as object, "recurrences.");
        if (typeof value !== "function") return value;
        if (name === "onChange" || name === "close") return value.bind(of);
        return (...args: unknown[]) => {
          note(`${prefix}${String(name)}`);
          const answer: unknown = value.apply(of, args);
          if (name !== "sweep") return answer;
          return (answer as Promise<object>).then((swept) => (alone ? { ...swept, owners: 1 } : swept));
        };
      },
    });
  return wrap(store, "");
}

async function start(job: FleetJob): Promise<void> {
  const { url, schedulers, slots, runMs } = job;
  for (let i = 0; i < schedulers; i += 1) {
    const lateOfThis: number[] = [];
    late.push(lateOfThis);
    const real = await openAt(url);
    const store = counted(real, job);
    const owner = { id: `${process.pid}.${i}`, queues: ["celery"] };
    const hub = new Hub({ clock: systemClock, log: silentLogger, ref: true });
    let free = slots;
    let wanted = false;
    const release = (count: number) => {
      free += count;
      if (wanted) {
        wanted = false;
        scheduler.noticeFree();
      }
    };
    const scheduler: Scheduler = new Scheduler({
      store,
      owner,
      hub,
      clock: systemClock,
      log: silentLogger,
      slots: {
        reserve() {
          const all = free;
          wanted = all === 0;
          free = 0;
          return all;
        },
        release,
      },
      async fire({ callback }) {
        lateOfThis.push(Date.now() - callback.dueMs);
        if (runMs > 0) await wait(Math.random() * runMs);
        release(1);
        return { kind: "succeeded" };
      },
    });
    await store.enlist(owner, []);
    await scheduler.start();
    stops.push(async () => {
      await scheduler.stop();
      hub.stop();
      await real.resign(owner);
      await real.close();
    });
  }
}

process.on("message", async (message: { do: string; job?: FleetJob }) => {
  if (message.do === "start" && message.job !== undefined) await start(message.job);
  else if (message.do === "reset") {
    calls = {};
    trips = 0;
    for (const each of late) each.length = 0;
  } else if (message.do === "stop") {
    for (const stop of stops.splice(0)) await stop();
    late = [];
  }
  const count: FleetCount = { calls, trips, late };
  process.send?.(count);
  if (message.do === "stop") process.disconnect();
});
