/**
 * Results in Redis, as Celery's own backend keeps them (PROTOCOL 10.1): a key for each, told on the channel of the same name. Python
 * reads what is kept here, and is told of it; so are we of what Python keeps.
 *
 * Unlike Celery's a store is one step, so that a SUCCESS is never overwritten, whoever is slow; and waiting needs two connections, for
 * any number of results.
 */
import { type Clock, systemClock } from "../kit/clock.ts";
import { withDeadline } from "../kit/deadline.ts";
import { ClosedError, messageOf, TimeoutError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { StoreUnavailableError } from "../kit/store-errors.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { DialOptions } from "../redis/dial.ts";
import { placeOf } from "../redis/place.ts";
import type { ResultBackend } from "./backend.ts";
import { checkStore, checkSweep, checkTaskId } from "./check.ts";
import { ResultFormat } from "./format.ts";
import { Line } from "./redis/line.ts";
import { transportOptions } from "./redis/options.ts";
import { STORE } from "./redis/scripts.ts";
import { type KeyWatch, Subscriptions } from "./redis/subscriptions.ts";

export interface RedisResultsOptions {
  /** Celery's `result_backend_transport_options`. */
  readonly transport?: Readonly<Record<string, unknown>>;
  /** Celery's `redis_backend_use_ssl`. */
  readonly ssl?: boolean | Readonly<Record<string, unknown>> | undefined;
  /** Where the URL has none. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** How long the server may take to let us in, ms. Default 4,000. */
  readonly connectMs?: number | undefined;
  /** How long it may take to answer, ms. Default 120,000, as in Celery. */
  readonly answerMs?: number | undefined;
  /** How long an operation is tried again while Redis is away, ms. Default 20,000, as in Celery. */
  readonly patienceMs?: number | undefined;
  /** How documents are written. Default JSON. */
  readonly format?: ResultFormat;
  readonly log?: Pick<Logger, "info" | "warn" | "error">;
}

const CONNECT_MS = 4_000;
const ANSWER_MS = 120_000;
const PATIENCE_MS = 20_000;
const NO_LOG = { info: () => undefined, warn: () => undefined, error: () => undefined };
/** Documents read by one MGET: each may be megabytes. */
const READ_STEP = 100;

/**
 * @param text `redis://user:password@host:6379/0`, `rediss://…`, `redis+sentinel://host:26379,host/MASTER/0`, or Celery's
 *   `sentinel://host:26379;sentinel://host:26379` with `master_name`
 * @throws {StoreUnavailableError} nobody answers there
 * @throws {StorePolicyError} it refuses our user
 * @throws {InvalidInputError} {InvalidConfigError} the URL, or an option; {MissingPeerError} ioredis
 */
export async function openRedisResults(text: string, options: RedisResultsOptions = {}): Promise<RedisResults> {
  const { prefix, patienceMs, unknown, masterName, sentinelUsername, sentinelPassword } = transportOptions(
    options.transport ?? {},
  );
  const { ssl, username, password, log = NO_LOG } = options;
  const { url, tls } = placeOf(text, {
    what: "result backend",
    masterSetting: "result_backend_transport_options.master_name",
    ...{ masterName, sentinelUsername, sentinelPassword, ssl, username, password },
  });
  if (unknown.length > 0) {
    log.warn(`result_backend_transport_options has what is not known here: ${unknown.join(", ")}; it has no effect`);
  }
  const results = new RedisResults({
    dial: {
      url,
      tls,
      what: "a result backend in Redis",
      name: "lovage-results",
      clock: systemClock,
      connectMs: options.connectMs ?? CONNECT_MS,
    },
    prefix,
    answerMs: options.answerMs ?? ANSWER_MS,
    patienceMs: options.patienceMs ?? patienceMs ?? PATIENCE_MS,
    format: options.format ?? new ResultFormat(),
    log,
  });
  await results.open();
  return results;
}

interface Parts {
  readonly dial: DialOptions;
  readonly prefix: string;
  readonly answerMs: number;
  readonly patienceMs: number;
  readonly format: ResultFormat;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
}

export class RedisResults implements ResultBackend {
  readonly url: string;
  readonly #line: Line;
  readonly #subscriptions: Subscriptions;
  readonly #prefix: string;
  readonly #patienceMs: number;
  readonly #format: ResultFormat;
  readonly #clock: Clock;
  readonly #log: Pick<Logger, "warn">;
  #closing: Promise<void> | undefined;

  /** Not open yet: `openRedisResults`. */
  constructor({ dial, prefix, answerMs, patienceMs, format, log }: Parts) {
    const { encoding } = format;
    this.url = dial.url.shown;
    this.#prefix = `${prefix}celery-task-meta-`;
    this.#patienceMs = patienceMs;
    this.#format = format;
    this.#clock = dial.clock;
    this.#log = log;
    this.#line = new Line({ dial, answerMs, patienceMs, encoding, log });
    this.#subscriptions = new Subscriptions({ dial, answerMs, encoding, read: (keys) => this.#read(keys) });
  }

  open(): Promise<void> {
    return this.#line.open();
  }

  async store(document: ResultDocument, expiresMs: number): Promise<void> {
    this.#checkOpen();
    checkStore(document, expiresMs);
    const { name } = this.#format;
    const written = Buffer.from(this.#format.encode(document));
    await this.#line.run(STORE, [this.#keyOf(document.task_id)], [written, String(expiresMs), name]);
  }

  /** @throws {DecodeError} what stands there is no document in the format */
  async get(taskId: string): Promise<ResultDocument | undefined> {
    this.#checkOpen();
    checkTaskId(taskId);
    const text = (await this.#line.call("GET", [this.#keyOf(taskId)])) as string | null;
    return text === null ? undefined : this.#format.decodeText(text);
  }

  async watch(taskId: string, onChange: (document: ResultDocument) => void): Promise<{ stop(): void }> {
    this.#checkOpen();
    checkTaskId(taskId);
    const watch: KeyWatch = this.#subscriptions.add(this.#keyOf(taskId), (text) => {
      // What stands is refused to who asks for it; what comes later, nobody asks for.
      const document = watch.isNew ? this.#format.decodeText(text) : this.#readable(taskId, text);
      if (document !== undefined) onChange(document);
    });
    try {
      await withDeadline(watch.joined, this.#patienceMs, this.#clock, `${this.url}'s answer`);
    } catch (error) {
      this.#subscriptions.remove(watch);
      this.#checkOpen();
      if (!(error instanceof TimeoutError)) throw error;
      const why = this.#subscriptions.why ?? error;
      throw new StoreUnavailableError(`${this.url} cannot be listened to: ${messageOf(why)}`, { cause: why });
    }
    this.#checkOpen();
    return { stop: () => this.#subscriptions.remove(watch) };
  }

  async forget(taskId: string): Promise<void> {
    this.#checkOpen();
    checkTaskId(taskId);
    const key = this.#keyOf(taskId);
    await this.#line.call("DEL", [key]);
    this.#subscriptions.forget(key);
  }

  /** Redis removes what has expired by itself. */
  async sweep(limit: number): Promise<number> {
    this.#checkOpen();
    checkSweep(limit);
    return 0;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#subscriptions.close();
    await this.#line.close();
  }

  async #read(keys: readonly string[]): Promise<(string | null)[]> {
    const texts: (string | null)[] = [];
    for (let at = 0; at < keys.length; at += READ_STEP) {
      texts.push(...((await this.#line.call("MGET", keys.slice(at, at + READ_STEP))) as (string | null)[]));
    }
    return texts;
  }

  #readable(taskId: string, text: string): ResultDocument | undefined {
    try {
      return this.#format.decodeText(text);
    } catch (error) {
      this.#log.warn(
        `A result of task ${taskId} cannot be read, and who waits for it goes on waiting: ${messageOf(error)}`,
      );
      return undefined;
    }
  }

  #keyOf(taskId: string): string {
    return this.#prefix + taskId;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError(`the result backend ${this.url} was closed: open it again`);
  }
}
