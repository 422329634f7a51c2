/**
 * Publishes on one connection that is opened on first use and again after it was lost. Queues are declared once on each
 * connection, as Celery's producer does (PROTOCOL 4, step 9).
 */
import type { Broker, BrokerConnection, PublishTarget } from "../brokers/broker.ts";
import { nameOf, type Queue } from "../brokers/topology.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import { OutcomeUnknownError, UnavailableError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { PublishRetryPolicy } from "../pool/asks.ts";
import type { WireMessage } from "../protocol/message.ts";
import { retryDelayMs } from "./retry-policy.ts";

export interface ProducerOptions {
  readonly broker: () => Promise<Broker>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Shown in the broker's list of connections. */
  readonly name: string;
  readonly connectTimeoutMs: number;
}

/** What one publish needs beside its target. */
export interface PublishOptions {
  /** Queues to be there first. Default: the one that the routing key names, on the default exchange. */
  readonly declare?: readonly (string | Queue)[];
  /** Default: Celery's, three more tries after 0, 0.2 and 0.4 s. */
  readonly retry?: PublishRetryPolicy;
  /**
   * RabbitMQ's delayed delivery leads to these queues, and is to be there first. Where it cannot be had, the message goes to `otherwise` at once;
   * its eta is in its headers.
   */
  readonly delayed?: {
    readonly queues: readonly Queue[];
    readonly type: "quorum" | "classic";
    readonly otherwise: PublishTarget;
  };
}

const MAX_DECLARED = 10_000;

interface Line {
  readonly connection: BrokerConnection;
  /** Queues declared on this connection, or being declared. */
  readonly declared: Map<string, Promise<void>>;
  /** Queues that delayed delivery leads to, by what was asked for; false: it cannot be had. */
  readonly delayed: Map<string, Promise<boolean>>;
}

export class Producer {
  readonly #options: ProducerOptions;
  #line: Promise<Line> | undefined;
  #closed = false;

  constructor(options: ProducerOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the broker has taken responsibility. A broker that is away is tried again, as `retry` says.
   *
   * @throws {OutcomeUnknownError} the connection was lost before the confirm; not tried again, for the message may be there
   */
  async publish(target: PublishTarget, message: WireMessage, options: PublishOptions = {}): Promise<void> {
    const { declare = target.exchange === "" ? [target.routingKey] : [], retry = {}, delayed } = options;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const line = await this.#open();
        for (const queue of declare) await this.#declare(line, queue);
        const waits = delayed === undefined || (await this.#declareDelayed(line, delayed.queues, delayed.type));
        await line.connection.publish(waits ? target : delayed.otherwise, message);
        return;
      } catch (error) {
        const away = error instanceof UnavailableError && !(error instanceof OutcomeUnknownError);
        const delayMs = away ? retryDelayMs(retry, attempt) : undefined;
        if (delayMs === undefined || this.#closed) throw error;
        await sleep(delayMs, this.#options.clock);
        if (this.#closed) throw error;
      }
    }
  }

  /** On the connection in use: for a moment's question, such as a queue's depth. */
  async connection(): Promise<BrokerConnection> {
    return (await this.#open()).connection;
  }

  /** What is still tried again is given up. */
  async close(): Promise<void> {
    this.#closed = true;
    const line = this.#line;
    this.#line = undefined;
    await line?.then(
      ({ connection }) => connection.close(),
      () => undefined,
    );
  }

  #declare(line: Line, queue: string | Queue): Promise<void> {
    const name = nameOf(queue);
    let declaring = line.declared.get(name);
    if (declaring === undefined) {
      // Of very many the oldest are forgotten: to declare one again costs a round trip and changes nothing.
      for (const oldest of line.declared.keys()) {
        if (line.declared.size < MAX_DECLARED) break;
        line.declared.delete(oldest);
      }
      declaring = line.connection.declareQueue(queue);
      line.declared.set(name, declaring);
      declaring.then(
        () => {
          // One that may be gone by the next message is declared again, as kombu does.
          if (typeof queue !== "string" && mayVanish(queue)) line.declared.delete(name);
        },
        () => line.declared.delete(name),
      );
    }
    return declaring;
  }

  /** Each queue's way out of the delay, once: what no worker of its own has bound would be dropped at the end of its wait. */
  async #declareDelayed(line: Line, queues: readonly Queue[], type: "quorum" | "classic"): Promise<boolean> {
    const key = queues.map((each) => each.name).join(" ");
    let declaring = line.delayed.get(key);
    if (declaring === undefined) {
      declaring = this.#tryDelayed(line, queues, type);
      line.delayed.set(key, declaring);
      declaring.catch(() => line.delayed.delete(key));
    }
    return declaring;
  }

  async #tryDelayed({ connection }: Line, queues: readonly Queue[], type: "quorum" | "classic"): Promise<boolean> {
    if (connection.declareDelayedDelivery === undefined) return false;
    try {
      await connection.declareDelayedDelivery(queues, type);
      return true;
    } catch (error) {
      if (error instanceof UnavailableError) throw error;
      this.#options.log.warn("Delayed delivery cannot be declared: messages with an eta go to their queues at once", {
        error,
      });
      return false;
    }
  }

  #open(): Promise<Line> {
    if (this.#line === undefined) {
      const opening = this.#connect();
      this.#line = opening;
      const forget = () => {
        if (this.#line === opening) this.#line = undefined;
      };
      opening.then(({ connection }) => connection.closed.then(forget), forget);
    }
    return this.#line;
  }

  async #connect(): Promise<Line> {
    const broker = await this.#options.broker();
    const connection = await broker.connect({ name: this.#options.name, timeoutMs: this.#options.connectTimeoutMs });
    return { connection, declared: new Map(), delayed: new Map() };
  }
}

function mayVanish({ autoDelete, arguments: args }: Queue): boolean {
  return autoDelete || "x-expires" in args;
}
