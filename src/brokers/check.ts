/**
 * What every broker asks of its arguments, so that one refuses what another would. RabbitMQ closes the channel, and with
 * it other people's work, over an `expiration` that is no number: such input must not get that far.
 */
import { InvalidInputError } from "../kit/errors.ts";
import type { WireMessage, WireProperties } from "../protocol/message.ts";
import type { PublishTarget } from "./broker.ts";

/** AMQP's short string: names and text properties. */
const SHORT_BYTES = 255;

export function checkQueueName(queue: string): void {
  if (queue === "") throw new InvalidInputError("the queue name is empty: give it at least one character");
  checkShort("queue name", queue);
}

export function checkPrefetch(count: number): void {
  if (Number.isSafeInteger(count) && count >= 0) return;
  throw new InvalidInputError(`prefetch count ${String(count)} is not a whole number from 0 (no limit) up`);
}

export function checkPublish(target: PublishTarget, message: WireMessage): void {
  checkShort("exchange", target.exchange);
  checkShort("routing key", target.routingKey);
  if (target.exchange === "" && target.routingKey === "") {
    throw new InvalidInputError("a message without exchange and routing key goes nowhere: name a queue as routing key");
  }
  checkProperties(message.properties);
}

/** The queue that a message goes to: that of the default exchange, or that of the direct exchange of its name. */
export function queueOf(target: PublishTarget): string | undefined {
  if (target.exchange === "" || target.exchange === target.routingKey) return target.routingKey;
  return undefined;
}

function checkProperties(properties: WireProperties): void {
  const { contentType, contentEncoding, correlationId, replyTo, priority, expiration } = properties;
  if (contentType !== undefined) checkShort("contentType", contentType);
  if (contentEncoding !== undefined) checkShort("contentEncoding", contentEncoding);
  if (correlationId !== undefined) checkShort("correlationId", correlationId);
  if (replyTo !== undefined) checkShort("replyTo", replyTo);
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= 0 && priority <= 255)) {
    throw new InvalidInputError(`priority ${String(priority)} is not a whole number from 0 to 255`);
  }
  // RabbitMQ's limit is that of a 32-bit timer.
  if (expiration !== undefined && !(/^\d{1,10}$/.test(expiration) && Number(expiration) <= 4_294_967_295)) {
    throw new InvalidInputError(
      `expiration ${JSON.stringify(expiration)} is not milliseconds as decimal text, 0 … 4294967295`,
    );
  }
}

function checkShort(what: string, text: string): void {
  if (typeof text !== "string") throw new InvalidInputError(`${what} is not text but ${typeof text}`);
  // A character takes at most three bytes for each UTF-16 unit: most texts need no counting.
  if (text.length * 3 <= SHORT_BYTES) return;
  const bytes = Buffer.byteLength(text);
  if (bytes <= SHORT_BYTES) return;
  throw new InvalidInputError(
    `${what} ${JSON.stringify(text.slice(0, 40))}… has ${bytes} bytes: AMQP allows ${SHORT_BYTES}, shorten it`,
  );
}
