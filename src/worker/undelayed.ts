/**
 * A delivery that came through RabbitMQ's delayed delivery, as it would have come without: its routing key carries the digits of the delay and its
 * exchange is the delay's (PROTOCOL 7.6). Who retries or sends it on by these would delay it again.
 */
import type { Delivery } from "../brokers/broker.ts";
import type { Queue } from "../brokers/topology.ts";
import { isDelayExchange, undelayedKey } from "../protocol/delayed-delivery.ts";

/** The delivery itself, unless it was delayed. */
export function undelayed(delivery: Delivery, from: Queue): Delivery {
  const routingKey = undelayedKey(delivery.routingKey);
  if (routingKey === delivery.routingKey && !isDelayExchange(delivery.exchange)) return delivery;
  return new Undelayed(
    delivery,
    isDelayExchange(delivery.exchange) ? from.exchange.name : delivery.exchange,
    routingKey,
  );
}

class Undelayed implements Delivery {
  readonly message: Delivery["message"];
  readonly queue: string;
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  readonly #delivery: Delivery;

  constructor(delivery: Delivery, exchange: string, routingKey: string) {
    this.message = delivery.message;
    this.queue = delivery.queue;
    this.redelivered = delivery.redelivered;
    this.exchange = exchange;
    this.routingKey = routingKey;
    this.#delivery = delivery;
  }

  ack(): Promise<void> {
    return this.#delivery.ack();
  }

  requeue(): Promise<void> {
    return this.#delivery.requeue();
  }

  reject(): Promise<void> {
    return this.#delivery.reject();
  }
}
