/** Exchanges and queues of Celery's mailbox (PROTOCOL 7.1, 8.7), with the flags that its peers declare. */
import { type Exchange, exchangeNamed, type Queue, queueNamed } from "../brokers/topology.ts";

/** Of the settings `controlExchange` and `controlQueue…`. */
export interface MailboxSettings {
  readonly controlExchange: string;
  readonly controlQueueTtlMs: number;
  readonly controlQueueExpiresMs: number;
  readonly controlQueueExclusive: boolean;
  readonly controlQueueDurable: boolean;
}

export function commandExchange({ controlExchange }: MailboxSettings): Exchange {
  return exchangeNamed(`${controlExchange}.pidbox`, { type: "fanout", durable: false });
}

export function replyExchange({ controlExchange }: MailboxSettings): Exchange {
  return exchangeNamed(`reply.${controlExchange}.pidbox`, { durable: false });
}

/** What a worker hears commands on. */
export function commandQueue(node: string, settings: MailboxSettings): Queue {
  const exchange = commandExchange(settings);
  return privateQueue(`${node}.${exchange.name}`, exchange, "", settings);
}

/** What a client hears replies on. */
export function replyQueue(oid: string, settings: MailboxSettings): Queue {
  const exchange = replyExchange(settings);
  return privateQueue(`${oid}.${exchange.name}`, exchange, oid, settings);
}

function privateQueue(name: string, exchange: Exchange, routingKey: string, settings: MailboxSettings): Queue {
  return queueNamed(name, {
    exchange,
    routingKey,
    durable: settings.controlQueueDurable,
    exclusive: settings.controlQueueExclusive,
    autoDelete: true,
    arguments: { "x-message-ttl": settings.controlQueueTtlMs, "x-expires": settings.controlQueueExpiresMs },
  });
}
