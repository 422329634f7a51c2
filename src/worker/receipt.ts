/**
 * The right to settle one message: which delivery of it counts now, and whether it was settled. When the connection is lost while its task
 * runs, the broker delivers the message again, and that delivery takes the place of the first: the run goes on, and what is acknowledged
 * is the message that the broker waits for.
 */
import type { Delivery } from "../brokers/broker.ts";

export class Receipt {
  #delivery: Delivery;
  #acknowledged = false;
  #orphaned = false;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
  }

  get delivery(): Delivery {
    return this.#delivery;
  }

  /** It was acknowledged, as far as we could: on a lost connection nobody has heard it. */
  get acknowledged(): boolean {
    return this.#acknowledged;
  }

  /** The connection that it came by is lost: the broker gives the message to somebody, maybe to us. */
  get orphaned(): boolean {
    return this.#orphaned;
  }

  orphan(): void {
    this.#orphaned = true;
  }

  /** This delivery of the same message counts from now on. One that was acknowledged before is so again: the broker has not heard it. */
  async adopt(delivery: Delivery): Promise<void> {
    this.#delivery = delivery;
    this.#orphaned = false;
    if (this.#acknowledged) await delivery.ack();
  }

  /** Once. */
  async ack(): Promise<void> {
    if (this.#acknowledged) return;
    this.#acknowledged = true;
    await this.#delivery.ack();
  }

  requeue(): Promise<void> {
    return this.#delivery.requeue();
  }

  reject(): Promise<void> {
    return this.#delivery.reject();
  }
}
