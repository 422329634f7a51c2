/**
 * The open line to RabbitMQ that the parts of a connection share: its channels, and how it ends.
 *
 * amqplib promises that a request is answered or the channel dies; a peer that is silently gone breaks that promise until
 * the heartbeat notices, minutes later. So each wait here ends in one of three ways: with its answer, at its deadline,
 * or with the line.
 */
import type { Channel, ChannelModel, ConfirmChannel } from "amqplib";
import type { Clock } from "../../kit/clock.ts";
import type { Logger } from "../../kit/log.ts";
import { BrokerUnavailableError } from "../errors.ts";
import { BrokerLine } from "../line.ts";
import { brokersWords } from "./failure.ts";

export interface LineOptions {
  /** Without the password. */
  readonly url: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long RabbitMQ may take to answer, ms. */
  readonly answerMs: number;
  /** Destroy the socket. */
  readonly destroy: () => void;
}

/** What amqplib's connection is to us: small enough for a test to play it. */
export type LineModel = Pick<ChannelModel, "createChannel" | "createConfirmChannel" | "close" | "on">;

export class Line extends BrokerLine {
  readonly clock: Clock;
  readonly log: Logger;
  readonly answerMs: number;
  readonly #model: LineModel;
  readonly #destroy: () => void;
  readonly #waits = new Set<(error: Error) => void>();
  #blocked: string | undefined;
  #onBlocked: (() => void) | undefined;

  constructor(model: LineModel, options: LineOptions) {
    super(options.url);
    this.clock = options.clock;
    this.log = options.log;
    this.answerMs = options.answerMs;
    this.#model = model;
    this.#destroy = options.destroy;
    // An 'error' without a listener would end the process. A forced close comes as 'close' alone.
    model.on("error", (error) => this.lose(error));
    model.on("close", (error?: Error) => this.lose(error ?? new Error("it was closed")));
    model.on("blocked", (reason) => this.#setBlocked(reason));
    model.on("unblocked", () => this.#setBlocked(undefined));
  }

  /** Why RabbitMQ takes no messages now (low on memory or disk); undefined when it does. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  set onBlocked(listener: () => void) {
    this.#onBlocked = listener;
  }

  /**
   * The answer, in time. One that does not come means that the line is dead, unless RabbitMQ has said that it is blocked:
   * then it does not read what we send, and says so.
   * @param what what was asked for: "the depth of queue x"
   */
  answer<T>(what: string, promise: Promise<T>): Promise<T> {
    return this.within(this.answerMs, promise, () => {
      const seconds = this.answerMs / 1_000;
      const blocked = this.#blocked;
      const because = blocked === undefined ? "" : `, and is blocked (${blocked})`;
      const late = new BrokerUnavailableError(`${this.url} did not answer within ${seconds} s${because}: ${what}`);
      if (blocked === undefined) this.lose(late);
      return late;
    });
  }

  within<T>(ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = () => {
        timeout.cancel();
        this.#waits.delete(fail);
      };
      const fail = (error: Error) => {
        done();
        reject(error);
      };
      const timeout = this.clock.timeout(() => fail(late()), ms, { ref: false });
      this.#waits.add(fail);
      promise.then(
        (value) => {
          done();
          resolve(value);
        },
        (error) => {
          done();
          reject(this.ended ?? error);
        },
      );
      if (this.ended !== undefined) fail(this.ended);
    });
  }

  /** A channel for long: when it dies, so does the line. */
  async channel(what: string): Promise<Channel> {
    return this.#keep(await this.answer(what, this.#model.createChannel()));
  }

  async confirmChannel(): Promise<ConfirmChannel> {
    return this.#keep(await this.answer("a channel to publish on", this.#model.createConfirmChannel()));
  }

  /**
   * Do something that may fail on a channel of its own: RabbitMQ answers a wrong request by closing the channel that it
   * came on. What fails here harms nobody else.
   */
  async aside<T>(what: string, work: (channel: Channel) => Promise<T>): Promise<T> {
    this.check();
    const channel = await this.answer(what, this.#model.createChannel());
    channel.on("error", () => undefined);
    try {
      return await this.answer(what, work(channel));
    } finally {
      // Refused when RabbitMQ closed it already.
      channel.close().catch(() => undefined);
    }
  }

  /** The closing handshake. Channels must be closed before: it overtakes what they have not sent yet. */
  async close(): Promise<void> {
    await this.#model.close();
  }

  protected said(cause: Error): string {
    return brokersWords(cause);
  }

  protected failWaiting(why: Error): void {
    for (const fail of this.#waits) fail(why);
    this.#waits.clear();
  }

  protected hangUp(): void {
    this.#destroy();
  }

  #keep<C extends Channel>(channel: C): C {
    channel.on("error", (error) => this.lose(error));
    channel.on("close", () => {
      // Channels of a connection that ends go first: what ended it is told in the same turn, and is the better reason.
      queueMicrotask(() => {
        if (this.ending === undefined) this.lose(new Error("a channel was closed"));
      });
    });
    return channel;
  }

  #setBlocked(reason: string | undefined): void {
    this.#blocked = reason;
    if (this.ended !== undefined) return;
    if (reason === undefined) this.log.info(`${this.url} takes messages again`);
    else this.log.warn(`${this.url} takes no messages (${reason}): publishing waits`);
    this.#onBlocked?.();
  }
}
