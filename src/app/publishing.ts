/**
 * The one way that a task message goes out, for clients, tasks and workers: from what is said of where it goes to an exchange and a
 * key (PROTOCOL 4.1), by RabbitMQ's delayed delivery where that is in use (PROTOCOL 7.6), with its queue declared, tried again as the app says.
 */
import type { Broker, PublishTarget } from "../brokers/broker.ts";
import type { Queue } from "../brokers/topology.ts";
import type { Clock } from "../kit/clock.ts";
import type { Destination, PublishRetryPolicy } from "../pool/asks.ts";
import { DELAY_ENTRY, delayedKey, exitKey, topicMatches, undelayedKey } from "../protocol/delayed-delivery.ts";
import type { WireMessage } from "../protocol/message.ts";
import type { Config } from "./config.ts";
import type { Producer, PublishOptions } from "./producer.ts";
import type { Queues } from "./queues.ts";

export interface PublishingOptions {
  readonly config: Config;
  readonly queues: Queues;
  readonly producer: Producer;
  /** The one that the producer publishes to. */
  readonly broker: () => Promise<Broker>;
  readonly clock: Clock;
}

/** Where a message goes, worked out. */
export interface Place {
  readonly target: PublishTarget;
  /** The queue that it is meant for; undefined: one that the app does not know, and is not to make. */
  readonly queue: Queue | undefined;
  /** What is to be there first. */
  readonly declare: readonly Queue[];
}

/** A countdown of 3 s that took some milliseconds to get here is one of 3 s still, and not of 2. */
const SLACK_MS = 50;

const NO_RETRY: PublishRetryPolicy = { maxRetries: 0 };

export class Publishing {
  readonly #options: PublishingOptions;

  constructor(options: PublishingOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the broker has taken responsibility.
   * @param etaMs its earliest start, as its headers say
   * @throws {UnroutableError} it reaches no queue
   * @throws {OutcomeUnknownError} the connection was lost before the confirm; the message may be there
   */
  async publish(message: WireMessage, to: Destination, etaMs: number | undefined): Promise<void> {
    const { config, queues, producer } = this.#options;
    const place = placeOf(to, queues, config.taskDefaultQueue);
    const retry =
      (to.retry ?? config.taskPublishRetry) ? { ...config.taskPublishRetryPolicy, ...to.retryPolicy } : NO_RETRY;
    const mode =
      to.deliveryMode ?? (place.queue && queues.deliveryModeOf(place.queue)) ?? config.taskDefaultDeliveryMode;
    const sent =
      message.properties.deliveryMode === mode
        ? message
        : { ...message, properties: { ...message.properties, deliveryMode: mode } };
    const options: PublishOptions = { declare: place.declare, retry };
    const delayed = etaMs === undefined ? undefined : await this.#delayed(place, etaMs);
    if (delayed === undefined) return producer.publish(place.target, sent, options);
    return producer.publish(delayed.target, sent, {
      ...options,
      delayed: {
        queues: delayed.queues,
        type: config.brokerNativeDelayedDeliveryQueueType,
        otherwise: place.target,
      },
    });
  }

  /** The target by way of the delay; undefined: who receives it waits. */
  async #delayed(
    { target, declare }: Place,
    etaMs: number,
  ): Promise<{ target: PublishTarget; queues: Queue[] } | undefined> {
    const { config, queues, broker, clock } = this.#options;
    const { exchange, routingKey, exchangeType } = target;
    if (exchange === "" || exchangeType === "direct") return undefined;
    if (!config.workerDetectQuorumQueues || !queues.hasQuorum) return undefined;
    const key = delayedKey((etaMs - clock.wallMs() + SLACK_MS) / 1_000, routingKey);
    if (key === undefined || (await broker()).traits.transport !== "amqp") return undefined;
    // The delay leads to queues by their own key alone. A message that none of them takes by it would be dropped at its end.
    const led = declare.filter(
      (each) => each.exchange.name === exchange && topicMatches(exitKey(each.routingKey), key),
    );
    return led.length === 0
      ? undefined
      : { target: { exchange: DELAY_ENTRY, routingKey: key, exchangeType: "topic" }, queues: led };
  }
}

/** Celery's rule: a queue with a direct exchange is reached by the default exchange, unless exchange and key are both given. */
export function placeOf(to: Destination, queues: Queues, defaultQueue: string): Place {
  const routingKey = to.routingKey === undefined ? undefined : undelayedKey(to.routingKey);
  if (to.exchange === "" && routingKey) return inQueue(routingKey, queues);
  const name = to.queue ?? defaultQueue;
  const queue = queues.find(name);
  if (queue === undefined) return inQueue(name, queues);
  const exchangeType = to.exchangeType ?? queue.exchange.type;
  if (exchangeType === "direct" && !(to.exchange && routingKey)) return inQueue(name, queues);
  const exchange = to.exchange || queue.exchange.name;
  const declare = [queue, ...queues.ofExchange(exchange).filter((each) => each.name !== queue.name)];
  const owner = declare.find((each) => each.exchange.name === exchange);
  return {
    target: {
      exchange,
      routingKey: routingKey ?? queue.routingKey,
      exchangeType: to.exchangeType ?? owner?.exchange.type ?? "direct",
    },
    queue,
    declare,
  };
}

function inQueue(name: string, queues: Queues): Place {
  const queue = queues.find(name);
  return { target: { exchange: "", routingKey: name }, queue, declare: queue === undefined ? [] : [queue] };
}
