/**
 * The broker of one process: named queues in memory. The reference of the contract, for tests and for programs that
 * need no other process. Brokers opened with the same URL share their queues.
 *
 * Deliveries leave in a later turn of the event loop, never inside `publish` or `consume`, and at most `TURN` at a time,
 * so that a consumer that acknowledges at once does not keep timers and sockets waiting.
 */

import { ClosedError, InvalidInputError, messageOf, toError } from "../kit/errors.ts";
import type { WireMessage } from "../protocol/message.ts";
import type {
  Broker,
  BrokerConnection,
  BrokerTraits,
  ConnectOptions,
  Consumer,
  Delivery,
  HeardMessage,
  PublishTarget,
  Subscription,
} from "./broker.ts";
import { checkPrefetch, checkPublish, checkQueueName, queueOf } from "./check.ts";
import { BrokerUnavailableError, QueueMissingError, UnroutableError } from "./errors.ts";
import { plainHeaders } from "./headers.ts";
import { MemoryQueue, type Waiting } from "./memory-queue.ts";
import { type Exchange, nameOf, type Queue } from "./topology.ts";

const TRAITS: BrokerTraits = {
  transport: "memory",
  durability: "memory",
  expires: false,
  priorities: "highest-first",
  fanout: false,
};
/** Deliveries in one turn of the event loop. */
const TURN = 256;
const DONE = Promise.resolve();

/** The queues of every `memory://name` in use. */
const exchanges = new Map<string, MemoryExchange>();

/**
 * @param url `memory://name`; the name may be empty
 * @throws {InvalidInputError} the URL is another broker's
 */
export async function openMemoryBroker(url: string): Promise<MemoryBroker> {
  const name = /^memory:(?:\/\/)?([^?#]*)$/.exec(url)?.[1];
  if (name === undefined) {
    throw new InvalidInputError(`${JSON.stringify(url)} is no URL of the memory broker: it has the form memory://name`);
  }
  let exchange = exchanges.get(name);
  if (exchange === undefined) {
    exchange = new MemoryExchange();
    exchanges.set(name, exchange);
  }
  exchange.handles += 1;
  return new MemoryBroker(`memory://${name}`, name, exchange);
}

export class MemoryBroker implements Broker {
  readonly url: string;
  readonly traits = TRAITS;
  readonly #name: string;
  readonly #exchange: MemoryExchange;
  readonly #connections = new Set<MemoryConnection>();
  #open = true;

  constructor(url: string, name: string, exchange: MemoryExchange) {
    this.url = url;
    this.#name = name;
    this.#exchange = exchange;
  }

  async connect(_options: ConnectOptions): Promise<BrokerConnection> {
    if (!this.#open) throw new ClosedError(`the broker ${this.url} was closed: open it again`);
    const connection = new MemoryConnection(this.url, this.#exchange);
    this.#connections.add(connection);
    connection.closed.then(() => this.#connections.delete(connection));
    return connection;
  }

  /** Lose every connection opened here, as a dead network does. For tests. */
  sever(): void {
    for (const connection of this.#connections) connection.lose(new Error("severed"));
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#exchange.handles -= 1;
    // What still waits is kept for whoever opens this name next: closing a handle must not lose messages.
    if (this.#exchange.handles === 0 && this.#exchange.idle) exchanges.delete(this.#name);
  }
}

interface QueueState {
  readonly name: string;
  readonly messages: MemoryQueue;
  /** In turn: the one that was served last is last. */
  readonly consumers: Set<MemoryConsumer>;
  /** Delivered and not settled. */
  held: number;
}

/** All queues of one name, and what moves messages out of them. */
class MemoryExchange {
  handles = 0;
  readonly #queues = new Map<string, QueueState>();
  /** Queues that may have something to deliver, in turn. */
  readonly #ready = new Set<QueueState>();
  #scheduled = false;

  /** No message waits and none is in hand. */
  get idle(): boolean {
    for (const queue of this.#queues.values()) {
      if (queue.messages.size > 0 || queue.consumers.size > 0 || queue.held > 0) return false;
    }
    return true;
  }

  declare(name: string): void {
    if (this.#queues.has(name)) return;
    this.#queues.set(name, { name, messages: new MemoryQueue(), consumers: new Set(), held: 0 });
  }

  find(name: string): QueueState | undefined {
    return this.#queues.get(name);
  }

  /** The queue has a message more, or a consumer has room again. */
  wake(queue: QueueState): void {
    if (queue.messages.size === 0 || queue.consumers.size === 0) return;
    this.#ready.add(queue);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    let left = TURN;
    for (const queue of this.#ready) {
      // Deleted and added again: behind the others, so that each queue has its turn.
      this.#ready.delete(queue);
      if (!this.#deliverOne(queue)) continue;
      this.#ready.add(queue);
      left -= 1;
      if (left > 0) continue;
      this.#scheduled = true;
      setImmediate(() => this.#turn());
      return;
    }
  }

  #deliverOne(queue: QueueState): boolean {
    for (const consumer of queue.consumers) {
      if (!consumer.connection.hasRoom) continue;
      const waiting = queue.messages.shift();
      if (waiting === undefined) return false;
      queue.consumers.delete(consumer);
      queue.consumers.add(consumer);
      consumer.connection.deliver(consumer, waiting);
      return true;
    }
    return false;
  }
}

class MemoryConnection implements BrokerConnection {
  readonly closed: Promise<Error | undefined>;
  readonly #url: string;
  readonly #exchange: MemoryExchange;
  /** In turn, so that queues share the window. */
  readonly #consumers = new Set<MemoryConsumer>();
  /** In the order they were delivered. */
  readonly #held = new Set<MemoryDelivery>();
  readonly #resolveClosed: (reason: Error | undefined) => void;
  #window = 0;
  #ended: Error | undefined;

  constructor(url: string, exchange: MemoryExchange) {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    this.#url = url;
    this.#exchange = exchange;
  }

  get hasRoom(): boolean {
    return this.#window === 0 || this.#held.size < this.#window;
  }

  async declareQueue(declared: string | Queue): Promise<void> {
    const queue = nameOf(declared);
    this.#checkOpen();
    checkQueueName(queue);
    this.#exchange.declare(queue);
  }

  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    this.#checkOpen();
    checkPublish(target, message);
    const name = queueOf(target);
    const queue = name === undefined ? undefined : this.#exchange.find(name);
    if (queue === undefined) throw new UnroutableError(target);
    queue.messages.push(ownCopy(message), target.exchange, target.routingKey);
    this.#exchange.wake(queue);
  }

  async consume(from: string | Queue, onDelivery: (delivery: Delivery) => void): Promise<Consumer> {
    const queue = nameOf(from);
    this.#checkOpen();
    checkQueueName(queue);
    const state = this.#exchange.find(queue);
    if (state === undefined) throw new QueueMissingError(queue, "consume");
    const consumer = new MemoryConsumer(this, state, onDelivery);
    this.#consumers.add(consumer);
    state.consumers.add(consumer);
    this.#exchange.wake(state);
    return consumer;
  }

  async declareExchange(_exchange: Exchange): Promise<void> {
    throw new InvalidInputError("this broker declares no exchanges");
  }

  async subscribe(_queue: Queue, _onMessage: (message: HeardMessage) => void): Promise<Subscription> {
    throw new InvalidInputError("this broker has no subscriptions");
  }

  async setPrefetch(count: number): Promise<void> {
    this.#checkOpen();
    checkPrefetch(count);
    this.#window = count;
    this.#wakeAll();
  }

  async depth(queue: string): Promise<number | undefined> {
    this.#checkOpen();
    checkQueueName(queue);
    return this.#exchange.find(queue)?.messages.size;
  }

  async purge(queue: string): Promise<number> {
    this.#checkOpen();
    checkQueueName(queue);
    const state = this.#exchange.find(queue);
    if (state === undefined) throw new QueueMissingError(queue, "purge");
    return state.messages.clear();
  }

  async close(): Promise<void> {
    this.#end(new ClosedError(`the connection to ${this.#url} was closed: open a new one`), undefined);
  }

  lose(cause: Error): void {
    const reason = new BrokerUnavailableError(`the connection to ${this.#url} was lost: ${messageOf(cause)}`, {
      cause,
    });
    this.#end(reason, reason);
  }

  deliver(consumer: MemoryConsumer, waiting: Waiting): void {
    this.#consumers.delete(consumer);
    this.#consumers.add(consumer);
    const delivery = new MemoryDelivery(this, consumer.queue, waiting);
    this.#held.add(delivery);
    consumer.queue.held += 1;
    try {
      consumer.onDelivery(delivery);
    } catch (error) {
      this.lose(
        new Error(`the consumer of queue ${consumer.queue.name} threw: ${messageOf(error)}`, { cause: toError(error) }),
      );
    }
  }

  /** Nothing when it is not in hand any more: settled before, or the connection ended. */
  settle(delivery: MemoryDelivery, back: Waiting | undefined): void {
    if (!this.#held.delete(delivery)) return;
    delivery.state.held -= 1;
    if (back !== undefined) {
      delivery.state.messages.putBack(back);
      this.#exchange.wake(delivery.state);
    }
    this.#wakeAll();
  }

  drop(consumer: MemoryConsumer): void {
    this.#consumers.delete(consumer);
    consumer.queue.consumers.delete(consumer);
  }

  #wakeAll(): void {
    for (const consumer of this.#consumers) this.#exchange.wake(consumer.queue);
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  #end(why: Error, reason: Error | undefined): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    for (const consumer of this.#consumers) this.drop(consumer);
    const touched = new Set<QueueState>();
    for (const delivery of [...this.#held].reverse()) {
      delivery.giveBack();
      delivery.state.held -= 1;
      touched.add(delivery.state);
    }
    this.#held.clear();
    for (const queue of touched) this.#exchange.wake(queue);
    this.#resolveClosed(reason);
  }
}

class MemoryConsumer implements Consumer {
  readonly connection: MemoryConnection;
  readonly queue: QueueState;
  readonly onDelivery: (delivery: Delivery) => void;

  constructor(connection: MemoryConnection, queue: QueueState, onDelivery: (delivery: Delivery) => void) {
    this.connection = connection;
    this.queue = queue;
    this.onDelivery = onDelivery;
  }

  async cancel(): Promise<void> {
    this.connection.drop(this);
  }
}

class MemoryDelivery implements Delivery {
  readonly message: WireMessage;
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  readonly state: QueueState;
  readonly #connection: MemoryConnection;
  readonly #waiting: Waiting;

  constructor(connection: MemoryConnection, state: QueueState, waiting: Waiting) {
    this.message = waiting.message;
    this.exchange = waiting.exchange;
    this.routingKey = waiting.routingKey;
    this.redelivered = waiting.redelivered;
    this.state = state;
    this.#connection = connection;
    this.#waiting = waiting;
  }

  get queue(): string {
    return this.state.name;
  }

  ack(): Promise<void> {
    this.#connection.settle(this, undefined);
    return DONE;
  }

  requeue(): Promise<void> {
    this.#connection.settle(this, this.#waiting);
    return DONE;
  }

  reject(): Promise<void> {
    this.#connection.settle(this, undefined);
    return DONE;
  }

  giveBack(): void {
    this.state.messages.putBack(this.#waiting);
  }
}

/** The publisher may reuse its buffer and its objects; and what comes out is what would come out of a real broker. */
function ownCopy(message: WireMessage): WireMessage {
  return {
    body: new Uint8Array(message.body),
    properties: { ...message.properties },
    headers: plainHeaders(message.headers),
  };
}
