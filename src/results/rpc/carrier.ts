/** What carries results as messages: the app's broker, as far as this backend needs it. It is given; brokers are not imported here. */
import type { WireMessage } from "../../protocol/message.ts";

export interface ReplyCarrier {
  /** Send to the queue of this name over the default exchange. That there is no such queue is no error. Resolves when the broker has it. */
  publish(queue: string, message: WireMessage): Promise<void>;
  /**
   * Declare the queue, and hear what comes to it. Resolves when it is heard; from then on it is declared and heard anew whenever the connection
   * was lost.
   */
  listen(queue: ReplyQueue, onMessage: (message: WireMessage) => void): Promise<void>;
  close(): Promise<void>;
}

/** A queue of the default exchange, as AMQP's `queue.declare` has it. */
export interface ReplyQueue {
  readonly name: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
}
