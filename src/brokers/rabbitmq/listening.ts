/**
 * Queues of one's own: control commands, their replies, events, rpc results. Consumed without acknowledgement, on a channel of their
 * own, so that no prefetch count holds them up.
 */
import type { Channel, ConsumeMessage } from "amqplib";
import { messageOf, toError } from "../../kit/errors.ts";
import type { HeardMessage, Subscription } from "../broker.ts";
import type { Queue } from "../topology.ts";
import type { Line } from "./line.ts";
import type { Topology } from "./topology.ts";
import { fromWire } from "./wire.ts";

export class Listening {
  readonly #line: Line;
  readonly #topology: Topology;
  #channel: Promise<Channel> | undefined;

  constructor(line: Line, topology: Topology) {
    this.#line = line;
    this.#topology = topology;
  }

  async subscribe(queue: Queue, onMessage: (message: HeardMessage) => void): Promise<Subscription> {
    const others = await this.#topology.declareOwn(queue);
    this.#channel ??= this.#line.channel("a channel to listen on");
    const channel = await this.#channel;
    const onDelivery = (message: ConsumeMessage | null) => this.#hear(queue, onMessage, message);
    const { consumerTag } = await this.#line.answer(
      `listening to queue ${queue.name}`,
      channel.consume(queue.name, onDelivery, { noAck: true, arguments: queue.consumerArguments }),
    );
    let ending: Promise<void> | undefined;
    return {
      others,
      cancel: () => {
        ending ??= this.#cancel(channel, consumerTag, queue);
        return ending;
      },
    };
  }

  async close(): Promise<void> {
    const channel = await this.#channel?.catch(() => undefined);
    await channel?.close();
  }

  async #cancel(channel: Channel, tag: string, queue: Queue): Promise<void> {
    try {
      await this.#line.answer(`no longer listening to queue ${queue.name}`, channel.cancel(tag));
      // An auto-delete queue has gone with its consumer.
      if (queue.exclusive && !queue.autoDelete) await this.#topology.remove(queue.name);
    } catch (error) {
      // A connection that has ended delivers nothing more, and takes such a queue with it.
      if (this.#line.ended === undefined) throw error;
    }
  }

  #hear(queue: Queue, onMessage: (message: HeardMessage) => void, message: ConsumeMessage | null): void {
    if (this.#line.ended !== undefined) return;
    if (message === null) {
      this.#line.lose(new Error(`RabbitMQ cancelled the consumer of queue ${queue.name}: the queue was deleted`));
      return;
    }
    const { exchange, routingKey } = message.fields;
    try {
      onMessage({ message: fromWire(message.content, message.properties), exchange, routingKey });
    } catch (error) {
      const why = `the listener of queue ${queue.name} threw: ${messageOf(error)}`;
      this.#line.lose(new Error(why, { cause: toError(error) }));
    }
  }
}
