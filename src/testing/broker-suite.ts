/**
 * What the tests of a broker share: connections and queues that are gone at the end, and an inbox to wait on.
 *
 * No test waits for time: it waits for deliveries, and where it must show that none comes, it waits for something that would
 * have come after it.
 */
import { randomUUID } from "node:crypto";
import { after, before } from "node:test";
import type { Broker, BrokerConnection, Consumer, Delivery } from "../brokers/broker.ts";
import type { WireMessage } from "../protocol/message.ts";

export interface BrokerUnderTest {
  readonly broker: Broker;
  /**
   * A requeued message goes before what is younger, always. RabbitMQ means to, but frees the consumer and takes the
   * message back by two ways, so that a younger one may slip in between.
   */
  readonly keepsPlace: boolean;
  /** Lose every connection of the broker, as a dead network does. */
  sever(): Promise<void> | void;
  /** Remove the queues that the tests declared, and what `open` made. */
  close(queues: readonly string[]): Promise<void>;
}

/** Made inside `describe`: it opens the broker before the tests, and closes all behind them. */
export class BrokerSuite {
  readonly open: () => Promise<BrokerUnderTest>;
  readonly #queues: string[] = [];
  readonly #connections: BrokerConnection[] = [];
  #under: BrokerUnderTest | undefined;

  constructor(open: () => Promise<BrokerUnderTest>) {
    this.open = open;
    before(async () => {
      this.#under = await open();
    });
    after(async () => {
      await Promise.all(this.#connections.map((connection) => connection.close()));
      await this.#under?.close(this.#queues);
    });
  }

  get under(): BrokerUnderTest {
    if (this.#under === undefined) throw new Error("the broker is opened before the first test");
    return this.#under;
  }

  async connect(prefetch?: number): Promise<BrokerConnection> {
    const connection = await this.under.broker.connect({ name: "lovage conformance", timeoutMs: 20_000 });
    this.#connections.push(connection);
    if (prefetch !== undefined) await connection.setPrefetch(prefetch);
    return connection;
  }

  freshName(): string {
    const queue = `lovage-test-${randomUUID()}`;
    this.#queues.push(queue);
    return queue;
  }

  async withQueue(prefetch?: number): Promise<{ connection: BrokerConnection; queue: string }> {
    const connection = await this.connect(prefetch);
    const queue = this.freshName();
    await connection.declareQueue(queue);
    return { connection, queue };
  }
}

/** The deliveries of one consumer, waited for by number. */
export class Inbox {
  readonly #arrived: Delivery[] = [];
  readonly #takers: { readonly count: number; readonly resolve: (deliveries: Delivery[]) => void }[] = [];
  /** Called in place of keeping what arrives. */
  onArrival: ((delivery: Delivery) => void) | undefined;
  consumer!: Consumer;

  /** @param also called with each delivery, which is kept too */
  static async open(connection: BrokerConnection, queue: string, also?: (delivery: Delivery) => void): Promise<Inbox> {
    const inbox = new Inbox();
    inbox.consumer = await connection.consume(queue, (delivery) => {
      inbox.#arrive(delivery);
      also?.(delivery);
    });
    return inbox;
  }

  /** How many have arrived that nobody took. */
  get waiting(): number {
    return this.#arrived.length;
  }

  take(count: number): Promise<Delivery[]> {
    return new Promise((resolve) => {
      this.#takers.push({ count, resolve });
      this.#serve();
    });
  }

  #arrive(delivery: Delivery): void {
    if (this.onArrival !== undefined) {
      this.onArrival(delivery);
      return;
    }
    this.#arrived.push(delivery);
    this.#serve();
  }

  #serve(): void {
    const [taker] = this.#takers;
    if (taker === undefined || this.#arrived.length < taker.count) return;
    this.#takers.shift();
    taker.resolve(this.#arrived.splice(0, taker.count));
  }
}

export function to(queue: string) {
  return { exchange: "", routingKey: queue };
}

export function message(body: string | Uint8Array): WireMessage {
  return {
    body: typeof body === "string" ? Buffer.from(body) : body,
    properties: { contentType: "application/json", contentEncoding: "utf-8", deliveryMode: 2 },
    headers: nullProto({ task: "demo.foo", id: "1" }),
  };
}

export function publishAll(connection: BrokerConnection, queue: string, texts: readonly string[]): Promise<unknown> {
  return Promise.all(texts.map((each) => connection.publish(to(queue), message(each))));
}

export function text(delivery: Delivery | undefined): string {
  return Buffer.from(delivery?.message.body ?? []).toString();
}

export function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

export function nullProto(from: Record<string, unknown>): Record<string, unknown> {
  return Object.assign(Object.create(null), from);
}

/** As an ordinary object, for comparing: whatever prototypes it has inside. */
export function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
