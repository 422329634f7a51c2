/**
 * The messages that wait in one queue of the memory broker: higher priority first, then the order in which they came.
 * What is given back takes its old place.
 *
 * A message is only ever taken from the front, so what comes back is older than all that is fresh: each priority keeps
 * the returned ones, sorted, before a plain FIFO. Push and shift are O(1); giving back costs a binary search.
 */
import { Fifo } from "../kit/fifo.ts";
import type { WireMessage } from "../protocol/message.ts";

/** A message in a queue. */
export interface Waiting {
  readonly message: WireMessage;
  readonly exchange: string;
  readonly routingKey: string;
  readonly priority: number;
  /** Its place: rises with every message of the queue. */
  readonly place: number;
  redelivered: boolean;
}

export class MemoryQueue {
  /** By priority, highest first. Few are ever used. */
  readonly #levels: Level[] = [];
  #size = 0;
  #places = 0;

  get size(): number {
    return this.#size;
  }

  push(message: WireMessage, exchange: string, routingKey: string): void {
    const priority = message.properties.priority ?? 0;
    const place = this.#places++;
    this.#level(priority).fresh.push({ message, exchange, routingKey, priority, place, redelivered: false });
    this.#size += 1;
  }

  shift(): Waiting | undefined {
    for (const level of this.#levels) {
      const first = level.returned.shift() ?? level.fresh.shift();
      if (first === undefined) continue;
      this.#size -= 1;
      return first;
    }
    return undefined;
  }

  /** To its old place. */
  putBack(waiting: Waiting): void {
    waiting.redelivered = true;
    this.#level(waiting.priority).returned.insert(waiting);
    this.#size += 1;
  }

  /** Drop all; answers how many. */
  clear(): number {
    const dropped = this.#size;
    this.#levels.length = 0;
    this.#size = 0;
    return dropped;
  }

  #level(priority: number): Level {
    const levels = this.#levels;
    let at = 0;
    for (; at < levels.length; at += 1) {
      const level = levels[at] as Level;
      if (level.priority === priority) return level;
      if (level.priority < priority) break;
    }
    const level: Level = { priority, returned: new Returned(), fresh: new Fifo() };
    levels.splice(at, 0, level);
    return level;
  }
}

interface Level {
  readonly priority: number;
  /** Given back; by place. */
  readonly returned: Returned;
  readonly fresh: Fifo<Waiting>;
}

/** By place, the oldest last, where it is taken. A whole connection gives back the youngest first: a push each. */
class Returned {
  readonly #sorted: Waiting[] = [];

  shift(): Waiting | undefined {
    return this.#sorted.pop();
  }

  insert(waiting: Waiting): void {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sorted[middle] as Waiting).place > waiting.place) low = middle + 1;
      else high = middle;
    }
    this.#sorted.splice(low, 0, waiting);
  }
}
