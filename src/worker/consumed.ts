/**
 * The queues that a worker consumes now: chosen when it starts, changed while it runs (Celery's `add_consumer` and `cancel_consumer`), and
 * consumed again after each reconnect.
 */
import type { Queue } from "../brokers/topology.ts";

/** The connection in use: what a change is carried out on. */
export interface Consuming {
  /** @throws {QueueRefusedError} it can neither be declared nor used */
  begin(queue: Queue): Promise<void>;
  /** No further delivery after this resolves. */
  end(name: string): Promise<void>;
}

export class Consumed {
  readonly #queues = new Map<string, Queue>();
  readonly #names = new Set<string>();
  #live: Consuming | undefined;

  constructor(queues: readonly Queue[]) {
    for (const queue of queues) this.#keep(queue);
  }

  /** Live: it changes with the queues. */
  get names(): ReadonlySet<string> {
    return this.#names;
  }

  get queues(): Queue[] {
    return [...this.#queues.values()];
  }

  /**
   * Consume it too, now or when there is a connection again. False: it was consumed already.
   * @throws {QueueRefusedError} it can neither be declared nor used; it is not consumed
   */
  async add(queue: Queue): Promise<boolean> {
    if (this.#queues.has(queue.name)) return false;
    this.#keep(queue);
    try {
      await this.#live?.begin(queue);
    } catch (error) {
      this.#drop(queue.name);
      throw error;
    }
    return true;
  }

  /** Consume it no more; what was delivered is still dealt with. False: it was not consumed. */
  async cancel(name: string): Promise<boolean> {
    if (!this.#queues.has(name)) return false;
    this.#drop(name);
    await this.#live?.end(name);
    return true;
  }

  /** This connection carries changes out from now on. */
  attach(live: Consuming): void {
    this.#live = live;
  }

  /** It does so no more; another that was attached since goes on. */
  detach(live: Consuming): void {
    if (this.#live === live) this.#live = undefined;
  }

  #keep(queue: Queue): void {
    this.#queues.set(queue.name, queue);
    this.#names.add(queue.name);
  }

  #drop(name: string): void {
    this.#queues.delete(name);
    this.#names.delete(name);
  }
}
