/** Messages as the consumer has them: out of a list, recorded until they are settled; or heard, with nothing to settle. */
import type { WireMessage } from "../../protocol/message.ts";
import type { Consumer, Delivery } from "../broker.ts";
import type { Envelope } from "./envelope.ts";

export type End = "ack" | "requeue" | "reject";

export class RedisDelivery implements Delivery {
  readonly queue: string;
  readonly #envelope: Envelope;
  #settle: ((end: End) => Promise<void>) | undefined;

  /** @param settle called once */
  constructor(queue: string, envelope: Envelope, settle: (end: End) => Promise<void>) {
    this.queue = queue;
    this.#envelope = envelope;
    this.#settle = settle;
  }

  get message(): WireMessage {
    return this.#envelope.message;
  }

  get exchange(): string {
    return this.#envelope.exchange;
  }

  get routingKey(): string {
    return this.#envelope.routingKey;
  }

  get redelivered(): boolean {
    return this.#envelope.redelivered;
  }

  ack(): Promise<void> {
    return this.#once("ack");
  }

  requeue(): Promise<void> {
    return this.#once("requeue");
  }

  reject(): Promise<void> {
    return this.#once("reject");
  }

  async #once(end: End): Promise<void> {
    const settle = this.#settle;
    this.#settle = undefined;
    await settle?.(end);
  }
}

export class RedisConsumer implements Consumer {
  readonly queue: string;
  readonly #cancel: (consumer: RedisConsumer) => Promise<void>;
  #cancelled: Promise<void> | undefined;

  constructor(queue: string, cancel: (consumer: RedisConsumer) => Promise<void>) {
    this.queue = queue;
    this.#cancel = cancel;
  }

  cancel(): Promise<void> {
    this.#cancelled ??= this.#cancel(this);
    return this.#cancelled;
  }
}
