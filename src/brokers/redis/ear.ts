/**
 * The second connection: it listens. To channels, which are the fanout exchanges; and to what Redis says of keys that we have looked at
 * (client-side caching, `CLIENT TRACKING`), which is how a worker without work learns that a list is no longer empty.
 *
 * There is no command that waits for several lists and leaves what it finds where it is: BRPOP removes, and a crash before the
 * record is written loses. Redis remembers which keys a client has read, absent ones too, and tells the client once when one of them
 * changes, whoever changed it. So the keys are looked at, none is there, and the next LPUSH of anybody wakes us. Where a server has no
 * tracking, or forbids it, lists are asked again and again. What is told is a hint: they are asked once a second in any case.
 */
import type { Redis } from "ioredis";
import type { Timeout } from "../../kit/clock.ts";
import { withDeadline } from "../../kit/deadline.ts";
import { messageOf } from "../../kit/errors.ts";
import { type DialOptions, dial, hangUp } from "../../redis/dial.ts";
import { replyCode, withoutCommand } from "../../redis/failure.ts";
import type { Line } from "./line.ts";

const INVALIDATIONS = "__redis__:invalidate";

export type Listener = (channel: string, text: Buffer) => void;

export class Ear {
  /** Called when a key that was looked at has changed, or may have. */
  onChange: () => void = () => undefined;
  readonly #line: Line;
  readonly #client: Redis;
  readonly #patterns = new Map<string, Set<Listener>>();
  readonly #healthMs: number;
  #isTracking = false;
  #health: Timeout | undefined;

  private constructor(line: Line, client: Redis, healthMs: number) {
    this.#line = line;
    this.#client = client;
    this.#healthMs = healthMs;
    let problem: unknown;
    client.on("error", (error) => {
      problem = error;
    });
    // Deaf is as bad as lost: control commands and rpc results would not come.
    client.once("end", () => line.lose(new Error(problem === undefined ? "it was closed" : messageOf(problem))));
    client.on("messageBuffer", () => this.onChange());
    client.on("pmessageBuffer", (pattern: string, channel: Buffer, text: Buffer) => {
      for (const listener of this.#patterns.get(pattern) ?? []) listener(channel.toString(), text);
    });
    line.onEnd(() => {
      this.#health?.cancel();
      hangUp(client);
    });
    this.#checkHealth();
  }

  /** It ends with the line, and the line with it. */
  static async open(line: Line, options: DialOptions, healthMs: number): Promise<Ear> {
    const { client } = await dial(options);
    const ear = new Ear(line, client, healthMs);
    line.check();
    await ear.#track();
    return ear;
  }

  /** Redis tells us of changes. */
  get isTracking(): boolean {
    return this.#isTracking;
  }

  async listen(pattern: string, listener: Listener): Promise<void> {
    let listeners = this.#patterns.get(pattern);
    const isNew = listeners === undefined;
    listeners ??= new Set();
    this.#patterns.set(pattern, listeners.add(listener));
    if (isNew) await this.#ask("PSUBSCRIBE", () => this.#client.psubscribe(pattern));
  }

  async leave(pattern: string, listener: Listener): Promise<void> {
    const listeners = this.#patterns.get(pattern);
    if (listeners?.delete(listener) !== true || listeners.size > 0) return;
    this.#patterns.delete(pattern);
    await this.#ask("PUNSUBSCRIBE", () => this.#client.punsubscribe(pattern));
  }

  /** Read the keys so that Redis remembers it. Answers whether one of them is there. */
  async look(keys: readonly string[]): Promise<boolean> {
    // One after the other on the wire, with nothing between: the first is about the second.
    const [, count] = await Promise.all([
      this.#line.send("client", ["CACHING", "YES"]),
      this.#line.send("exists", keys),
    ]);
    return Number(count) > 0;
  }

  async #track(): Promise<void> {
    try {
      const id = await this.#ask("CLIENT ID", () => this.#client.client("ID"));
      await this.#ask("SUBSCRIBE", () => this.#client.subscribe(INVALIDATIONS));
      await this.#line.send("client", ["TRACKING", "ON", "REDIRECT", String(id), "OPTIN"]);
      this.#isTracking = true;
    } catch (error) {
      if (replyCode(error) === undefined) throw error;
      this.#line.log.info(
        `${this.#line.url} does not tell when messages come (${messageOf(error)}): its lists are asked again and again`,
      );
    }
  }

  async #ask<T>(name: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await withDeadline(ask(), this.#line.answerMs, this.#line.clock, `the answer to ${name}`);
    } catch (thrown) {
      const error = withoutCommand(thrown) as Error;
      if (replyCode(error) !== undefined) throw error;
      this.#line.lose(error);
      throw this.#line.ended ?? error;
    }
  }

  #checkHealth(): void {
    const again = () => {
      if (this.#line.ended === undefined) this.#checkHealth();
    };
    this.#health = this.#line.clock.timeout(
      () => void this.#ask("PING", () => this.#client.ping()).then(again, again),
      this.#healthMs,
      { ref: false },
    );
  }
}
