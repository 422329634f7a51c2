/**
 * Results as messages, carried by the app's broker: on a connection of its own, which is opened on first use, and again by itself while something
 * is listened to. (`results/rpc.ts`)
 */
import type { Broker, BrokerConnection } from "../brokers/broker.ts";
import { UnroutableError } from "../brokers/errors.ts";
import { exchangeNamed, queueNamed } from "../brokers/topology.ts";
import { FullJitterBackoff } from "../kit/backoff.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import { ClosedError, messageOf, UnavailableError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { WireMessage } from "../protocol/message.ts";

export interface RepliesOptions {
  readonly broker: () => Promise<Broker>;
  readonly clock: Clock;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly connectTimeoutMs: number;
}

interface Heard {
  readonly queue: ReturnType<typeof queueNamed>;
  readonly onMessage: (message: WireMessage) => void;
}

const RECONNECT = { firstMs: 100, capMs: 5_000 } as const;
/** A result is tried again for so long while the broker is away: Celery's 20 tries, one a second. */
const PATIENCE_MS = 20_000;

export class Replies {
  readonly #options: RepliesOptions;
  readonly #closing = new AbortController();
  readonly #heard: Heard[] = [];
  #line: Promise<BrokerConnection> | undefined;
  #closed = false;

  constructor(options: RepliesOptions) {
    this.#options = options;
  }

  /**
   * A result that may have been sent is sent again: twice it is the same.
   * @throws {UnavailableError} the broker was away for too long; {ClosedError}
   */
  async publish(queue: string, message: WireMessage): Promise<void> {
    const { clock } = this.#options;
    const backoff = new FullJitterBackoff({ firstMs: 50, capMs: 1_000 });
    const endMs = clock.monoMs() + PATIENCE_MS;
    for (;;) {
      try {
        const connection = await this.#connection();
        await connection.publish({ exchange: "", routingKey: queue, unheard: true }, message);
        return;
      } catch (error) {
        // Whoever waited is gone.
        if (error instanceof UnroutableError) return;
        if (this.#closed || !(error instanceof UnavailableError) || clock.monoMs() >= endMs) throw error;
        await sleep(backoff.nextMs(), clock, this.#closing.signal);
      }
    }
  }

  async listen(
    queue: { name: string; durable: boolean; autoDelete: boolean; arguments: Readonly<Record<string, unknown>> },
    onMessage: (message: WireMessage) => void,
  ): Promise<void> {
    const { name, durable, autoDelete, arguments: args } = queue;
    // Of the default exchange, which leads to every queue by its name: nothing is bound.
    const exchange = exchangeNamed("", { noDeclare: true });
    const heard = { queue: queueNamed(name, { durable, autoDelete, arguments: args, exchange }), onMessage };
    const connection = await this.#connection();
    await this.#hear(connection, heard);
    this.#heard.push(heard);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.abort(new ClosedError("results are not carried any more: the app was closed"));
    const line = this.#line;
    this.#line = undefined;
    await line?.then(
      (connection) => connection.close(),
      () => undefined,
    );
  }

  async #hear(connection: BrokerConnection, { queue, onMessage }: Heard): Promise<void> {
    await connection.subscribe(queue, ({ message }) => onMessage(message));
  }

  #connection(): Promise<BrokerConnection> {
    if (this.#closed) return Promise.reject(this.#closing.signal.reason);
    if (this.#line === undefined) {
      const opening = this.#connect();
      this.#line = opening;
      opening.then(
        (connection) => {
          void connection.closed.then((reason) => this.#lost(opening, reason));
        },
        () => {
          if (this.#line === opening) this.#line = undefined;
        },
      );
    }
    return this.#line;
  }

  /** Also hears again what was heard before. */
  async #connect(): Promise<BrokerConnection> {
    const { broker, connectTimeoutMs } = this.#options;
    const connection = await (await broker()).connect({ name: "lovage results", timeoutMs: connectTimeoutMs });
    try {
      for (const each of this.#heard) await this.#hear(connection, each);
    } catch (error) {
      await connection.close();
      throw error;
    }
    return connection;
  }

  #lost(line: Promise<BrokerConnection>, reason: Error | undefined): void {
    if (this.#line !== line) return;
    this.#line = undefined;
    if (this.#closed || this.#heard.length === 0) return;
    this.#options.log.warn(
      `The connection that results come over was lost: ${messageOf(reason ?? "it was closed")}; results that were sent meanwhile are lost with it`,
    );
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    const { clock, log } = this.#options;
    const backoff = new FullJitterBackoff(RECONNECT);
    while (!this.#closed) {
      try {
        await sleep(backoff.nextMs(), clock, this.#closing.signal, { ref: false });
        await this.#connection();
        log.info("Results are heard again");
        return;
      } catch {
        // The next try tells, or whoever publishes.
      }
    }
  }
}
