/**
 * The consuming side of a connection: one channel with all its consumers, the prefetch window, and what is in hand.
 *
 * The window is RabbitMQ's where it counts for a whole channel (global QoS, as Celery asks for it). Where it counts for
 * each consumer (quorum queues, RabbitMQ 4), the excess waits here, so that the window of the connection holds all the
 * same; a consumer keeps the count it was made with, so a new count makes the consumers anew. (PROTOCOL 7.3)
 */
import type { Channel, ConsumeMessage } from "amqplib";
import { messageOf, toError } from "../../kit/errors.ts";
import { Fifo } from "../../kit/fifo.ts";
import type { WireMessage } from "../../protocol/message.ts";
import type { Consumer, Delivery } from "../broker.ts";
import { checkPrefetch, checkQueueName } from "../check.ts";
import { BrokerUnavailableError, QueueMissingError } from "../errors.ts";
import { brokersWords, NOT_IMPLEMENTED, replyCode } from "./failure.ts";
import type { Line } from "./line.ts";
import type { KnownQueues, Topology } from "./topology.ts";
import { fromWire } from "./wire.ts";

const DONE = Promise.resolve();
/** AMQP's count is a 16-bit number. */
const MAX_PREFETCH = 65_535;

export class Consuming {
  readonly #line: Line;
  readonly #topology: Topology;
  readonly #known: KnownQueues;
  readonly #consumers = new Set<RabbitmqConsumer>();
  /** Delivered to us and over the window. */
  readonly #over = new Fifo<RabbitmqDelivery>();
  /** Consuming, cancelling and changing the window, one after the other. */
  #tail: Promise<unknown> = DONE;
  #channel: Channel | undefined;
  /** The channel was made with prefetch counted for each consumer. */
  #each = false;
  #window = 0;
  #held = 0;
  #closing = false;

  constructor(line: Line, topology: Topology, known: KnownQueues) {
    this.#line = line;
    this.#topology = topology;
    this.#known = known;
  }

  async setPrefetch(count: number): Promise<void> {
    checkPrefetch(count);
    await this.#inTurn(async () => {
      this.#window = this.#carried(count);
      if (this.#channel === undefined) return;
      await this.#applyWindow(this.#channel);
      if (this.#each) for (const consumer of this.#consumers) await this.#renew(this.#channel, consumer);
      this.#serve();
    });
  }

  /** @param given arguments of the consumer: AMQP's `basic.consume` */
  async consume(
    queue: string,
    given: Readonly<Record<string, unknown>>,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Consumer> {
    checkQueueName(queue);
    const consumer = new RabbitmqConsumer(this, queue, given, onDelivery);
    await this.#inTurn(async () => {
      if ((await this.#topology.depth(queue)) === undefined) throw new QueueMissingError(queue, "consume");
      const channel = await this.#open();
      this.#consumers.add(consumer);
      try {
        consumer.tag = await this.#subscribe(channel, consumer);
      } catch (error) {
        this.#consumers.delete(consumer);
        throw this.#refused(queue, error);
      }
    });
    return consumer;
  }

  async cancel(consumer: RabbitmqConsumer): Promise<void> {
    try {
      await this.#inTurn(async () => {
        const channel = this.#channel;
        if (!this.#consumers.delete(consumer) || channel === undefined) return;
        await this.#line.answer(`cancelling the consumer of ${consumer.queue}`, channel.cancel(consumer.tag));
        this.#giveBack(consumer);
      });
    } catch (error) {
      // A connection that has ended delivers nothing more, which is all that cancel promises.
      if (this.#line.ended === undefined && !this.#closing) throw error;
    }
  }

  /** Everything unacknowledged goes back. What was acknowledged before has left before. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#over.clear();
    await this.#channel?.close();
  }

  /** RabbitMQ is told, on the channel that delivered it, if that one still lives. */
  settle(delivery: RabbitmqDelivery, tell: (channel: Channel, message: ConsumeMessage) => void): void {
    if (this.#line.ended !== undefined || this.#closing) return;
    try {
      tell(this.#channel as Channel, delivery.raw);
    } catch {
      // The channel is gone and its end is on its way to us: RabbitMQ gives the message to somebody else.
      return;
    }
    this.#held -= 1;
    if (this.#over.length > 0) this.#serve();
  }

  async #open(): Promise<Channel> {
    if (this.#channel !== undefined) return this.#channel;
    const channel = await this.#line.channel("a channel to consume on");
    this.#each = this.#known.prefetchEach;
    await this.#applyWindow(channel);
    this.#channel = channel;
    return channel;
  }

  async #applyWindow(channel: Channel): Promise<void> {
    await this.#line.answer("setting the prefetch count", channel.prefetch(this.#window, !this.#each));
  }

  async #subscribe(channel: Channel, consumer: RabbitmqConsumer): Promise<string> {
    const onMessage = (message: ConsumeMessage | null) => this.#arrive(consumer, message);
    const reply = await this.#line.answer(
      `consuming queue ${consumer.queue}`,
      channel.consume(consumer.queue, onMessage, { arguments: consumer.given }),
    );
    return reply.consumerTag;
  }

  /** With the new window. What the old one had is settled as before. */
  async #renew(channel: Channel, consumer: RabbitmqConsumer): Promise<void> {
    const oldTag = consumer.tag;
    consumer.tag = await this.#subscribe(channel, consumer);
    await this.#line.answer(`renewing the consumer of ${consumer.queue}`, channel.cancel(oldTag));
  }

  #arrive(consumer: RabbitmqConsumer, message: ConsumeMessage | null): void {
    if (message === null) {
      const why = `RabbitMQ cancelled the consumer of queue ${consumer.queue}: the queue was deleted, or its node went away`;
      this.#line.lose(new Error(why));
      return;
    }
    // Whatever is not handed over stays unacknowledged, and goes back with the channel.
    if (this.#closing || this.#line.ended !== undefined) return;
    const delivery = new RabbitmqDelivery(this, consumer, message);
    if (this.#each && this.#window > 0 && this.#held >= this.#window) this.#over.push(delivery);
    else this.#hand(delivery);
  }

  #hand(delivery: RabbitmqDelivery): void {
    this.#held += 1;
    try {
      delivery.consumer.onDelivery(delivery);
    } catch (error) {
      const why = `the consumer of queue ${delivery.queue} threw: ${messageOf(error)}`;
      this.#line.lose(new Error(why, { cause: toError(error) }));
    }
  }

  #serve(): void {
    while (this.#over.length > 0 && (this.#window === 0 || this.#held < this.#window)) {
      const next = this.#over.shift();
      if (next === undefined || this.#line.ended !== undefined) return;
      this.#hand(next);
    }
  }

  /** What a cancelled consumer was not handed goes to others. */
  #giveBack(consumer: RabbitmqConsumer): void {
    for (let left = this.#over.length; left > 0; left -= 1) {
      const delivery = this.#over.shift();
      if (delivery === undefined) return;
      if (delivery.consumer === consumer) this.#channel?.nack(delivery.raw, false, true);
      else this.#over.push(delivery);
    }
  }

  #carried(count: number): number {
    if (count <= MAX_PREFETCH) return count;
    this.#line.log.warn(
      `a prefetch count of ${count} is more than RabbitMQ counts (${MAX_PREFETCH}): there is no limit`,
    );
    return 0;
  }

  #refused(queue: string, error: unknown): Error {
    const ended = this.#line.ended;
    // Told to the line first, as the end of the channel; its text says which it was.
    const words = brokersWords(ended?.cause ?? error);
    if (replyCode(ended?.cause ?? error) === NOT_IMPLEMENTED && /global qos/i.test(words)) {
      this.#known.prefetchEach = true;
      const hint = "the next connection counts prefetch for each consumer, as it needs";
      return new BrokerUnavailableError(`queue ${JSON.stringify(queue)} is a quorum queue: ${hint}`, { cause: error });
    }
    return (
      ended ??
      new BrokerUnavailableError(`queue ${JSON.stringify(queue)} could not be consumed: ${words}`, { cause: error })
    );
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(() => {
      this.#line.check();
      return work();
    });
    this.#tail = run.catch(() => undefined);
    return run;
  }
}

class RabbitmqConsumer implements Consumer {
  readonly queue: string;
  readonly given: Readonly<Record<string, unknown>>;
  readonly onDelivery: (delivery: Delivery) => void;
  tag = "";
  readonly #consuming: Consuming;

  constructor(
    consuming: Consuming,
    queue: string,
    given: Readonly<Record<string, unknown>>,
    onDelivery: (delivery: Delivery) => void,
  ) {
    this.#consuming = consuming;
    this.queue = queue;
    this.given = given;
    this.onDelivery = onDelivery;
  }

  async cancel(): Promise<void> {
    await this.#consuming.cancel(this);
  }
}

class RabbitmqDelivery implements Delivery {
  readonly message: WireMessage;
  readonly consumer: RabbitmqConsumer;
  readonly raw: ConsumeMessage;
  readonly #consuming: Consuming;
  #settled = false;

  constructor(consuming: Consuming, consumer: RabbitmqConsumer, raw: ConsumeMessage) {
    this.message = fromWire(raw.content, raw.properties);
    this.consumer = consumer;
    this.raw = raw;
    this.#consuming = consuming;
  }

  get queue(): string {
    return this.consumer.queue;
  }

  get exchange(): string {
    return this.raw.fields.exchange;
  }

  get routingKey(): string {
    return this.raw.fields.routingKey;
  }

  get redelivered(): boolean {
    return this.raw.fields.redelivered;
  }

  ack(): Promise<void> {
    return this.#settle(tellAck);
  }

  requeue(): Promise<void> {
    return this.#settle(tellRequeue);
  }

  reject(): Promise<void> {
    return this.#settle(tellReject);
  }

  #settle(tell: (channel: Channel, message: ConsumeMessage) => void): Promise<void> {
    if (!this.#settled) {
      this.#settled = true;
      this.#consuming.settle(this, tell);
    }
    return DONE;
  }
}

const tellAck = (channel: Channel, message: ConsumeMessage) => channel.ack(message);
const tellRequeue = (channel: Channel, message: ConsumeMessage) => channel.reject(message, true);
const tellReject = (channel: Channel, message: ConsumeMessage) => channel.reject(message, false);
