/** kombu's `queue_order_strategy`: which of several queues is asked first. Pure. */
import type { RedisOptions } from "./options.ts";

export class QueueCycle {
  readonly #strategy: RedisOptions["queueOrderStrategy"];
  #order: string[] = [];

  constructor(strategy: RedisOptions["queueOrderStrategy"]) {
    this.#strategy = strategy;
  }

  /** Each that was served goes behind the others. */
  get goesRound(): boolean {
    return this.#strategy === "round_robin";
  }

  /** In the order in which they are asked. @param queues those that are consumed, in the order in which they were */
  order(queues: Iterable<string>): readonly string[] {
    const wanted = new Set(queues);
    const kept = this.#order.filter((queue) => wanted.delete(queue));
    this.#order = [...kept, ...wanted];
    return this.#strategy === "sorted" ? this.#order.toSorted() : [...this.#order];
  }

  served(queue: string): void {
    const at = this.#order.indexOf(queue);
    if (!this.goesRound || at < 0) return;
    this.#order.splice(at, 1);
    this.#order.push(queue);
  }
}
