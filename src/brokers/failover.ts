/**
 * Several brokers as one: each connection is made to the first that can be reached, from the one that was used last on. Which of them a
 * message waits in is theirs to agree on: they are one cluster, or the messages of one that died wait for its return (PROTOCOL 21,
 * `broker_failover_strategy`).
 */
import { messageOf, UnavailableError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Broker, BrokerConnection, BrokerTraits, ConnectOptions } from "./broker.ts";
import { BrokerUnavailableError } from "./errors.ts";

export interface FailoverOptions {
  /** "round-robin": in the order that they were given; "shuffle": in any. Default "round-robin". */
  readonly strategy?: "round-robin" | "shuffle";
  readonly log?: Pick<Logger, "warn">;
  /** For "shuffle". Default `Math.random`. */
  readonly random?: () => number;
}

/** @param brokers at least one */
export function failover(brokers: readonly [Broker, ...Broker[]], options: FailoverOptions = {}): Broker {
  return brokers.length === 1 ? brokers[0] : new FailoverBroker(brokers, options);
}

class FailoverBroker implements Broker {
  readonly url: string;
  readonly #brokers: readonly [Broker, ...Broker[]];
  readonly #options: FailoverOptions;
  /** The one that was connected to last. */
  #current: Broker;

  constructor(brokers: readonly [Broker, ...Broker[]], options: FailoverOptions) {
    this.#brokers = brokers;
    this.#options = options;
    this.#current = brokers[0];
    this.url = brokers.map((each) => each.url).join(";");
  }

  get traits(): BrokerTraits {
    return this.#current.traits;
  }

  async connect(options: ConnectOptions): Promise<BrokerConnection> {
    const problems: unknown[] = [];
    for (const broker of this.#order()) {
      try {
        const connection = await broker.connect(options);
        if (broker !== this.#current)
          this.#options.log?.warn(`${this.#current.url} cannot be used: connected to ${broker.url}`);
        this.#current = broker;
        return connection;
      } catch (error) {
        problems.push(error);
      }
    }
    // What no other of them can heal is told as it is: a client library that is missing, a broker that was closed.
    const [first] = problems;
    if (!problems.some((each) => each instanceof UnavailableError)) throw first;
    const all = problems.map(messageOf).join("; ");
    throw new BrokerUnavailableError(`none of ${this.#brokers.length} brokers can be used: ${all}`, {
      cause: new AggregateError(problems),
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#brokers.map((each) => each.close()));
  }

  #order(): Broker[] {
    const from = this.#brokers.indexOf(this.#current);
    const order = [...this.#brokers.slice(from), ...this.#brokers.slice(0, from)];
    if (this.#options.strategy !== "shuffle") return order;
    const random = this.#options.random ?? Math.random;
    const keyed = order.map((each) => ({ each, at: random() }));
    return keyed.sort((a, b) => a.at - b.at).map(({ each }) => each);
  }
}
