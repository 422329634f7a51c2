/** When a task runs again, and when it does not any more: Celery's rules (PROTOCOL 12.1), computed; the worker acts on the outcome. */
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError, LostError } from "../kit/errors.ts";
import { parseMomentMs } from "../kit/moment.ts";
import { textOf } from "../kit/printable.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { RetryOptions } from "./context.ts";
import { type RetryOverrides, retryOverrides } from "./retry-overrides.ts";
import type { ErrorClass, TaskOptions } from "./task-options.ts";

const DEFAULT_MAX_RETRIES = 3;
const DEFAULT_RETRY_DELAY: Duration = 180;
const DEFAULT_BACKOFF_MAX: Duration = 600;

/** The task asked for one more run than `maxRetries` allows. */
export class MaxRetriesExceededError extends LostError {
  readonly code = "ERR_MAX_RETRIES";
}

/** What `retry()` throws. It must leave the handler; the runner turns it into an outcome. */
export class Retry extends Error {
  /** When, ms UTC. */
  readonly etaMs: number;
  readonly args: readonly unknown[] | undefined;
  readonly kwargs: Readonly<Record<string, unknown>> | undefined;
  /** What else it changes. */
  readonly overrides: RetryOverrides;

  constructor(
    etaMs: number,
    inMs: number,
    options: Pick<RetryOptions, "args" | "kwargs" | "cause">,
    overrides: RetryOverrides,
  ) {
    super(`Retry in ${inMs / 1_000}s`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Retry";
    this.etaMs = etaMs;
    this.args = options.args;
    this.kwargs = options.kwargs;
    this.overrides = overrides;
  }
}

/** The run that asks. */
export interface RetryContext {
  readonly message: TaskMessage;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly nowMs: number;
}

/**
 * What to throw for `retry(options)`: a `Retry`; or, when none is left, the cause that was given, else MaxRetriesExceededError.
 * @throws {InvalidInputError} an option is unknown or not what it must be, or countdown and eta were both given
 */
export function retryOrGiveUp(task: TaskOptions, run: RetryContext, options: RetryOptions): unknown {
  const { countdown, eta } = options;
  if (countdown !== undefined && eta !== undefined) {
    throw new InvalidInputError("retry: countdown and eta were both given; give the one that is meant");
  }
  const { message } = run;
  const overrides = retryOverrides(options, message, run.nowMs);
  const etaMs =
    eta === undefined
      ? run.nowMs + parseDurationMs(countdown ?? task.defaultRetryDelay ?? DEFAULT_RETRY_DELAY, "countdown")
      : parseMomentMs(eta, { what: "eta" });
  const allowed = options.maxRetries === undefined ? maxRetriesOf(task) : options.maxRetries;
  if (allowed === null || message.retries + 1 <= allowed) {
    return new Retry(etaMs, Math.max(0, etaMs - run.nowMs), options, overrides);
  }
  if (options.cause !== undefined) return options.cause;
  const args = textOf(options.args ?? run.args, 500);
  const kwargs = textOf(options.kwargs ?? run.kwargs, 500);
  return new MaxRetriesExceededError(`Can't retry ${message.task}[${message.id}] args:${args} kwargs:${kwargs}`);
}

/** Whether the task's options say that it is to be retried after this error. */
export function isAutoretried(task: TaskOptions, thrown: unknown): boolean {
  if (task.autoretryFor === undefined || isOneOf(thrown, task.dontAutoretryFor)) return false;
  return task.autoretryFor === true || isOneOf(thrown, task.autoretryFor);
}

/**
 * What an automatic retry is asked with: the task's `retryKwargs`, under the delay of its back-off where it has one.
 */
export function autoretryOptions(task: TaskOptions, retries: number, random: () => number): RetryOptions {
  const countdown = autoretryDelay(task, retries, random);
  if (countdown === undefined) return { ...task.retryKwargs };
  const { eta: _eta, ...rest } = task.retryKwargs ?? {};
  return { ...rest, countdown };
}

/**
 * The delay of an automatic retry, in seconds; undefined: the task's `defaultRetryDelay`.
 * `min(retryBackoffMax, factor · 2^retries)`, and with jitter a whole number of seconds between 0 and that.
 */
export function autoretryDelay(task: TaskOptions, retries: number, random: () => number): number | undefined {
  const { retryBackoff, retryBackoffMax = DEFAULT_BACKOFF_MAX, retryJitter = true } = task;
  if (retryBackoff === undefined || retryBackoff === false) return undefined;
  const factor = retryBackoff === true ? 1 : Math.max(1, Math.trunc(retryBackoff));
  const capped = Math.min(parseDurationMs(retryBackoffMax, "retryBackoffMax") / 1_000, factor * 2 ** retries);
  return retryJitter ? Math.floor(random() * (Math.floor(capped) + 1)) : capped;
}

export function isOneOf(thrown: unknown, classes: readonly ErrorClass[] | undefined): boolean {
  return classes?.some((each) => thrown instanceof each) ?? false;
}

function maxRetriesOf(task: TaskOptions): number | null {
  return task.maxRetries === undefined ? DEFAULT_MAX_RETRIES : task.maxRetries;
}
