/**
 * A task call as it travels, whatever carried it: the one shape between producers, brokers, schedule and pool.
 *
 * The body stays the JSON text that the producer wrote: Python's big integers and NaN survive parking and
 * forwarding untouched, and only the process that runs the task pays for parsing.
 */
export interface TaskMessage {
  /** Registered name of the task. */
  readonly task: string;
  /** Task id: any non-empty string. A numeric id of a foreign producer is its decimal text. */
  readonly id: string;
  /** JSON text (Python's dialect) of `[args, kwargs, embed]`. */
  readonly body: string;
  /** 0 for the first run, then one more for each retry. */
  readonly retries: number;
  /** Earliest start, integer ms UTC, rounded up. */
  readonly etaMs?: number;
  /** Latest start, integer ms UTC. */
  readonly expiresMs?: number;
  /** Time limits, ms. On the wire: `timelimit: [hard, soft]` in seconds. */
  readonly hardLimitMs?: number;
  readonly softLimitMs?: number;
  readonly rootId?: string;
  readonly parentId?: string;
  readonly group?: string;
  readonly groupIndex?: number;
  /** Name shown in logs in place of `task`. */
  readonly shadow?: string;
  /** True: the worker must not store a result. */
  readonly ignoreResult?: boolean;
  readonly replyTo?: string;
  readonly correlationId?: string;
  /** 0 … 255; on RabbitMQ higher is sooner. */
  readonly priority?: number;
  /** `gen<pid>@<host>` of the sender. */
  readonly origin?: string;
  readonly argsRepr?: string;
  readonly kwargsRepr?: string;
  /** Headers that Celery does not define, and `stamps`, `stamped_headers`, `replaced_task_nesting`; plain data. */
  readonly headers?: Readonly<Record<string, unknown>>;
}

/** What a broker carries: bytes, their description, and a header table. AMQP basic properties by camelCase name. */
export interface WireMessage {
  readonly body: Uint8Array;
  readonly properties: WireProperties;
  /** A null-prototype object; values as the broker client decoded them. */
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface WireProperties {
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly deliveryMode?: 1 | 2;
  readonly priority?: number;
  readonly correlationId?: string;
  readonly replyTo?: string;
  /** Remaining life in milliseconds as decimal text, as AMQP has it. */
  readonly expiration?: string;
}
