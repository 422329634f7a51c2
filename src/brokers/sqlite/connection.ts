/** A connection to the broker in the embedded file: an opening of the file, and a name under which messages are held. */

import { randomUUID } from "node:crypto";
import type { Clock } from "../../kit/clock.ts";
import { ClosedError, InvalidInputError, messageOf, OutcomeUnknownError } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import { StoreCorruptError, StoreSchemaError } from "../../kit/store-errors.ts";
import type { WireMessage } from "../../protocol/message.ts";
import type { SqliteCaller, SqliteFile } from "../../sqlite/file.ts";
import { enlistOwner } from "../../sqlite/owners.ts";
import type { BrokerConnection, Consumer, Delivery, HeardMessage, PublishTarget, Subscription } from "../broker.ts";
import { checkPrefetch, checkPublish, checkQueueName, queueOf } from "../check.ts";
import { BrokerUnavailableError, QueueMissingError, UnroutableError } from "../errors.ts";
import { type Exchange, nameOf, type Queue } from "../topology.ts";
import { Consuming } from "./consuming.ts";
import { hint } from "./neighbours.ts";
import { Outbox } from "./outbox.ts";
import { giveBack, giveBackLater, type Leaving } from "./returning.ts";
import { tables } from "./tables.ts";
import { headersText, propertiesText } from "./text.ts";
import { Trouble } from "./trouble.ts";

/** Messages dropped in one go by a purge. */
const PURGE_ROWS = 1_000;

export interface SqliteConnectionOptions {
  readonly url: string;
  /** Open the file anew. */
  readonly open: () => Promise<SqliteFile>;
  readonly clock: Clock;
  /** What the store takes for the time, where it is not the machine's. */
  readonly now: () => { readonly nowMs?: number };
  readonly log: Pick<Logger, "warn"> | undefined;
}

export class SqliteConnection implements BrokerConnection {
  readonly closed: Promise<Error | undefined>;
  readonly #resolveClosed: (reason: Error | undefined) => void;
  readonly #file: SqliteFile;
  readonly #options: SqliteConnectionOptions;
  readonly #owner = `broker:${randomUUID()}`;
  readonly #ops: SqliteCaller<(typeof tables)["ops"]>;
  readonly #trouble: Trouble;
  readonly #outbox: Outbox;
  readonly #consuming: Consuming;
  #enlisted: Promise<void> | undefined;
  #ended: Error | undefined;
  #left: Promise<void> | undefined;

  constructor(file: SqliteFile, options: SqliteConnectionOptions) {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    this.#file = file;
    this.#options = options;
    this.#ops = file.use(tables);
    this.#trouble = new Trouble(options.url, options.log);
    this.#outbox = new Outbox(this.#ops, (queues) => hint(file.path, queues));
    this.#consuming = new Consuming({
      file,
      owner: this.#owner,
      clock: options.clock,
      now: options.now,
      trouble: this.#trouble,
      onError: (error) => this.#isOver(error),
      lose: (cause) => this.lose(cause),
    });
  }

  async declareQueue(declared: string | Queue): Promise<void> {
    const queue = nameOf(declared);
    this.#checkOpen();
    checkQueueName(queue);
    await this.#asked(this.#ops.call("declare", queue));
  }

  async publish(target: PublishTarget, message: WireMessage): Promise<void> {
    this.#checkOpen();
    checkPublish(target, message);
    const queue = queueOf(target);
    if (queue === undefined) throw new UnroutableError(target);
    const { properties, headers, body } = message;
    const rank = 255 - (properties.priority ?? 0);
    const row = [
      queue,
      target.exchange,
      rank,
      propertiesText(properties),
      headersText(headers),
      body.byteLength,
    ] as const;
    let routed: boolean;
    try {
      routed = await this.#asked(this.#outbox.add(row, body));
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError)) throw error;
      throw new OutcomeUnknownError(`publishing to queue ${JSON.stringify(queue)}`, undefined, { cause: error });
    }
    if (!routed) throw new UnroutableError(target);
  }

  async consume(from: string | Queue, onDelivery: (delivery: Delivery) => void): Promise<Consumer> {
    const queue = nameOf(from);
    this.#checkOpen();
    checkQueueName(queue);
    const [n] = await this.#asked(Promise.all([this.#ops.call("find", queue), this.#enlist()]));
    if (n === null) throw new QueueMissingError(queue, "consume");
    this.#checkOpen();
    return this.#consuming.add({ n, name: queue }, onDelivery);
  }

  async declareExchange(_exchange: Exchange): Promise<void> {
    throw new InvalidInputError("this broker declares no exchanges");
  }

  async subscribe(_queue: Queue, _onMessage: (message: HeardMessage) => void): Promise<Subscription> {
    throw new InvalidInputError("this broker has no subscriptions");
  }

  async setPrefetch(count: number): Promise<void> {
    this.#checkOpen();
    checkPrefetch(count);
    this.#consuming.setWindow(count);
  }

  async depth(queue: string): Promise<number | undefined> {
    this.#checkOpen();
    checkQueueName(queue);
    return (await this.#asked(this.#ops.call("depth", queue))) ?? undefined;
  }

  /** In steps, between which others get their turn. */
  async purge(queue: string): Promise<number> {
    this.#checkOpen();
    checkQueueName(queue);
    let upTo: number | null = null;
    let dropped = 0;
    for (;;) {
      const step: { dropped: number; upTo: number } | null = await this.#asked(
        this.#ops.call("purge", { queue, upTo, limit: PURGE_ROWS }),
      );
      if (step === null) throw new QueueMissingError(queue, "purge");
      dropped += step.dropped;
      if (step.dropped < PURGE_ROWS) return dropped;
      upTo = step.upTo;
    }
  }

  async close(): Promise<void> {
    if (this.#ended === undefined) {
      this.#end(new ClosedError(`the connection to ${this.#options.url} was closed: open a new one`));
    }
    await this.#left;
    this.#resolveClosed(undefined); // nothing when it was lost
  }

  /** End the connection against the will of whoever has it. */
  lose(cause: Error): void {
    if (this.#ended !== undefined) return;
    const reason = new BrokerUnavailableError(`the connection to ${this.#options.url} was lost: ${messageOf(cause)}`, {
      cause,
    });
    this.#end(reason);
    this.#resolveClosed(reason);
  }

  #enlist(): Promise<void> {
    if (this.#enlisted === undefined) {
      this.#enlisted = enlistOwner(this.#file, this.#owner, []);
      this.#enlisted.catch(() => {
        this.#enlisted = undefined;
      });
    }
    return this.#enlisted;
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  /** What the file answers; an error may mean the end of the connection too. */
  async #asked<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      this.#isOver(error);
      throw error;
    }
  }

  /** True: nothing will come of it any more, and the connection has ended. */
  #isOver(error: unknown): boolean {
    const forGood = error instanceof StoreCorruptError || error instanceof StoreSchemaError;
    if (forGood || this.#file.isLost) this.lose(error instanceof Error ? error : new Error(messageOf(error)));
    return this.#ended !== undefined;
  }

  #end(why: Error): void {
    this.#ended = why;
    this.#outbox.flush();
    const settled = this.#consuming.end();
    const { url: _, open, clock } = this.#options;
    // Whoever never consumed holds nothing.
    const leaving: Leaving | undefined = this.#enlisted === undefined ? undefined : { owner: this.#owner, settled };
    this.#left = this.#leave(leaving).catch((error: unknown) => {
      if (leaving === undefined) return;
      this.#trouble.add("unacknowledged messages cannot be returned to their queues", error);
      void giveBackLater(open, leaving, clock, this.#trouble);
    });
  }

  async #leave(leaving: Leaving | undefined): Promise<void> {
    try {
      if (leaving !== undefined) await giveBack(this.#file, leaving);
    } finally {
      await this.#file.close();
    }
  }
}
