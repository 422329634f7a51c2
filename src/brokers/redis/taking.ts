/** Takes messages out of lists: one script, as many as fit, in kombu's order (step first, then queue). */

import type { Clock } from "../../kit/clock.ts";
import type { Logger } from "../../kit/log.ts";
import { QueueCycle } from "./cycle.ts";
import type { Keys } from "./keys.ts";
import type { Line, Reply } from "./line.ts";
import type { RedisOptions } from "./options.ts";

export interface Taken {
  readonly queue: string;
  /** Where it was. */
  readonly list: string;
  /** Its field in `unacked`; "" when it was not recorded. */
  readonly tag: string;
  readonly raw: Buffer;
  /** What it is held under; seconds. */
  readonly moment: number;
}

/** In one script: what the server does meanwhile waits. */
const MOST = 100;
const MOST_BYTES = 4_000_000;
/** One item. A message that is larger than a queue's contract allows is put aside, not carried. */
const MOST_EACH = 64 * 1024 * 1024;
/** A trouble that lasts is told again after so long. */
const TELL_AGAIN_MS = 60_000;

export class Taking {
  readonly #line: Line;
  readonly #keys: Keys;
  readonly #cycle: QueueCycle;
  readonly #nextMoment: () => number;
  readonly #told = new Map<string, number>();
  /** Moments of scripts that were not answered: what they took is nobody's if the line ends. */
  readonly #asked = new Set<number>();
  /** Lists that are none. */
  readonly #wrong = new Set<string>();
  #marks = 0;
  readonly #mark: string;

  /** @param nextMoment seconds of the server's clock, another at each call */
  constructor(line: Line, keys: Keys, options: RedisOptions, mark: string, nextMoment: () => number) {
    this.#line = line;
    this.#keys = keys;
    this.#cycle = new QueueCycle(options.queueOrderStrategy);
    this.#mark = mark;
    this.#nextMoment = nextMoment;
  }

  get asked(): ReadonlySet<number> {
    return this.#asked;
  }

  /** The lists of the queues that can hold a message. */
  lists(queues: Iterable<string>): string[] {
    return [...queues].flatMap((queue) => this.#keys.lists(queue)).filter((list) => !this.#wrong.has(list));
  }

  /**
   * @param record false: for good, for who acknowledges nothing
   * @returns all that there was when fewer than `count` came, unless `isMore` says that there may be more
   */
  async take(
    queues: Iterable<string>,
    count: number,
    record: boolean,
  ): Promise<{ readonly taken: readonly Taken[]; readonly isMore: boolean }> {
    const order = this.#cycle.order(queues);
    const want = Math.min(count, MOST);
    const moment = this.#nextMoment();
    const { unacked, unackedIndex, steps } = this.#keys;
    const lists = steps.flatMap((step) => order.map((queue) => this.#keys.list(queue, step)));
    const mark = `${this.#mark}:${++this.#marks}`;
    const args = [want, moment, mark, MOST_BYTES, MOST_EACH, this.#cycle.goesRound ? 1 : 0, record ? 1 : 0];
    const asides = order.map((queue) => this.#keys.aside(queue));
    if (record) this.#asked.add(moment);
    const { take } = this.#line.scripts;
    // Not in a `finally`: what was lost on the way must be known when the line has ended.
    const keys = [unacked, unackedIndex, ...lists, ...asides];
    const answer = await this.#line.run(take, keys, [...args, ...order]);
    this.#asked.delete(moment);
    return this.#read(answer as readonly Reply[], order, lists, want, moment);
  }

  #read(answer: readonly Reply[], order: readonly string[], lists: readonly string[], want: number, moment: number) {
    const [items, wrong, aside] = answer as [Reply[][], Reply[][], Reply[][]];
    const taken = items.map(([number, tag, raw]): Taken => {
      const at = Number(number) - 1;
      const queue = order[at % order.length] as string;
      return { queue, list: lists[at] as string, tag: String(tag), raw: raw as Buffer, moment };
    });
    for (const { queue } of taken) this.#cycle.served(queue);
    this.#wrong.clear();
    for (const [key, error] of wrong) {
      this.#wrong.add(String(key));
      this.#tell(
        String(key),
        `A queue cannot be read while its key ${JSON.stringify(String(key))} is no list: ${String(error)}`,
      );
    }
    for (const [key, bytes] of aside) {
      const what = `A message of ${Number(bytes)} bytes is more than can be carried (${MOST_EACH}); it was put aside`;
      this.#line.log.error(`${what} into the list ${JSON.stringify(String(key))}`);
    }
    const bytes = taken.reduce((sum, { raw }) => sum + raw.byteLength, 0);
    return { taken, isMore: taken.length >= want || bytes >= MOST_BYTES || aside.length > 0 };
  }

  #tell(key: string, text: string): void {
    const { clock, log }: { clock: Clock; log: Logger } = this.#line;
    const last = this.#told.get(key);
    if (last !== undefined && clock.monoMs() - last < TELL_AGAIN_MS) return;
    this.#told.set(key, clock.monoMs());
    log.error(text);
  }
}
