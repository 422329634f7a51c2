/**
 * What is asked for in one turn of the event loop shares its trips to the server: one call of a script for up to 200 of them. (Against
 * ioredis' own pipelining, which saves packets and not calls, and its automatic one, which costs 40 %: docs/decisions/redis.md.)
 */

/** Items of one call, so that a script stays short. */
export const BATCH = 200;
/** Bytes after which a call is full, whatever its number of items. */
const BATCH_BYTES = 1_048_576;

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly size: number;
  readonly bytes: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export class Batcher<Item, Answer> {
  readonly #send: (items: readonly Item[]) => Promise<readonly Answer[]>;
  #waiting: Waiting<Item, Answer>[] = [];

  /** @param send an answer for each, in order; a rejection is everybody's */
  constructor(send: (items: readonly Item[]) => Promise<readonly Answer[]>) {
    this.#send = send;
  }

  /** @param size what it counts for, at most `BATCH` */
  add(item: Item, size = 1, bytes = 0): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.flush());
      this.#waiting.push({ item, size, bytes, resolve, reject });
    });
  }

  /** Send what waits, now. */
  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    let from = 0;
    while (from < waiting.length) {
      let to = from;
      let [size, bytes] = [0, 0];
      do {
        const next = waiting[to] as Waiting<Item, Answer>;
        size += next.size;
        bytes += next.bytes;
        to += 1;
      } while (to < waiting.length && bytes < BATCH_BYTES && size + (waiting[to]?.size ?? 0) <= BATCH);
      void this.#sendSome(waiting.slice(from, to));
      from = to;
    }
  }

  async #sendSome(some: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.#send(some.map(({ item }) => item));
      for (const [i, { resolve }] of some.entries()) resolve(answers[i] as Answer);
    } catch (error) {
      for (const { reject } of some) reject(error);
    }
  }
}
