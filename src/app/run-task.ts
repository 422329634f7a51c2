/**
 * One run of a task, in the process that it is called in: find, decode, bind, call, and tell how it ended. It never
 * throws: whatever the user's code does, there is an outcome, unless the handler never settles, which only the hard limit
 * of a process of its own can end.
 *
 * What follows a run (storing the result, the next run of a retry, acknowledging) is the worker's, so that one place
 * decides the order.
 */
import type { Clock } from "../kit/clock.ts";
import { parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError, messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { Alarm } from "../pool/alarm.ts";
import type { Ask } from "../pool/asks.ts";
import type { Job, Outcome } from "../pool/pool.ts";
import { decodeBody, type TaskCall } from "../protocol/decode.ts";
import { encodeJson } from "../protocol/json.ts";
import { READY_STATES, type ResultTuple } from "../protocol/result.ts";
import { taskResult } from "../protocol/task-result.ts";
import { addressOf } from "../results/backend.ts";
import { bindArguments } from "./bind-arguments.ts";
import type { Fence, RetryOptions, RunningTask, TaskRequest } from "./context.ts";
import { runInTask } from "./context.ts";
import { failureOf, toFailure } from "./failure.ts";
import type { TaskRegistry } from "./registry.ts";
import { autoretryOptions, isAutoretried, isOneOf, Retry, retryOrGiveUp } from "./retry.ts";
import type { RegisteredTask } from "./task-options.ts";
import { Ignore, Reject, SoftTimeLimitExceeded } from "./task-outcomes.ts";

export interface RunTaskOptions {
  readonly registry: TaskRegistry;
  readonly ask: Ask;
  readonly log: Logger;
  readonly clock: Clock;
  /** Aborted when the run is to end. What the handler sees, and with it the outcome is `aborted`. */
  readonly signal: AbortSignal;
  /** For the jitter of automatic retries. */
  readonly random?: () => number;
}

export async function runTask(job: Job, options: RunTaskOptions): Promise<Outcome> {
  const { message } = job;
  const task = options.registry.get(message.task);
  if (task === undefined) {
    return { kind: "failed", error: failureOf("NotRegistered", "celery.exceptions", message.task), expected: false };
  }
  let call: TaskCall;
  try {
    call = decodeBody(message.body);
  } catch (error) {
    return { kind: "failed", error: toFailure(error), expected: false };
  }
  let run: TaskRun;
  try {
    run = new TaskRun(job, task, call, options);
  } catch (error) {
    return { kind: "failed", error: toFailure(error), expected: false };
  }
  const outcome = await run.outcome();
  run.close();
  return run.children.length === 0 ? outcome : { ...outcome, children: run.children };
}

/** The run, and what its handler sees of it as `currentTask()`. */
class TaskRun implements RunningTask {
  readonly signal: AbortSignal;
  readonly fence?: Fence;
  readonly #job: Job;
  readonly #task: RegisteredTask;
  readonly #call: TaskCall;
  readonly #options: RunTaskOptions;
  #request: TaskRequest | undefined;
  #log: Logger | undefined;
  /** Only where there is a soft limit: most runs need neither. */
  #softLimit:
    | { readonly alarm: Alarm; readonly controller: AbortController; readonly stopListening: () => void }
    | undefined;
  #softError: SoftTimeLimitExceeded | undefined;
  #retry: Retry | undefined;
  #ended = false;
  readonly #children: ResultTuple[] = [];
  #isFull = false;

  constructor(job: Job, task: RegisteredTask, call: TaskCall, options: RunTaskOptions) {
    this.#job = job;
    this.#task = task;
    this.#call = call;
    this.#options = options;
    if (job.fence !== undefined) this.fence = job.fence;
    const softLimitMs = job.message.softLimitMs || softLimitOf(task);
    this.signal = softLimitMs ? this.#limitSoftly(softLimitMs) : options.signal;
  }

  async outcome(): Promise<Outcome> {
    let value: unknown;
    try {
      if (this.#job.trackStarted === true) await this.#tellStarted();
      const bound = await bindArguments(this.#task, this.#call.args, this.#call.kwargs);
      if ("failure" in bound) return { kind: "failed", error: bound.failure, expected: false };
      // Who would listen for an abort that has come already?
      this.#options.signal.throwIfAborted();
      value = await runInTask(this, () => (this.#task.handler as Handler)(...bound.args));
    } catch (thrown) {
      return safely(() => this.#ofThrown(thrown)) ?? unreadable();
    }
    if (this.#retry !== undefined) {
      this.#options.log.warn(
        "retry() was called, but what it throws did not leave the handler: the task is not retried",
        {
          task: this.#task.name,
          id: this.#job.message.id,
        },
      );
    }
    try {
      return { kind: "succeeded", result: encodeJson(value, "the result") };
    } catch (error) {
      return { kind: "failed", error: toFailure(error), expected: false };
    }
  }

  /** Its time is over: what the handler left behind changes nothing any more. */
  close(): void {
    this.#ended = true;
    this.#softLimit?.alarm.clear();
    this.#softLimit?.stopListening();
  }

  get children(): readonly ResultTuple[] {
    return this.#children;
  }

  addChild(tuple: ResultTuple): void {
    if (this.#ended) return;
    if (this.#children.length < MAX_CHILDREN) this.#children.push(tuple);
    if (this.#children.length !== MAX_CHILDREN || this.#isFull) return;
    this.#isFull = true;
    this.log.warn(`The task has sent ${MAX_CHILDREN} others; the children of its result end with them`);
  }

  get request(): TaskRequest {
    this.#request ??= requestOf(this.#job, this.#call);
    return this.#request;
  }

  get log(): Logger {
    this.#log ??= this.#options.log.child({ task: this.#task.name, id: this.#job.message.id });
    return this.#log;
  }

  /** Getters, so that both can be taken out of the context: `const { retry } = currentTask()`. */
  get retry(): (options?: RetryOptions) => never {
    return (options = {}) => {
      throw this.#retryOrGiveUp(options);
    };
  }

  get updateState(): (state: string, meta?: unknown) => Promise<void> {
    return (state, meta) => this.#updateState(state, meta);
  }

  #ofThrown(thrown: unknown): Outcome {
    if (this.#options.signal.aborted) {
      return { kind: "aborted", reason: messageOf(this.#options.signal.reason) };
    }
    if (thrown instanceof Retry) return this.#ofRetry(thrown);
    if (thrown instanceof Ignore) return { kind: "ignored" };
    if (thrown instanceof Reject) return { kind: "rejected", requeue: thrown.requeue, reason: thrown.message };
    return this.#ofError(this.#softError !== undefined && isAbort(thrown, this.#softError) ? this.#softError : thrown);
  }

  #ofError(error: unknown): Outcome {
    const { options } = this.#task;
    if (!safely(() => isAutoretried(options, error))) return this.#failed(error);
    try {
      const asked = autoretryOptions(options, this.#job.message.retries, this.#options.random ?? Math.random);
      const next = this.#retryOrGiveUp({ ...asked, cause: error });
      return next instanceof Retry ? this.#ofRetry(next) : this.#failed(next);
    } catch (invalid) {
      return this.#failed(invalid);
    }
  }

  #failed(error: unknown): Outcome {
    const expected = safely(() => isOneOf(error, this.#task.options.throws)) ?? false;
    return { kind: "failed", error: toFailure(error), expected };
  }

  #ofRetry(retry: Retry): Outcome {
    const { message } = this.#job;
    const { args, kwargs, embed } = this.#call;
    try {
      return {
        kind: "retry",
        etaMs: retry.etaMs,
        // Unchanged arguments keep their text: nothing is lost between two languages' numbers.
        body:
          retry.args === undefined && retry.kwargs === undefined
            ? message.body
            : `[${encodeJson(retry.args ?? args, "args")}, ${encodeJson(retry.kwargs ?? kwargs, "kwargs")}, ${encodeJson(embed, "embed")}]`,
        retries: message.retries + 1,
        error: toFailure(retry.cause ?? retry),
        ...retry.overrides,
      };
    } catch (error) {
      return this.#failed(error);
    }
  }

  #retryOrGiveUp(options: RetryOptions): unknown {
    const { message } = this.#job;
    const { args, kwargs } = this.#call;
    const asked = retryOrGiveUp(
      this.#task.options,
      { message, args, kwargs, nowMs: this.#options.clock.wallMs() },
      options,
    );
    if (asked instanceof Retry) this.#retry = asked;
    return asked;
  }

  async #updateState(state: string, meta: unknown): Promise<void> {
    if (typeof state !== "string" || state === "" || READY_STATES.has(state)) {
      throw new InvalidInputError(
        `updateState(${JSON.stringify(state)}): a state of your own is a non-empty text, and not ${[...READY_STATES].join(", ")}: those the worker stores when the task ends`,
      );
    }
    if (this.#ended) {
      throw new InvalidInputError(
        `updateState(${JSON.stringify(state)}): the task has ended; await updateState() in its handler`,
      );
    }
    await this.#store(state, encodeJson(meta, "meta"));
  }

  /** Before anything that the handler stores. What cannot be stored does not keep the task from running. */
  async #tellStarted(): Promise<void> {
    try {
      await this.#store("STARTED", encodeJson({ pid: process.pid, hostname: this.#job.hostname }));
    } catch (error) {
      this.log.warn(`The state STARTED could not be stored: ${messageOf(error)}`);
    }
  }

  async #store(status: string, result: string): Promise<void> {
    const { message, hostname, deliveryInfo, resultExtended } = this.#job;
    const { clock, ask } = this.#options;
    const document = taskResult(
      message,
      { status, result, children: this.#children, nowMs: clock.wallMs() },
      resultExtended === true ? { hostname, queue: deliveryInfo?.routingKey } : undefined,
    );
    await ask("result.store", { document, address: addressOf(message) });
  }

  #limitSoftly(limitMs: number): AbortSignal {
    const { clock, signal, log } = this.#options;
    const { message } = this.#job;
    const controller = new AbortController();
    const forward = () => controller.abort(signal.reason);
    signal.addEventListener("abort", forward, { once: true });
    const alarm = new Alarm(clock, () => {
      log.warn(`Soft time limit (${limitMs / 1_000}s) exceeded for ${message.task}[${message.id}]`);
      this.#softError = new SoftTimeLimitExceeded(
        `the soft time limit (${limitMs / 1_000} s) of ${message.task}[${message.id}] was exceeded`,
      );
      controller.abort(this.#softError);
    });
    alarm.within(limitMs);
    this.#softLimit = { alarm, controller, stopListening: () => signal.removeEventListener("abort", forward) };
    return controller.signal;
  }
}

/** Of one result: each has its place in the document, and a task may send 10^6. */
const MAX_CHILDREN = 10_000;

type Handler = (...args: readonly unknown[]) => unknown;

function softLimitOf({ options }: RegisteredTask): number | undefined {
  return options.softTimeLimit === undefined ? undefined : parseDurationMs(options.softTimeLimit, "softTimeLimit");
}

/** What is thrown because of the soft limit: its error, what wraps it, or the AbortError that Node's own calls make of it. */
function isAbort(thrown: unknown, reason: unknown): boolean {
  return (
    safely(() => {
      if (thrown instanceof Error && thrown.name === "AbortError") return true;
      let each = thrown;
      for (let depth = 0; depth < 10 && each !== undefined; depth += 1) {
        if (each === reason) return true;
        each = each instanceof Error ? each.cause : undefined;
      }
      return false;
    }) ?? false
  );
}

/** A proxy may throw at every look. */
function unreadable(): Outcome {
  const error = failureOf("Error", null, "the handler threw what cannot be looked at");
  return { kind: "failed", error, expected: false };
}

/** Undefined where even looking at what was thrown throws. */
function safely<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function requestOf({ message, hostname, deliveryInfo }: Job, { args, kwargs }: TaskCall): TaskRequest {
  const { rootId, parentId, group, groupIndex, correlationId, replyTo, origin } = message;
  return {
    id: message.id,
    task: message.task,
    args,
    kwargs,
    retries: message.retries,
    hostname,
    headers: message.headers ?? {},
    ...(message.expiresMs === undefined ? {} : { expires: new Date(message.expiresMs) }),
    ...(message.hardLimitMs === undefined ? {} : { timeLimit: message.hardLimitMs / 1_000 }),
    ...(message.softLimitMs === undefined ? {} : { softTimeLimit: message.softLimitMs / 1_000 }),
    ...(rootId === undefined ? {} : { rootId }),
    ...(parentId === undefined ? {} : { parentId }),
    ...(group === undefined ? {} : { group }),
    ...(groupIndex === undefined ? {} : { groupIndex }),
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(origin === undefined ? {} : { origin }),
    ...(deliveryInfo === undefined ? {} : { deliveryInfo }),
  };
}
