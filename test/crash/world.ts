/**
 * A store, workers on it, a client, and the ledger of what ran: set up, loaded, broken by a scenario, brought to rest, and judged.
 *
 * Each phase is bounded. Everything that was seen is kept in a folder, which stays when a verdict is broken.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { type CallbackState, isLive } from "../../src/schedule/callback.ts";
import { boundOf, judge, type Verdict } from "./checker.ts";
import { Client, type Planned } from "./client.ts";
import { type Figures, figuresOf, RACE_MS } from "./figures.ts";
import { Fleet } from "./fleet.ts";
import type { Fault, History, Recurring } from "./history.ts";
import { readLedger } from "./ledger.ts";
import { Random } from "./random.ts";
import type { CrashStore } from "./stores.ts";

export interface Load {
  /** Callbacks that are pending before the first fault. */
  readonly pending: number;
  /** Further ones beside them that are not due before all is over, and are cancelled then. */
  readonly ballast: number;
  /** Those that are due are so within so many seconds. */
  readonly spreadS: number;
  /** Further ones that the client schedules while things break, each due some seconds later. */
  readonly perSecond: number;
  /** Part of all that is cancelled, most of it as close to the due time as can be. */
  readonly cancelled: number;
  /** A run lasts up to so many ms; this part of them lasts up to two leases. */
  readonly holdMs: number;
  readonly long: number;
}

export interface WorldOptions {
  readonly store: CrashStore;
  readonly folder: string;
  readonly seed: number;
  readonly workers: number;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly load: Load;
  /** With it V8 is judged: how soon all must be quiet after the last fault. */
  readonly settleMs?: number;
  /** A safety net: the store is not at rest so long after everything was due and the last fault was over. Default 120 s. */
  readonly restMs?: number;
  readonly say?: (line: string) => void;
}

export interface Result {
  readonly history: History;
  readonly verdicts: readonly Verdict[];
  readonly figures: Figures;
}

/** Until all of the load is put: a part that does not depend on how much it is, and how much is put in a second, at least. */
const LEAD_MS = 1_000;
const PUT_PER_SECOND = 4_000;
/** Calls that are on their way at once while the load is laid. */
const AT_ONCE = 500;
const REST_MS = 120_000;
const LOOK_MS = 250;
const BALLAST_MS = 3_600_000;
/** This part asks to run again, after so long. */
const AGAIN = 0.08;
const AGAIN_MS = 1_000;
/** Of what recurs meanwhile. */
const TICK_MS = 1_000;

/** Faults after which a worker that lives may find its leases over. */
const STANDS_STILL: ReadonlySet<Fault["what"]> = new Set(["stop", "server-kill", "disk-full"]);

export class World {
  /** For what is broken. What clients do is drawn apart, so that neither moves the other. */
  readonly random: Random;
  readonly fleet: Fleet;
  readonly client: Client;
  readonly options: WorldOptions;
  readonly #faults: Fault[] = [];
  readonly #recurring: Recurring[] = [];
  readonly #ballast: Planned[] = [];
  readonly #loadRandom: Random;
  readonly #cancelRandom: Random;
  /** The client schedules nothing new. */
  #over = false;
  readonly #abandoned = new AbortController();
  #going: Promise<unknown> = Promise.resolve();

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = new Random(options.seed);
    this.#loadRandom = new Random(options.seed + 1);
    this.#cancelRandom = new Random(options.seed + 2);
    mkdirSync(this.#ledger, { recursive: true });
    const env = {
      LOVAGE_SCHEDULE_URL: options.store.url,
      LOVAGE_BROKER_URL: "memory://crash",
      LOVAGE_SCHEDULE_LEASE: `${options.leaseMs}ms`,
      CRASH_LEDGER: this.#ledger,
    };
    this.client = new Client(env);
    this.fleet = new Fleet({
      workers: options.workers,
      concurrency: options.concurrency,
      env,
      folder: options.folder,
      onFault: (fault) => this.note(fault),
    });
  }

  get #ledger(): string {
    return join(this.options.folder, "ledger");
  }

  note(fault: Fault): void {
    this.#faults.push(fault);
  }

  say(line: string): void {
    this.options.say?.(line);
  }

  /** Start the workers, put the load, let the client go on by itself, and wait until the first is due. */
  async start(): Promise<void> {
    this.fleet.startAll();
    await this.fleet.ready();
    const { pending, ballast, spreadS } = this.options.load;
    const beganMs = Date.now();
    const firstMs = beganMs + LEAD_MS + ((pending + ballast) / PUT_PER_SECOND) * 1_000;
    const planned = Array.from({ length: pending }, (_, i) => this.#plan(`p${i}`, firstMs, firstMs + spreadS * 1_000));
    for (let i = 0; i < ballast; i++)
      this.#ballast.push(this.#plan(`b${i}`, beganMs + BALLAST_MS, beganMs + 2 * BALLAST_MS));
    await inGroups([...planned, ...this.#ballast], (each) => this.client.schedule(each));
    // On a busy machine the first are due before the last are put; what recurs begins with its first time all the same.
    const recursMs = Math.max(firstMs, Date.now() + LEAD_MS);
    await this.#recur(recursMs, recursMs + spreadS * 1_000);
    this.say(`${pending + ballast} pending after ${((Date.now() - beganMs) / 1_000).toFixed(1)} s`);
    this.#going = Promise.all([this.#cancelSome(planned), this.#keepScheduling()]);
    await wait(Math.max(0, firstMs - Date.now()));
  }

  /** The client schedules nothing more; what is due runs or is cancelled, and what is left is looked at. */
  async finish(): Promise<Result> {
    const { store, seed, folder, settleMs } = this.options;
    this.#over = true;
    // Whatever was broken last is over when all workers serve again.
    await this.fleet.ready();
    this.note({ what: "ready", who: "all", wallMs: Date.now(), pids: [], mayRepeat: 0 });
    await this.#going;
    await inGroups(this.#ballast, (each) => this.client.cancel(each));
    await this.#atRest();
    await this.fleet.end();
    const stopped = this.#faults.filter(({ what }) => STANDS_STILL.has(what));
    this.fleet.noteStalls(boundOf(stopped), this.#faults[0]?.wallMs ?? Date.now());
    const dump = await this.client.dump();
    const history: History = {
      calls: this.client.calls,
      runs: readLedger(this.#ledger),
      faults: this.#faults,
      dump,
      counts: await this.client.counts(),
      clockOffsetMs: await this.client.clockOffsetMs(),
      orphans: this.fleet.endOrphans(),
      recurring: this.#recurring,
      ...(settleMs === undefined ? {} : { settleMs }),
    };
    await this.client.close();
    const verdicts = judge(history);
    const figures = figuresOf(history);
    writeFileSync(join(folder, "history.json"), JSON.stringify({ seed, store: store.kind, ...history }));
    return { history, verdicts, figures };
  }

  /** End what runs, whatever state it is in. Twice is once. */
  async abandon(): Promise<void> {
    this.#over = true;
    this.#abandoned.abort();
    this.fleet.endOrphans();
    await this.client.close().catch(() => undefined);
  }

  async #recur(fromMs: number, toMs: number): Promise<void> {
    const startMs = Math.ceil(fromMs);
    const count = Math.max(1, Math.floor((toMs - startMs) / TICK_MS));
    const nominalMs = Array.from({ length: count }, (_, i) => startMs + i * TICK_MS);
    await this.client.recur("tick", TICK_MS, startMs, nominalMs.at(-1) as number);
    this.#recurring.push({ name: "tick", nominalMs, withinMs: REST_MS });
  }

  #plan(name: string, fromMs: number, toMs: number): Planned {
    const random = this.#loadRandom;
    const { load, leaseMs } = this.options;
    const holdMs = Math.round(
      random.chance(load.long) ? random.between(leaseMs / 2, 2 * leaseMs) : random.between(0, load.holdMs),
    );
    const againAfterMs = random.chance(AGAIN) ? AGAIN_MS : 0;
    return { name, dueMs: Math.round(random.between(fromMs, toMs)), holdMs, againAfterMs };
  }

  /** A part of them: two of three within ±5 ms of the due time, the others at any time before; and most of those that run twice between their runs. */
  async #cancelSome(all: readonly Planned[]): Promise<void> {
    const random = this.#cancelRandom;
    const chosen = all.filter(({ againAfterMs }) => againAfterMs > 0 || random.chance(this.options.load.cancelled));
    const moments = chosen.map((planned) => {
      const { dueMs, againAfterMs } = planned;
      if (againAfterMs > 0) return { atMs: dueMs + random.between(0, 2 * AGAIN_MS), planned };
      const atMs = random.chance(2 / 3) ? dueMs + random.between(-RACE_MS, RACE_MS) : random.between(Date.now(), dueMs);
      return { atMs, planned };
    });
    await this.client.cancelAt(moments, this.#abandoned.signal);
  }

  async #keepScheduling(): Promise<void> {
    const { perSecond, cancelled } = this.options.load;
    if (perSecond === 0) return;
    const random = this.#cancelRandom;
    const asked: Promise<void>[] = [];
    for (let i = 0; !this.#over; i++) {
      await wait(1_000 / perSecond);
      const nowMs = Date.now();
      const planned = this.#plan(`n${i}`, nowMs + 2_000, nowMs + 6_000);
      const cancelMs = random.chance(cancelled) ? planned.dueMs + random.between(-RACE_MS, RACE_MS) : undefined;
      asked.push(this.#scheduleOne(planned, cancelMs));
    }
    await Promise.all(asked);
  }

  async #scheduleOne(planned: Planned, cancelMs: number | undefined): Promise<void> {
    await this.client.schedule(planned);
    if (cancelMs !== undefined) await this.client.cancelAt([{ atMs: cancelMs, planned }], this.#abandoned.signal);
  }

  /** Nothing is live any more. What does not come to rest is left, and the verdicts say so. */
  async #atRest(): Promise<void> {
    const { load, restMs = REST_MS } = this.options;
    const untilMs = Date.now() + load.spreadS * 1_000 + restMs;
    for (;;) {
      let found: string;
      try {
        const counts = await this.client.counts();
        if (Object.entries(counts).every(([state, n]) => n === 0 || !isLive(state as CallbackState))) return;
        found = JSON.stringify(counts);
      } catch (error) {
        found = String(error);
      }
      if (Date.now() > untilMs) {
        this.say(`not at rest: ${found}`);
        return;
      }
      await wait(LOOK_MS);
    }
  }
}

async function inGroups<Each>(all: readonly Each[], ask: (each: Each) => Promise<void>): Promise<void> {
  for (let i = 0; i < all.length; i += AT_ONCE) await Promise.all(all.slice(i, i + AT_ONCE).map(ask));
}
