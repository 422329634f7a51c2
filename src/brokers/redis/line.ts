/**
 * The open line to Redis that the parts of a connection share: one socket for all commands, how they fail, and how it ends.
 *
 * Each command has a deadline. One that passes it ends the line: a server that is silent (stopped, frozen, behind a dead network) is
 * found by whatever is asked of it next, and a worker asks once a second.
 */
import type { Command, Redis } from "ioredis";
import type { Clock } from "../../kit/clock.ts";
import { withDeadline } from "../../kit/deadline.ts";
import { messageOf, OutcomeUnknownError, TimeoutError } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import { hangUp } from "../../redis/dial.ts";
import { isElsewhere, oneLine, replyCode, withoutCommand } from "../../redis/failure.ts";
import { BrokerLine } from "../line.ts";
import type { Script, Scripts } from "./scripts.ts";

export interface LineOptions {
  /** Without the password. */
  readonly url: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long the server may take to answer, ms. */
  readonly answerMs: number;
  readonly scripts: Scripts;
}

/** What Redis answers: bulk strings as bytes. */
export type Reply = Buffer | string | number | null | readonly Reply[];
export type Argument = string | number | Buffer;

export class Line extends BrokerLine {
  readonly clock: Clock;
  readonly log: Logger;
  readonly scripts: Scripts;
  readonly answerMs: number;
  readonly #client: Redis;
  readonly #command: typeof Command;
  readonly #underWay = new Set<Promise<unknown>>();
  /** Moment of the server's clock, and the readings of ours when it was told, ms. */
  #told = { serverMs: 0, monoMs: 0, wallMs: 0 };

  /** @param client connected; the line ends it */
  static async open(client: Redis, options: LineOptions): Promise<Line> {
    const { Command } = await import("ioredis");
    const line = new Line(client, options, Command);
    // All at once, so that no script need be sent again behind one that was sent after it.
    const load = Object.values<Script>({ ...options.scripts }).map(({ text }) => line.send("script", ["LOAD", text]));
    await Promise.all([line.tellTime(), ...load]).catch((error: unknown) => {
      line.end(error as Error);
      throw error;
    });
    return line;
  }

  private constructor(client: Redis, options: LineOptions, command: typeof Command) {
    super(options.url);
    this.clock = options.clock;
    this.log = options.log;
    this.scripts = options.scripts;
    this.answerMs = options.answerMs;
    this.#client = client;
    this.#command = command;
    let problem: unknown;
    client.on("error", (error) => {
      problem = error;
    });
    client.once("end", () => this.lose(new Error(problem === undefined ? "it was closed" : messageOf(problem))));
  }

  /**
   * A command. An error that Redis answers is thrown as it is, without the command in it.
   *
   * @param what a change whose outcome matters to the caller, as the subject of a sentence: lost on the way it throws OutcomeUnknownError
   * @throws {BrokerUnavailableError} it was not sent, or not answered
   */
  async send(name: string, args: readonly Argument[], what?: string): Promise<Reply> {
    if (this.ended !== undefined) throw this.ended;
    if (this.#client.status !== "ready") throw this.#lost(new Error("it is not open"));
    const command = new this.#command(name, args as (string | Buffer | number)[], { replyEncoding: null });
    // When the client is hung up, it rejects what is under way.
    const sent = this.#client.sendCommand(command) as Promise<Reply>;
    const answer = withDeadline(sent, this.answerMs, this.clock, `the answer to ${name}`);
    this.#underWay.add(answer);
    try {
      return await answer;
    } catch (error) {
      throw this.#failure(error, what);
    } finally {
      this.#underWay.delete(answer);
    }
  }

  /** A script; the server is told its whole text when it does not know it. */
  async run(script: Script, keys: readonly string[], args: readonly Argument[], what?: string): Promise<Reply> {
    try {
      return await this.send("evalsha", [script.sha, keys.length, ...keys, ...args], what);
    } catch (error) {
      if (replyCode(error) !== "NOSCRIPT") throw error;
      return this.send("eval", [script.text, keys.length, ...keys, ...args], what);
    }
  }

  /** Resolves when nothing that was sent waits for its answer. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  /** Ask for the server's time; `nowSeconds` goes by it. */
  async tellTime(): Promise<void> {
    const sentMs = this.clock.monoMs();
    const [seconds, micros] = (await this.send("time", [])) as readonly Reply[];
    const monoMs = this.clock.monoMs();
    const serverMs = Number(String(seconds)) * 1_000 + Number(String(micros)) / 1_000 + (monoMs - sentMs) / 2;
    this.#told = { serverMs, monoMs, wallMs: this.clock.wallMs() };
  }

  /** Server's time, seconds. After a suspend, of which the monotonic clock knows nothing, by the wall. */
  nowSeconds(): number {
    const { serverMs, monoMs, wallMs } = this.#told;
    return (serverMs + Math.max(this.clock.monoMs() - monoMs, this.clock.wallMs() - wallMs)) / 1_000;
  }

  protected said(cause: Error): string {
    return oneLine(messageOf(cause));
  }

  /** The client rejects what is under way when it is hung up. */
  protected failWaiting(): void {}

  protected hangUp(): void {
    hangUp(this.#client);
  }

  #failure(thrown: unknown, what: string | undefined): Error {
    const error = withoutCommand(thrown) as Error;
    if (replyCode(error) !== undefined) {
      if (isElsewhere(error)) this.lose(error);
      return error;
    }
    const lost = this.#lost(error instanceof TimeoutError ? new Error(`it is silent: ${error.message}`) : error);
    const isUnsent = error.message.startsWith("Stream isn't writeable");
    return what === undefined || isUnsent ? lost : new OutcomeUnknownError(what, undefined, { cause: lost });
  }

  #lost(cause: Error): Error {
    this.lose(cause);
    return this.ended ?? cause;
  }
}
