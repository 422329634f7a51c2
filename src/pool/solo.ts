/**
 * The pool without processes: jobs run in this one, side by side on its event loop. For tasks that wait more than they
 * compute, for tests, and for platforms where a process is dear.
 *
 * What it cannot do: end a handler that does not want to. An abort is a signal and no more, and a handler that reaches its
 * hard limit is recorded as timed-out, its slot is given to the next one, while it may go on in the background until the
 * process ends. A handler that blocks the event loop blocks the worker. Where that matters: prefork.
 */
import { type Clock, systemClock } from "../kit/clock.ts";
import { ClosedError, InvalidInputError, messageOf } from "../kit/errors.ts";
import { type Logger, silentLogger } from "../kit/log.ts";
import { Alarm } from "./alarm.ts";
import { PoolBusyError, TaskAbortedError } from "./errors.ts";
import { Listeners } from "./listeners.ts";
import { type Job, type Outcome, POOL_STOPPED, type Pool, type Run } from "./pool.ts";

export interface SoloOptions {
  /** Jobs side by side. */
  readonly concurrency: number;
  /** Runs one job; `signal` is aborted when it is to end. Must not reject. */
  readonly run: (job: Job, signal: AbortSignal) => Promise<Outcome>;
  readonly clock?: Clock;
  readonly log?: Logger;
}

export class SoloPool implements Pool {
  readonly implementation = "solo";
  readonly size: number;
  readonly pids: readonly number[] = [process.pid];
  /** Nothing can break but this process. */
  readonly broken = new Promise<Error>(() => undefined);
  readonly #options: SoloOptions;
  readonly #clock: Clock;
  readonly #onFree: Listeners;
  readonly #runs = new Set<SoloRun>();
  readonly #stopAlarm: Alarm;
  readonly #stopped = Promise.withResolvers<void>();
  #started = false;
  #stopping = false;

  /** @throws {InvalidInputError} the concurrency is no whole number of at least 1 */
  constructor(options: SoloOptions) {
    const { concurrency } = options;
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw new InvalidInputError(`concurrency of a pool is a whole number of at least 1, not ${String(concurrency)}`);
    }
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#onFree = new Listeners(options.log ?? silentLogger);
    this.size = concurrency;
    this.#stopAlarm = new Alarm(this.#clock, () => this.#endAll());
  }

  get free(): number {
    return this.#started && !this.#stopping ? this.size - this.#runs.size : 0;
  }

  async start(): Promise<void> {
    if (this.#started) return;
    if (this.#stopping) throw new ClosedError("the pool was stopped before it was started");
    this.#started = true;
    this.#onFree.call();
  }

  submit(job: Job): Run {
    if (this.free === 0) throw new PoolBusyError(this.size);
    const run = new SoloRun(job, this.#clock);
    this.#runs.add(run);
    void run.outcome.then(() => this.#onEnd(run));
    run.begin(this.#options.run);
    return run;
  }

  onFree(listener: () => void): () => void {
    return this.#onFree.add(listener);
  }

  stop(timeoutMs: number): Promise<void> {
    this.#stopping = true;
    if (timeoutMs <= 0) this.#endAll();
    else this.#stopAlarm.within(timeoutMs);
    this.#finishStop();
    return this.#stopped.promise;
  }

  #onEnd(run: SoloRun): void {
    this.#runs.delete(run);
    if (this.#stopping) this.#finishStop();
    else this.#onFree.call();
  }

  #endAll(): void {
    for (const run of this.#runs) run.giveUp(POOL_STOPPED);
  }

  #finishStop(): void {
    if (this.#runs.size > 0) return;
    this.#stopAlarm.clear();
    this.#stopped.resolve();
  }
}

class SoloRun implements Run {
  readonly job: Job;
  readonly accepted: Promise<number | undefined>;
  readonly outcome: Promise<Outcome>;
  readonly #controller = new AbortController();
  readonly #hardLimit: Alarm;
  readonly #resolve: (outcome: Outcome) => void;
  readonly #accept: (pid: number | undefined) => void;

  constructor(job: Job, clock: Clock) {
    this.job = job;
    const accepted = Promise.withResolvers<number | undefined>();
    const outcome = Promise.withResolvers<Outcome>();
    this.accepted = accepted.promise;
    this.outcome = outcome.promise;
    this.#accept = accepted.resolve;
    this.#resolve = outcome.resolve;
    this.#hardLimit = new Alarm(clock, () => this.#timeOut());
  }

  /** In a later turn, so that whoever submitted it hears that it was accepted before the handler's first instruction. */
  begin(run: SoloOptions["run"]): void {
    setImmediate(() => {
      const { signal } = this.#controller;
      if (signal.aborted) {
        this.#end({ kind: "aborted", reason: messageOf(signal.reason) });
        return;
      }
      this.#accept(process.pid);
      this.#hardLimit.within(this.job.message.hardLimitMs || Number.POSITIVE_INFINITY);
      queueMicrotask(() => {
        run(this.job, signal).then(
          (outcome) => this.#end(outcome),
          // `run` must not reject; if it does, the slot comes back all the same.
          (error) => this.#end({ kind: "crashed", reason: messageOf(error), started: true }),
        );
      });
    });
  }

  abort(reason: string, _graceMs: number): void {
    this.#controller.abort(new TaskAbortedError(reason));
  }

  /** The process is about to end: the handler gets a last turn to say how it ended. */
  giveUp(reason: string): void {
    this.#controller.abort(new TaskAbortedError(reason));
    setImmediate(() => this.#end({ kind: "aborted", reason }));
  }

  #timeOut(): void {
    const limitMs = this.job.message.hardLimitMs ?? 0;
    this.#controller.abort(new TaskAbortedError(`the hard time limit (${limitMs / 1_000} s) was exceeded`));
    this.#end({ kind: "timed-out", limitMs });
  }

  /** The first end counts. */
  #end(outcome: Outcome): void {
    this.#hardLimit.clear();
    this.#accept(undefined);
    this.#resolve(outcome);
  }
}
