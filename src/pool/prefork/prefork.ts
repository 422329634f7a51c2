/**
 * The pool of processes. Its children run the user's code and nothing else; one that dies costs the run that it had, and
 * is replaced. (SEMANTICS G10)
 *
 * A child that could not load the app at the start fails `start()` with the user's own stack. Later, when the file may be
 * half-written by a deploy, it is tried again; after three in a row the pool is `broken`, and no job was given to any of them.
 */
import { resolve } from "node:path";
import { backoffMs } from "../../kit/backoff.ts";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { ClosedError, InvalidInputError, messageOf } from "../../kit/errors.ts";
import { type Logger, silentLogger } from "../../kit/log.ts";
import { Alarm } from "../alarm.ts";
import { ChildBootError, PoolBusyError } from "../errors.ts";
import { Listeners } from "../listeners.ts";
import { type AskHandler, type Job, POOL_STOPPED, type Pool, type Run } from "../pool.ts";
import { childEnv, childExecArgv, type Environment } from "./child-env.ts";
import { type BootFailure, ChildHandle, type ChildLog, type ChildSettings } from "./child-handle.ts";
import { residentKib } from "./resident.ts";

export interface PreforkOptions {
  /** Number of processes. */
  readonly size: number;
  /** The user's file, which exports the app. */
  readonly appPath: string;
  /** Answers what tasks ask. */
  readonly ask: AskHandler;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** How the children log. Default: Celery's text, from the level of `log` on. */
  readonly childLog?: ChildLog;
  /** Replace a child after so many runs. Default: never. */
  readonly maxTasksPerChild?: number | undefined;
  /** Replace a child that is resident with more KiB, after its run. Where there is no /proc: never. Default: never. */
  readonly maxMemoryPerChild?: number | undefined;
  /** Default: this process's, without the URLs of broker and stores (`child-env.ts`). */
  readonly env?: Environment;
  /** Default: this process's, without what is about the process itself. */
  readonly execArgv?: readonly string[];
  /** How long loading the app may take. Default 60 s. */
  readonly bootTimeoutMs?: number;
  /** How long a child may take to accept a job, its event loop blocked by what an earlier task left behind. Default 60 s. */
  readonly acceptTimeoutMs?: number;
}

/** One place in the pool, and the child that fills it. */
interface Slot {
  child: ChildHandle | undefined;
  /** Children in a row that ended, through no fault of the app, without a run: what the back-off grows by. */
  idleDeaths: number;
  readonly replacement: Alarm;
}

/** Children in a row that may fail to load the app before the pool gives up. */
const MAX_BOOT_FAILURES = 3;
const BACKOFF = { firstMs: 100, capMs: 10_000, jitter: false };

export class PreforkPool implements Pool {
  readonly implementation = "prefork";
  readonly size: number;
  readonly broken: Promise<Error>;
  readonly #settings: ChildSettings;
  readonly #log: Logger;
  readonly #maxTasksPerChild: number;
  readonly #maxMemoryPerChild: number;
  readonly #slots: Slot[];
  /** The one that was idle last is taken first: its caches are warm. */
  readonly #idle: ChildHandle[] = [];
  readonly #listeners: Listeners;
  readonly #resolveBroken: (error: Error) => void;
  readonly #stopAlarm: Alarm;
  readonly #stopped = Promise.withResolvers<void>();
  #booted: PromiseWithResolvers<void> | undefined;
  #bootFailures = 0;
  #children = 0;
  #isBroken = false;
  #stopping = false;
  /** Every slot could take a job once. */
  #hasBooted = false;
  #startError: ChildBootError | undefined;

  /** @throws {InvalidInputError} the size or the number of tasks per child is no whole number of at least 1 */
  constructor(options: PreforkOptions) {
    checkCount("size", options.size);
    if (options.maxTasksPerChild !== undefined) checkCount("maxTasksPerChild", options.maxTasksPerChild);
    this.size = options.size;
    this.#log = options.log ?? silentLogger;
    this.#listeners = new Listeners(this.#log);
    this.#maxTasksPerChild = options.maxTasksPerChild ?? Number.POSITIVE_INFINITY;
    this.#maxMemoryPerChild = options.maxMemoryPerChild ?? Number.POSITIVE_INFINITY;
    const clock = options.clock ?? systemClock;
    this.#settings = {
      appPath: resolve(options.appPath),
      ask: options.ask,
      clock,
      log: this.#log,
      childLog: { level: this.#log.level, ...options.childLog },
      env: options.env ?? childEnv(process.env),
      execArgv: options.execArgv ?? childExecArgv(process.execArgv),
      bootTimeoutMs: options.bootTimeoutMs ?? 60_000,
      acceptTimeoutMs: options.acceptTimeoutMs ?? 60_000,
    };
    const broken = Promise.withResolvers<Error>();
    this.broken = broken.promise;
    this.#resolveBroken = broken.resolve;
    this.#stopAlarm = new Alarm(clock, () => this.#endAll());
    this.#slots = Array.from({ length: options.size }, () => {
      const slot: Slot = {
        child: undefined,
        idleDeaths: 0,
        replacement: new Alarm(clock, () => this.#spawn(slot)),
      };
      return slot;
    });
  }

  get free(): number {
    return this.#stopping ? 0 : this.#idle.length;
  }

  get pids(): readonly number[] {
    return this.#slots.flatMap(({ child }) => (child?.pid === undefined ? [] : [child.pid]));
  }

  start(): Promise<void> {
    if (this.#booted !== undefined) return this.#booted.promise;
    this.#booted = Promise.withResolvers<void>();
    if (this.#stopping) this.#booted.reject(new ClosedError("the pool was stopped before it was started"));
    else {
      // Whatever ends this process, children that run a loop of their own must not outlive it.
      process.on("exit", this.#onParentExit);
      for (const slot of this.#slots) this.#spawn(slot);
    }
    return this.#booted.promise;
  }

  submit(job: Job): Run {
    const child = this.#stopping ? undefined : this.#idle.pop();
    if (child === undefined) throw new PoolBusyError(this.size);
    return child.run(job);
  }

  onFree(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  stop(timeoutMs: number): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#idle.length = 0;
      // A start that failed says so itself, when no child is left.
      if (this.#startError === undefined) {
        this.#booted?.reject(new ClosedError("the pool was stopped before it had started"));
      }
      for (const { child, replacement } of this.#slots) {
        replacement.clear();
        if (child?.busy === false) child.leave();
      }
    }
    if (timeoutMs <= 0) this.#endAll();
    else this.#stopAlarm.within(timeoutMs);
    this.#finishStop();
    return this.#stopped.promise;
  }

  readonly #onParentExit = (): void => {
    for (const { child } of this.#slots) child?.kill();
  };

  #endAll(): void {
    for (const { child } of this.#slots) child?.kill({ kind: "aborted", reason: POOL_STOPPED });
  }

  #finishStop(): void {
    if (!this.#stopping || this.#slots.some(({ child }) => child !== undefined)) return;
    this.#stopAlarm.clear();
    process.off("exit", this.#onParentExit);
    this.#stopped.resolve();
  }

  #spawn(slot: Slot): void {
    if (this.#stopping || this.#isBroken) return;
    this.#children += 1;
    try {
      slot.child = new ChildHandle(this.#children, this.#settings, {
        onIdle: (child) => this.#onIdle(slot, child),
        onGone: (child, boot) => this.#onGone(slot, child, boot),
      });
    } catch (error) {
      // No memory for another process: nothing that the app can be blamed for.
      this.#onBootFailure(slot, {
        error: new ChildBootError(this.#settings.appPath, `no process could be started: ${messageOf(error)}`),
        fromOutside: true,
      });
      return;
    }
    this.#listeners.call();
  }

  #isTooLarge(child: ChildHandle): boolean {
    if (this.#maxMemoryPerChild === Number.POSITIVE_INFINITY || child.runs === 0) return false;
    const kib = residentKib(child.pid);
    if (kib <= this.#maxMemoryPerChild) return false;
    this.#log.warn(`${child.name} is resident with ${kib} KiB, more than ${this.#maxMemoryPerChild}: it is replaced`);
    return true;
  }

  #onIdle(slot: Slot, child: ChildHandle): void {
    this.#bootFailures = 0;
    if (child.runs > 0) slot.idleDeaths = 0;
    if (this.#stopping || child.runs >= this.#maxTasksPerChild || this.#isTooLarge(child)) {
      child.leave();
      return;
    }
    this.#idle.push(child);
    if (!this.#hasBooted && this.#slots.every((each) => each.child?.ready === true)) {
      this.#hasBooted = true;
      this.#booted?.resolve();
    }
    this.#listeners.call();
  }

  #onGone(slot: Slot, child: ChildHandle, boot: BootFailure | undefined): void {
    const at = this.#idle.indexOf(child);
    if (at >= 0) this.#idle.splice(at, 1);
    slot.child = undefined;
    if (this.#stopping) this.#finishStop();
    else if (boot !== undefined) this.#onBootFailure(slot, boot);
    else {
      if (child.lost) this.#log.error(`${child.ending}; another takes its place`);
      // One that dies before it ran anything would die again at once: nothing of it is the fault of a task.
      if (child.runs === 0) slot.idleDeaths += 1;
      this.#replace(slot, slot.idleDeaths);
    }
    this.#listeners.call();
  }

  #onBootFailure(slot: Slot, { error, fromOutside }: BootFailure): void {
    if (this.#hasBooted && fromOutside) {
      // Killed from outside: the app did nothing wrong, and what kills it may pass.
      slot.idleDeaths += 1;
      this.#log.error(`${error.message}; it is tried again`);
      this.#replace(slot, slot.idleDeaths);
      return;
    }
    this.#bootFailures += 1;
    if (!this.#hasBooted && (!fromOutside || this.#bootFailures >= MAX_BOOT_FAILURES)) {
      this.#startError = error;
      void this.stop(0).then(() => this.#booted?.reject(error));
      return;
    }
    if (this.#bootFailures >= MAX_BOOT_FAILURES) {
      this.#isBroken = true;
      this.#log.critical(`${error.message}; ${this.#bootFailures} in a row: no more are started`);
      this.#resolveBroken(error);
      return;
    }
    this.#log.error(`${error.message}; it is tried again`);
    this.#replace(slot, this.#bootFailures);
  }

  #replace(slot: Slot, failures: number): void {
    if (failures === 0) this.#spawn(slot);
    else slot.replacement.within(backoffMs(failures - 1, BACKOFF, Math.random));
  }
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new InvalidInputError(`${name} of a pool is a whole number of at least 1, not ${String(value)}`);
  }
}
