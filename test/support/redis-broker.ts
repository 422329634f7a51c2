/** A broker in Redis with a key prefix of its own, and what lies in its keys. */
import type { TestContext } from "node:test";
import type { Redis } from "ioredis";
import type { Broker, BrokerConnection, Consumer, Delivery } from "../../src/brokers/broker.ts";
import { openRedisBroker, type RedisBrokerOptions } from "../../src/brokers/redis.ts";
import type { Queue } from "../../src/brokers/topology.ts";
import type { Logger } from "../../src/kit/log.ts";
import type { WireMessage } from "../../src/protocol/message.ts";
import { atEnd } from "./cleanup.ts";
import { REDIS_URL, rawClient } from "./redis.ts";

export const SEP = "\x06\x16";

export class RedisWorld {
  readonly url: string;
  readonly prefix: string;
  readonly raw: Redis;
  /** Everything that was logged as a warning or an error. */
  readonly logged: string[] = [];
  readonly #t: TestContext;

  /** @param prefix "" only on a server of the test's own */
  constructor(t: TestContext, url = REDIS_URL, prefix = `lovage-test-${crypto.randomUUID()}:`) {
    this.#t = t;
    this.url = url;
    this.prefix = prefix;
    this.raw = rawClient(t, url);
    atEnd(t, async () => {
      if (prefix === "") return;
      const keys = await this.raw.keys(`${prefix}*`);
      if (keys.length > 0) await this.raw.unlink(...keys);
    });
  }

  get log(): Logger {
    const keep = (text: string) => void this.logged.push(text);
    return { debug() {}, info() {}, warn: keep, error: keep, critical: keep } as unknown as Logger;
  }

  async broker(
    transport: Record<string, unknown> = {},
    options: Omit<RedisBrokerOptions, "transport"> & { readonly url?: string } = {},
  ): Promise<Broker> {
    const { url = this.url, ...rest } = options;
    const broker = await openRedisBroker(url, {
      log: this.log,
      transport: { global_keyprefix: this.prefix, ...transport },
      ...rest,
    });
    atEnd(this.#t, () => broker.close());
    return broker;
  }

  async connect(
    transport: Record<string, unknown> = {},
    options: Omit<RedisBrokerOptions, "transport"> & { readonly url?: string } = {},
  ): Promise<BrokerConnection> {
    return this.connection(await this.broker(transport, options));
  }

  async connection(broker: Broker): Promise<BrokerConnection> {
    const connection = await broker.connect({ name: "lovage test", timeoutMs: 20_000 });
    atEnd(this.#t, () => connection.close());
    return connection;
  }

  key(name: string): string {
    return this.prefix + name;
  }

  /** The items of a list, in the order in which they are read. */
  async list(name: string): Promise<string[]> {
    return (await this.raw.lrange(this.key(name), 0, -1)).reverse();
  }

  /** Names of all keys, without the prefix; but for the mutex of who gives back what others held, which comes and goes. */
  async keys(): Promise<string[]> {
    const keys = await this.raw.keys(`${this.prefix}*`);
    const names = keys.map((key) => key.slice(this.prefix.length));
    return names.filter((name) => name !== "unacked_mutex").sort();
  }
}

/** Deliveries of one consumer, waited for. */
export class Deliveries {
  readonly all: Delivery[] = [];
  consumer!: Consumer;
  #arrived: () => void = () => undefined;

  static async open(connection: BrokerConnection, queue: string | Queue): Promise<Deliveries> {
    const deliveries = new Deliveries();
    deliveries.consumer = await connection.consume(queue, (delivery) => {
      deliveries.all.push(delivery);
      deliveries.#arrived();
    });
    return deliveries;
  }

  async atLeast(count: number): Promise<Delivery[]> {
    while (this.all.length < count) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
    return this.all;
  }

  get texts(): string[] {
    return this.all.map((delivery) => Buffer.from(delivery.message.body).toString());
  }
}

export function wire(text: string, properties: WireMessage["properties"] = {}): WireMessage {
  return {
    body: Buffer.from(text),
    properties: { contentType: "application/json", contentEncoding: "utf-8", deliveryMode: 2, ...properties },
    headers: { task: "demo.foo", id: text },
  };
}

export function toQueue(queue: string) {
  return { exchange: "", routingKey: queue };
}

/** What kombu would put into a list. */
export function envelope(text: string, given: Record<string, unknown> = {}, properties: Record<string, unknown> = {}) {
  return {
    body: Buffer.from(text).toString("base64"),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    headers: { task: "demo.foo", id: text },
    properties: {
      correlation_id: text,
      delivery_mode: 2,
      delivery_info: { exchange: "", routing_key: "q" },
      priority: 0,
      body_encoding: "base64",
      delivery_tag: `tag-${text}`,
      ...properties,
    },
    ...given,
  };
}
