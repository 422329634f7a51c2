/**
 * A queue with both ends at constant cost. `Array.shift` moves every element: with 10^5 waiting, taking one costs as much
 * as taking ten thousand here. A ring that doubles when full, and shrinks again after a flood.
 */
export class Fifo<T> implements Iterable<T> {
  #ring: (T | undefined)[] = new Array<T | undefined>(MIN_ROOM);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Put at the end. */
  push(item: T): void {
    if (this.#length === this.#ring.length) this.#resize(this.#ring.length * 2);
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = item;
    this.#length += 1;
  }

  /** Put at the front: it is the next to be taken. */
  unshift(item: T): void {
    if (this.#length === this.#ring.length) this.#resize(this.#ring.length * 2);
    this.#head = (this.#head - 1) & (this.#ring.length - 1);
    this.#ring[this.#head] = item;
    this.#length += 1;
  }

  /** Take the first; undefined when nothing waits. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length -= 1;
    if (this.#length < this.#ring.length / 8 && this.#ring.length > MIN_ROOM) this.#resize(this.#ring.length / 2);
    return item;
  }

  /** The first, left where it is. */
  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#ring[this.#head];
  }

  clear(): void {
    this.#ring = new Array<T | undefined>(MIN_ROOM);
    this.#head = 0;
    this.#length = 0;
  }

  /** First to last; the queue must not change meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.#length; i++) yield this.#ring[(this.#head + i) & (this.#ring.length - 1)] as T;
  }

  #resize(room: number): void {
    const ring = new Array<T | undefined>(room);
    for (let i = 0; i < this.#length; i++) ring[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)];
    this.#ring = ring;
    this.#head = 0;
  }
}

/** A power of two, as every size of the ring. */
const MIN_ROOM = 16;
