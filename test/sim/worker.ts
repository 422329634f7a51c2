/**
 * A worker of a simulated world: the real hub, scheduler, runs and slots, in a process that may stand still, die and come back; its
 * handlers run in children of their own, which may outlive it.
 */
import { Hub } from "../../src/hub/hub.ts";
import type { LogFields, Logger } from "../../src/kit/log.ts";
import type { Pool } from "../../src/pool/pool.ts";
import type { Claim, RunEnd } from "../../src/schedule/callback.ts";
import { Scheduler } from "../../src/schedule/scheduler.ts";
import type { Owner } from "../../src/schedule/store.ts";
import { Slots } from "../../src/worker/slots.ts";
import type { Ledger } from "./ledger.ts";
import type { Link } from "./link.ts";
import { storeOver } from "./link.ts";
import type { Loop } from "./loop.ts";
import type { SimClock } from "./process.ts";
import type { Chance } from "./random.ts";
import type { Trace } from "./trace.ts";

/** What handlers do, by chance. */
export interface Handlers {
  readonly typicalMs: number;
  /** Probabilities; what is left succeeds. */
  readonly fail: number;
  readonly retry: number;
  readonly crash: number;
  readonly long: number;
  readonly longMs: number;
  /** The pool refuses to run it: it is given back. */
  readonly refuse: number;
  /** Ignore a request to end. */
  readonly stubborn: number;
}

export interface WorkerOptions {
  readonly loop: Loop;
  readonly link: Link;
  readonly clock: SimClock;
  readonly storeClock: SimClock;
  readonly owner: Owner;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly handlers: Handlers;
  readonly ledger: Ledger;
  readonly trace: Trace;
  readonly chance: Chance;
  /** What no worker should ever say. */
  readonly onBug: (what: string) => void;
}

const START_RETRY_MS = 200;

interface Child {
  /** Ask it to end. */
  abort(): void;
  /** SIGKILL. */
  kill(): void;
}

export class Worker {
  readonly #options: WorkerOptions;
  readonly #scheduler: Scheduler;
  readonly #hub: Hub;
  readonly #children = new Map<string, Child>();
  #onFree: () => void = () => undefined;
  #busy = 0;
  #stopping = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { link, clock, owner, leaseMs, chance } = options;
    const log = this.#log();
    const store = storeOver(link);
    this.#hub = new Hub({ clock, log, onNextTurn: (fn) => void link.process.post(0, fn) });
    const slots = new Slots(this.#pool());
    this.#scheduler = new Scheduler({
      store,
      owner,
      hub: this.#hub,
      clock,
      log,
      leaseMs,
      slots: { reserve: () => slots.reserve(), release: (count) => slots.release(count) },
      fire: (claim) => this.#fire(claim, () => slots.release(1)),
      onAbort: (id, token) => this.#children.get(`${id}/${token}`)?.abort(),
      random: chance.draw,
    });
    slots.onCallbackTurn(() => this.#scheduler.noticeFree());
    void this.#start();
  }

  get link(): Link {
    return this.#options.link;
  }

  get scheduler(): Scheduler {
    return this.#scheduler;
  }

  /** A warm stop: what runs may end. Resolves when it has. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#scheduler.stop();
    this.#hub.stop();
    await storeOver(this.link)
      .resign(this.#options.owner)
      .catch(() => undefined);
    this.link.process.kill();
  }

  /** SIGKILL. @param options.orphans its children run on: what they began they end, and what was on its way to them they begin */
  kill(options: { readonly orphans: boolean }): void {
    this.#stopping = true;
    this.link.process.kill();
    if (!options.orphans) for (const child of this.#children.values()) child.kill();
  }

  async #start(): Promise<void> {
    const { owner, link } = this.#options;
    try {
      await storeOver(link).enlist(owner, []);
      await this.#scheduler.start();
    } catch {
      // Its supervisor starts it again and again.
      if (!this.#stopping) link.process.post(START_RETRY_MS, () => void this.#start());
    }
  }

  #pool(): Pool {
    const { concurrency } = this.#options;
    const free = () => concurrency - this.#busy;
    const pool: Pick<Pool, "size" | "free" | "onFree"> = {
      size: concurrency,
      get free() {
        return free();
      },
      onFree: (listener) => {
        this.#onFree = listener;
        return () => undefined;
      },
    };
    return pool as Pool;
  }

  async #fire(claim: Claim, begun: () => void): Promise<RunEnd | "release"> {
    const { handlers, chance } = this.#options;
    if (chance.of(handlers.refuse)) {
      begun();
      return "release";
    }
    this.#busy += 1;
    begun();
    try {
      return await this.#run(claim);
    } finally {
      this.#busy -= 1;
      this.#onFree();
    }
  }

  /** The child's side is in nobody's process: it stands still and dies with none of them. */
  #run(claim: Claim): Promise<RunEnd | "release"> {
    const { loop, handlers, chance, ledger, storeClock, link, clock } = this.#options;
    const { callback, token, attempt } = claim;
    const worker = link.process.name;
    const name = `${callback.id}/${token}`;
    return new Promise((resolve) => {
      let isOver = false;
      const end = (runEnd: RunEnd) => {
        if (isOver) return;
        isOver = true;
        ledger.end(loop.nowMs, worker, callback.id, token, runEnd.kind);
        link.process.post(chance.between(0, 0.5), () => {
          this.#children.delete(name);
          resolve(runEnd);
        });
      };
      const startsInMs = chance.between(0, 1);
      // A recurring task is often still at it when it is due again.
      const [, tickMs] = callback.message.task.split(":");
      const typicalMs = tickMs === undefined ? handlers.typicalMs : Number(tickMs);
      const lastsMs = chance.between(0, chance.of(handlers.long) ? handlers.longMs : typicalMs);
      const fate = chance.draw();
      const isStubborn = chance.of(handlers.stubborn);
      loop.at(loop.nowMs + startsInMs, 0, () => {
        if (isOver) return;
        ledger.start({
          id: callback.id,
          token,
          attempt,
          mark: callback.message.body,
          worker,
          atMs: loop.nowMs,
          storeMs: storeClock.wallMs(),
          dueMs: callback.dueMs,
        });
      });
      loop.at(loop.nowMs + startsInMs + lastsMs, 0, () => end(endOf(fate, handlers, claim, clock)));
      this.#children.set(name, {
        abort: () => {
          if (!isStubborn) loop.at(loop.nowMs + 1.5, 0, () => end({ kind: "stopped", reason: "asked to" }));
        },
        kill: () => {
          isOver = true;
        },
      });
    });
  }

  #log(): Logger {
    const { trace, loop, link, onBug } = this.#options;
    const say = (text: string, fields?: LogFields) => {
      trace.add(loop.nowMs, link.process.name, `says ${text.replaceAll(/-[0-9a-f]{8,}/g, "")}`);
      const error = fields?.error;
      // What is thrown for want of a check, and what nobody caught.
      if (error instanceof TypeError || error instanceof RangeError || text.startsWith("Error in timer")) {
        onBug(`${text}: ${error instanceof Error ? error.stack : String(error)}`);
      }
    };
    const log: Logger = {
      level: "info",
      debug: () => undefined,
      info: say,
      warn: say,
      error: say,
      critical: say,
      child: () => log,
      isEnabled: () => true,
    };
    return log;
  }
}

function endOf(fate: number, handlers: Handlers, { callback }: Claim, clock: SimClock): RunEnd {
  const { fail, retry, crash } = handlers;
  if (fate < fail) return { kind: "failed", reason: "ValueError: no" };
  if (fate < fail + retry && callback.message.retries < 3) {
    const message = { ...callback.message, retries: callback.message.retries + 1 };
    return { kind: "retry", dueMs: clock.wallMs() + Math.round(fate * 3_000), message, reason: "again" };
  }
  if (fate >= fail + retry && fate < fail + retry + crash) return { kind: "crashed", reason: "SIGSEGV" };
  return { kind: "succeeded" };
}
