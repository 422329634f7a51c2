/** A result document as the message that Celery's rpc backend sends (PROTOCOL 10.4), and the queue that hears it. */
import type { ContentFormat } from "../../protocol/content/format.ts";
import { JSON_TYPE } from "../../protocol/content/json.ts";
import { type Accepted, dress, jsonTextOf, payloadOf } from "../../protocol/content.ts";
import type { WireMessage } from "../../protocol/message.ts";
import { decodeResult, encodeResult, type ResultDocument } from "../../protocol/result.ts";
import type { ReplyQueue } from "./carrier.ts";

/** @param persistent it survives a restart of the broker @param format that it is written in */
export function replyOf(
  document: ResultDocument,
  correlationId: string,
  { persistent, format }: { readonly persistent: boolean; readonly format: ContentFormat },
): WireMessage {
  const message = {
    body: Buffer.from(encodeResult(document), "utf8"),
    properties: {
      contentType: JSON_TYPE,
      contentEncoding: "utf-8",
      deliveryMode: persistent ? 2 : 1,
      priority: 0,
      correlationId,
    },
    headers: {},
  } as const;
  return dress(message, format);
}

/** @throws {DecodeError} it is in a format that is not accepted, or no document */
export function documentOf(message: WireMessage, accept: Accepted): ResultDocument {
  return decodeResult(jsonTextOf(payloadOf(message), message.properties.contentType ?? JSON_TYPE, accept));
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
