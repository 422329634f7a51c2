/** A result document as the message that Celery's rpc backend sends (PROTOCOL 10.4), and the queue that hears it. */
import type { WireMessage } from "../../protocol/message.ts";
import { encodeResult, type ResultDocument } from "../../protocol/result.ts";
import type { ReplyQueue } from "./carrier.ts";

/** @param persistent it survives a restart of the broker */
export function replyOf(document: ResultDocument, correlationId: string, persistent: boolean): WireMessage {
  return {
    body: Buffer.from(encodeResult(document), "utf8"),
    properties: {
      contentType: "application/json",
      contentEncoding: "utf-8",
      deliveryMode: persistent ? 2 : 1,
      priority: 0,
      correlationId,
    },
    headers: {},
  };
}

/** Ends with its last consumer, and after so long without one. @param expiresMs 0: never */
export function replyQueue(name: string, expiresMs: number): ReplyQueue {
  return {
    name,
    // RabbitMQ 4.3 refuses a queue that is neither durable nor exclusive.
    durable: true,
    autoDelete: true,
    // AMQP refuses 0, and what does not fit into 32 bits.
    arguments: expiresMs === 0 ? {} : { "x-expires": Math.min(Math.max(1, expiresMs), MAX_EXPIRES_MS) },
  };
}

const MAX_EXPIRES_MS = 2 ** 32 - 1;
