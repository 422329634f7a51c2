/**
 * A simulated world, made from a seed: one store, some workers that share it, some clients, a network between them and clocks that
 * differ. What runs in it is the production code: scheduler, runs, hub, slots, rules, plans, and the memory store.
 */
import type { Callback } from "../../src/schedule/callback.ts";
import type { Recurrence } from "../../src/schedule/recurrence.ts";
import type { Change, Owner, ScheduleStore } from "../../src/schedule/store.ts";
import { openMemorySchedule } from "../../src/schedule/stores/memory.ts";
import { ScheduleInvariants } from "../../src/testing/schedule-invariants.ts";
import { Client } from "./client.ts";
import { drawFaults, type FaultKind, healNetwork, LOSES_LEASES, networkOf, plan } from "./faults.ts";
import { History } from "./history.ts";
import { Ledger, type LedgerStart } from "./ledger.ts";
import { Link, type Network } from "./link.ts";
import { Loop } from "./loop.ts";
import { SimClock, SimProcess } from "./process.ts";
import { Chance } from "./random.ts";
import { StoreServer } from "./store-server.ts";
import { Trace } from "./trace.ts";
import { judge } from "./verdict.ts";
import { type Watched, watchOf } from "./watch.ts";
import { type Handlers, Worker } from "./worker.ts";

export interface WorldOptions {
  readonly seed: number;
  /** Only these kinds of faults, of those that the seed turns on. */
  readonly only?: ReadonlySet<FaultKind>;
  /** Put something wrong between the workers and the store: the checks must find it. */
  readonly mutate?: (store: ScheduleStore) => ScheduleStore;
  /** Over as soon as something is wrong. */
  readonly stopAtFirst?: boolean;
  /** Keep the trace's lines. */
  readonly keepTrace?: boolean;
}

export interface Outcome {
  readonly seed: number;
  readonly problems: readonly string[];
  readonly hash: string;
  readonly kinds: readonly FaultKind[];
  readonly injected: ReadonlyMap<FaultKind, number>;
  readonly virtualMs: number;
  readonly events: number;
  readonly calls: number;
  readonly starts: number;
  readonly checks: number;
  readonly trace: readonly string[];
}

const QUEUES = ["celery", "mail", "python"];
const POLL_MS = 250;
const MAX_PROBLEMS = 20;
/** A world that runs longer than this has gone wrong in itself. */
const MAX_EVENTS = 400_000;
/** Looking at every row is dear: done this often, if so much was asked of the store meanwhile. */
const INVARIANTS_EVERY_MS = 400;
const CALLS_BETWEEN = 40;

export class World {
  readonly loop = new Loop();
  readonly kinds: ReadonlySet<FaultKind>;
  readonly leaseMs: number;
  readonly storeClock: SimClock;
  readonly server: StoreServer;
  readonly workers: Worker[] = [];
  readonly links: Link[] = [];
  /** Of workers and clients. */
  readonly clocks: SimClock[] = [];
  isOver = false;
  readonly #seed: number;
  readonly #stopAtFirst: boolean;
  readonly #chance: Chance;
  readonly #trace: Trace;
  readonly #network: Network;
  readonly #handlers: Handlers;
  readonly #ledger: Ledger;
  readonly #history = new History();
  readonly #store: ScheduleStore;
  readonly #watched: Watched;
  readonly #invariants = new ScheduleInvariants();
  readonly #injected = new Map<FaultKind, number>();
  readonly #problems: string[] = [];
  readonly #untilMs: number;
  readonly #deadlineMs: number;
  readonly #recurs: boolean;
  readonly #forgets: boolean;
  readonly #owners: (readonly string[] | undefined)[] = [];
  readonly #slots: number[] = [];
  readonly #busyUntilMs: number;
  #incarnations = 0;
  #busySinceMs: number | undefined;
  #checks = 0;
  #checkedCalls = 0;

  constructor(options: WorldOptions) {
    this.#seed = options.seed;
    this.#stopAtFirst = options.stopAtFirst ?? false;
    const chance = new Chance(options.seed);
    this.#chance = chance;
    this.#trace = new Trace(options.keepTrace);
    this.#ledger = new Ledger(this.#trace, (start) => this.#checkLease(start));
    const drawn = drawFaults(chance.fork("kinds"));
    this.kinds = options.only === undefined ? drawn : new Set([...drawn].filter((kind) => options.only?.has(kind)));
    const shape = chance.fork("shape");
    this.#recurs = shape.of(0.25);
    // What recurs goes on for three leases after the last fault: long ones would be nearly all that such a world consists of.
    this.leaseMs = shape.of(0.3) ? shape.spread(50, 600) : shape.spread(50, this.#recurs ? 5_000 : 30_000);
    this.#untilMs = shape.spread(1_500, 8_000);
    this.#deadlineMs = shape.spread(300, 3_000);
    this.#forgets = shape.of(0.1);
    this.#network = networkOf(this.kinds, chance.fork("network"));
    this.#handlers = this.#newHandlers(chance.fork("handlers"));
    this.storeClock = new SimClock(this.loop, {});
    const store = openMemorySchedule({
      clock: this.storeClock,
      limits: {
        ...(this.#forgets ? { keepMs: 1_000, keepKeyedMs: 2_000 } : {}),
        maxPending: shape.of(0.1) ? 12 : 0,
      },
    });
    this.#store = store;
    const shown = options.mutate?.(store) ?? store;
    const { loop } = this;
    this.#watched = watchOf({ store, loop, trace: this.#trace, wrong: (what) => this.wrong(what) });
    this.server = new StoreServer({
      store: shown,
      loop,
      watch: this.#watched.watch,
      hint: (from, change) => this.#hint(from, change),
      ownerTimeoutMs: Math.max(2 * this.leaseMs, 5_000),
    });
    this.#populate(shape);
    plan(this, this.kinds, chance.fork("faults"), this.#untilMs);
    // What was held back may still come, and counts as the last fault.
    this.#busyUntilMs = this.#untilMs + (this.kinds.has("hold-request") ? 8_500 : 0);
    loop.at(this.#untilMs, 0, () => this.#heal());
    loop.at(INVARIANTS_EVERY_MS, 0, () => this.#checkInvariants());
  }

  /** Run the next event. What it sets off in promises must settle before the next step. */
  step(): void {
    if (this.isOver) return;
    if (!this.loop.step() || this.loop.ran > MAX_EVENTS) {
      this.wrong(this.loop.ran > MAX_EVENTS ? `no end after ${MAX_EVENTS} events` : "nothing happens any more");
      this.isOver = true;
    }
  }

  get outcome(): Outcome {
    return {
      seed: this.#seed,
      problems: this.#problems,
      hash: this.#trace.hash,
      kinds: [...this.kinds],
      injected: this.#injected,
      virtualMs: this.loop.nowMs,
      events: this.loop.ran,
      calls: this.#watched.calls.count,
      starts: this.#ledger.starts.length,
      checks: this.#checks,
      trace: this.#trace.lines,
    };
  }

  injected(kind: FaultKind): void {
    this.#injected.set(kind, (this.#injected.get(kind) ?? 0) + 1);
    this.#trace.add(this.loop.nowMs, "fault", kind);
  }

  wrong(what: string): void {
    if (this.#stopAtFirst) this.isOver = true;
    if (this.#problems.length >= MAX_PROBLEMS) return;
    this.#problems.push(`at ${(this.loop.nowMs / 1_000).toFixed(3)} s: ${what}`);
  }

  /** kill -9, and another one in its place after a while. */
  kill(slot: number, againInMs: number): void {
    const worker = this.workers[slot];
    if (worker === undefined || worker.link.process.isDead) return;
    worker.kill({ orphans: this.kinds.has("orphans") });
    this.loop.at(this.loop.nowMs + againInMs, 0, () => this.#boot(slot));
  }

  /** A warm stop, and another one in its place after a while; should it not come to its end, it is killed. */
  stopWarm(slot: number, againInMs: number): void {
    const worker = this.workers[slot];
    if (worker === undefined || worker.link.process.isDead) return;
    void worker.stop();
    this.loop.at(this.loop.nowMs + againInMs + 500, 0, () => {
      worker.kill({ orphans: false });
      this.#boot(slot);
    });
  }

  #newHandlers(chance: Chance): Handlers {
    const given = (kind: FaultKind, most: number) => (this.kinds.has(kind) ? chance.between(0, most) : 0);
    return {
      typicalMs: chance.spread(1, 60),
      fail: given("handler-fails", 0.3),
      retry: given("handler-retries", 0.3),
      crash: given("handler-crashes", 0.3),
      long: given("handler-is-long", 0.6),
      longMs: Math.min(chance.between(0.3, 3) * this.leaseMs, 4_000),
      refuse: given("handler-is-refused", 0.2),
      stubborn: chance.of(0.2) ? 1 : 0,
    };
  }

  #populate(shape: Chance): void {
    const workers = shape.whole(1, 4);
    for (let slot = 0; slot < workers; slot++) {
      const own = shape.of(0.5) ? undefined : QUEUES.slice(0, 2).filter(() => shape.of(0.7));
      this.#owners.push(own?.length === 0 ? undefined : own);
      this.#slots.push(this.#recurs ? shape.whole(4, 10) : shape.whole(1, 6));
      this.#boot(slot);
    }
    const clients = shape.whole(1, 3);
    for (let i = 0; i < clients; i++) {
      const { link, clock } = this.#newNode(`c${i}`);
      new Client({
        link,
        clock,
        chance: this.#chance.fork(`client ${i}`),
        history: this.#history,
        queues: QUEUES.slice(0, shape.whole(1, 3)),
        commands: shape.spread(3, 40),
        forMs: this.#untilMs * 0.9,
        recurrences: this.#recurs,
      });
    }
  }

  #newNode(name: string): { readonly link: Link; readonly clock: SimClock } {
    const chance = this.#chance.fork(`node ${name}`);
    const process = new SimProcess(name, this.loop, chance.draw);
    const clock = new SimClock(this.loop, {
      offsetMs: this.kinds.has("clock-offset") ? (chance.of(0.5) ? 1 : -1) * chance.spread(1, 60_000) : 0,
      rate: this.kinds.has("clock-drift") ? chance.between(0.97, 1.03) : 1,
      post: process.post,
      earlyMs: () => chance.between(0, 2),
    });
    this.clocks.push(clock);
    const link = new Link({
      loop: this.loop,
      process,
      server: this.server,
      network: this.#network,
      chance: chance.fork("link"),
      deadlineMs: this.#deadlineMs,
    });
    this.links.push(link);
    return { link, clock };
  }

  #boot(slot: number): void {
    if (this.workers[slot]?.link.process.isDead === false) return;
    const name = `w${slot}#${++this.#incarnations}`;
    const { link, clock } = this.#newNode(name);
    const queues = this.#owners[slot];
    const owner: Owner = { id: name, ...(queues === undefined ? {} : { queues }) };
    this.workers[slot] = new Worker({
      loop: this.loop,
      link,
      clock,
      storeClock: this.storeClock,
      owner,
      concurrency: this.#slots[slot] ?? 1,
      leaseMs: this.leaseMs,
      handlers: this.#handlers,
      ledger: this.#ledger,
      trace: this.#trace,
      chance: this.#chance.fork(`worker ${name}`),
      onBug: (what) => this.wrong(what),
    });
  }

  #hint(from: string, change: Change): void {
    for (const { link } of this.workers) if (link.process.name !== from) link.hint(change);
  }

  /** Faults end; every worker lives. From now on all must come right. */
  #heal(): void {
    healNetwork(this.#network);
    this.server.away = false;
    this.server.slowMs = 0;
    for (const link of this.links) {
      link.blockedInMs = link.blockedOutMs = 0;
      link.process.goOn();
    }
    for (let slot = 0; slot < this.workers.length; slot++) this.#boot(slot);
    this.loop.at(this.loop.nowMs + POLL_MS, 0, () => void this.#poll());
  }

  /** A lost hint costs a second; then there is what has to be done before, one after the other at worst. */
  get #mostLateMs(): number {
    const disturbs = (kind: FaultKind) =>
      LOSES_LEASES.has(kind) || kind === "handler-is-long" || kind === "handler-is-refused";
    if (this.#recurs || [...this.kinds].some(disturbs)) return Number.POSITIVE_INFINITY;
    return 1_100 + this.#ledger.starts.length * (this.#handlers.typicalMs + 12);
  }

  /** Every clock runs as it should: who holds a lease knows how long. */
  get #isTimely(): boolean {
    return !this.kinds.has("store-step") && !this.kinds.has("clock-drift");
  }

  #checkLease({ id, token, atMs }: LedgerStart): void {
    const endsMs = this.#watched.leaseEnds.get(`${id}/${token}`) ?? 0;
    if (this.#isTimely && atMs > endsMs) {
      this.wrong(`G11: ${id}/${token} started ${(atMs - endsMs).toFixed(1)} ms after its lease was over`);
    }
  }

  #checkInvariants(): void {
    if (this.isOver) return;
    if (this.#watched.calls.count > this.#checkedCalls + CALLS_BETWEEN) {
      this.#checkedCalls = this.#watched.calls.count;
      this.#checks += 1;
      this.#invariants.check(this.#store).catch((error: Error) => this.wrong(error.message));
    }
    this.loop.at(this.loop.nowMs + INVARIANTS_EVERY_MS, 0, () => this.#checkInvariants());
  }

  /** Over when all is quiet; or, with what goes on for ever, when it had the time to become quiet. */
  async #poll(): Promise<void> {
    const { loop } = this;
    const { dueMs, nowMs } = await this.#store.upcoming();
    const { running = 0 } = await this.#store.counts();
    const isQuiet = dueMs === undefined && running === 0 && !this.#recurs;
    // What is due later, without anything to do until then, is no delay of anybody's.
    const isBusy = loop.nowMs >= this.#busyUntilMs && (running > 0 || (dueMs !== undefined && dueMs <= nowMs));
    const waits = dueMs !== undefined && dueMs > nowMs && running === 0 && !this.#recurs;
    if (isBusy || (this.#recurs && loop.nowMs >= this.#busyUntilMs)) this.#busySinceMs ??= loop.nowMs;
    if (waits) this.#busySinceMs = undefined;
    const isLate = this.#busySinceMs !== undefined && loop.nowMs - this.#busySinceMs > this.#quietWithinMs;
    if ((isQuiet && loop.nowMs >= this.#busyUntilMs) || isLate) await this.#end();
    else loop.at(loop.nowMs + POLL_MS, 0, () => void this.#poll());
  }

  /** I18, and what work takes that is there already. */
  get #quietWithinMs(): number {
    const slots = this.#slots.reduce((sum, each) => sum + each, 0);
    return 3 * this.leaseMs + 5_000 + (this.#handlers.long > 0 ? (40 * this.#handlers.longMs) / slots : 0);
  }

  async #end(): Promise<void> {
    const rows = await this.#invariants.check(this.#store).catch((error: Error) => {
      this.wrong(error.message);
      return [] as readonly Callback[];
    });
    const recurrences: readonly Recurrence[] = (
      await this.#store.recurrences.list({ states: ["active", "paused", "ended"], limit: 1_000 })
    ).recurrences;
    await judge({
      history: this.#history,
      ledger: this.#ledger,
      watched: this.#watched,
      rows,
      recurrences,
      storeNowMs: this.storeClock.wallMs(),
      isCalm: ![...this.kinds].some((kind) => LOSES_LEASES.has(kind)),
      graceMs: 2_500,
      longestRunMs: this.#handlers.longMs,
      mostLateMs: this.#mostLateMs,
      forgets: this.#forgets,
      isTimely: this.#isTimely,
      wrong: (what) => this.wrong(what),
    });
    this.#trace.add(this.loop.nowMs, "end", `${rows.length} rows, ${recurrences.length} recurrences`);
    this.isOver = true;
  }
}
