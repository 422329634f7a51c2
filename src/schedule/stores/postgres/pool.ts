/**
 * The connections to PostgreSQL. Every statement is a transaction of its own, sent in one piece: no connection ever stands with a
 * transaction open, so nothing of a client that stalls or dies stays locked, and a pooler in transaction mode may stand between.
 *
 * Each wait has an end. A connection whose answer does not come is destroyed, and what was asked is unknown. A new one is checked as the
 * first was (`truth.ts`) before it is used.
 */
import type { Client, ClientConfig, Pool, PoolClient } from "pg";
import { type Clock, systemClock } from "../../../kit/clock.ts";
import { withDeadline } from "../../../kit/deadline.ts";
import { ClosedError, LovageError, MissingPeerError, TimeoutError } from "../../../kit/errors.ts";
import { AnswerLostError, connectFailure, isRolledBack, type Place, statementFailure } from "./failure.ts";

export type Pg = typeof import("pg");

/** What is asked of a server, in plain values. */
export interface Querier {
  query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Record<string, unknown>[] }>;
}

export interface PoolOptions {
  readonly place: Place;
  /** Connections at most. */
  readonly connections: number;
  readonly connectMs: number;
  /** How long a statement may take, ms. */
  readonly answerMs: number;
  /** Look at the server behind a new connection. @throws it is not to be used */
  readonly check: (querier: Querier) => Promise<void>;
}

/** An idle connection is closed after so long. */
const IDLE_MS = 60_000;
const KEEP_ALIVE_MS = 10_000;

export class PostgresPool {
  readonly #options: PoolOptions;
  readonly #pool: Pool;
  readonly #clock: Clock = systemClock;
  readonly #checked = new WeakSet<PoolClient>();
  readonly #open = new Set<Promise<unknown>>();
  #opened = false;
  #closed = false;

  constructor(pg: Pg, options: PoolOptions) {
    this.#options = options;
    this.#pool = new pg.default.Pool({
      ...socketConfig(options.place.client, options.connectMs),
      // pg's own parsers are the application's to change: ours are ours.
      types: { getTypeParser: (oid: number, format?: "text" | "binary") => parserOf(pg, oid, format) },
      max: options.connections,
      idleTimeoutMillis: IDLE_MS,
      allowExitOnIdle: true,
    });
    // An idle one that dies is replaced by the next that is asked for.
    this.#pool.on("error", () => undefined);
  }

  /** The first connection has been: from now on what is wrong may pass. */
  opened(): void {
    this.#opened = true;
  }

  /**
   * One statement; the rows of its answer.
   *
   * @throws {AnswerLostError} it was sent, and what became of it is not known
   * @throws {StoreUnavailableError} and others: nothing was done
   */
  async query(text: string, values: readonly unknown[]): Promise<readonly Record<string, unknown>[]> {
    return this.#run(async (client) => (await client.query(text, [...values])).rows);
  }

  /** Several statements on one connection, which `work` leaves without a transaction open. */
  async use<T>(work: (querier: Querier) => Promise<T>, answerMs: number): Promise<T> {
    return this.#run((client) => work(client), answerMs);
  }

  /** Wait for what was asked, then end every connection. Twice is once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#open);
    await withDeadline(this.#pool.end(), this.#options.connectMs, this.#clock, "the end of the connections").catch(
      () => undefined,
    );
  }

  #run<T>(use: (client: PoolClient) => Promise<T>, answerMs = this.#options.answerMs): Promise<T> {
    if (this.#closed) return Promise.reject(new ClosedError(`the schedule ${this.#options.place.shown} was closed`));
    const running = this.#runOne(use, answerMs);
    this.#open.add(running);
    const done = () => this.#open.delete(running);
    running.then(done, done);
    return running;
  }

  async #runOne<T>(use: (client: PoolClient) => Promise<T>, answerMs: number): Promise<T> {
    const { place } = this.#options;
    const client = await this.#connect();
    let broken: unknown;
    const onError = (error: unknown) => {
      broken ??= error;
    };
    client.on("error", onError);
    try {
      const answer = await withDeadline(use(client), answerMs, this.#clock, `the answer of ${place.shown}`);
      client.removeListener("error", onError);
      client.release();
      return answer;
    } catch (error) {
      client.removeListener("error", onError);
      const isOurs = error instanceof LovageError && !(error instanceof TimeoutError);
      if ((isOurs || isRolledBack(error)) && broken === undefined) {
        client.release();
        throw error;
      }
      destroy(client);
      if (error instanceof TimeoutError) throw new AnswerLostError(error.message, { cause: error });
      throw new AnswerLostError(`the connection to ${place.shown} was lost before the answer`, { cause: error });
    }
  }

  async #connect(): Promise<PoolClient> {
    const { place, check, connectMs } = this.#options;
    let client: PoolClient;
    try {
      client = await this.#pool.connect();
    } catch (error) {
      if (this.#closed) throw new ClosedError(`the schedule ${place.shown} was closed`);
      throw connectFailure(error, place, !this.#opened);
    }
    if (this.#checked.has(client)) return client;
    const onError = () => undefined;
    client.on("error", onError);
    try {
      await withDeadline(check(client), connectMs, this.#clock, `the first answer of ${place.shown}`);
      client.removeListener("error", onError);
      this.#checked.add(client);
      return client;
    } catch (error) {
      destroy(client);
      if (error instanceof LovageError && !(error instanceof TimeoutError)) throw error;
      throw isRolledBack(error) ? statementFailure(error, place) : connectFailure(error, place, false);
    }
  }
}

const JSON_OID = 114;
const INT8_OID = 20;

function parserOf(pg: Pg, oid: number, format: "text" | "binary" = "text"): (text: string) => unknown {
  if (oid === JSON_OID) return (text) => JSON.parse(text) as unknown;
  if (oid === INT8_OID) return Number;
  return pg.default.types.getTypeParser(oid, format) as (text: string) => unknown;
}

/** How each connection is made. */
export function socketConfig(client: ClientConfig, connectMs: number): ClientConfig {
  return { ...client, connectionTimeoutMillis: connectMs, keepAlive: true, keepAliveInitialDelayMillis: KEEP_ALIVE_MS };
}

/** End it at once: a peer that is silently gone would keep it half closed for ever. */
export function destroy(client: Client | PoolClient): void {
  const { connection } = client as unknown as { readonly connection?: { readonly stream?: { destroy(): void } } };
  client.on("error", () => undefined);
  connection?.stream?.destroy();
  if ("release" in client) client.release(true);
  else void client.end().catch(() => undefined);
}

/** @throws {MissingPeerError} pg is not installed */
export async function loadPg(): Promise<Pg> {
  try {
    return await import("pg");
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new MissingPeerError("pg", "the PostgreSQL schedule", { cause: error });
  }
}
