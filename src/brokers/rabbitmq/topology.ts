/**
 * Exchanges, queues and bindings, declared as they are described (PROTOCOL 7.1).
 *
 * Somebody else may have made the queue with other arguments (a quorum queue, a priority queue, a TTL) or may alone be allowed
 * to. Then it is used as it stands: what it is like is its owner's decision, not a reason for a worker not to start.
 */
import type { Channel } from "amqplib";
import { checkQueueName } from "../check.ts";
import { BrokerUnavailableError, QueueMissingError, QueueRefusedError } from "../errors.ts";
import type { Binding, Exchange, Queue } from "../topology.ts";
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

  async declare(queue: Queue): Promise<void> {
    checkQueueName(queue.name);
    if (queue.arguments["x-queue-type"] === "quorum") this.#known.prefetchEach = true;
    if (queue.noDeclare) return;
    try {
      await this.#aside(queue.name, async (channel) => {
        // One after the other: amqplib does not send the next before the answer either.
        for (const { exchange } of bindingsOf(queue)) await assertExchange(channel, exchange);
        await assertQueue(channel, queue);
        for (const binding of bindingsOf(queue)) await bind(channel, queue.name, binding);
      });
    } catch (error) {
      await this.#useAsItStands(queue, error);
    }
  }

  async declareExchange(exchange: Exchange): Promise<void> {
    const what = `exchange ${JSON.stringify(exchange.name)}`;
    try {
      await this.#line.aside(what, (channel) => assertExchange(channel, exchange));
    } catch (error) {
      if (replyCode(error) !== PRECONDITION_FAILED && replyCode(error) !== ACCESS_REFUSED) throw error;
      this.#tell(exchange.name, `${what} is used as it stands, not as Celery declares it: ${brokersWords(error)}`);
    }
  }

  /** A queue of one's own must be as it is described: what another has made of it is another's. */
  /** Answers how many consumers it has. */
  async declareOwn(queue: Queue): Promise<number> {
    checkQueueName(queue.name);
    for (const { exchange } of bindingsOf(queue)) if (exchange.name !== "") await this.declareExchange(exchange);
    try {
      return await this.#aside(queue.name, async (channel) => {
        const { consumerCount } = await assertQueue(channel, queue);
        for (const binding of bindingsOf(queue)) await bind(channel, queue.name, binding);
        return consumerCount;
      });
    } catch (error) {
      if (replyCode(error) === undefined) throw error;
      throw new QueueRefusedError(queue.name, brokersWords(error), { cause: error });
    }
  }

  async remove(queue: string): Promise<void> {
    await this.#ifThere(() => this.#aside(queue, (channel) => channel.deleteQueue(queue)));
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

  async #useAsItStands(queue: Queue, refused: unknown): Promise<void> {
    const { name } = queue;
    const code = replyCode(refused);
    const words = brokersWords(refused);
    if (code === RESOURCE_LOCKED) {
      throw new QueueRefusedError(name, `it is the exclusive one of another connection (${words})`, {
        cause: refused,
      });
    }
    if (code !== PRECONDITION_FAILED && code !== ACCESS_REFUSED) throw this.#unavailable(name, refused);
    const ofExchange = code === PRECONDITION_FAILED && classId(refused) === EXCHANGE_CLASS;
    try {
      await this.#aside(name, async (channel) => {
        if (ofExchange) await assertQueue(channel, queue);
        else await channel.checkQueue(name);
      });
    } catch (error) {
      // The exchange is another's and the queue is too: look at the queue alone.
      if (ofExchange && replyCode(error) === PRECONDITION_FAILED) return this.#useAsItStands(queue, error);
      throw new QueueRefusedError(
        name,
        `it cannot be declared (${words}), nor used as it is (${brokersWords(error)})`,
        {
          cause: refused,
        },
      );
    }
    if (code === PRECONDITION_FAILED) await this.#bindAsItStands(queue);
    // The words of a mismatch name the argument and its value.
    if (/'(?:quorum|stream)'/.test(words)) this.#known.prefetchEach = true;
    this.#tell(name, `queue ${name} is used as it stands, not as Celery declares it: ${words}`);
  }

  /** The queue or an exchange is otherwise than we would make it: messages must find their way all the same. */
  async #bindAsItStands(queue: Queue): Promise<void> {
    for (const binding of bindingsOf(queue)) {
      if (binding.exchange.name === "") continue;
      await this.declareExchange(binding.exchange);
      try {
        await this.#aside(queue.name, (channel) => bind(channel, queue.name, binding));
      } catch (error) {
        if (replyCode(error) === undefined) throw this.#unavailable(queue.name, error);
        this.#tell(
          `${binding.exchange.name} ${queue.name}`,
          `queue ${queue.name} could not be bound to exchange ${binding.exchange.name}: ${brokersWords(error)}`,
        );
      }
    }
  }

  /** Once. */
  #tell(what: string, words: string): void {
    if (this.#known.told.has(what)) return;
    this.#known.told.add(what);
    this.#line.log.warn(words);
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

export function bindingsOf(queue: Queue): Binding[] {
  return [
    { exchange: queue.exchange, routingKey: queue.routingKey, arguments: queue.bindingArguments },
    ...queue.bindings,
  ];
}

async function assertExchange(channel: Channel, exchange: Exchange): Promise<void> {
  // The default exchange and RabbitMQ's own are there, and nobody's to declare.
  if (exchange.noDeclare || exchange.name === "" || exchange.name.startsWith("amq.")) return;
  const { name, type, durable, autoDelete } = exchange;
  await channel.assertExchange(name, type, { durable, autoDelete, arguments: exchange.arguments });
}

async function assertQueue(channel: Channel, { name, durable, exclusive, autoDelete, ...queue }: Queue) {
  return channel.assertQueue(name, { durable, exclusive, autoDelete, arguments: queue.arguments });
}

/** The default exchange binds every queue by its name. */
async function bind(channel: Channel, queue: string, { exchange, routingKey, ...binding }: Binding): Promise<void> {
  if (exchange.name !== "") await channel.bindQueue(queue, exchange.name, routingKey, binding.arguments);
}
