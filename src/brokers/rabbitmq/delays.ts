/**
 * Celery's native delayed delivery (PROTOCOL 7.6): 28 exchanges and queues, each of which holds a message for 2^level seconds or passes
 * it by, as one binary digit of its routing key says, and an exchange at their end that leads to the queues.
 */
import type { Channel } from "amqplib";
import { DELAY_EXIT, DELAY_LEVELS, exitKey } from "../../protocol/delayed-delivery.ts";
import type { Queue } from "../topology.ts";
import { bindingsOf } from "./topology.ts";

const DURABLE = { durable: true } as const;

export async function declareDelays(channel: Channel, queueType: "quorum" | "classic"): Promise<void> {
  await channel.assertExchange(DELAY_EXIT, "topic", DURABLE);
  for (let level = 0; level < DELAY_LEVELS; level += 1) {
    const name = nameOf(level);
    const next = level === 0 ? DELAY_EXIT : nameOf(level - 1);
    await channel.assertExchange(name, "topic", DURABLE);
    await channel.assertQueue(name, {
      ...DURABLE,
      arguments: {
        "x-queue-type": queueType,
        "x-overflow": "reject-publish",
        "x-message-ttl": 2 ** level * 1_000,
        "x-dead-letter-exchange": next,
        ...(queueType === "quorum" ? { "x-dead-letter-strategy": "at-least-once" } : {}),
      },
    });
    // The digit of this level stands behind those of the longer ones.
    const before = "*.".repeat(DELAY_LEVELS - 1 - level);
    await channel.bindQueue(name, name, `${before}1.#`);
    await channel.bindExchange(next, name, `${before}0.#`);
  }
}

/** What comes out goes on to the exchange of its queue, by the queue's own key. Direct exchanges know no patterns. */
export async function leadDelaysTo(channel: Channel, queues: readonly Queue[]): Promise<void> {
  for (const queue of queues) {
    for (const { exchange, routingKey } of bindingsOf(queue)) {
      if (exchange.name === "" || exchange.type === "direct") continue;
      const key = exitKey(routingKey);
      await channel.bindExchange(exchange.name, DELAY_EXIT, key);
      await channel.bindQueue(queue.name, exchange.name, key);
    }
  }
}

function nameOf(level: number): string {
  return `celery_delayed_${level}`;
}
