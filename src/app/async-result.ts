/** A handle on what became of a task, by its id: Celery's AsyncResult. */
import type { Clock } from "../kit/clock.ts";
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { ContractError, TimeoutError } from "../kit/errors.ts";
import type { Ask } from "../pool/asks.ts";
import { decodeJson } from "../protocol/json.ts";
import { READY_STATES, type ResultDocument, type ResultTuple, type TaskState } from "../protocol/result.ts";
import type { CancelAnswer } from "../schedule/callback.ts";
import type { Config } from "./config.ts";
import { type RevokeOptions, revokeTasks } from "./control.ts";
import { followResults } from "./follow-results.ts";
import { childrenOf, dateDoneOf, metaOf, type ResultMeta } from "./result-meta.ts";
import { type AnyResult, GroupResult, type WaitOptions } from "./result-set.ts";
import { EXCEPTION_STATES, errorOf, type TaskError, type TaskRevokedError } from "./task-error.ts";

/** What an AsyncResult needs of its app. */
export interface ResultSource {
  readonly ask: Ask;
  readonly clock: Clock;
  /** Read at each use: the command line may change it before anything is opened. */
  readonly config: () => Config;
}

export interface GetOptions extends WaitOptions {
  /** Told each state before the last, as `updates()` has it. */
  readonly onMessage?: (update: ResultUpdate) => void;
}

/**
 * A state that a task was in. Before its end `meta` is what was stored with it: what the task gave to `updateState`, `{ pid, hostname }` of
 * STARTED, the error that a RETRY is for. At its end: what it returned, or its error.
 */
export type ResultUpdate<Result = unknown, Meta = unknown> =
  | { readonly ready: false; readonly state: TaskState; readonly meta: Meta }
  | { readonly ready: true; readonly state: "SUCCESS"; readonly meta: Result }
  | { readonly ready: true; readonly state: "FAILURE" | "REVOKED"; readonly meta: TaskError | TaskRevokedError };

/** One question to the worker or backend is this long at most; waiting longer asks again. */
const WAIT_STEP_MS = 300_000;

export class AsyncResult<Result = unknown> {
  readonly id: string;
  readonly #source: ResultSource;
  readonly #parent: AnyResult | undefined;

  /** @param parent the result before it in a chain, where that is known */
  constructor(id: string, source: ResultSource, parent?: AnyResult | null) {
    if (typeof id !== "string" || id === "") throw new EmptyTaskIdError("a task id is a non-empty text");
    this.id = id;
    this.#source = source;
    this.#parent = parent ?? undefined;
  }

  /**
   * Wait for the end and answer what the task returned.
   *
   * @param options.timeout default: no limit
   * @param options.propagate false: answer the error of a task that did not succeed, in place of throwing it. Default true
   * @throws {TaskError} it failed
   * @throws {TaskRevokedError} it was revoked, or expired
   * @throws {TimeoutError} it has not ended yet
   */
  async get(options?: GetOptions & { readonly propagate?: true }): Promise<Result>;
  async get(options: GetOptions & { readonly propagate: boolean }): Promise<Result | TaskError | TaskRevokedError>;
  async get({ propagate = true, ...options }: GetOptions & { readonly propagate?: boolean } = {}): Promise<unknown> {
    const { timeout, signal, onMessage } = options;
    if (signal === undefined && onMessage === undefined) return this.open(await this.#end(timeout), propagate);
    for await (const update of this.updates<unknown>({ ...options })) {
      if (!update.ready) onMessage?.(update);
      else if (update.state !== "SUCCESS" && propagate) throw update.meta;
      else return update.meta;
    }
    throw new TimeoutError(`task ${this.id} was not followed to its end`);
  }

  /**
   * Each state from now on, the one that stands first; the last is its end. States that follow one another faster than they are taken
   * may be passed over.
   *
   * ```ts
   * for await (const { state, meta } of result.updates<{ done: number }>()) console.log(state, meta);
   * ```
   * @throws {TimeoutError} it has not ended yet
   */
  async *updates<Meta = unknown>({
    timeout,
    signal,
  }: WaitOptions = {}): AsyncGenerator<ResultUpdate<Result, Meta>, void, undefined> {
    const timeoutMs = timeout === undefined ? Number.POSITIVE_INFINITY : parseDurationMs(timeout, "timeout");
    const what = `task ${this.id}`;
    const options = { taskIds: [this.id], endsOnly: false, timeoutMs, signal, what };
    for await (const document of followResults(this.#source, options)) {
      const { status: state } = document;
      // The task's types say what it returns, the caller's what its states carry; JSON has carried both.
      const meta = contentOf(document);
      yield { ready: READY_STATES.has(state), state, meta } as ResultUpdate<Result, Meta>;
    }
  }

  /** "PENDING" when nothing is known of it. */
  async state(): Promise<TaskState> {
    return (await this.#document())?.status ?? "PENDING";
  }

  /** Celery's other word for `state`. */
  status(): Promise<TaskState> {
    return this.state();
  }

  /** It ended, one way or another. */
  async ready(): Promise<boolean> {
    return READY_STATES.has(await this.state());
  }

  async successful(): Promise<boolean> {
    return (await this.state()) === "SUCCESS";
  }

  async failed(): Promise<boolean> {
    return (await this.state()) === "FAILURE";
  }

  /** What is stored with the state: what it returned, its error, the meta of a custom state; undefined when nothing is. */
  async result(): Promise<unknown> {
    const document = await this.#document();
    return document === undefined ? undefined : contentOf(document);
  }

  /** Celery's other word for `result`. */
  info(): Promise<unknown> {
    return this.result();
  }

  /** All that is stored of it, in one read. */
  async meta(): Promise<ResultMeta | undefined> {
    const document = await this.#document();
    return document === undefined ? undefined : metaOf(document);
  }

  /** The stack where it failed. */
  async traceback(): Promise<string | undefined> {
    return (await this.#document())?.traceback ?? undefined;
  }

  /** When it ended. */
  async dateDone(): Promise<Date | undefined> {
    const document = await this.#document();
    return document === undefined ? undefined : dateDoneOf(document);
  }

  /** What the task sent, as far as it is stored: results, and of a group a GroupResult. */
  async children(): Promise<AnyResult[]> {
    const document = await this.#document();
    const children = document === undefined ? null : childrenOf(document);
    return (children ?? []).flatMap((tuple) => resultFromTuple(tuple, this.#source) ?? []);
  }

  /** Of the task that sent it; the result before it in a chain, where that is known. */
  async parent(): Promise<AnyResult | undefined> {
    if (this.#parent !== undefined) return this.#parent;
    const parentId = (await this.#document())?.parent_id;
    return parentId === undefined || parentId === "" ? undefined : new AsyncResult(parentId, this.#source);
  }

  // With `resultExtended` these are stored, too.

  async name(): Promise<string | undefined> {
    return (await this.#document())?.name;
  }

  async args(): Promise<readonly unknown[] | undefined> {
    return (await this.meta())?.args;
  }

  async kwargs(): Promise<Readonly<Record<string, unknown>> | undefined> {
    return (await this.meta())?.kwargs;
  }

  /** Node name of the worker. */
  async worker(): Promise<string | undefined> {
    return (await this.#document())?.worker;
  }

  async retries(): Promise<number | undefined> {
    return (await this.#document())?.retries;
  }

  async queue(): Promise<string | undefined> {
    return (await this.#document())?.queue;
  }

  /**
   * The task must not start any more: a waiting callback is cancelled, a message still on its way will be discarded.
   * Answers what cancel answers for its callback; "unknown" when it is not in the schedule.
   *
   * @param options.terminate what runs already is asked to end, and then killed
   */
  async revoke(options: RevokeOptions = {}): Promise<CancelAnswer["answer"]> {
    const [answer] = await revokeTasks(this.#source, [this.id], options);
    return answer ?? "unknown";
  }

  /** Remove the stored result, and those before it in its chain. */
  async forget(): Promise<void> {
    await this.#source.ask("result.forget", { taskId: this.id });
    await this.#parent?.forget();
  }

  /** `[[id, parent], null]`, as messages and results carry it. */
  asTuple(): ResultTuple {
    return [[this.id, this.#parent?.asTuple() ?? null], null];
  }

  toJSON(): string {
    return this.id;
  }

  /** What a final document says to who waits. @throws {TaskError} {TaskRevokedError} unless `propagate` is false */
  open(document: ResultDocument, propagate: boolean): unknown {
    const value = contentOf(document);
    if (propagate && document.status !== "SUCCESS") throw value;
    return value;
  }

  async #end(timeout: Duration | undefined): Promise<ResultDocument> {
    const { ask, clock } = this.#source;
    const limitMs = timeout === undefined ? Number.POSITIVE_INFINITY : parseDurationMs(timeout, "timeout");
    const endMs = clock.monoMs() + limitMs;
    for (;;) {
      const leftMs = Math.max(0, Math.ceil(endMs - clock.monoMs()));
      const document = await ask("result.wait", { taskId: this.id, timeoutMs: Math.min(leftMs, WAIT_STEP_MS) });
      if (document !== null) return document;
      if (clock.monoMs() >= endMs) throw new TimeoutError(`task ${this.id} has not ended within ${limitMs / 1_000} s`);
    }
  }

  async #document(): Promise<ResultDocument | undefined> {
    return (await this.#source.ask("result.get", { taskId: this.id })) ?? undefined;
  }
}

export class EmptyTaskIdError extends ContractError {
  readonly code = "ERR_EMPTY_TASK_ID";
}

/** The handle that a tuple stands for (PROTOCOL 10.2): of a task, or of a group with its members. Undefined: it is none. */
export function resultFromTuple(tuple: unknown, source: ResultSource): AnyResult | undefined {
  if (!Array.isArray(tuple)) return undefined;
  const [head, members] = tuple;
  const [id, before] = Array.isArray(head) ? head : [head];
  if (typeof id !== "string" || id === "") return undefined;
  // Old releases name the parent by its id alone.
  const parent = resultFromTuple(typeof before === "string" ? [before, null] : before, source);
  if (!Array.isArray(members)) return new AsyncResult(id, source, parent);
  const results = members.flatMap((each) => resultFromTuple(each, source) ?? []);
  return new GroupResult(id, results, parent ?? null, source);
}

function contentOf(document: ResultDocument): unknown {
  return EXCEPTION_STATES.has(document.status) ? errorOf(document) : decodeJson(document.result);
}
