/**
 * Real workers, each `lovage worker` with its pool's processes in a process group of its own, so that one signal reaches all of it. They are
 * known by name: one that is killed and started again keeps it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Fault } from "./history.ts";

const ROOT = join(import.meta.dirname, "../..");
const CLI = join(ROOT, "src/cli/main.ts");
const APP = join(import.meta.dirname, "app.ts");
/** A safety net for what was told to end. */
const END_MS = 30_000;

export interface FleetOptions {
  readonly workers: number;
  /** Slots of each. */
  readonly concurrency: number;
  readonly env: Readonly<Record<string, string>>;
  /** Where each worker's log is kept, and where it runs. */
  readonly folder: string;
  readonly onFault: (fault: Fault) => void;
}

/** A safety net for workers that boot. */
const READY_MS = 45_000;
const LOOK_MS = 20;

/** Before one that ended by itself is started again, as a supervisor would. */
const AGAIN_MS = 300;

/** What a worker logs of each run whose lease is over. */
const LEASE_LOST = /The lease on callback \S+ was lost/g;

interface Member {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  /** We ended it, or are about to. */
  told: boolean;
}

export class Fleet {
  readonly names: readonly string[];
  readonly #options: FleetOptions;
  readonly #readyFolder: string;
  readonly #members = new Map<string, Member>();
  /** Every process group that there was, to look for what is left of it. */
  readonly #groups = new Set<number>();
  #ending = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#readyFolder = join(options.folder, "ready");
    mkdirSync(this.#readyFolder, { recursive: true });
    this.names = Array.from({ length: options.workers }, (_, i) => `worker-${i + 1}`);
  }

  /** Slots of all workers together. */
  get slots(): number {
    return this.#options.workers * this.#options.concurrency;
  }

  startAll(): void {
    for (const name of this.names) this.start(name);
  }

  /** Resolves when every worker that runs fires callbacks. @throws {Error} one of them was not within 45 s */
  async ready(): Promise<void> {
    const untilMs = performance.now() + READY_MS;
    for (const name of this.#members.keys()) {
      while (!this.#isReady(name)) {
        if (performance.now() > untilMs) throw new Error(`${name} is not ready after ${READY_MS / 1_000} s`);
        await wait(LOOK_MS);
      }
    }
  }

  /** It needs not be up when this returns: one may well be killed while it boots. */
  start(name: string): void {
    const { concurrency, env, folder } = this.#options;
    const log = openSync(join(folder, `${name}.log`), "a");
    const child = spawn(
      process.execPath,
      [
        "--conditions=lovage-source",
        CLI,
        "-A",
        APP,
        "worker",
        "-q",
        "-l",
        "warning",
        "-c",
        String(concurrency),
        "-n",
        `${name}@crash`,
      ],
      {
        cwd: folder,
        env: { ...cleanEnvironment(), ...env, CRASH_READY: this.#readyFolder },
        stdio: ["ignore", log, log],
        detached: true,
      },
    );
    closeSync(log);
    const ended = new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    if (child.pid !== undefined) this.#groups.add(child.pid);
    const member: Member = { child, ended, told: false };
    this.#members.set(name, member);
    void ended.then(async () => {
      if (member.told) return;
      this.#note("exit", name, child.pid === undefined ? [] : [child.pid]);
      await wait(AGAIN_MS);
      if (!member.told && !this.#ending) this.start(name);
    });
  }

  /** kill -9: of the worker with all its processes, or of its main process alone, whose children are then on their own. */
  async kill(name: string, what: "kill" | "kill-parent" | "kill-all" = "kill"): Promise<void> {
    const member = this.#member(name);
    member.told = true;
    const { child, ended } = member;
    const { pid } = child;
    if (pid === undefined) return;
    const pids = processesOf(pid);
    const parentOnly = what === "kill-parent";
    this.#note(what, name, parentOnly ? [pid, ...pids] : pids);
    send(parentOnly ? pid : -pid, "SIGKILL");
    await ended;
  }

  stop(name: string): void {
    const pid = this.#member(name).child.pid;
    if (pid === undefined) return;
    this.#note("stop", name, processesOf(pid));
    send(-pid, "SIGSTOP");
  }

  /** The main process alone stands still; its children go on. */
  stopParent(name: string): void {
    const pid = this.#member(name).child.pid;
    if (pid === undefined) return;
    this.#note("stop", name, [pid]);
    send(pid, "SIGSTOP");
  }

  continue(name: string): void {
    const pid = this.#member(name).child.pid;
    if (pid === undefined) return;
    this.#options.onFault({ what: "continue", who: name, wallMs: Date.now(), pids: [pid], mayRepeat: 0 });
    send(-pid, "SIGCONT");
  }

  /** Warm stop of all. @throws {Error} one of them did not end by itself; it was killed */
  async end(): Promise<void> {
    this.#ending = true;
    const members = [...this.#members.entries()].filter(
      ([, { child }]) => child.exitCode === null && child.signalCode === null,
    );
    for (const [, member] of members) member.told = true;
    for (const [, { child }] of members) child.kill("SIGTERM");
    const stuck: string[] = [];
    await Promise.all(
      members.map(async ([name, { child, ended }]) => {
        const net = setTimeout(() => {
          stuck.push(name);
          if (child.pid !== undefined) send(-child.pid, "SIGKILL");
        }, END_MS);
        await ended;
        clearTimeout(net);
      }),
    );
    if (stuck.length > 0) throw new Error(`${stuck.join(", ")} did not stop within ${END_MS / 1_000} s`);
  }

  /**
   * Leases that workers say they lost, beyond those that the faults so far account for, as a fault of their own. On a busy machine a process may
   * stand still for longer than a lease though nobody stopped it, and each such run may be repeated.
   * @param wallMs when it is to count as done: before what set things right
   */
  noteStalls(accountedFor: number, wallMs: number): void {
    const { folder, onFault } = this.#options;
    const lost = this.names.reduce((sum, name) => {
      const log = join(folder, `${name}.log`);
      return sum + (existsSync(log) ? (readFileSync(log, "utf8").match(LEASE_LOST)?.length ?? 0) : 0);
    }, 0);
    if (lost <= accountedFor) return;
    onFault({ what: "stall", who: "all", wallMs, pids: [], mayRepeat: lost - accountedFor });
  }

  /** What is left of any of the process groups; ended, and told. Call it when all workers have ended. */
  endOrphans(): string[] {
    this.#ending = true;
    const left = [...this.#groups].flatMap((group) =>
      processesOf(group).map((pid) => `process ${pid} of the worker with pid ${group}`),
    );
    for (const group of this.#groups) send(-group, "SIGKILL");
    return left;
  }

  #note(what: Fault["what"], who: string, pids: readonly number[]): void {
    const standing = this.names.filter(
      (name) => name !== who && !this.#member(name).told && this.#isReady(name),
    ).length;
    this.#options.onFault({ what, who, wallMs: Date.now(), pids, standing, mayRepeat: this.#options.concurrency });
  }

  #isReady(name: string): boolean {
    const { child } = this.#member(name);
    return (
      child.exitCode === null && child.signalCode === null && existsSync(join(this.#readyFolder, String(child.pid)))
    );
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (member === undefined) throw new Error(`${name} was never started`);
    return member;
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Nothing of it is left.
  }
}

/** Pids of a process group, without zombies. */
export function processesOf(group: number): number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // After the name, which may have anything in it: state, parent, group.
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const [state, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(pgrp) === group && state !== "Z") found.push(Number(name));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

/** Ours, without what would configure Lovage or make a worker report to a test runner. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (name !== "NODE_TEST_CONTEXT" && !/^(LOVAGE_(?!TEST_)|CELERY_)/.test(name)) env[name] = value;
  }
  return env;
}
