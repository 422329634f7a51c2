/**
 * Puts messages where kombu puts them (PROTOCOL 8.3): into a list of each queue that the exchange's bindings name, or on a channel.
 * What is published in one turn of the event loop to one list goes in one LPUSH.
 */
import { randomUUID } from "node:crypto";
import type { WireMessage } from "../../protocol/message.ts";
import { oneLine, replyCode } from "../../redis/failure.ts";
import type { PublishTarget } from "../broker.ts";
import { checkPublish } from "../check.ts";
import { BrokerUnavailableError, UnroutableError } from "../errors.ts";
import { plainHeaders } from "../headers.ts";
import { route } from "./bindings.ts";
import { writeEnvelope } from "./envelope.ts";
import type { Keys } from "./keys.ts";
import type { Line } from "./line.ts";
import type { RedisOptions } from "./options.ts";
import type { Topology } from "./topology.ts";

/** Of one LPUSH. */
const BATCH_COUNT = 500;
const BATCH_CHARS = 1_000_000;

interface Batch {
  readonly texts: string[];
  chars: number;
  readonly sent: PromiseWithResolvers<void>;
}

export class Publisher {
  readonly #line: Line;
  readonly #keys: Keys;
  readonly #topology: Topology;
  readonly #options: RedisOptions;
  /** By list, what goes at the end of this turn. */
  #batches = new Map<string, Batch>();

  constructor(line: Line, keys: Keys, topology: Topology, options: RedisOptions) {
    this.#line = line;
    this.#keys = keys;
    this.#topology = topology;
    this.#options = options;
  }

  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    checkPublish(target, message);
    const headers = plainHeaders(message.headers);
    // Written now: the publisher may change its buffer and its headers once publish has returned.
    const write = () => writeEnvelope(message, headers, target, randomUUID(), this.#options.bodyEncoding);
    const text = write();
    if (this.#topology.typeOf(target) === "fanout" && target.exchange !== "") {
      await this.#cry(target, text);
      return;
    }
    const queues = await this.#queuesOf(target);
    const { priority } = message.properties;
    const expiring = queues.filter((queue) => this.#topology.expiresMs(queue) !== undefined);
    // Each copy has a tag of its own: in `unacked` one of two with the same would be forgotten.
    const copies = queues.map(
      (queue, i) =>
        [this.#keys.listFor(queue, priority), i === 0 ? text : text.replace(TAG, `$1${randomUUID()}$2`)] as const,
    );
    await Promise.all(copies.map(([list, copy]) => this.#push(list, copy)));
    if (expiring.length > 0) await this.#expire(expiring);
  }

  /** A queue that ends when nobody uses it for so long: kombu puts the time on its lists with each message. */
  async #expire(queues: readonly string[]): Promise<void> {
    const lists = queues.flatMap((queue) =>
      this.#keys.lists(queue).map((list) => ({ list, ms: this.#topology.expiresMs(queue) ?? 0 })),
    );
    await Promise.all(lists.map(({ list, ms }) => this.#sent(this.#line.send("pexpire", [list, ms]))));
  }

  async #cry(target: PublishTarget, text: string): Promise<void> {
    const channel = this.#keys.channel(target.exchange, target.routingKey);
    const heard = await this.#sent(this.#line.send("publish", [channel, text], "the publication"));
    if (heard === 0 && target.unheard !== true) throw new UnroutableError(target);
  }

  async #queuesOf(target: PublishTarget): Promise<string[]> {
    const { exchange, routingKey, unheard } = target;
    const { deadletterQueue } = this.#options;
    if (exchange === "") {
      if (unheard === true || (await this.#topology.exists(routingKey))) return [routingKey];
    } else {
      const queues = route(await this.#topology.bindings(exchange), routingKey);
      if (queues.length > 0) return queues;
    }
    if (deadletterQueue !== undefined) return [deadletterQueue];
    if (unheard === true) return [];
    throw new UnroutableError(target);
  }

  /** Resolves when the server has it. */
  #push(list: string, text: string): Promise<void> {
    let batch = this.#batches.get(list);
    if (batch === undefined || batch.texts.length >= BATCH_COUNT || batch.chars >= BATCH_CHARS) {
      if (batch !== undefined) void this.#send(list, batch);
      else if (this.#batches.size === 0) setImmediate(() => this.flush());
      batch = { texts: [], chars: 0, sent: Promise.withResolvers() };
      this.#batches.set(list, batch);
    }
    batch.texts.push(text);
    batch.chars += text.length;
    return batch.sent.promise;
  }

  /** Send what waits for the end of the turn. */
  flush(): void {
    const batches = this.#batches;
    this.#batches = new Map();
    for (const [list, batch] of batches) void this.#send(list, batch);
  }

  async #send(list: string, { texts, sent }: Batch): Promise<void> {
    try {
      await this.#sent(this.#line.send("lpush", [list, ...texts], "the publication"));
      sent.resolve();
    } catch (error) {
      sent.reject(error);
    }
  }

  /** What the server answers when it does not take it: nothing was taken. */
  async #sent<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (replyCode(error) === undefined) throw error;
      const said = oneLine((error as Error).message);
      const why = replyCode(error) === "OOM" ? "is out of memory (maxmemory)" : "does not take the message";
      throw new BrokerUnavailableError(`${this.#line.url} ${why}: ${said}`, { cause: error });
    }
  }
}

/** The last property that `writeEnvelope` writes. */
const TAG = /("delivery_tag":")[^"]+("\}\})$/;
