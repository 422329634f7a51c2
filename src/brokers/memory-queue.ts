/**
 * The messages that wait in one queue of the memory broker: higher priority first, then the order in which they came.
 * What is given back takes its old place.
 *
 * A message is only ever taken from the front, so what comes back is older than all that is fresh: each priority keeps
 * the returned ones, sorted, before a plain FIFO. Push and shift are O(1); giving back costs a binary search.
 */
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
    const level: Level = { priority, returned: new Line(), fresh: new Line() };
    levels.splice(at, 0, level);
    return level;
  }
}

interface Level {
  readonly priority: number;
  readonly returned: Line;
  readonly fresh: Line;
}

/** Dead slots at the front of the array that are worth a copy. */
const SLACK = 1_024;

/** An array whose front is taken by moving an index. */
class Line {
  #slots: (Waiting | undefined)[] = [];
  #head = 0;

  push(waiting: Waiting): void {
    this.#slots.push(waiting);
  }

  shift(): Waiting | undefined {
    if (this.#head === this.#slots.length) return undefined;
    const first = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head += 1;
    if (this.#head === this.#slots.length) {
      this.#slots.length = 0;
      this.#head = 0;
    } else if (this.#head > SLACK && this.#head * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    return first;
  }

  /** Where its place is. A whole connection gives back in order, which is a push each. */
  insert(waiting: Waiting): void {
    let low = this.#head;
    let high = this.#slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#slots[middle] as Waiting).place < waiting.place) low = middle + 1;
      else high = middle;
    }
    this.#slots.splice(low, 0, waiting);
  }
}
