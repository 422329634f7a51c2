/** The app's queues: what `taskQueues` says, and what is made of a name that it does not know (PROTOCOL 4.1, 7.1). */

/** One of `taskQueues`: kombu's `Queue` in camelCase or snake_case. */
export interface QueueOptions {
  readonly name: string;
  /** Default: the queue's name. */
  readonly exchange?:
    | string
    | {
        readonly name: string;
        readonly type?: string;
        readonly durable?: boolean;
        readonly autoDelete?: boolean;
        readonly arguments?: Readonly<Record<string, unknown>>;
      };
  /** Default "direct". */
  readonly exchangeType?: string;
  /** Default: the queue's name. */
  readonly routingKey?: string;
  readonly durable?: boolean;
  readonly exclusive?: boolean;
  readonly autoDelete?: boolean;
  readonly queueArguments?: Readonly<Record<string, unknown>>;
  readonly bindingArguments?: Readonly<Record<string, unknown>>;
  readonly consumerArguments?: Readonly<Record<string, unknown>>;
  /** `x-max-priority`. */
  readonly maxPriority?: number;
  /** Seconds: the queue goes when nobody uses it for so long (`x-expires`). */
  readonly expires?: number;
  /** Seconds (`x-message-ttl`). */
  readonly messageTtl?: number;
  /** `x-max-length`, `x-max-length-bytes`. */
  readonly maxLength?: number;
  readonly maxLengthBytes?: number;
  /** Further bindings. */
  readonly bindings?: readonly {
    readonly exchange: string;
    readonly exchangeType?: string;
    readonly routingKey?: string;
    readonly arguments?: Readonly<Record<string, unknown>>;
  }[];
  /** Somebody else declares it. */
  readonly noDeclare?: boolean;
}
