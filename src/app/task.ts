/** A task: a named handler with its options, and the ways to call it. Types run through: `delay` and `get` know the handler's. */
import type { Duration } from "../kit/duration.ts";
import type { Moment } from "../kit/moment.ts";
import type { AsyncResult } from "./async-result.ts";
import type { CallbackHandle } from "./callback-handle.ts";
import type { RecurrenceHandle } from "./recurrence-handle.ts";
import type { Recurs } from "./recurrence-options.ts";
import type { RepeatOptions } from "./recurring.ts";
import type { CallbackOptions, Schedule } from "./schedule.ts";
import type { ApplyOptions } from "./send.ts";
import { type Sender, Signature } from "./signature.ts";
import type { RegisteredTask, TaskOptions } from "./task-options.ts";

export type Handler<Args extends readonly unknown[], Result> = (...args: Args) => Result | Promise<Result>;

/**
 * Any handler. `app.task` takes it as `H & AnyHandler` with `H extends object`: so a parameter with a default value keeps its
 * own type, where a signature with a rest parameter would make it `unknown`.
 */
export type AnyHandler = (...args: never[]) => unknown;
export type ArgsOf<H> = H extends (...args: infer Args extends readonly unknown[]) => unknown ? Args : never;
export type ResultOf<H> = H extends (...args: never[]) => infer Result ? Awaited<Result> : never;

/** The app, seen from its tasks. */
export interface TaskApp extends Sender {
  readonly schedule: Schedule;
}

export class Task<Args extends readonly unknown[] = readonly unknown[], Result = unknown> implements RegisteredTask {
  readonly name: string;
  readonly options: TaskOptions;
  readonly handler: Handler<Args, Result>;
  readonly #app: TaskApp;

  constructor(app: TaskApp, name: string, options: TaskOptions, handler: Handler<Args, Result>) {
    this.#app = app;
    this.name = name;
    this.options = options;
    this.handler = handler;
  }

  /** Send it now, as Celery's `delay`. Resolves when the broker has the message. */
  delay(...args: Args): Promise<AsyncResult<Result>> {
    return this.s(...args).applyAsync();
  }

  /** Send it with options: Celery's `apply_async`. */
  applyAsync(args: Args, options: ApplyOptions = {}): Promise<AsyncResult<Result>> {
    return this.s(...args).applyAsync(options);
  }

  /** A durable callback, `countdown` from now. Resolves when it is on disk. */
  callAfter(countdown: Duration, args: Args, options: CallbackOptions = {}): Promise<CallbackHandle<Result>> {
    return this.#app.schedule.callAfter(countdown, this.s(...args), options);
  }

  /** A durable callback at a moment. Resolves when it is on disk. */
  callAt(eta: Moment, args: Args, options: CallbackOptions = {}): Promise<CallbackHandle<Result>> {
    return this.#app.schedule.callAt(eta, this.s(...args), options);
  }

  /**
   * Durable callbacks, again and again: `when` is `{ every }`, `{ cron, timezone }`, or a rule of `lovage/rrule`. Resolves when the first is
   * on disk. See `app.schedule.callRepeatedly`.
   *
   * ```ts
   * await report.callRepeatedly({ cron: "0 9 * * 1-5", timezone: "Europe/Berlin" }, ["sales"], { key: "daily-report" });
   * ```
   */
  callRepeatedly(when: Recurs, args: Args, options: RepeatOptions = {}): Promise<RecurrenceHandle> {
    return this.#app.schedule.callRepeatedly(when, this.s(...args), options);
  }

  /** The call as a value. */
  s(...args: Args): Signature<Result> {
    return new Signature<Result>(this.#app, this.name, { args });
  }
}
