/**
 * Exchanges and queues as data: kombu's `Exchange` and `Queue`, AMQP's `exchange.declare`, `queue.declare`, `queue.bind` and
 * `basic.consume`. What a broker has no use for (Redis: flags and arguments) it passes over.
 */

/** AMQP's kinds; other plug-in kinds are any other text. */
export type ExchangeType = "direct" | "topic" | "fanout" | "headers" | (string & {});

export interface Exchange {
  readonly name: string;
  readonly type: ExchangeType;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Somebody else declares it (kombu: `no_declare`). */
  readonly noDeclare: boolean;
}

export interface Binding {
  readonly exchange: Exchange;
  readonly routingKey: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

export interface Queue {
  readonly name: string;
  readonly durable: boolean;
  /** For this connection alone; ends with it. */
  readonly exclusive: boolean;
  /** Ends with its last consumer. */
  readonly autoDelete: boolean;
  /** `x-max-priority`, `x-queue-type`, `x-message-ttl` and such. */
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly consumerArguments: Readonly<Record<string, unknown>>;
  /** Where messages for it are sent, and by which key: its first binding. */
  readonly exchange: Exchange;
  readonly routingKey: string;
  readonly bindingArguments: Readonly<Record<string, unknown>>;
  /** Further ones. */
  readonly bindings: readonly Binding[];
  /** Somebody else declares it, its exchange and its bindings. */
  readonly noDeclare: boolean;
}

export function exchangeNamed(name: string, given: Partial<Omit<Exchange, "name">> = {}): Exchange {
  return { name, type: "direct", durable: true, autoDelete: false, arguments: {}, noDeclare: false, ...given };
}

/** A queue as Celery declares one that nobody described: durable, on a durable direct exchange of its name, bound by its name. */
export function queueNamed(name: string, given: Partial<Omit<Queue, "name">> = {}): Queue {
  return {
    name,
    durable: true,
    exclusive: false,
    autoDelete: false,
    arguments: {},
    consumerArguments: {},
    exchange: exchangeNamed(name),
    routingKey: name,
    bindingArguments: {},
    bindings: [],
    noDeclare: false,
    ...given,
  };
}

export function nameOf(queue: string | Queue): string {
  return typeof queue === "string" ? queue : queue.name;
}
