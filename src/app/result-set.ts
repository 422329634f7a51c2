/** Results of several tasks, waited for together: Celery's ResultSet and GroupResult. */
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { READY_STATES, type ResultTuple } from "../protocol/result.ts";
import type { AsyncResult, ResultSource } from "./async-result.ts";
import { followResults } from "./follow-results.ts";
import type { TaskError, TaskRevokedError } from "./task-error.ts";

/** One task's, or a group's, which is a list of such. */
export type AnyResult<Result = unknown> = AsyncResult<Result> | GroupResult<Result>;

export interface WaitOptions {
  /** For all of them together. Default: no limit. */
  readonly timeout?: Duration;
  readonly signal?: AbortSignal;
}

/** What a set of results may not do is one task's: a value of each, in the order of the set. */
export class ResultSet<Result = unknown> implements Iterable<AnyResult<Result>> {
  readonly results: readonly AnyResult<Result>[];
  readonly #source: ResultSource;

  constructor(results: readonly AnyResult<Result>[], source: ResultSource) {
    this.results = results;
    this.#source = source;
  }

  get length(): number {
    return this.results.length;
  }

  [Symbol.iterator](): Iterator<AnyResult<Result>> {
    return this.results[Symbol.iterator]();
  }

  /**
   * Wait for all, and answer what each returned, in the order of the set; a group within it gives a list. Any number of results is
   * waited for by one subscription.
   *
   * @param options.propagate false: what did not succeed is answered as its error, in its place. Default true
   * @throws {TaskError} {TaskRevokedError} of the first that ends without success, as soon as it does
   * @throws {TimeoutError} they have not all ended yet
   */
  async get(options?: WaitOptions & { readonly propagate?: true }): Promise<Result[]>;
  async get(options: WaitOptions & { readonly propagate: boolean }): Promise<(Result | TaskError | TaskRevokedError)[]>;
  async get({ propagate = true, ...options }: WaitOptions & { readonly propagate?: boolean } = {}): Promise<unknown[]> {
    const values = new Map<string, unknown>();
    for await (const { id, value } of this.#ends(options, propagate)) values.set(id, value);
    return valuesOf(this.results, values);
  }

  /** Celery's other word for `get`. */
  join(options?: WaitOptions): Promise<Result[]> {
    return this.get(options);
  }

  /**
   * Each as it ends: its id, and its value or error. Ends when all have.
   * @throws {TimeoutError} they have not all ended yet
   */
  async *iterate(
    options: WaitOptions = {},
  ): AsyncGenerator<{ readonly id: string; readonly value: Result | TaskError | TaskRevokedError }, void, undefined> {
    yield* this.#ends(options, false) as AsyncGenerator<{ id: string; value: Result }>;
  }

  /** All have ended, one way or another. */
  async ready(): Promise<boolean> {
    return (await this.#states()).every((state) => READY_STATES.has(state));
  }

  /** All succeeded. */
  async successful(): Promise<boolean> {
    return (await this.#states()).every((state) => state === "SUCCESS");
  }

  /** At least one failed. */
  async failed(): Promise<boolean> {
    return (await this.#states()).includes("FAILURE");
  }

  /** At least one has not ended. */
  async waiting(): Promise<boolean> {
    return (await this.#states()).some((state) => !READY_STATES.has(state));
  }

  /** How many succeeded. */
  async completedCount(): Promise<number> {
    return (await this.#states()).filter((state) => state === "SUCCESS").length;
  }

  /** As `AsyncResult.revoke`, of each. */
  async revoke(options: { readonly terminate?: boolean } = {}): Promise<void> {
    await Promise.all(this.#tasks().map((each) => each.revoke(options)));
  }

  /** Remove the stored results. */
  async forget(): Promise<void> {
    await Promise.all(this.#tasks().map((each) => each.forget()));
  }

  async *#ends(
    { timeout, signal }: WaitOptions,
    propagate: boolean,
  ): AsyncGenerator<{ id: string; value: unknown }, void, undefined> {
    const byId = new Map(this.#tasks().map((each) => [each.id, each]));
    const timeoutMs = timeout === undefined ? Number.POSITIVE_INFINITY : parseDurationMs(timeout, "timeout");
    const what = byId.size === 1 ? `task ${[...byId.keys()][0]}` : `the ${byId.size} tasks`;
    const options = { taskIds: [...byId.keys()], endsOnly: true, timeoutMs, signal, what };
    for await (const document of followResults(this.#source, options)) {
      const value = byId.get(document.task_id)?.open(document, propagate);
      yield { id: document.task_id, value };
    }
  }

  async #states(): Promise<string[]> {
    return Promise.all(this.#tasks().map((each) => each.state()));
  }

  #tasks(): AsyncResult<Result>[] {
    return leavesOf(this.results);
  }
}

/** The results of a group: its id, and the result before it in a chain. */
export class GroupResult<Result = unknown> extends ResultSet<Result> {
  readonly id: string;
  readonly parent: AnyResult | null;

  constructor(id: string, results: readonly AnyResult<Result>[], parent: AnyResult | null, source: ResultSource) {
    super(results, source);
    this.id = id;
    this.parent = parent;
  }

  /** `[[id, parent], [tuple, …]]`, as messages and results carry it. */
  asTuple(): ResultTuple {
    return [[this.id, this.parent?.asTuple() ?? null], this.results.map((each) => each.asTuple())];
  }

  toJSON(): string {
    return this.id;
  }
}

function leavesOf<Result>(results: readonly AnyResult<Result>[]): AsyncResult<Result>[] {
  const leaves: AsyncResult<Result>[] = [];
  for (const each of results) {
    if (each instanceof ResultSet) for (const leaf of leavesOf(each.results)) leaves.push(leaf);
    else leaves.push(each);
  }
  return leaves;
}

function valuesOf(results: readonly AnyResult[], values: ReadonlyMap<string, unknown>): unknown[] {
  return results.map((each) => (each instanceof ResultSet ? valuesOf(each.results, values) : values.get(each.id)));
}
