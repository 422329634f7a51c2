/**
 * RabbitMQ, through amqplib: the fewest microseconds for a message of the clients there are (bench: 15 of consume and
 * acknowledge, against 17 and 33), zero dependencies. Its own recovery is not used: it brings back a connection without
 * its channels, consumers and unconfirmed messages. Reconnecting belongs to who consumes or publishes.
 *
 * amqplib is an optional peer, imported when the first connection is made.
 */
import type { ConnectionOptions } from "node:tls";
import type { ChannelModel, ServerProperties, SocketOptions } from "amqplib";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { ClosedError, MissingPeerError } from "../../kit/errors.ts";
import { type Logger, silentLogger } from "../../kit/log.ts";
import { tlsOptions } from "../../kit/tls.ts";
import type { Broker, BrokerConnection, BrokerTraits, ConnectOptions } from "../broker.ts";
import { BrokerUnavailableError } from "../errors.ts";
import { RabbitmqConnection } from "./connection.ts";
import { connectFailure } from "./failure.ts";
import { Line } from "./line.ts";
import type { KnownQueues } from "./topology.ts";
import { parseRabbitmqUrl, type RabbitmqUrl } from "./url.ts";

export interface RabbitmqOptions {
  /** Heartbeat asked for, seconds; 0 = none. The URL's `?heartbeat=` goes before it. Default 120, as Celery's. */
  readonly heartbeat?: number;
  /** How long RabbitMQ may take to answer or to confirm, ms. Default 30,000. */
  readonly answerMs?: number;
  /** How a TLS connection is made: the setting `brokerUseSsl`. With it `amqp:` is TLS, too. */
  readonly useSsl?: boolean | Readonly<Record<string, unknown>> | undefined;
  /** The same in Node's own words. */
  readonly tls?: ConnectionOptions;
  readonly clock?: Clock;
  readonly log?: Logger;
}

const TRAITS: BrokerTraits = {
  transport: "amqp",
  durability: "broker",
  expires: true,
  priorities: "highest-first",
  fanout: true,
};
const HEARTBEAT_SECONDS = 120;
const ANSWER_MS = 30_000;

/** @throws {InvalidInputError} the URL is not RabbitMQ's */
export async function openRabbitmqBroker(url: string, options: RabbitmqOptions = {}): Promise<Broker> {
  const { useSsl = false, tls } = options;
  if (useSsl === false) return new RabbitmqBroker(parseRabbitmqUrl(url), options);
  const secure = url.replace(/^(?:py)?amqp:/i, "amqps:");
  const given = useSsl === true ? {} : tlsOptions(useSsl, "brokerUseSsl");
  return new RabbitmqBroker(parseRabbitmqUrl(secure), { ...options, tls: { ...given, ...tls } });
}

class RabbitmqBroker implements Broker {
  readonly url: string;
  readonly traits = TRAITS;
  readonly #place: RabbitmqUrl;
  readonly #options: RabbitmqOptions;
  readonly #known: KnownQueues = { told: new Set(), prefetchEach: false };
  #open = true;

  constructor(place: RabbitmqUrl, options: RabbitmqOptions) {
    this.url = place.shown;
    this.#place = place;
    this.#options = options;
  }

  async connect({ name, timeoutMs }: ConnectOptions): Promise<BrokerConnection> {
    if (!this.#open) throw new ClosedError(`the broker ${this.url} was closed: open it again`);
    const { clock = systemClock, log = silentLogger, answerMs = ANSWER_MS } = this.#options;
    const socket = new AbortController();
    const model = await this.#connectModel(name, timeoutMs, clock, socket);
    if (countsEach(model.connection.serverProperties)) this.#known.prefetchEach = true;
    const line = new Line(model, { url: this.url, clock, log, answerMs, destroy: () => socket.abort() });
    return new RabbitmqConnection(line, this.#known);
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  async #connectModel(name: string, timeoutMs: number, clock: Clock, socket: AbortController): Promise<ChannelModel> {
    const { connect } = await loadAmqplib();
    const { hostname, port, username, password, vhost, tls, heartbeat } = this.#place;
    const late = Promise.withResolvers<never>();
    const timeout = clock.timeout(() => {
      const seconds = timeoutMs / 1_000;
      const hint = "check host and port, and that no firewall drops what we send";
      late.reject(new BrokerUnavailableError(`cannot connect to ${this.url}: no answer within ${seconds} s; ${hint}`));
      socket.abort();
    }, timeoutMs);
    // amqplib has no deadline of its own, only one for silence. The signal is node:net's.
    const socketOptions: SocketOptions & { readonly signal: AbortSignal } = {
      ...(tls ? (this.#options.tls as SocketOptions | undefined) : {}),
      noDelay: true,
      keepAlive: true,
      clientProperties: { connection_name: name },
      signal: socket.signal,
    };
    const opening = connect(
      {
        protocol: tls ? "amqps" : "amqp",
        hostname,
        port,
        username,
        password,
        vhost: encodeURIComponent(vhost),
        heartbeat: heartbeat ?? this.#options.heartbeat ?? HEARTBEAT_SECONDS,
      },
      socketOptions,
    );
    // It may still come when nobody waits for it any more.
    opening.then(
      (model) => model.on("error", () => undefined),
      () => undefined,
    );
    try {
      return await Promise.race([opening, late.promise]);
    } catch (error) {
      socket.abort();
      if (error instanceof BrokerUnavailableError) throw error;
      throw connectFailure(error, this.#place);
    } finally {
      timeout.cancel();
    }
  }
}

/** PROTOCOL 7.3: global QoS is there from RabbitMQ 3.3 on, and not asked for from 4.0 on. */
function countsEach(server: ServerProperties): boolean {
  if (textOf(server.product) !== "RabbitMQ") return true;
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(textOf(server.version)) ?? [];
  if (major === undefined) return true;
  return Number(major) >= 4 || Number(major) < 3 || (Number(major) === 3 && Number(minor) < 3);
}

function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString() : String(value);
}

async function loadAmqplib(): Promise<typeof import("amqplib")> {
  try {
    return await import("amqplib");
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new MissingPeerError("amqplib", "the RabbitMQ broker", { cause: error });
  }
}
