/** A scheduler on a store, with slots, a hub and a clock that the test owns. */
import { Hub } from "../../../src/hub/hub.ts";
import type { Random } from "../../../src/kit/backoff.ts";
import type { Clock } from "../../../src/kit/clock.ts";
import type { Logger } from "../../../src/kit/log.ts";
import type { Callback, Claim, RunEnd } from "../../../src/schedule/callback.ts";
import type { ScheduleEvents } from "../../../src/schedule/events.ts";
import { Scheduler, type SchedulerOptions } from "../../../src/schedule/scheduler.ts";
import type { Ended, Owner, ScheduleStore } from "../../../src/schedule/store.ts";
import { openMemorySchedule } from "../../../src/schedule/stores/memory.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

export interface Fired {
  readonly claim: Claim;
  readonly lateMs: number;
  readonly atMs: number;
  end(end: RunEnd | "release"): void;
  fail(error: Error): void;
}

export class Rig {
  readonly clock: FakeClock;
  readonly store: ScheduleStore;
  readonly hub: Hub;
  readonly scheduler: Scheduler;
  readonly fired: Fired[] = [];
  readonly ended: Ended[] = [];
  readonly settled: [Callback, RunEnd][] = [];
  readonly aborts: { id: string; token: number }[] = [];
  readonly logged: string[] = [];
  /** Slots that no run has. */
  free: number;
  /** What each run does at once; by default it waits for the test. */
  autoEnd: ((claim: Claim) => RunEnd | "release") | undefined;

  constructor(
    options: {
      slots?: number;
      store?: (store: ScheduleStore) => ScheduleStore;
      clock?: FakeClock;
      time?: Clock;
      leaseMs?: number;
      /** The store of another rig, which has the same clock. */
      shared?: ScheduleStore;
      owner?: Owner;
      random?: Random;
      events?: ScheduleEvents;
    } = {},
  ) {
    this.clock = options.clock ?? new FakeClock();
    const clock = options.time ?? this.clock;
    this.free = options.slots ?? 4;
    const store = options.shared ?? openMemorySchedule({ clock });
    this.store = options.store?.(store) ?? store;
    const log = this.#log();
    this.hub = new Hub({ clock, log });
    this.scheduler = new Scheduler({
      store: this.store,
      owner: options.owner ?? { id: "me" },
      hub: this.hub,
      clock,
      log,
      leaseMs: options.leaseMs ?? 30_000,
      slots: this.#slots(),
      fire: (claim, lateMs) => this.#fire(claim, lateMs),
      onEnded: (ended) => void this.ended.push(ended),
      onSettled: (callback, end) => void this.settled.push([callback, end]),
      onAbort: (id, token) => void this.aborts.push({ id, token }),
      random: options.random ?? (() => 0),
      ...(options.events === undefined ? {} : { events: options.events }),
    });
  }

  /** Ids of what was fired, in order. */
  get ids(): string[] {
    return this.fired.map(({ claim }) => claim.callback.id);
  }

  async stop(): Promise<void> {
    await this.scheduler.stop({ deadlineMs: 0 });
    this.hub.stop();
  }

  #slots(): SchedulerOptions["slots"] {
    return {
      reserve: () => {
        const all = this.free;
        this.free = 0;
        return all;
      },
      release: (count) => {
        this.free += count;
      },
    };
  }

  async #fire(claim: Claim, lateMs: number): Promise<RunEnd | "release"> {
    const run = Promise.withResolvers<RunEnd | "release">();
    this.fired.push({ claim, lateMs, atMs: this.clock.wallMs(), end: run.resolve, fail: run.reject });
    if (this.autoEnd !== undefined) run.resolve(this.autoEnd(claim));
    try {
      return await run.promise;
    } finally {
      this.free += 1;
      this.scheduler.noticeFree();
    }
  }

  #log(): Logger {
    const write = (level: string) => (text: string) => void this.logged.push(`${level}: ${text}`);
    const log: Logger = {
      level: "debug",
      debug: write("debug"),
      info: write("info"),
      warn: write("warn"),
      error: write("error"),
      critical: write("critical"),
      child: () => log,
      isEnabled: () => true,
    };
    return log;
  }
}
