/**
 * Publishing with confirms. Any number of messages are under way at once; each promise resolves with its own confirm.
 *
 * Messages are `mandatory`, unless nobody need hear them: RabbitMQ returns what it can route nowhere, just before it confirms it. A return names no
 * message, so it is matched with what is under way by target, correlation id and body. Two that are equal in all of these
 * are the same message.
 */
import type { ConfirmChannel, Message } from "amqplib";
import type { Timeout } from "../../kit/clock.ts";
import { InvalidInputError, messageOf, OutcomeUnknownError } from "../../kit/errors.ts";
import { Fifo } from "../../kit/fifo.ts";
import type { WireMessage } from "../../protocol/message.ts";
import type { PublishTarget } from "../broker.ts";
import { checkPublish } from "../check.ts";
import { BrokerUnavailableError, UnroutableError } from "../errors.ts";
import { NOT_FOUND, replyCode } from "./failure.ts";
import type { Line } from "./line.ts";
import { WireWriter } from "./wire.ts";

interface Publish {
  readonly target: PublishTarget;
  readonly message: WireMessage;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** When it was asked for, by the monotonic clock. */
  readonly atMs: number;
  /** RabbitMQ gave it back. */
  returned: boolean;
}

export class Publisher {
  readonly #line: Line;
  readonly #writer = new WireWriter();
  /** Asked for and not sent: the channel is not open yet, its buffer is full, or RabbitMQ is blocked. */
  readonly #waiting = new Fifo<Publish>();
  /** Sent and not confirmed, in order. */
  readonly #sent = new Set<Publish>();
  /** Exchanges that were there when we looked. */
  readonly #exchanges = new Set<string>();
  #channel: ConfirmChannel | undefined;
  #opening = false;
  #full = false;
  #watch: Timeout | undefined;
  #idle: (() => void) | undefined;

  constructor(line: Line) {
    this.#line = line;
    line.onBlocked = () => this.#pump();
    line.onEnd((why) => this.#fail(why));
  }

  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    checkPublish(target, message);
    if (target.exchange !== "" && !this.#exchanges.has(target.exchange)) await this.#checkExchange(target);
    this.#line.check();
    await new Promise<void>((resolve, reject) => {
      const atMs = this.#line.clock.monoMs();
      this.#waiting.push({ target, message, resolve, reject, atMs, returned: false });
      this.#pump();
    });
  }

  /** Resolves when every publish that was asked for has ended. */
  settled(): Promise<void> {
    if (this.#sent.size === 0 && this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /** The channel, if one was ever opened. */
  get channel(): ConfirmChannel | undefined {
    return this.#channel;
  }

  /** Publishing to an exchange that does not exist would close the channel, and take the others under way with it. */
  async #checkExchange(target: PublishTarget): Promise<void> {
    const { exchange } = target;
    try {
      await this.#line.aside(`exchange ${exchange}`, (channel) => channel.checkExchange(exchange));
    } catch (error) {
      throw replyCode(error) === NOT_FOUND ? new UnroutableError(target, { cause: error }) : error;
    }
    this.#exchanges.add(exchange);
  }

  #pump(): void {
    if (this.#waiting.length === 0) return;
    this.#arm();
    const channel = this.#channel;
    if (channel === undefined) {
      if (!this.#opening) this.#open();
      return;
    }
    while (!this.#full && this.#line.blocked === undefined) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#send(channel, next);
    }
  }

  #open(): void {
    this.#opening = true;
    this.#line.confirmChannel().then(
      (channel) => {
        channel.on("drain", () => {
          this.#full = false;
          this.#pump();
        });
        channel.on("return", (message) => this.#markReturned(message));
        this.#channel = channel;
        this.#pump();
      },
      (error: Error) => {
        this.#opening = false;
        // A broker that refuses a channel (blocked, say) may give one later: what waits is tried again with the next publish.
        for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next.reject(error);
        this.#checkIdle();
      },
    );
  }

  #send(channel: ConfirmChannel, publish: Publish): void {
    const { target, message } = publish;
    try {
      const options = this.#writer.write(message);
      options.mandatory = target.unheard !== true;
      const room = channel.publish(target.exchange, target.routingKey, bufferOf(message.body), options, (error) =>
        this.#confirmed(publish, error),
      );
      this.#sent.add(publish);
      if (!room) this.#full = true;
    } catch (error) {
      // Thrown before anything was written: amqplib encodes first.
      publish.reject(this.#unsent(error));
      this.#checkIdle();
    }
  }

  #unsent(error: unknown): Error {
    if (error instanceof InvalidInputError) return error;
    if (error instanceof Error && error.name === "IllegalOperationError") {
      return new BrokerUnavailableError(`the connection to ${this.#line.url} was lost before the message was sent`);
    }
    return new InvalidInputError(`the message cannot be written as AMQP: ${messageOf(error)}`, { cause: error });
  }

  #confirmed(publish: Publish, refused: unknown): void {
    if (this.#line.ended !== undefined || !this.#sent.delete(publish)) return;
    if (refused) {
      publish.reject(
        new BrokerUnavailableError(
          `${this.#line.url} refused a message for ${nameOf(publish.target)}: the queue is full, or could not write it`,
        ),
      );
    } else if (publish.returned) {
      publish.reject(new UnroutableError(publish.target));
    } else {
      publish.resolve();
    }
    this.#checkIdle();
  }

  #markReturned(message: Message): void {
    const { exchange, routingKey } = message.fields;
    for (const publish of this.#sent) {
      if (publish.returned || publish.target.routingKey !== routingKey || publish.target.exchange !== exchange)
        continue;
      if (publish.message.properties.correlationId !== message.properties.correlationId) continue;
      if (!message.content.equals(publish.message.body)) continue;
      publish.returned = true;
      return;
    }
  }

  /** One timeout for all, armed for the oldest. It is left to run out, not set again for each message. */
  #arm(): void {
    if (this.#watch !== undefined || this.#line.ended !== undefined) return;
    const oldest = this.#oldest();
    if (oldest === undefined) return;
    const { clock, answerMs } = this.#line;
    const leftMs = Math.max(0, Math.ceil(oldest.atMs + answerMs - clock.monoMs()));
    this.#watch = clock.timeout(
      () => {
        this.#watch = undefined;
        this.#endLate();
        this.#arm();
      },
      leftMs,
      { ref: false },
    );
  }

  #oldest(): Publish | undefined {
    for (const publish of this.#sent) return publish;
    return this.#waiting.peek();
  }

  #endLate(): void {
    const line = this.#line;
    const lateMs = line.clock.monoMs() - line.answerMs;
    const seconds = line.answerMs / 1_000;
    const blocked = line.blocked;
    for (const publish of this.#sent) {
      if (publish.atMs > lateMs) break;
      if (blocked === undefined) {
        line.lose(new Error(`a message was not confirmed within ${seconds} s`));
        return;
      }
      this.#sent.delete(publish);
      publish.reject(unknownOutcome(publish, new Error(`it is blocked (${blocked})`)));
    }
    const why = blocked === undefined ? "its connection is full" : `it is blocked (${blocked})`;
    for (let next = this.#waiting.peek(); next !== undefined && next.atMs <= lateMs; next = this.#waiting.peek()) {
      this.#waiting.shift();
      next.reject(new BrokerUnavailableError(`${line.url} took no message within ${seconds} s: ${why}`));
    }
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#sent.size > 0 || this.#waiting.length > 0) return;
    this.#idle?.();
    this.#idle = undefined;
  }

  #fail(why: Error): void {
    this.#watch?.cancel();
    for (const publish of this.#sent) publish.reject(unknownOutcome(publish, why));
    this.#sent.clear();
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next.reject(why);
    this.#checkIdle();
  }
}

function unknownOutcome(publish: Publish, cause: Error): OutcomeUnknownError {
  return new OutcomeUnknownError(`publishing to ${nameOf(publish.target)}`, publish.message.properties.correlationId, {
    cause,
  });
}

function bufferOf(body: Uint8Array): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

function nameOf({ exchange, routingKey }: PublishTarget): string {
  return exchange === ""
    ? `queue ${JSON.stringify(routingKey)}`
    : `exchange ${JSON.stringify(exchange)} with routing key ${JSON.stringify(routingKey)}`;
}
