/**
 * The app's queues: what `taskQueues` says, and what is made of a name that it does not have (PROTOCOL 4.1, 7.1). All as
 * kombu and Celery's `Queues` make them, so that what two sides declare is the same.
 */
import { type Exchange, exchangeNamed, type Queue, queueNamed } from "../brokers/topology.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { suggest } from "../kit/options.ts";
import { topicMatches } from "../protocol/delayed-delivery.ts";
import type { Config } from "./config.ts";
import { type DescribedQueue, type QueueItem, queueOf } from "./queue-options.ts";

export type { BindingOptions, ExchangeOptions, QueueOptions } from "./queue-options.ts";

/** The settings that say what queues there are. */
export type QueueConfig = Pick<
  Config,
  | "taskQueues"
  | "taskDefaultQueue"
  | "taskDefaultExchange"
  | "taskDefaultExchangeType"
  | "taskDefaultRoutingKey"
  | "taskDefaultQueueType"
  | "taskQueueMaxPriority"
  | "taskCreateMissingQueues"
  | "taskCreateMissingQueueType"
  | "taskCreateMissingQueueExchangeType"
>;

const MAX_MADE = 10_000;
const QUORUM = { "x-queue-type": "quorum" } as const;

export class Queues {
  readonly #config: QueueConfig;
  /** What `taskQueues` names, or the default queue where it names none. */
  readonly #known = new Map<string, Queue>();
  /** What was described at run time. */
  readonly #added = new Map<string, Queue>();
  /** What was made of other names: the latest, for a client may send to any number of them. */
  readonly #made = new Map<string, Queue>();
  #quorum = false;
  /** Of exchanges or queues that say one. */
  readonly #modes = new Map<string, 1 | 2>();

  constructor(config: QueueConfig) {
    this.#config = config;
    const { taskQueues = [], taskDefaultQueue, taskDefaultQueueType } = config;
    for (const item of taskQueues) this.#keep(this.#known, this.#describe(item));
    if (taskQueues.length > 0) return;
    const own = queueNamed(taskDefaultQueue, {
      exchange: this.#defaultExchange(),
      routingKey: this.#defaultKey(),
      arguments: taskDefaultQueueType === "quorum" ? QUORUM : {},
    });
    this.#keep(this.#known, this.#withPriorities(own));
  }

  /** Names of the configured ones. */
  get names(): string[] {
    return [...this.#known.keys()];
  }

  /** All that are known by now, those made of other names too. */
  get all(): Queue[] {
    return [...this.#known.values(), ...this.#added.values(), ...this.#made.values()];
  }

  /** One of them is a quorum queue. (PROTOCOL 7.6) */
  get hasQuorum(): boolean {
    return this.#quorum;
  }

  /** Undefined: `taskQueues` does not have it, and others are not to be made. */
  find(name: string): Queue | undefined {
    const known = this.#added.get(name) ?? this.#known.get(name) ?? this.#made.get(name);
    if (known !== undefined || !this.#config.taskCreateMissingQueues) return known;
    const { taskCreateMissingQueueType: type, taskCreateMissingQueueExchangeType: exchangeType } = this.#config;
    const made = this.#withPriorities(
      queueNamed(name, {
        exchange: exchangeNamed(name, exchangeType === undefined ? {} : { type: exchangeType }),
        arguments: type === "quorum" ? QUORUM : {},
      }),
    );
    for (const oldest of this.#made.keys()) {
      if (this.#made.size < MAX_MADE) break;
      this.#made.delete(oldest);
    }
    return this.#keep(this.#made, made);
  }

  /** @throws {InvalidInputError} there is no such queue, and none is to be made; it names those that there are */
  get(name: string): Queue {
    const queue = this.find(name);
    if (queue !== undefined) return queue;
    throw new InvalidInputError(
      `taskQueues has no queue ${JSON.stringify(name)}${suggest(name, this.names)}: it has ${this.names.join(", ")}, ` +
        "and taskCreateMissingQueues is false",
    );
  }

  /**
   * What a worker consumes: all that `taskQueues` has, or only `include`, without `exclude` (Celery's -Q and -X).
   * @throws {InvalidInputError} one of `include` is unknown, or nothing is left
   */
  select(include?: readonly string[], exclude: readonly string[] = []): Queue[] {
    const names = [...new Set(include ?? this.names)].filter((each) => !exclude.includes(each));
    if (names.length > 0) return names.map((each) => this.get(each));
    throw new InvalidInputError(`no queue is left to consume: ${exclude.join(", ")} excluded`);
  }

  /** A queue described at run time, as Celery's `add_consumer` does. @throws {InvalidConfigError} names each field that is wrong */
  add(given: unknown): Queue {
    const item = queueOf(given, "the queue", {});
    return this.#keep(this.#added, this.#describe({ ...item, routingKey: item.routingKey ?? item.name }));
  }

  /** The delivery mode that the queue or its exchange says. */
  deliveryModeOf(queue: Queue): 1 | 2 | undefined {
    return this.#modes.get(queue.name);
  }

  /** The known queues that hear of this exchange. */
  ofExchange(name: string): Queue[] {
    return this.all.filter(
      (each) => each.exchange.name === name || each.bindings.some((b) => b.exchange.name === name),
    );
  }

  /** The first known queue that hears this key of this exchange. */
  reachedBy(exchange: string, routingKey: string): Queue | undefined {
    return this.ofExchange(exchange).find((each) =>
      [each, ...each.bindings].some(
        (binding) =>
          binding.exchange.name === exchange && passes(binding.exchange.type, binding.routingKey, routingKey),
      ),
    );
  }

  #keep(among: Map<string, Queue>, queue: Queue): Queue {
    among.set(queue.name, queue);
    if (isQuorum(queue)) this.#quorum = true;
    return queue;
  }

  #describe(item: QueueItem): Queue {
    if (typeof item === "string") return this.#withPriorities(queueNamed(item));
    const { deliveryMode, exchange = this.#defaultExchange(), routingKey = this.#defaultKey(), ...rest } = item;
    if (deliveryMode !== undefined) this.#modes.set(item.name, deliveryMode);
    return this.#withPriorities({ ...rest, exchange, routingKey } satisfies Omit<DescribedQueue, "deliveryMode">);
  }

  /** Quorum queues of RabbitMQ 3 refuse to be declared with priorities, so these get none unasked. */
  #withPriorities(queue: Queue): Queue {
    const max = this.#config.taskQueueMaxPriority;
    if (max === undefined || "x-max-priority" in queue.arguments || isQuorum(queue)) return queue;
    return { ...queue, arguments: { ...queue.arguments, "x-max-priority": max } };
  }

  #defaultExchange(): Exchange {
    const { taskDefaultExchange, taskDefaultQueue, taskDefaultExchangeType: type } = this.#config;
    return exchangeNamed(taskDefaultExchange ?? taskDefaultQueue, { type });
  }

  #defaultKey(): string {
    return this.#config.taskDefaultRoutingKey ?? this.#config.taskDefaultQueue;
  }
}

function passes(type: string, binding: string, routingKey: string): boolean {
  if (type === "topic") return topicMatches(binding, routingKey);
  return type === "fanout" || binding === routingKey;
}

/** The queue of one worker alone: Celery's `worker_direct`. */
export function directQueue(node: string): Queue {
  return queueNamed(`${node}.dq2`, { exchange: exchangeNamed("C.dq2"), routingKey: node });
}

export function isQuorum(queue: Queue): boolean {
  return queue.arguments["x-queue-type"] === "quorum";
}
