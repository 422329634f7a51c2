/**
 * Publishes on one connection that is opened on first use and again after it was lost. Queues are declared once on each
 * connection, as Celery's producer does (PROTOCOL 4, step 9).
 */
import type { Broker, BrokerConnection, PublishTarget } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import { OutcomeUnknownError, UnavailableError } from "../kit/errors.ts";
import type { WireMessage } from "../protocol/message.ts";

export interface ProducerOptions {
  readonly broker: () => Promise<Broker>;
  readonly clock: Clock;
  /** Shown in the broker's list of connections. */
  readonly name: string;
  readonly connectTimeoutMs: number;
}

/** Celery's `task_publish_retry_policy`: three more tries, after 0, 0.2 and 0.4 s. */
const RETRY_DELAYS_MS = [0, 200, 400] as const;

interface Line {
  readonly connection: BrokerConnection;
  /** Queues declared on this connection, or being declared. */
  readonly declared: Map<string, Promise<void>>;
}

export class Producer {
  readonly #options: ProducerOptions;
  #line: Promise<Line> | undefined;

  constructor(options: ProducerOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the broker has taken responsibility. A broker that is away is tried three times more.
   *
   * @throws {OutcomeUnknownError} the connection was lost before the confirm; not tried again, for the message may be there
   */
  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const line = await this.#open();
        if (target.exchange === "") await this.#declare(line, target.routingKey);
        await line.connection.publish(target, message);
        return;
      } catch (error) {
        const delayMs = RETRY_DELAYS_MS[attempt];
        const away = error instanceof UnavailableError && !(error instanceof OutcomeUnknownError);
        if (!away || delayMs === undefined) throw error;
        await sleep(delayMs, this.#options.clock);
      }
    }
  }

  /** On the connection in use: for a moment's question, such as a queue's depth. */
  async connection(): Promise<BrokerConnection> {
    return (await this.#open()).connection;
  }

  async close(): Promise<void> {
    const line = this.#line;
    this.#line = undefined;
    await line?.then(
      ({ connection }) => connection.close(),
      () => undefined,
    );
  }

  #declare(line: Line, queue: string): Promise<void> {
    let declaring = line.declared.get(queue);
    if (declaring === undefined) {
      declaring = line.connection.declareQueue(queue);
      line.declared.set(queue, declaring);
      declaring.catch(() => line.declared.delete(queue));
    }
    return declaring;
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
    return { connection, declared: new Map() };
  }
}
