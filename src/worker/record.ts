/**
 * What is stored and logged when a run begins and ends, the same for messages and callbacks: Celery's result documents
 * (PROTOCOL 6, 10.2) and Celery's log lines.
 */

import type { Config } from "../app/config.ts";
import type { RegisteredTask } from "../app/task-options.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Job, Outcome, TaskFailure } from "../pool/pool.ts";
import { encodeJson } from "../protocol/json.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { ResultTuple, TaskState } from "../protocol/result.ts";
import { taskResult } from "../protocol/task-result.ts";
import { addressOf, type ResultBackend } from "../results/backend.ts";
import { cancelledRun, failureOfEnding, notRegistered, taskRevoked, workerLost } from "./failures.ts";

export interface RecorderOptions {
  /** Absent: results are not kept. */
  readonly results: ResultBackend | undefined;
  readonly config: Config;
  readonly hostname: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A backend that is away is tried again after these delays; then the result is given up, with an error in the log. */
const STORE_RETRY_DELAYS_MS = [50, 200, 1_000, 3_000] as const;
const REPR_LIMIT = 1_024;

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #queues = new WeakMap<TaskMessage, string>();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Where the message was taken from: with `resultExtended` its result says so. */
  cameFrom(message: TaskMessage, queue: string): void {
    if (this.#options.config.resultExtended) this.#queues.set(message, queue);
  }

  /** What the run stores by itself while it lasts: STARTED, before its handler runs, and states of its own. */
  jobOptions(message: TaskMessage, task: RegisteredTask | undefined): Pick<Job, "trackStarted" | "resultExtended"> {
    const { results, config } = this.#options;
    const track = task?.options.trackStarted ?? config.taskTrackStarted;
    return {
      ...(track && results !== undefined && !this.#ignored(message, task) ? { trackStarted: true } : {}),
      ...(config.resultExtended ? { resultExtended: true } : {}),
    };
  }

  /** Store and log how the run ended. Resolves when the result is stored, or given up. */
  async ended(
    message: TaskMessage,
    task: RegisteredTask | undefined,
    outcome: Outcome,
    runtimeMs: number,
  ): Promise<void> {
    const { log } = this.#options;
    const name = shown(message);
    const { children = [] } = outcome;
    switch (outcome.kind) {
      case "succeeded":
        log.info(`Task ${name} succeeded in ${(runtimeMs / 1_000).toFixed(6)}s: ${clip(outcome.result)}`);
        return this.#store(message, task, "SUCCESS", outcome.result, null, children);
      case "failed":
        if (outcome.expected) log.info(`Task ${name} raised expected: ${outcome.error.text}`);
        else log.error(`Task ${name} raised unexpected: ${outcome.error.text}`, traceOf(outcome.error));
        break;
      case "retry": {
        const inMs = Math.max(0, outcome.etaMs - this.#options.clock.wallMs());
        log.info(`Task ${name} retry: Retry in ${Math.ceil(inMs / 1_000)}s: ${outcome.error.text}`);
        const { exception, traceback } = outcome.error;
        // Celery sends the next run from inside this one: it is a child of its own.
        const sent = [...children, [[message.id, null], null]];
        return this.#store(message, task, "RETRY", encodeJson(exception), traceback, sent);
      }
      case "ignored":
        log.info(`Task ${name} ignored`);
        return;
      case "rejected":
        log.warn(`Task ${name} reject requeue=${outcome.requeue ? "True" : "False"}: ${outcome.reason}`);
        break;
      case "crashed":
        log.error(`Task ${name} lost its process: ${outcome.reason}`);
        break;
      case "timed-out":
        log.error(`Hard time limit (${outcome.limitMs / 1_000}s) exceeded for ${name}`);
        break;
      case "aborted":
        log.warn(`Task ${name} ended on request: ${outcome.reason}`);
        return this.revoked(message, task, "terminated");
    }
    const failure = failureOfEnding(outcome);
    if (failure !== undefined) await this.failed(message, task, failure, children);
  }

  /** It will not start: revoked or expired. Or it was terminated. */
  async revoked(
    message: TaskMessage,
    task: RegisteredTask | undefined,
    how: "revoked" | "expired" | "terminated",
  ): Promise<void> {
    // Celery says "revoked" of both.
    if (how !== "terminated") {
      this.#options.log.info(`Discarding revoked task: ${shown(message)}${how === "expired" ? " (expired)" : ""}`);
    }
    await this.#store(message, task, "REVOKED", encodeJson(taskRevoked(how).exception), null);
  }

  /** The task is not registered here. Celery stores a failure, so that who waits is told. */
  unknownTask(message: TaskMessage): Promise<void> {
    return this.failed(message, undefined, notRegistered(message.task));
  }

  /** A run that was lost for good, with nobody left who saw it end. */
  lost(message: TaskMessage, task: RegisteredTask | undefined, reason: string): Promise<void> {
    return this.failed(message, task, workerLost(reason));
  }

  /** The worker gave its run up, and the message goes to somebody else. */
  async cancelled(message: TaskMessage, task: RegisteredTask | undefined, reason: string): Promise<void> {
    this.#options.log.warn(`Task ${shown(message)} was given up: ${reason}`);
    await this.#store(message, task, "RETRY", encodeJson(cancelledRun(reason).exception), null);
  }

  /** Store the failure, also where its result is ignored and the task or the app says so. */
  async failed(
    message: TaskMessage,
    task: RegisteredTask | undefined,
    failure: TaskFailure,
    children?: readonly ResultTuple[],
  ): Promise<void> {
    const { exception, traceback } = failure;
    await this.#store(message, task, "FAILURE", encodeJson(exception), traceback, children);
  }

  async #store(
    message: TaskMessage,
    task: RegisteredTask | undefined,
    status: TaskState,
    result: string,
    traceback: string | null,
    children: readonly ResultTuple[] = [],
  ): Promise<void> {
    const { results, config, clock, hostname, log } = this.#options;
    if (results === undefined) return;
    if (this.#ignored(message, task) && !(status === "FAILURE" && this.#storesErrors(task))) return;
    const queue = this.#queues.get(message);
    const document = taskResult(
      message,
      { status, result, traceback, children, nowMs: clock.wallMs() },
      config.resultExtended ? { hostname, queue } : undefined,
    );
    for (let attempt = 0; ; attempt += 1) {
      try {
        await results.store(document, config.resultExpiresMs, addressOf(message));
        return;
      } catch (error) {
        const delayMs = STORE_RETRY_DELAYS_MS[attempt];
        if (delayMs === undefined) {
          log.error(`The result of ${shown(message)} (${status}) could not be stored: ${messageOf(error)}`);
          return;
        }
        await sleep(delayMs, clock);
      }
    }
  }

  #storesErrors(task: RegisteredTask | undefined): boolean {
    return task?.options.storeErrorsEvenIfIgnored ?? this.#options.config.taskStoreErrorsEvenIfIgnored;
  }

  #ignored(message: TaskMessage, task: RegisteredTask | undefined): boolean {
    return message.ignoreResult ?? task?.options.ignoreResult ?? this.#options.config.taskIgnoreResult;
  }
}

/** `name[id]`, as Celery's log lines have it. */
export function shown(message: TaskMessage): string {
  return `${message.shadow ?? message.task}[${message.id}]`;
}

function clip(text: string): string {
  return text.length > REPR_LIMIT ? `${text.slice(0, REPR_LIMIT - 3)}...` : text;
}

function traceOf(error: TaskFailure): Record<string, unknown> {
  return error.traceback === null ? {} : { traceback: error.traceback };
}
