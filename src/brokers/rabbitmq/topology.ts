/**
 * Queues as a Celery worker declares them for tasks (PROTOCOL 7.1): a durable direct exchange of the queue's name, the
 * durable queue without arguments, bound by its name.
 *
 * Somebody else may have made the queue with arguments (a quorum queue, a priority queue, a TTL) or may alone be allowed
 * to. Then it is used as it stands: what it is like is its owner's decision, not a reason for a worker not to start.
 */
import type { Channel } from "amqplib";
import { checkQueueName } from "../check.ts";
import { BrokerUnavailableError, QueueMissingError, QueueRefusedError } from "../errors.ts";
import {
  ACCESS_REFUSED,
  brokersWords,
  classId,
  EXCHANGE_CLASS,
  NOT_FOUND,
  PRECONDITION_FAILED,
  RESOURCE_LOCKED,
  replyCode,
} from "./failure.ts";
import type { Line } from "./line.ts";

/** What is known of a broker's queues, kept across its connections. */
export interface KnownQueues {
  /** Queues whose difference from ours was logged. */
  readonly told: Set<string>;
  /** RabbitMQ counts prefetch for each consumer: it has quorum queues, or is 4.0 or newer. (PROTOCOL 7.3) */
  prefetchEach: boolean;
}

export class Topology {
  readonly #line: Line;
  readonly #known: KnownQueues;

  constructor(line: Line, known: KnownQueues) {
    this.#line = line;
    this.#known = known;
  }

  async declare(queue: string): Promise<void> {
    checkQueueName(queue);
    try {
      await this.#aside(queue, async (channel) => {
        // One after the other: amqplib does not send the next before the answer either.
        await channel.assertExchange(queue, "direct", { durable: true });
        await channel.assertQueue(queue, { durable: true });
        await channel.bindQueue(queue, queue, queue);
      });
    } catch (error) {
      await this.#useAsItStands(queue, error);
    }
  }

  async depth(queue: string): Promise<number | undefined> {
    checkQueueName(queue);
    return this.#ifThere(() => this.#aside(queue, async (channel) => (await channel.checkQueue(queue)).messageCount));
  }

  async purge(queue: string): Promise<number> {
    checkQueueName(queue);
    const dropped = await this.#ifThere(() =>
      this.#aside(queue, async (channel) => (await channel.purgeQueue(queue)).messageCount),
    );
    if (dropped === undefined) throw new QueueMissingError(queue, "purge");
    return dropped;
  }

  async #useAsItStands(queue: string, refused: unknown): Promise<void> {
    const code = replyCode(refused);
    const words = brokersWords(refused);
    if (code === RESOURCE_LOCKED) {
      throw new QueueRefusedError(queue, `it is the exclusive one of another connection (${words})`, {
        cause: refused,
      });
    }
    if (code !== PRECONDITION_FAILED && code !== ACCESS_REFUSED) throw this.#unavailable(queue, refused);
    const ofExchange = code === PRECONDITION_FAILED && classId(refused) === EXCHANGE_CLASS;
    try {
      await this.#aside(queue, async (channel) => {
        if (ofExchange) await channel.assertQueue(queue, { durable: true });
        else await channel.checkQueue(queue);
      });
    } catch (error) {
      // The exchange is another's and the queue is too: look at the queue alone.
      if (ofExchange && replyCode(error) === PRECONDITION_FAILED) return this.#useAsItStands(queue, error);
      throw new QueueRefusedError(
        queue,
        `it cannot be declared (${words}), nor used as it is (${brokersWords(error)})`,
        {
          cause: refused,
        },
      );
    }
    // The words of a mismatch name the argument and its value.
    if (/'(?:quorum|stream)'/.test(words)) this.#known.prefetchEach = true;
    if (this.#known.told.has(queue)) return;
    this.#known.told.add(queue);
    this.#line.log.warn(`queue ${queue} is used as it stands, not as Celery declares it: ${words}`, { queue });
  }

  async #ifThere<T>(ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (replyCode(error) === NOT_FOUND) return undefined;
      throw error;
    }
  }

  #aside<T>(queue: string, work: (channel: Channel) => Promise<T>): Promise<T> {
    return this.#line.aside(`queue ${JSON.stringify(queue)}`, work);
  }

  #unavailable(queue: string, error: unknown): Error {
    if (error instanceof BrokerUnavailableError || this.#line.ended !== undefined) {
      return this.#line.ended ?? (error as Error);
    }
    return new BrokerUnavailableError(`queue ${JSON.stringify(queue)} could not be declared: ${brokersWords(error)}`, {
      cause: error,
    });
  }
}
