/** A handle on what became of a task, by its id: Celery's AsyncResult. */
import type { Clock } from "../kit/clock.ts";
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { ContractError, LostError, TimeoutError } from "../kit/errors.ts";
import type { Ask } from "../pool/asks.ts";
import { decodeJson } from "../protocol/json.ts";
import { type ExceptionDocument, READY_STATES, type ResultDocument, type TaskState } from "../protocol/result.ts";
import type { Config } from "./config.ts";

/** The task failed. What it threw, as data: its class is named, never rebuilt. */
export class TaskError extends LostError {
  readonly code = "ERR_TASK_FAILED";
  readonly taskId: string;
  /** Class name of what was thrown, such as "ValueError". */
  readonly excType: string;
  /** Python module of the class; null when a Lovage worker ran the task. */
  readonly excModule: string | null;
  /** Arguments that it was made with. */
  readonly excArgs: readonly unknown[];
  /** The stack where it was thrown. */
  readonly traceback: string | null;

  constructor(taskId: string, exception: ExceptionDocument, traceback: string | null) {
    super(`task ${taskId} failed: ${exception.exc_type}: ${exception.exc_message.map(String).join(", ")}`);
    this.taskId = taskId;
    this.excType = exception.exc_type;
    this.excModule = exception.exc_module;
    this.excArgs = exception.exc_message;
    this.traceback = traceback;
  }
}

/** The task was revoked, or expired, before it started, or was terminated. */
export class TaskRevokedError extends LostError {
  readonly code = "ERR_TASK_REVOKED";
  readonly taskId: string;
  /** "revoked", "expired" or "terminated". */
  readonly how: string;

  constructor(taskId: string, how: string) {
    super(`task ${taskId} was ${how}`);
    this.taskId = taskId;
    this.how = how;
  }
}

/** What an AsyncResult needs of its app. */
export interface ResultSource {
  readonly ask: Ask;
  readonly clock: Clock;
  /** Read at each use: the command line may change it before anything is opened. */
  readonly config: () => Config;
}

/** One question to the worker or backend is this long at most; waiting longer asks again. */
const WAIT_STEP_MS = 20_000;

export class AsyncResult<Result = unknown> {
  readonly id: string;
  readonly #source: ResultSource;

  constructor(id: string, source: ResultSource) {
    if (typeof id !== "string" || id === "") throw new EmptyTaskIdError("a task id is a non-empty text");
    this.id = id;
    this.#source = source;
  }

  /**
   * Wait for the end and answer what the task returned.
   *
   * @param options.timeout default: no limit
   * @throws {TaskError} it failed
   * @throws {TaskRevokedError} it was revoked, or expired
   * @throws {TimeoutError} it has not ended yet
   */
  async get({ timeout }: { readonly timeout?: Duration } = {}): Promise<Result> {
    const { ask, clock } = this.#source;
    const limitMs = timeout === undefined ? Number.POSITIVE_INFINITY : parseDurationMs(timeout, "timeout");
    const endMs = clock.monoMs() + limitMs;
    for (;;) {
      const leftMs = Math.max(0, Math.ceil(endMs - clock.monoMs()));
      const document = await ask("result.wait", { taskId: this.id, timeoutMs: Math.min(leftMs, WAIT_STEP_MS) });
      if (document !== null) return this.#open(document);
      if (clock.monoMs() >= endMs) throw new TimeoutError(`task ${this.id} has not ended within ${limitMs / 1_000} s`);
    }
  }

  /** "PENDING" when nothing is known of it. */
  async status(): Promise<TaskState> {
    return (await this.#document())?.status ?? "PENDING";
  }

  /** It ended, one way or another. */
  async ready(): Promise<boolean> {
    return READY_STATES.has(await this.status());
  }

  /** What is stored with the state: the return value, the exception as data, or the meta of a custom state. */
  async info(): Promise<unknown> {
    const document = await this.#document();
    return document === undefined ? undefined : decodeJson(document.result);
  }

  /**
   * The task must not start any more: a waiting callback is cancelled, a message still on its way will be discarded.
   * Answers what cancel answers for its callback; "unknown" when it is not in the schedule.
   *
   * @param options.terminate what runs already is asked to end, and then killed
   */
  async revoke({ terminate = false }: { readonly terminate?: boolean } = {}): Promise<string> {
    const { ask, clock, config } = this.#source;
    const untilMs = clock.wallMs() + config().revokesExpireMs;
    return (await ask("schedule.revoke", { taskId: this.id, untilMs, abort: terminate })).answer;
  }

  /** Remove the stored result. */
  async forget(): Promise<void> {
    await this.#source.ask("result.forget", { taskId: this.id });
  }

  toJSON(): string {
    return this.id;
  }

  async #document(): Promise<ResultDocument | undefined> {
    return (await this.#source.ask("result.get", { taskId: this.id })) ?? undefined;
  }

  #open(document: ResultDocument): Result {
    const value = decodeJson(document.result);
    // The task's types say what it returns; JSON has carried it.
    if (document.status === "SUCCESS") return value as Result;
    const exception = asException(value);
    if (document.status === "REVOKED") {
      throw new TaskRevokedError(this.id, String(exception.exc_message[0] ?? "revoked"));
    }
    throw new TaskError(this.id, exception, document.traceback);
  }
}

export class EmptyTaskIdError extends ContractError {
  readonly code = "ERR_EMPTY_TASK_ID";
}

/** What a peer stored need not be what Celery stores: whatever is missing is filled in. */
function asException(value: unknown): ExceptionDocument {
  const given = typeof value === "object" && value !== null ? (value as Partial<ExceptionDocument>) : {};
  const message = given.exc_message;
  return {
    exc_type: typeof given.exc_type === "string" ? given.exc_type : "Exception",
    exc_message: Array.isArray(message) ? message : message === undefined ? [value] : [message],
    exc_module: typeof given.exc_module === "string" ? given.exc_module : null,
  };
}
