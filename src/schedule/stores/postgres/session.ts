/**
 * The operations of the schema, called by name: each is one statement, or several of them in one. What fails becomes an error of the
 * contract here: a change whose answer was lost is unknown, anything else was not done.
 */
import { randomInt } from "node:crypto";
import { type Clock, systemClock } from "../../../kit/clock.ts";
import { sleep } from "../../../kit/deadline.ts";
import { StoreUnavailableError } from "../../../kit/store-errors.ts";
import type { StoreLimits } from "../../store.ts";
import { AnswerLostError, isRetryable, isRolledBack, type Place, statementFailure, wordsOf } from "./failure.ts";
import { quoted } from "./names.ts";
import type { PostgresPool } from "./pool.ts";

/** Parameters of an operation, as JSON; those that all have are put in here. */
export type Params = Readonly<Record<string, unknown>>;

/** An operation by its name in the schema. */
export interface Call {
  readonly op: string;
  readonly params: Params;
}

export interface SessionOptions {
  readonly pool: PostgresPool;
  readonly place: Place;
  readonly limits: StoreLimits;
  /** The time of a test; undefined: the server's. */
  readonly clock: Clock | undefined;
  /** How long to wait for another transaction's lock, ms. */
  readonly lockWaitMs: number;
  /** The server's own commits do not wait for the disk: ours do. */
  readonly mustAskForSync: () => boolean;
}

/** Deadlocks and lost races are tried again so often. */
const TRIES = 6;
const RETRY_MS = 20;

export class Session {
  /** Tells our own hints from those of others. */
  readonly by = randomInt(1, 2 ** 47);
  readonly #options: SessionOptions;
  readonly #schema: string;
  #ns = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#schema = quoted(options.place.schema);
  }

  get limits(): StoreLimits {
    return this.#options.limits;
  }

  get ns(): number {
    return this.#ns;
  }

  /** The number of the namespace, for all that follows. */
  async enter(namespace: string): Promise<void> {
    const { pool } = this.#options;
    const text = `SELECT ${this.#schema}.namespace(to_jsonb($1::text)) AS a0`;
    const [ns] = await this.#retrying(1, () => pool.query(text, [namespace]));
    this.#ns = Number(ns);
  }

  /** Ask, and change nothing. @throws {StoreUnavailableError} no answer came */
  async read(op: string, params: Params): Promise<unknown> {
    try {
      const [answer] = await this.#call([{ op, params }], "");
      return answer;
    } catch (error) {
      if (error instanceof AnswerLostError) throw new StoreUnavailableError(error.message, { cause: error.cause });
      throw error;
    }
  }

  /** A query of the reader's own making. @throws {StoreUnavailableError} no answer came */
  async select(
    text: (schema: string) => string,
    values: readonly unknown[],
  ): Promise<readonly Record<string, unknown>[]> {
    const { pool, place } = this.#options;
    try {
      return await pool.query(text(this.#schema), values);
    } catch (error) {
      if (error instanceof AnswerLostError) throw new StoreUnavailableError(error.message, { cause: error.cause });
      throw isRolledBack(error) ? statementFailure(error, place) : error;
    }
  }

  /**
   * Do the calls, in this order, in one transaction: one statement, one trip. An answer for each.
   * @throws {AnswerLostError} they may have been done, all or none
   */
  async change(calls: readonly Call[]): Promise<unknown[]> {
    const { lockWaitMs, mustAskForSync } = this.#options;
    const sync = mustAskForSync() ? "set_config('synchronous_commit', 'on', true), " : "";
    return this.#call(calls, `set_config('lock_timeout', '${lockWaitMs}ms', true), ${sync}`);
  }

  #call(calls: readonly Call[], before: string): Promise<unknown[]> {
    const { clock, limits, pool } = this.#options;
    const columns = calls.map(({ op }, i) => `${this.#schema}.${op}($${i + 1}::text::jsonb) AS a${i}`);
    const text = `SELECT ${before}${columns.join(", ")}`;
    return this.#retrying(calls.length, () => {
      const common = {
        ns: this.#ns,
        by: this.by,
        keep: limits.keepMs,
        keepKeyed: limits.keepKeyedMs,
        crashLimit: limits.crashLimit,
        lostLimit: limits.lostLimit,
        ...(clock === undefined ? {} : { now: clock.wallMs() }),
      };
      return pool.query(
        text,
        calls.map(({ params }) => JSON.stringify({ ...common, ...params })),
      );
    });
  }

  /** @param count of answers: columns a0, a1 … of the one row */
  async #retrying(count: number, query: () => Promise<readonly Record<string, unknown>[]>): Promise<unknown[]> {
    const { place } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        const [row = {}] = await query();
        return Array.from({ length: count }, (_, i) => row[`a${i}`]);
      } catch (error) {
        if (!isRolledBack(error)) throw error;
        if (!isRetryable(error)) throw statementFailure(error, place);
        if (tries === TRIES) {
          const text = `${place.shown}: ${TRIES} tries lost to other transactions (${wordsOf(error)})`;
          throw new StoreUnavailableError(text, { cause: error });
        }
        await sleep(randomInt(1, RETRY_MS * tries), systemClock);
      }
    }
  }
}
