/** A connection to RabbitMQ: one socket; a channel to publish on, one to consume on, and short-lived ones for questions. */

import { ClosedError, InvalidInputError } from "../../kit/errors.ts";
import type { WireMessage } from "../../protocol/message.ts";
import type { BrokerConnection, Consumer, Delivery, HeardMessage, PublishTarget } from "../broker.ts";
import { type Exchange, nameOf, type Queue } from "../topology.ts";
import { Consuming } from "./consuming.ts";
import type { Line } from "./line.ts";
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
  #closing: Promise<void> | undefined;

  constructor(line: Line, known: KnownQueues) {
    this.#line = line;
    this.#topology = new Topology(line, known);
    this.#publisher = new Publisher(line);
    this.#consuming = new Consuming(line, this.#topology, known);
    this.closed = new Promise((resolve) => {
      line.onEnd((why) => resolve(this.#closing === undefined ? why : undefined));
    });
  }

  async declareQueue(declared: string | Queue): Promise<void> {
    const queue = nameOf(declared);
    this.#line.check();
    await this.#topology.declare(queue);
  }

  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    this.#line.check();
    await this.#publisher.publish(target, message);
  }

  async consume(from: string | Queue, onDelivery: (delivery: Delivery) => void): Promise<Consumer> {
    const queue = nameOf(from);
    this.#line.check();
    return this.#consuming.consume(queue, onDelivery);
  }

  async declareExchange(_exchange: Exchange): Promise<void> {
    throw new InvalidInputError("this broker declares no exchanges");
  }

  async subscribe(_queue: Queue, _onMessage: (message: HeardMessage) => void): Promise<Consumer> {
    throw new InvalidInputError("this broker has no subscriptions");
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
      await line.within(CLOSE_MS, Promise.all([this.#consuming.close(), unpublished]), slow);
      await line.within(CLOSE_MS, Promise.resolve(this.#publisher.channel?.close()), slow);
      await line.within(CLOSE_MS, line.close(), slow);
    } catch {
      // Lost or silent meanwhile: RabbitMQ returns what we held when the socket ends.
    }
    line.end(why);
  }
}
