/** A connection to RabbitMQ: one socket; a channel to publish on, one to consume on, and short-lived ones for questions. */

import { ClosedError } from "../../kit/errors.ts";
import type { WireMessage } from "../../protocol/message.ts";
import type { BrokerConnection, Consumer, Delivery, HeardMessage, PublishTarget, Subscription } from "../broker.ts";
import { type Exchange, nameOf, type Queue, queueNamed } from "../topology.ts";
import { Consuming } from "./consuming.ts";
import { declareDelays, leadDelaysTo } from "./delays.ts";
import type { Line } from "./line.ts";
import { Listening } from "./listening.ts";
import { Publisher } from "./publisher.ts";
import { type KnownQueues, Topology } from "./topology.ts";

/** How long closing waits for confirms and for RabbitMQ's good-bye, ms. */
const CLOSE_MS = 5_000;

export class RabbitmqConnection implements BrokerConnection {
  readonly closed: Promise<Error | undefined>;
  readonly #line: Line;
  readonly #publisher: Publisher;
  readonly #consuming: Consuming;
  readonly #topology: Topology;
  readonly #listening: Listening;
  /** Type of the delaying queues that this connection has declared. */
  #delays: "quorum" | "classic" | undefined;
  #closing: Promise<void> | undefined;

  constructor(line: Line, known: KnownQueues) {
    this.#line = line;
    this.#topology = new Topology(line, known);
    this.#publisher = new Publisher(line);
    this.#consuming = new Consuming(line, this.#topology, known);
    this.#listening = new Listening(line, this.#topology);
    this.closed = new Promise((resolve) => {
      line.onEnd((why) => resolve(this.#closing === undefined ? why : undefined));
    });
  }

  async declareQueue(queue: string | Queue): Promise<void> {
    this.#line.check();
    await this.#topology.declare(typeof queue === "string" ? queueNamed(queue) : queue);
  }

  async declareExchange(exchange: Exchange): Promise<void> {
    this.#line.check();
    await this.#topology.declareExchange(exchange);
  }

  async declareDelayedDelivery(queues: readonly Queue[], queueType: "quorum" | "classic"): Promise<void> {
    this.#line.check();
    const isNew = this.#delays !== queueType;
    await this.#line.aside("delayed delivery", async (channel) => {
      if (isNew) await declareDelays(channel, queueType);
      await leadDelaysTo(channel, queues);
    });
    this.#delays = queueType;
  }

  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    this.#line.check();
    await this.#publisher.publish(target, message);
  }

  async consume(queue: string | Queue, onDelivery: (delivery: Delivery) => void): Promise<Consumer> {
    this.#line.check();
    const given = typeof queue === "string" ? {} : queue.consumerArguments;
    return this.#consuming.consume(nameOf(queue), given, onDelivery);
  }

  async subscribe(queue: Queue, onMessage: (message: HeardMessage) => void): Promise<Subscription> {
    this.#line.check();
    return this.#listening.subscribe(queue, onMessage);
  }

  async setPrefetch(count: number): Promise<void> {
    this.#line.check();
    await this.#consuming.setPrefetch(count);
  }

  async depth(queue: string): Promise<number | undefined> {
    this.#line.check();
    return this.#topology.depth(queue);
  }

  async purge(queue: string): Promise<number> {
    this.#line.check();
    return this.#topology.purge(queue);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const line = this.#line;
    if (line.ended !== undefined) return;
    const why = new ClosedError(`the connection to ${line.url} was closed: open a new one`);
    line.closing(why);
    const slow = () => new ClosedError("it took too long");
    try {
      // What is unacknowledged goes back first. Channels are closed one by one before the connection is, for its good-bye
      // would overtake the acknowledgements and messages that they have not sent yet.
      const unpublished = line.blocked === undefined ? this.#publisher.settled() : undefined;
      await line.within(CLOSE_MS, Promise.all([this.#consuming.close(), this.#listening.close(), unpublished]), slow);
      await line.within(CLOSE_MS, Promise.resolve(this.#publisher.channel?.close()), slow);
      await line.within(CLOSE_MS, line.close(), slow);
    } catch {
      // Lost or silent meanwhile: RabbitMQ returns what we held when the socket ends.
    }
    line.end(why);
  }
}
