/**
 * The line to Redis: one connection at a time, opened again by itself when it was lost, and the scripts that are called over it.
 *
 * A change that was written to the socket and not answered may have happened: it rejects with OutcomeUnknownError, and is never sent
 * again. What was not written, and what only reads, rejects with StoreUnavailableError; while there is no connection at once.
 */
import type { Command, Redis } from "ioredis";
import { FullJitterBackoff } from "../../../kit/backoff.ts";
import { type Clock, systemClock } from "../../../kit/clock.ts";
import { sleep, withDeadline } from "../../../kit/deadline.ts";
import { ClosedError, ContractError, LovageError, messageOf, OutcomeUnknownError } from "../../../kit/errors.ts";
import type { Logger } from "../../../kit/log.ts";
import { StoreUnavailableError } from "../../../kit/store-errors.ts";
import { type DialOptions, dial, hangUp } from "../../../redis/dial.ts";
import { isElsewhere, refusedCall, replyCode, withoutCommand } from "../../../redis/failure.ts";
import type { RedisUrl } from "../../../redis/url.ts";
import type { Durability } from "../../store.ts";
import { type Unpacked, unpack } from "./pack.ts";
import type { Script } from "./scripts.ts";
import { inspect, type Server } from "./server.ts";

export interface LineOptions {
  readonly url: RedisUrl;
  /** The one key that scripts are given: where the namespace is. */
  readonly key: string;
  /** How long the server may take to let us in, ms. */
  readonly connectMs: number;
  /** How long it may take to answer, ms. */
  readonly answerMs: number;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Look at what the server holds, before the line is used; after each connect. */
  readonly prepare: (call: Call, server: Server) => Promise<void>;
}

/** Call a script with its packed parameters. */
export type Call = (script: Script, params: Buffer, what?: string) => Promise<Unpacked>;

interface Up {
  readonly client: Redis;
  readonly server: Server;
}

/** Who we are to the server, and to who reads an error. */
export const DIAL = { what: "a schedule in Redis", name: "lovage-schedule" } as const;

const RECONNECT = { firstMs: 50, capMs: 2_000 } as const;

export class Line {
  readonly #options: LineOptions;
  readonly #dial: DialOptions;
  readonly #clock: Clock = systemClock;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  #command: typeof Command | undefined;
  #up: Up | undefined;
  /** Why there is no connection now. */
  #why: LovageError;
  #closed: ClosedError | undefined;
  #durability: Durability = "memory";

  constructor(options: LineOptions) {
    this.#options = options;
    this.#dial = { ...DIAL, url: options.url, key: options.key, clock: this.#clock, connectMs: options.connectMs };
    this.#why = new StoreUnavailableError(`${options.url.shown} is not connected yet`);
  }

  /** Of the server that was there last. */
  get durability(): Durability {
    return this.#durability;
  }

  get shown(): string {
    return this.#options.url.shown;
  }

  /** The first connection. @throws {StoreUnavailableError} {StorePolicyError} {StoreSchemaError} {MissingPeerError} */
  async open(): Promise<void> {
    const { Command } = await import("ioredis").catch(() => ({ Command: undefined })); // `dial` says that it is missing
    this.#command = Command;
    await this.#connect(false);
  }

  /**
   * @param what the change, as the object of a sentence, for the error that says that its outcome is unknown
   * @throws {StoreUnavailableError} {StoreFullError} {StorePolicyError} {ClosedError} nothing was done
   * @throws {OutcomeUnknownError} the answer of a change was lost
   */
  readonly call: Call = (script, params, what = "the change") => {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#up === undefined) return Promise.reject(this.#why);
    return this.#callOn(this.#up.client, script, params, what);
  };

  /** Refuse further calls; wait for those under way; hang up. */
  async close(): Promise<void> {
    this.#closed ??= new ClosedError(`the schedule ${this.shown} was closed`);
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    this.#closing.abort(this.#closed);
    const up = this.#up;
    this.#up = undefined;
    if (up !== undefined) hangUp(up.client);
  }

  async #callOn(client: Redis, script: Script, params: Buffer, what: string): Promise<Unpacked> {
    const calling = this.#answer(client, script, params);
    this.#underWay.add(calling);
    try {
      return unpack(await calling);
    } catch (error) {
      throw this.#failure(client, script, withoutCommand(error as Error), what);
    } finally {
      this.#underWay.delete(calling);
    }
  }

  async #answer(client: Redis, script: Script, params: Buffer): Promise<Buffer> {
    try {
      return await this.#send(client, "evalsha", script.sha, params);
    } catch (error) {
      // The server was restarted, or somebody flushed its scripts: nothing was done, so it is told the whole text.
      if (replyCode(error) !== "NOSCRIPT") throw error;
      return await this.#send(client, "eval", script.text, params);
    }
  }

  async #send(client: Redis, verb: "eval" | "evalsha", script: string, params: Buffer): Promise<Buffer> {
    if (client.status !== "ready" || this.#command === undefined) throw NOT_SENT;
    const command = new this.#command(verb, [script, 1, this.#options.key, params], { replyEncoding: null });
    const answer = client.sendCommand(command) as Promise<Buffer>;
    return await withDeadline(answer, this.#options.answerMs, this.#clock, `${this.shown}'s answer`);
  }

  #failure(client: Redis, script: Script, error: Error, what: string): Error {
    if (isElsewhere(error)) this.#drop(client, error);
    if (replyCode(error) !== undefined) return refusedCall(error, this.shown);
    // It was silent for too long: what it says later belongs to nobody.
    if (error instanceof LovageError) this.#drop(client, error);
    if (error === NOT_SENT) return new StoreUnavailableError(`${this.shown} is not connected`);
    if (script.writes) return new OutcomeUnknownError(what, undefined, { cause: error });
    return new StoreUnavailableError(`${this.shown} did not answer: ${messageOf(error)}`, { cause: error });
  }

  async #connect(isAgain: boolean): Promise<void> {
    const { client, address } = await dial(this.#dial);
    try {
      const server = await inspect(client, address, this.#dial);
      await this.#options.prepare((script, params, what) => this.#callOn(client, script, params, what ?? ""), server);
      if (client.status !== "ready") throw new StoreUnavailableError(`${this.shown} was lost again`);
      if (this.#closed !== undefined) throw this.#closed;
      this.#use({ client, server }, isAgain);
    } catch (error) {
      hangUp(client);
      throw error;
    }
  }

  #use(up: Up, isAgain: boolean): void {
    this.#up = up;
    const { durability, remark } = up.server;
    const { log } = this.#options;
    if (isAgain) log.info(`Connected to ${this.shown} again`);
    if (!isAgain || durability !== this.#durability) {
      if (remark !== undefined) log.warn(`The schedule ${this.shown} is durable at level "${durability}": ${remark}`);
      else if (isAgain) log.info(`The schedule ${this.shown} is durable at level "${durability}" now`);
    }
    this.#durability = durability;
    let problem: unknown;
    up.client.on("error", (error) => {
      problem = error;
    });
    up.client.once("end", () => this.#drop(up.client, problem));
  }

  /** The connection is of no use any more. */
  #drop(client: Redis, reason: unknown): void {
    if (this.#up?.client !== client) return;
    this.#up = undefined;
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
        await this.#connect(true);
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

const NOT_SENT = new Error("not sent");
