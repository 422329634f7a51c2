/** One of `taskQueues`, as users write it and as it is read: kombu's `Queue` and `Queue.from_dict`, in camelCase or snake_case. */
import { type Exchange, exchangeNamed } from "../brokers/topology.ts";
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { InvalidConfigError, messageOf } from "../kit/errors.ts";
import { flag, type Rule, type Rules, suggest, text, whole } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";
import { camelCase, deliveryMode, table } from "./setting-rules.ts";

export interface QueueOptions {
  readonly name: string;
  /** Default: `taskDefaultExchange`, which is `taskDefaultQueue` unless it is set. */
  readonly exchange?: string | ExchangeOptions;
  /** Default: `taskDefaultExchangeType`, which is "direct" unless it is set. Without `exchange`: of one of the queue's name. */
  readonly exchangeType?: string;
  /** Default: in a list `taskDefaultRoutingKey`, by name the queue's name, as kombu has it. */
  readonly routingKey?: string;
  readonly durable?: boolean;
  readonly exclusive?: boolean;
  readonly autoDelete?: boolean;
  readonly queueArguments?: Readonly<Record<string, unknown>>;
  readonly bindingArguments?: Readonly<Record<string, unknown>>;
  readonly consumerArguments?: Readonly<Record<string, unknown>>;
  /** `x-max-priority`. */
  readonly maxPriority?: number;
  /** The queue goes when nobody uses it for so long (`x-expires`). A number is seconds. */
  readonly expires?: Duration;
  /** `x-message-ttl`. A number is seconds. */
  readonly messageTtl?: Duration;
  /** `x-max-length`, `x-max-length-bytes`. */
  readonly maxLength?: number;
  readonly maxLengthBytes?: number;
  /** Further bindings. */
  readonly bindings?: readonly BindingOptions[];
  /** Of messages that are sent to it. Default: `taskDefaultDeliveryMode`. */
  readonly deliveryMode?: 1 | 2 | "persistent" | "transient";
  /** Somebody else declares it. */
  readonly noDeclare?: boolean;
  readonly [celeryName: `${string}_${string}`]: unknown;
}

export interface ExchangeOptions {
  readonly name: string;
  readonly type?: string;
  readonly durable?: boolean;
  readonly autoDelete?: boolean;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly deliveryMode?: 1 | 2 | "persistent" | "transient";
  /** Somebody else declares it. */
  readonly noDeclare?: boolean;
  readonly [celeryName: `${string}_${string}`]: unknown;
}

export interface BindingOptions {
  readonly exchange: string | ExchangeOptions;
  readonly exchangeType?: string;
  readonly routingKey?: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly [celeryName: `${string}_${string}`]: unknown;
}

/** As it was read. What was left open is for the app's defaults. */
export interface DescribedQueue {
  readonly name: string;
  readonly exchange?: Exchange;
  readonly routingKey?: string;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly bindingArguments: Readonly<Record<string, unknown>>;
  readonly consumerArguments: Readonly<Record<string, unknown>>;
  readonly bindings: readonly {
    readonly exchange: Exchange;
    readonly routingKey: string;
    readonly arguments: Readonly<Record<string, unknown>>;
  }[];
  readonly deliveryMode?: 1 | 2;
  readonly noDeclare: boolean;
}

/** In what was read, a queue of a list that was a name alone. */
export type QueueItem = string | DescribedQueue;

const seconds: Rule<number> = (value, name) => parseDurationMs(value as Duration, name);

const EXCHANGE_RULES: Rules = {
  name: anyText,
  type: text(),
  durable: flag(),
  autoDelete: flag(),
  arguments: table(),
  deliveryMode,
  noDeclare: flag(),
};

const BINDING_RULES: Rules = { exchange: exchangeRule, exchangeType: text(), routingKey: anyText, arguments: table() };

const QUEUE_RULES: Rules = {
  name: text(),
  exchange: exchangeRule,
  exchangeType: text(),
  exchangeDurable: flag(),
  exchangeAutoDelete: flag(),
  exchangeArguments: table(),
  routingKey: anyText,
  bindingKey: anyText,
  durable: flag(),
  queueDurable: flag(),
  exclusive: flag(),
  autoDelete: flag(),
  queueAutoDelete: flag(),
  queueArguments: table(),
  bindingArguments: table(),
  consumerArguments: table(),
  maxPriority: whole({ min: 1, max: 255 }),
  expires: seconds,
  messageTtl: seconds,
  maxLength: whole(),
  maxLengthBytes: whole(),
  bindings: (value, name) => {
    if (!Array.isArray(value)) throw new TypeError(`${name} must be a list of bindings`);
    return value.map((each, i) => bindingOf(readFields(each, BINDING_RULES, `${name}[${i}]`)));
  },
  deliveryMode,
  noDeclare: flag(),
  noAck: (value, name) => {
    if (value === false) return value;
    throw new TypeError(`${name} is not for task queues: a message that is not acknowledged is lost with its worker`);
  },
};

/** The arguments of RabbitMQ that kombu has a name for. */
const NAMED_ARGUMENTS = {
  maxPriority: "x-max-priority",
  expires: "x-expires",
  messageTtl: "x-message-ttl",
  maxLength: "x-max-length",
  maxLengthBytes: "x-max-length-bytes",
} as const;

/** `taskQueues`, read. @throws {InvalidConfigError} names each queue that is wrong */
export const queuesRule: Rule<readonly QueueItem[]> = (value, what) => {
  const problems: string[] = [];
  const queues: QueueItem[] = [];
  const take = (read: () => QueueItem) => {
    try {
      const queue = read();
      const name = typeof queue === "string" ? queue : queue.name;
      if (queues.some((each) => (typeof each === "string" ? each : each.name) === name)) {
        problems.push(`${what} has the queue ${JSON.stringify(name)} twice`);
      }
      queues.push(queue);
    } catch (error) {
      problems.push(...(error instanceof InvalidConfigError ? error.problems : [messageOf(error)]));
    }
  };
  if (Array.isArray(value)) {
    for (const [i, each] of value.entries()) {
      take(() => (typeof each === "string" ? text()(each, `${what}[${i}]`) : queueOf(each, `${what}[${i}]`, {})));
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [name, options] of Object.entries(value)) {
      const given: unknown = options ?? {};
      take(() => byName(name, given, `${what}.${name}`));
    }
  } else {
    problems.push(`${what} must be a list of queues, or an object by their names, not ${textOf(value, 80)}`);
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return queues;
};

/** One queue that comes at run time. @throws {InvalidConfigError} names each field that is wrong */
export function queueOf(given: unknown, what: string, defaults: { readonly routingKey?: string }): DescribedQueue {
  const fields = readFields(given, QUEUE_RULES, what);
  if (fields.name === undefined) throw new InvalidConfigError([`${what} has no name: { name: "mail" }`]);
  return described(fields, defaults);
}

/** kombu's `from_dict`: there flags of the queue are its exchange's too, and its name is its key. */
function byName(name: string, given: unknown, what: string): DescribedQueue {
  const { name: own, ...fields } = readFields(given, QUEUE_RULES, what);
  if (name === "" || (own !== undefined && own !== name)) {
    throw new InvalidConfigError([`${what} has the name ${textOf(JSON.stringify(own ?? name), 80)}`]);
  }
  const { durable, autoDelete } = fields;
  return described({ exchangeDurable: durable, exchangeAutoDelete: autoDelete, ...fields, name }, { routingKey: name });
}

function described(fields: Fields, defaults: { readonly routingKey?: string }): DescribedQueue {
  const routingKey = fields.bindingKey || fields.routingKey || defaults.routingKey;
  const exchange = exchangeOf(fields);
  const mode = fields.deliveryMode ?? (fields.exchange as ReadExchange | undefined)?.deliveryMode;
  const named: Record<string, unknown> = {};
  for (const [field, argument] of Object.entries(NAMED_ARGUMENTS)) {
    if (fields[field] !== undefined) named[argument] = fields[field];
  }
  const exclusive = (fields.exclusive as boolean | undefined) ?? false;
  return {
    name: fields.name as string,
    durable: (fields.queueDurable ?? fields.durable ?? true) as boolean,
    exclusive,
    // AMQP's exclusive queues end with their connection in any case; kombu says so.
    autoDelete: exclusive || ((fields.queueAutoDelete ?? fields.autoDelete ?? false) as boolean),
    arguments: { ...(fields.queueArguments as object | undefined), ...named },
    bindingArguments: (fields.bindingArguments ?? {}) as DescribedQueue["bindingArguments"],
    consumerArguments: (fields.consumerArguments ?? {}) as DescribedQueue["consumerArguments"],
    bindings: (fields.bindings ?? []) as DescribedQueue["bindings"],
    noDeclare: (fields.noDeclare as boolean | undefined) ?? false,
    ...(exchange === undefined ? {} : { exchange }),
    ...(routingKey === undefined || routingKey === "" ? {} : { routingKey: routingKey as string }),
    ...(mode === undefined ? {} : { deliveryMode: mode as 1 | 2 }),
  };
}

interface ReadExchange {
  readonly exchange: Exchange;
  /** It said its type. */
  readonly typed: boolean;
  readonly deliveryMode?: 1 | 2;
}

type Fields = { readonly [field: string]: unknown };

function exchangeOf(fields: Fields): Exchange | undefined {
  const read = fields.exchange as ReadExchange | undefined;
  const type = fields.exchangeType as string | undefined;
  if (read === undefined || read.exchange.name === "") {
    return type === undefined ? undefined : exchangeNamed(fields.name as string, { type, ...flagsOf(fields) });
  }
  return { ...read.exchange, ...(type === undefined || read.typed ? {} : { type }), ...flagsOf(fields) };
}

function flagsOf({ exchangeDurable: durable, exchangeAutoDelete: autoDelete, exchangeArguments: args }: Fields) {
  return {
    ...(durable === undefined ? {} : { durable: durable as boolean }),
    ...(autoDelete === undefined ? {} : { autoDelete: autoDelete as boolean }),
    ...(args === undefined ? {} : { arguments: args as Exchange["arguments"] }),
  };
}

function bindingOf(fields: Fields): DescribedQueue["bindings"][number] {
  const exchange = exchangeOf({ name: "", ...fields });
  if (exchange === undefined || exchange.name === "") throw new InvalidConfigError(["a binding needs an exchange"]);
  return {
    exchange,
    routingKey: (fields.routingKey as string | undefined) ?? "",
    arguments: (fields.arguments ?? {}) as Exchange["arguments"],
  };
}

function exchangeRule(value: unknown, name: string): ReadExchange {
  if (typeof value === "string") return { exchange: exchangeNamed(value), typed: false };
  const { name: exchange, deliveryMode: mode, ...rest } = readFields(value, EXCHANGE_RULES, name);
  if (exchange === undefined) throw new InvalidConfigError([`${name} has no name`]);
  return {
    exchange: exchangeNamed(exchange as string, rest),
    typed: rest.type !== undefined,
    ...(mode === undefined ? {} : { deliveryMode: mode as 1 | 2 }),
  };
}

/** Names in camelCase, each value by its rule; None is as good as left out. */
function readFields(given: unknown, rules: Rules, what: string): Record<string, unknown> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new InvalidConfigError([`${what} must be an object, not ${textOf(given, 80)}`]);
  }
  const problems: string[] = [];
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const known = camelCase(name);
    const rule = Object.hasOwn(rules, known) ? rules[known] : undefined;
    if (rule === undefined) {
      problems.push(`${what} has no ${textOf(JSON.stringify(name), 80)}${suggest(known, Object.keys(rules))}`);
    } else if (value !== undefined && value !== null) {
      try {
        fields[known] = rule(value, `${what}.${name}`);
      } catch (error) {
        problems.push(...(error instanceof InvalidConfigError ? error.problems : [messageOf(error)]));
      }
    }
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return fields;
}

/** "" is the default exchange, or no key. */
function anyText(value: unknown, name: string): string {
  if (typeof value === "string") return value;
  throw new TypeError(`${name} must be text; it was ${textOf(value, 80)}`);
}
