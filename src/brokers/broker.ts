/**
 * Where messages wait. A broker makes connections; a connection publishes and consumes until it is closed or lost.
 * Reconnecting is not the broker's work: the worker's Consumer blueprint is started again on a new connection, and a
 * producer opens a new one for its next message. So an acknowledgement can only go where its delivery came from.
 */
import type { WireMessage } from "../protocol/message.ts";
import type { Exchange, ExchangeType, Queue } from "./topology.ts";

export interface Broker {
  /** The URL as it may be shown: without its password. */
  readonly url: string;
  readonly traits: BrokerTraits;
  /** @throws {BrokerUnavailableError} nobody answered, or refused us; the message says who and why */
  connect(options: ConnectOptions): Promise<BrokerConnection>;
  /** Release what the broker itself holds (an open file). Connections are closed by whoever opened them. */
  close(): Promise<void>;
}

export interface BrokerTraits {
  /** Scheme of the URL: "memory", "sqlite", "amqp". */
  readonly transport: string;
  /** What a confirmed publish survives. */
  readonly durability: "strict" | "process" | "memory" | "broker";
  /** The broker drops a message whose `expiration` has passed. */
  readonly expires: boolean;
  /** Which of two waiting messages goes first: RabbitMQ's highest priority, or Redis' lowest. */
  readonly priorities: "highest-first" | "lowest-first";
  /** It has exchanges that send to whoever listens, and so carries control commands. */
  readonly fanout: boolean;
}

export interface ConnectOptions {
  /** Shown in the broker's list of connections, where it has one. */
  readonly name: string;
  /** How long to try, ms. */
  readonly timeoutMs: number;
}

export interface BrokerConnection {
  /** Resolves once: with the reason when the connection was lost, with undefined when `close` was called. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  /**
   * Make sure that the queue exists, with its exchange and bindings. A name alone means what `queueNamed` makes of it.
   * One that exists and is otherwise is used as it stands, with a warning.
   *
   * @throws {QueueRefusedError} it can neither be declared nor used
   */
  declareQueue(queue: string | Queue): Promise<void>;
  declareExchange(exchange: Exchange): Promise<void>;
  /**
   * Hand the message over. Resolves when the broker has taken responsibility (publisher confirm, commit).
   *
   * @throws {UnroutableError} it reaches no queue, and `unheard` does not allow that; nothing was taken
   * @throws {OutcomeUnknownError} the connection was lost before the confirm
   */
  publish(target: PublishTarget, message: WireMessage): Promise<void>;
  /**
   * Deliver messages of `queue` to `onDelivery`, which must not throw. All consumers of the connection share one
   * prefetch window (`setPrefetch`). A consumer that the broker cancels ends the connection (`closed`).
   */
  consume(queue: string | Queue, onDelivery: (delivery: Delivery) => void): Promise<Consumer>;
  /**
   * Hear what is sent to a queue of one's own: declared as it says, bound, and consumed without acknowledgement and outside the prefetch
   * window. Control commands, their replies, events and rpc results come so. It ends with the consumer where it is
   * exclusive or auto-delete. `onMessage` must not throw.
   */
  subscribe(queue: Queue, onMessage: (message: HeardMessage) => void): Promise<Subscription>;
  /** At most this many deliveries unacknowledged at once on this connection; 0 = no limit. Before the first `consume`: 0. */
  setPrefetch(count: number): Promise<void>;
  /** Messages waiting in the queue (not those delivered); undefined when there is no such queue. */
  depth(queue: string): Promise<number | undefined>;
  /** RabbitMQ's native delayed delivery (PROTOCOL 7.6): declare its 28 levels, and what leads from the last of them to these queues. Absent: the broker has none. */
  declareDelayedDelivery?(queues: readonly Queue[], queueType: "quorum" | "classic"): Promise<void>;
  /** Drop all that waits in the queue; answers how many. */
  purge(queue: string): Promise<number>;
  /** Return what is unacknowledged to its queue, then close. Twice is once. */
  close(): Promise<void>;
}

export interface PublishTarget {
  /** "" is the default exchange: the routing key names the queue. */
  readonly exchange: string;
  readonly routingKey: string;
  /** Type of the exchange, for a broker that must know it to route (Redis). Default "direct". */
  readonly exchangeType?: ExchangeType;
  /** A message that reaches no queue is no error: nobody listens now. (AMQP: not `mandatory`.) Default false. */
  readonly unheard?: boolean;
}

/** What came to a subscription. */
export interface HeardMessage {
  readonly message: WireMessage;
  readonly exchange: string;
  readonly routingKey: string;
}

export interface Consumer {
  /** No further delivery after this resolves; what was delivered can still be settled. Twice is once. */
  cancel(): Promise<void>;
}

export interface Subscription extends Consumer {
  /** Who listened to the queue already, and shares what comes to it from now on. 0 also where the broker cannot tell. */
  readonly others: number;
}

/**
 * One message in hand. Exactly one of `ack`, `requeue` and `reject` counts; a second one does nothing. After the
 * connection was lost each of them does nothing either: the broker gives the message to somebody else.
 */
export interface Delivery {
  readonly message: WireMessage;
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
  /** It was in somebody's hands before, and may have run. */
  readonly redelivered: boolean;
  /** Done with it. Resolves when the broker has been told (sqlite: committed). */
  ack(): Promise<void>;
  /** Back to the queue, to be delivered again (`redelivered`). */
  requeue(): Promise<void>;
  /** Never again: dropped, or dead-lettered where the queue says so. */
  reject(): Promise<void>;
}
