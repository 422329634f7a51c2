/**
 * One process of a pool, seen from the parent: started, handed one job at a time, asked to abort, ended, and buried.
 *
 * Its end is always noticed: by its exit, or by the loss of its channel. What it still had in the pipe is read first, so
 * that a run that was done is not called crashed, and one that had started is not called unstarted.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { extname } from "node:path";
import { Duplex, PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import { Alarm } from "../alarm.ts";
import { ChildBootError } from "../errors.ts";
import type { AskHandler, Job, Outcome } from "../pool.ts";
import { Abort } from "./abort.ts";
import { AskDesk } from "./ask-desk.ts";
import type { Environment } from "./child-env.ts";
import { ChildRun } from "./child-run.ts";
import { CHANNEL_FD, Channel, TO_PARENT, type ToChildFrames, type ToParent, type ToParentFrames } from "./ipc.ts";
import { failedOutcome } from "./outcome-data.ts";
import { KILL_MS, LEAVE_MS, SIGNAL_MS } from "./patience.ts";

/** How a child logs; it writes to the same standard error as its parent. */
export interface ChildLog {
  readonly level?: string;
  readonly json?: boolean;
  readonly color?: boolean;
}

/** What all children of a pool have in common. */
export interface ChildSettings {
  readonly appPath: string;
  readonly ask: AskHandler;
  readonly clock: Clock;
  readonly log: Logger;
  readonly childLog: ChildLog;
  readonly env: Environment;
  readonly execArgv: readonly string[];
  readonly bootTimeoutMs: number;
  readonly acceptTimeoutMs: number;
}

export interface ChildEvents {
  /** It can take a job: after its boot, and after each run. */
  onIdle(child: ChildHandle): void;
  /** It is gone, for good. `boot`: it never became ready, and why. */
  onGone(child: ChildHandle, boot: BootFailure | undefined): void;
}

export interface BootFailure {
  readonly error: ChildBootError;
  /** Somebody killed it, or there was no room for it: nothing that the app did, and another may live. */
  readonly fromOutside: boolean;
}

type State = "booting" | "idle" | "busy" | "leaving" | "gone";

/** How long a process that has ended may keep us waiting for the end of its pipe, which a grandchild may hold open. */
const DRAIN_MS = 1_000;

/** What people, service managers and the kernel's memory killer send; a crash of native code has others. */
const OUTSIDE_SIGNALS: ReadonlySet<string> = new Set(["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"]);

/** The program of a pool process; `.ts` when the sources run as they are. */
const PROGRAM = fileURLToPath(new URL(`../../child/main${extname(import.meta.url)}`, import.meta.url));

export class ChildHandle {
  /** Its name in the log. */
  readonly name: string;
  readonly pid: number | undefined;
  readonly #settings: ChildSettings;
  readonly #events: ChildEvents;
  readonly #log: Logger;
  readonly #process: ChildProcess;
  readonly #channel: Channel<ToParentFrames, ToChildFrames>;
  readonly #desk: AskDesk;
  #state: State = "booting";
  #run: ChildRun | undefined;
  #runs = 0;
  /** Where an abort was asked for: why. */
  #abort: Abort | undefined;
  /** What becomes of the run because of whom we kill the process. */
  #verdict: Outcome | undefined;
  /** How the process ended, once it has. */
  #ending: string | undefined;
  /** It ended by itself, not by a signal. */
  #exited = false;
  #endedFromOutside = false;
  /** What went wrong with it, before it ended. */
  #fault: string | undefined;
  /** What it said that nobody caught. They are the last only if it then exits: the app may catch what we do not. */
  #lastWords: { readonly message: string; readonly stack: string } | undefined;
  #bootError: ChildBootError | undefined;
  #distrusted = false;
  #killed = false;
  /** It was asked to leave. */
  #asked = false;
  /** Boot, leave, kill and drain follow one another: one alarm. */
  readonly #phase: Alarm;
  #onPhaseEnd: () => void = () => undefined;
  readonly #accept: Alarm;
  readonly #hardLimit: Alarm;
  readonly #grace: Alarm;

  constructor(number: number, settings: ChildSettings, events: ChildEvents) {
    this.name = `PoolWorker-${number}`;
    this.#settings = settings;
    this.#events = events;
    this.#log = settings.log;
    const { clock } = settings;
    this.#phase = new Alarm(clock, () => this.#onPhaseEnd());
    this.#accept = new Alarm(clock, () => this.#neverAccepted());
    this.#hardLimit = new Alarm(clock, () => this.#overHardLimit());
    this.#grace = new Alarm(clock, () => this.#overGrace());

    this.#process = spawn(
      process.execPath,
      [...settings.execArgv, PROGRAM, this.name, JSON.stringify(settings.childLog), settings.appPath],
      { env: { ...settings.env }, stdio: ["ignore", "inherit", "inherit", "pipe"], windowsHide: true },
    );
    this.pid = this.#process.pid;
    this.#process.on("error", (error) => this.#onError(error));
    this.#process.on("exit", (code, signal) => this.#onExit(code, signal));
    this.#channel = new Channel<ToParentFrames, ToChildFrames>(this.#pipe(), TO_PARENT, {
      onFrame: (frame) => this.#onFrame(frame),
      onRefused: (why, kind) => this.#onRefused(why, kind),
      onEnd: (fault) => this.#onChannelEnd(fault),
    });
    this.#desk = new AskDesk(settings.ask, this.#channel, this.#log);
    this.#startPhase(settings.bootTimeoutMs, () => {
      this.#fault = `was not ready after ${settings.bootTimeoutMs / 1_000} s`;
      this.kill();
    });
  }

  /** Runs that were given to it. */
  get runs(): number {
    return this.#runs;
  }

  /** It has loaded the app, and lives. */
  get ready(): boolean {
    return this.#state === "idle" || this.#state === "busy";
  }

  /** It ended without being asked to. */
  get lost(): boolean {
    return this.#state === "gone" && !this.#asked && this.#verdict === undefined;
  }

  /** Who ended, how, and why, in one line. */
  get ending(): string {
    const who = `${this.name} (pid ${this.pid ?? "none"})`;
    if (this.#fault === undefined) return `${who} ${this.#ending ?? "was given up"}`;
    return `${who} ${this.#fault}${this.#killed || this.#ending === undefined ? "" : `; it ${this.#ending}`}`;
  }

  get busy(): boolean {
    return this.#run !== undefined;
  }

  /** Hand it a job; it must be idle. */
  run(job: Job): ChildRun {
    this.#runs += 1;
    const run = new ChildRun(job, this.#runs, this);
    this.#run = run;
    this.#state = "busy";
    try {
      this.#channel.send({ kind: "run", run: run.number, job });
    } catch (error) {
      // It cannot be carried; the child is none the wiser. The caller gets its run before it hears of the free slot.
      process.nextTick(() => this.#endRun(failedOutcome(error)));
      return run;
    }
    this.#accept.within(this.#settings.acceptTimeoutMs);
    return run;
  }

  abort(run: ChildRun, reason: string, graceMs: number, signal?: NodeJS.Signals): void {
    if (run !== this.#run) return;
    if (this.#abort === undefined) {
      this.#abort = new Abort(reason);
      this.#channel.send({ kind: "abort", run: run.number, reason });
    }
    this.#abort.name(signal);
    if (graceMs <= 0) this.kill({ kind: "aborted", reason: this.#abort.reason });
    else this.#grace.within(graceMs);
  }

  /** First the signal, which the app may heed and the child does not; then the end. Of this process alone, while it has this run. */
  #overGrace(): void {
    const signal = this.#abort?.next() ?? "SIGKILL";
    if (signal === "SIGKILL") this.kill({ kind: "aborted", reason: this.#abort?.reason ?? "aborted" });
    else this.#process.kill(signal);
    this.#grace.within(SIGNAL_MS);
  }

  /** Ask it to leave; it must not run anything. One that is still loading the app is ended. */
  leave(): void {
    if (this.#state === "gone" || this.#state === "leaving") return;
    if (this.#state === "booting") {
      this.kill();
      return;
    }
    this.#state = "leaving";
    this.#asked = true;
    this.#channel.send({ kind: "leave" });
    this.#startPhase(LEAVE_MS, () => this.kill());
  }

  /** End the process now. @param verdict what becomes of its run; without: crashed */
  kill(verdict?: Outcome): void {
    if (this.#state === "gone") return;
    this.#verdict ??= verdict;
    if (this.#killed) return;
    this.#killed = true;
    this.#startPhase(KILL_MS, () => {
      this.#log.error(`${this.name} was killed and has not ended yet; it is given up`, { pid: this.pid });
      this.#bury();
    });
    this.#process.kill("SIGKILL");
  }

  #onFrame(frame: ToParent): void {
    if (this.#distrusted) return;
    if (!this.#fits(frame)) {
      this.#log.warn(`${this.name} sent a "${frame.kind}" that does not fit what it was given; refused`, {
        pid: this.pid,
        running: this.#run?.number,
      });
      return;
    }
    switch (frame.kind) {
      case "ready":
        this.#phase.clear();
        this.#toIdle();
        return;
      case "broken":
        this.#bootError = new ChildBootError(this.#settings.appPath, oneLine(frame.message), frame);
        return;
      case "accept":
        this.#onAccept();
        return;
      case "done":
        this.#endRun(frame.outcome);
        return;
      case "ask":
        // Of a process that has ended nobody is left to hear the answer.
        if (this.#ending === undefined) this.#desk.take(frame, frame.run === this.#run?.number ? this.#run : undefined);
        return;
      case "fatal":
        this.#lastWords = frame;
        return;
    }
  }

  /** Whether the child can say this now, going by what it was given. */
  #fits(frame: ToParent): boolean {
    switch (frame.kind) {
      case "ready":
      case "broken":
        return this.#state === "booting";
      case "accept":
        return frame.run === this.#run?.number && !this.#run.started;
      case "done":
        return frame.run === this.#run?.number && this.#run.started;
      case "ask":
        return frame.run === null || frame.run <= this.#runs;
      case "fatal":
        return true;
    }
  }

  #onAccept(): void {
    this.#accept.clear();
    this.#run?.accept(this.pid);
    if (!this.#killed) this.#hardLimit.within(this.#run?.job.message.hardLimitMs || Number.POSITIVE_INFINITY);
  }

  #onRefused(why: string, kind: string | undefined): void {
    this.#log.warn(`${this.name}: ${why}`, { pid: this.pid });
    // Without its end the run would last for ever; and who sends such a frame is not believed the next one.
    if (kind !== "done" && kind !== "accept") return;
    this.#distrusted = true;
    this.#fault = `sent a "${kind}" that cannot be read`;
    this.kill();
  }

  #endRun(outcome: Outcome): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#run = undefined;
    this.#lastWords = undefined;
    this.#abort = undefined;
    this.#accept.clear();
    this.#hardLimit.clear();
    this.#grace.clear();
    run.end(outcome);
    if (this.#state === "busy" && !this.#killed) this.#toIdle();
  }

  #toIdle(): void {
    this.#state = "idle";
    this.#events.onIdle(this);
  }

  #neverAccepted(): void {
    this.#fault = `did not take the job within ${this.#settings.acceptTimeoutMs / 1_000} s`;
    this.kill();
  }

  #overHardLimit(): void {
    this.kill({ kind: "timed-out", limitMs: this.#run?.job.message.hardLimitMs ?? 0 });
  }

  /** It could not be started; or, once started, not be signalled. */
  #onError(error: Error): void {
    if (this.pid !== undefined) return;
    this.#ending = `could not be started: ${messageOf(error)}`;
    // The pool learns of it in a later turn, never while it still makes the handle.
    process.nextTick(() => this.#bury());
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    this.#ending = signal === null ? `exited with status ${code}` : `was killed by ${signal}`;
    this.#exited = signal === null;
    this.#endedFromOutside = signal !== null && OUTSIDE_SIGNALS.has(signal);
    if (this.#channel.ended) {
      this.#bury();
      return;
    }
    this.#startPhase(DRAIN_MS, () => this.#bury());
    this.#channel.resume();
  }

  #onChannelEnd(fault: string | undefined): void {
    if (this.#ending !== undefined) {
      this.#bury();
      return;
    }
    if (fault !== undefined) {
      this.#log.warn(`${this.name} wrote to its channel ${fault}; it is ended`, { pid: this.pid });
      this.#fault = `wrote to its channel ${fault}`;
      this.kill();
      return;
    }
    // Most often its exit follows at once; what lives on without a channel is of no use.
    if (this.#killed) return;
    this.#startPhase(DRAIN_MS, () => {
      this.#fault ??= "closed its channel";
      this.kill();
    });
  }

  #bury(): void {
    if (this.#state === "gone") return;
    const booting = this.#state === "booting";
    if (this.#exited && this.#lastWords !== undefined) {
      const message = oneLine(this.#lastWords.message);
      this.#fault ??= `ended by what nobody caught: ${message}`;
      this.#bootError ??= new ChildBootError(this.#settings.appPath, message, this.#lastWords);
    }
    this.#state = "gone";
    this.#phase.clear();
    this.#channel.close();
    const run = this.#run;
    const lost: Outcome = { kind: "crashed", reason: this.ending, started: run?.started === true };
    this.#endRun(this.#verdict ?? lost);
    this.#events.onGone(this, booting ? this.#bootFailure() : undefined);
  }

  #bootFailure(): BootFailure {
    const error =
      this.#bootError ??
      new ChildBootError(
        this.#settings.appPath,
        `it ${this.#fault ?? this.#ending ?? "was given up"} before it was ready`,
      );
    return { error, fromOutside: this.#bootError === undefined && this.#fault === undefined && this.#endedFromOutside };
  }

  /** Without file descriptors left Node gives a process that did not start no pipe either; its error comes by event. */
  #pipe(): Duplex {
    const pipe = (this.#process.stdio as readonly unknown[] | undefined)?.[CHANNEL_FD];
    return pipe instanceof Duplex ? pipe : new PassThrough().destroy();
  }

  #startPhase(ms: number, onEnd: () => void): void {
    this.#phase.clear();
    this.#onPhaseEnd = onEnd;
    this.#phase.within(ms);
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, 500);
}
