/** A connection to Redis as a broker: one line for commands, another that listens, opened with the first consumer. */
import { withDeadline } from "../../kit/deadline.ts";
import { ClosedError } from "../../kit/errors.ts";
import type { WireMessage } from "../../protocol/message.ts";
import { oneLine, replyCode } from "../../redis/failure.ts";
import type { BrokerConnection, Consumer, Delivery, HeardMessage, PublishTarget, Subscription } from "../broker.ts";
import { BrokerUnavailableError } from "../errors.ts";
import { type Exchange, type Queue, queueNamed } from "../topology.ts";
import { Consuming } from "./consuming.ts";
import type { Ear } from "./ear.ts";
import { Holding } from "./holding.ts";
import type { Keys } from "./keys.ts";
import type { Line } from "./line.ts";
import type { RedisOptions } from "./options.ts";
import type { Orphans } from "./orphans.ts";
import { Publisher } from "./publisher.ts";
import { Taking } from "./taking.ts";
import { type Known, Topology } from "./topology.ts";
import { Visibility } from "./visibility.ts";

/** How long closing waits for answers, ms. */
const CLOSE_MS = 5_000;

export interface Parts {
  readonly line: Line;
  readonly keys: Keys;
  readonly options: RedisOptions;
  readonly known: Known;
  readonly orphans: Orphans;
  readonly openEar: () => Promise<Ear>;
  /** Beginning of tags of our own making: nobody else's. */
  readonly mark: string;
}

export class RedisConnection implements BrokerConnection {
  readonly closed: Promise<Error | undefined>;
  readonly #line: Line;
  readonly #known: Known;
  readonly #topology: Topology;
  readonly #publisher: Publisher;
  readonly #holding: Holding;
  readonly #consuming: Consuming;
  readonly #visibility: Visibility;
  #closing: Promise<void> | undefined;
  #failing = false;

  constructor({ line, keys, options, known, orphans, openEar, mark }: Parts) {
    this.#line = line;
    this.#known = known;
    this.#topology = new Topology(line, keys, known);
    this.#publisher = new Publisher(line, keys, this.#topology, options);
    this.#holding = new Holding(line, keys);
    this.#visibility = new Visibility(line, keys, this.#topology, this.#holding, options);
    const taking = new Taking(line, keys, options, mark, this.#visibility.nextMoment);
    this.#consuming = new Consuming(line, keys, this.#topology, this.#holding, taking, openEar);
    this.#visibility.progress = () => this.#consuming.progress;
    this.#consuming.onThrow = (error) => void this.#fail(error);
    this.closed = new Promise((resolve) => {
      line.onEnd((why) => {
        orphans.add(this.#holding.all, taking.asked);
        resolve(this.#closing === undefined ? why : undefined);
      });
    });
  }

  async declareQueue(queue: string | Queue): Promise<void> {
    await this.#asked(() => this.#topology.declare(queue));
  }

  async declareExchange(exchange: Exchange): Promise<void> {
    this.#line.check();
    this.#topology.declareExchange(exchange);
  }

  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    await this.#asked(() => this.#publisher.publish(target, message));
  }

  async consume(queue: string | Queue, onDelivery: (delivery: Delivery) => void): Promise<Consumer> {
    const consumer = await this.#asked(() => this.#consuming.consume(this.#queueOf(queue), onDelivery));
    this.#visibility.start();
    return consumer;
  }

  async subscribe(queue: Queue, onMessage: (message: HeardMessage) => void): Promise<Subscription> {
    return this.#asked(() => this.#consuming.subscribe(queue, onMessage));
  }

  async setPrefetch(count: number): Promise<void> {
    this.#line.check();
    this.#consuming.setPrefetch(count);
  }

  async depth(queue: string): Promise<number | undefined> {
    return this.#asked(() => this.#topology.depth(queue));
  }

  async purge(queue: string): Promise<number> {
    return this.#asked(() => this.#topology.purge(queue));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** What Redis answers that is no answer is an error of the broker's. */
  async #asked<T>(work: () => Promise<T>): Promise<T> {
    this.#line.check();
    try {
      return await work();
    } catch (error) {
      if (replyCode(error) === undefined) throw error;
      const said = oneLine((error as Error).message);
      throw new BrokerUnavailableError(`${this.#line.url} does not do it: ${said}`, { cause: error });
    }
  }

  #queueOf(queue: string | Queue): Queue {
    return typeof queue === "string" ? (this.#known.queues.get(queue) ?? queueNamed(queue)) : queue;
  }

  /** A consumer is broken: what it was given goes back while we can, and the connection ends. */
  async #fail(error: Error): Promise<void> {
    if (this.#failing || this.#closing !== undefined) return;
    this.#failing = true;
    const back = this.#consuming.stop().then(() => this.#holding.giveBackAll());
    await withDeadline(back, CLOSE_MS, this.#line.clock, "giving back").catch(() => undefined);
    this.#line.lose(error);
  }

  async #close(): Promise<void> {
    const line = this.#line;
    if (line.ended !== undefined) return;
    const why = new ClosedError(`the connection to ${line.url} was closed: open a new one`);
    line.closing(why);
    this.#visibility.stop();
    try {
      await withDeadline(this.#leave(), CLOSE_MS, line.clock, "the good-bye");
    } catch {
      // Lost or silent meanwhile: what we held goes back on the next connection, or in its time.
    }
    line.end(why);
  }

  async #leave(): Promise<void> {
    this.#publisher.flush();
    await this.#consuming.stop();
    await this.#holding.giveBackAll();
    await this.#consuming.removeAutoDelete();
    await this.#line.settled();
  }
}
