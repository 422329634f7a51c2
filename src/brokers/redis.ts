/**
 * Redis as a broker, in kombu's layout (PROTOCOL 8), so that Python's workers and clients share its queues with ours. What kombu does in two
 * steps, and loses by a crash in between, is one here: docs/decisions/redis-broker.md.
 *
 * Reconnecting belongs to who consumes or publishes. What a lost connection had in hand is given back by the next one.
 */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../kit/clock.ts";
import { ClosedError, ContractError, MissingPeerError, messageOf, UnavailableError } from "../kit/errors.ts";
import { type Logger, silentLogger } from "../kit/log.ts";
import { type Dialled, type DialOptions, dial, hangUp } from "../redis/dial.ts";
import { oneLine, replyCode } from "../redis/failure.ts";
import type { Broker, BrokerConnection, BrokerTraits, ConnectOptions } from "./broker.ts";
import { BrokerUnavailableError } from "./errors.ts";
import { RedisConnection } from "./redis/connection.ts";
import { Ear } from "./redis/ear.ts";
import { Keys } from "./redis/keys.ts";
import { Line } from "./redis/line.ts";
import { type RedisOptions, readRedisOptions } from "./redis/options.ts";
import { Orphans } from "./redis/orphans.ts";
import { scriptsFor } from "./redis/scripts.ts";
import { inspect } from "./redis/server.ts";
import type { Known } from "./redis/topology.ts";
import { type Place, parseBrokerUrl } from "./redis/url.ts";

export interface RedisBrokerOptions {
  /** kombu's, by kombu's names: `brokerTransportOptions`. */
  readonly transport?: Readonly<Record<string, unknown>> | undefined;
  /** `brokerUseSsl`: true, or a table in redis-py's or Node's names. */
  readonly useSsl?: boolean | Readonly<Record<string, unknown>> | undefined;
  readonly clock?: Clock;
  readonly log?: Logger;
}

const TRAITS: BrokerTraits = {
  transport: "redis",
  durability: "broker",
  expires: false,
  priorities: "lowest-first",
  fanout: true,
};

/**
 * @param url see `redis/url.ts`
 * @throws {InvalidInputError} {InvalidConfigError} the URL, or an option, cannot be meant
 */
export async function openRedisBroker(url: string, options: RedisBrokerOptions = {}): Promise<Broker> {
  const { log = silentLogger, clock = systemClock, transport = {}, useSsl } = options;
  const place = parseBrokerUrl(url, { useSsl, transport });
  if (place.isUnchecked) {
    log.warn(
      `${place.url.shown} is not asked for a certificate (ssl_cert_reqs none): anybody on the way can read and change messages`,
    );
  }
  return new RedisBroker(place, readRedisOptions(transport, log), clock, log);
}

class RedisBroker implements Broker {
  readonly url: string;
  readonly traits = TRAITS;
  readonly #place: Place;
  readonly #options: RedisOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #keys: Keys;
  readonly #known: Known = { queues: new Map(), exchanges: new Map() };
  readonly #orphans = new Orphans();
  readonly #told = new Set<string>();
  readonly #mark = randomUUID();
  #connections = 0;
  #isOpen = true;

  constructor(place: Place, options: RedisOptions, clock: Clock, log: Logger) {
    this.url = place.url.shown;
    this.#place = place;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#keys = new Keys(options, place.url.database);
  }

  async connect({ name, timeoutMs }: ConnectOptions): Promise<BrokerConnection> {
    if (!this.#isOpen) throw new ClosedError(`the broker ${this.url} was closed: open it again`);
    const options: DialOptions = {
      url: this.#place.url,
      tls: this.#place.tls,
      what: "a broker in Redis",
      name: clientName(this.#options.clientName ?? name),
      clock: this.#clock,
      connectMs: this.#options.connectMs ?? timeoutMs,
    };
    try {
      const line = await this.#open(options);
      return new RedisConnection({
        line,
        keys: this.#keys,
        options: this.#options,
        known: this.#known,
        orphans: this.#orphans,
        openEar: () =>
          Ear.open(line, options, this.#options.healthCheckIntervalMs).catch((error: unknown) => {
            throw line.ended ?? unavailable(error);
          }),
        mark: `${this.#mark}:${++this.#connections}`,
      });
    } catch (error) {
      throw unavailable(error);
    }
  }

  async close(): Promise<void> {
    this.#isOpen = false;
  }

  async #open(options: DialOptions): Promise<Line> {
    const line = await this.#lineOn(await dial(options), options);
    try {
      const given = await this.#orphans.giveBack(line, this.#keys);
      if (given > 0)
        this.#log.info(`Gave back ${given} message(s) that the lost connection to ${this.url} had in hand`);
      line.check();
      return line;
    } catch (error) {
      line.end(error as Error);
      throw error;
    }
  }

  async #lineOn(dialled: Dialled, options: DialOptions): Promise<Line> {
    const { client } = dialled;
    try {
      const { major, warnings } = await inspect(dialled, options);
      for (const warning of warnings) {
        if (!this.#told.has(warning)) this.#log.warn(warning);
        this.#told.add(warning);
      }
      const scripts = scriptsFor(major);
      const { answerMs } = this.#options;
      return await Line.open(client, { url: this.url, clock: this.#clock, log: this.#log, answerMs, scripts });
    } catch (error) {
      hangUp(client);
      throw error;
    }
  }
}

/** Redis takes no spaces in it. */
function clientName(name: string): string {
  return name.replace(/[^\x21-\x7e]/g, "-").slice(0, 200);
}

/** The contract's error: whoever refuses us, the consumer tries again, for an operator may put it right. */
function unavailable(error: unknown): Error {
  if (error instanceof BrokerUnavailableError || error instanceof ClosedError || error instanceof MissingPeerError) {
    return error;
  }
  if (replyCode(error) === "NOPERM") {
    const remedy = "allow it ~* &* +@all -@dangerous +info";
    return new BrokerUnavailableError(
      `Redis does not let this user do what a broker needs: ${oneLine(messageOf(error))}: ${remedy}`,
      {
        cause: error,
      },
    );
  }
  const known = error instanceof UnavailableError || error instanceof ContractError;
  const said = known ? error.message : `cannot use Redis: ${oneLine(messageOf(error))}`;
  return new BrokerUnavailableError(said, { cause: error });
}
