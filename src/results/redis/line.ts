/**
 * The connection for commands: one at a time, opened again by itself when it was lost.
 *
 * Whatever is asked here may be asked twice: a document that is stored again is the same document, and says so to who listens. So
 * what was lost with the connection is sent again on the next one, as Celery does it, until the patience of the backend is over.
 */
import type { Command, Redis } from "ioredis";
import { FullJitterBackoff } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import { sleep, withDeadline } from "../../kit/deadline.ts";
import { ClosedError, ContractError, LovageError, messageOf } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import { StoreUnavailableError } from "../../kit/store-errors.ts";
import { type DialOptions, dial, hangUp } from "../../redis/dial.ts";
import { isElsewhere, replyCode, withoutCommand } from "../../redis/failure.ts";
import { refusedResult } from "./failure.ts";
import type { Script } from "./scripts.ts";

export interface LineOptions {
  readonly dial: DialOptions;
  /** How long Redis may take to answer, ms. */
  readonly answerMs: number;
  /** How long an operation is tried again while Redis is away, ms. */
  readonly patienceMs: number;
  /** Of bulk strings in answers. */
  readonly encoding: "utf8" | "latin1";
  readonly log: Pick<Logger, "info" | "warn" | "error">;
}

type Arg = string | number | Buffer;

const RECONNECT = { firstMs: 50, capMs: 2_000 } as const;

export class Line {
  readonly #options: LineOptions;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  /** Who waits for a connection. */
  readonly #waiting = new Set<() => void>();
  #command: typeof Command | undefined;
  #client: Redis | undefined;
  /** Why there is no connection now. */
  #why: LovageError;
  #closed: ClosedError | undefined;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#clock = options.dial.clock;
    this.#why = new StoreUnavailableError(`${this.shown} is not connected yet`);
  }

  get shown(): string {
    return this.#options.dial.url.shown;
  }

  /** The first connection. @throws {StoreUnavailableError} {StorePolicyError} {MissingPeerError} */
  async open(): Promise<void> {
    const { Command } = await import("ioredis").catch(() => ({ Command: undefined })); // `dial` says that it is missing
    this.#command = Command;
    await this.#connect();
  }

  /**
   * @throws {StoreUnavailableError} it was away for too long
   * @throws {StoreFullError} {StorePolicyError} {StoreSchemaError} {StoreOperationError} it was refused
   * @throws {ClosedError}
   */
  call(command: string, args: readonly Arg[]): Promise<unknown> {
    return this.#keep(this.#patiently((client) => this.#answer(client, command, args)));
  }

  run(script: Script, keys: readonly string[], args: readonly Arg[]): Promise<unknown> {
    return this.#keep(
      this.#patiently(async (client) => {
        try {
          return await this.#answer(client, "EVALSHA", [script.sha, keys.length, ...keys, ...args]);
        } catch (error) {
          // The server was restarted, or somebody flushed its scripts: nothing was done, so it is told the whole text.
          if (replyCode(error) !== "NOSCRIPT") throw error;
          return await this.#answer(client, "EVAL", [script.text, keys.length, ...keys, ...args]);
        }
      }),
    );
  }

  /** Refuse further calls; wait for those under way while there is a connection; hang up. */
  async close(): Promise<void> {
    this.#closed ??= new ClosedError(`the result backend ${this.shown} was closed: open it again`);
    this.#closing.abort(this.#closed);
    this.#wake();
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    const client = this.#client;
    this.#client = undefined;
    if (client !== undefined) hangUp(client);
  }

  async #keep<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(work);
    }
  }

  async #patiently(ask: (client: Redis) => Promise<unknown>): Promise<unknown> {
    if (this.#closed !== undefined) throw this.#closed;
    const endMs = this.#clock.monoMs() + this.#options.patienceMs;
    for (;;) {
      const client = this.#client ?? (await this.#connected(endMs));
      try {
        return await ask(client);
      } catch (thrown) {
        const error = withoutCommand(thrown as Error);
        const lost = replyCode(error) === undefined || isElsewhere(error) || replyCode(error) === "LOADING";
        if (!lost) throw refusedResult(error, this.shown);
        this.#drop(client, error);
        if (this.#closed !== undefined) throw this.#closed;
        if (this.#clock.monoMs() >= endMs) throw this.#why;
      }
    }
  }

  /** @throws {StoreUnavailableError} there was none until then; {ClosedError} */
  #connected(endMs: number): Promise<Redis> {
    return new Promise((resolve, reject) => {
      const leftMs = Math.max(0, endMs - this.#clock.monoMs());
      const timer = this.#clock.timeout(() => look(true), Math.min(leftMs, LONGEST_TIMEOUT_MS));
      const look = (late: boolean) => {
        if (this.#client === undefined && this.#closed === undefined && !late) return;
        timer.cancel();
        this.#waiting.delete(wake);
        if (this.#closed !== undefined) reject(this.#closed);
        else if (this.#client !== undefined) resolve(this.#client);
        else reject(this.#why);
      };
      const wake = () => look(false);
      this.#waiting.add(wake);
      look(false);
    });
  }

  #wake(): void {
    for (const each of [...this.#waiting]) each();
  }

  async #answer(client: Redis, name: string, args: readonly Arg[]): Promise<unknown> {
    if (client.status !== "ready" || this.#command === undefined) throw new Error("the connection is not ready");
    const command = new this.#command(name, [...args], { replyEncoding: this.#options.encoding });
    const answer = client.sendCommand(command) as Promise<unknown>;
    return await withDeadline(answer, this.#options.answerMs, this.#clock, `${this.shown}'s answer`);
  }

  async #connect(): Promise<void> {
    const { client } = await dial(this.#options.dial);
    if (this.#closed !== undefined || client.status !== "ready") {
      hangUp(client);
      throw this.#closed ?? new StoreUnavailableError(`${this.shown} was lost again`);
    }
    this.#client = client;
    let problem: unknown;
    client.on("error", (error) => {
      problem = error;
    });
    client.once("end", () => this.#drop(client, problem));
    this.#wake();
  }

  /** The connection is of no use any more. */
  #drop(client: Redis, reason: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    const why = reason === undefined ? "it was closed" : messageOf(reason);
    this.#why = new StoreUnavailableError(`the connection to ${this.shown} was lost: ${why}`, { cause: reason });
    hangUp(client);
    if (this.#closed !== undefined) return;
    this.#options.log.warn(`${this.#why.message}; trying again`);
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    const backoff = new FullJitterBackoff(RECONNECT);
    while (this.#closed === undefined) {
      try {
        await sleep(backoff.nextMs(), this.#clock, this.#closing.signal, { ref: false });
        await this.#connect();
        this.#options.log.info(`Connected to the result backend ${this.shown} again`);
        return;
      } catch (error) {
        if (this.#closed !== undefined) return;
        const why =
          error instanceof LovageError ? error : new StoreUnavailableError(messageOf(error), { cause: error });
        // What only an operator can heal is told each time that it is another thing.
        if (why instanceof ContractError && why.message !== this.#why.message) this.#options.log.error(why.message);
        this.#why = why;
      }
    }
  }
}

const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
