/**
 * What a lost connection had in hand, kept until the broker is connected again. Its acknowledgements can go nowhere any more, so its messages
 * are given back on the next connection, and need not wait for the visibility timeout. That also goes for what was taken and whose answer
 * was lost: it is known by its moment, which nobody else has.
 */
import { markRedelivered } from "./envelope.ts";
import type { Held } from "./holding.ts";
import type { Keys } from "./keys.ts";
import type { Line, Reply } from "./line.ts";
import { readRecord } from "./record.ts";

const CHUNK = 200;

export class Orphans {
  #held: Held[] = [];
  #moments: number[] = [];

  add(held: Iterable<Held>, moments: Iterable<number>): void {
    this.#held.push(...held);
    this.#moments.push(...moments);
  }

  /** Those that nobody else has given back or taken meanwhile. Answers how many. */
  async giveBack(line: Line, keys: Keys): Promise<number> {
    const held = this.#held;
    const moments = this.#moments;
    if (held.length + moments.length === 0) return 0;
    [this.#held, this.#moments] = [[], []];
    try {
      let given = 0;
      for (const moment of moments) given += await this.#giveBackTaken(line, keys, moment);
      held.sort((a, b) => b.place - a.place);
      for (let from = 0; from < held.length; from += CHUNK) {
        given += await this.#giveBackHeld(line, keys, held.slice(from, from + CHUNK));
      }
      return given;
    } catch (error) {
      // Lost again: what went back meanwhile is not ours any more, and does not go back twice.
      this.add(held, moments);
      throw error;
    }
  }

  async #giveBackHeld(line: Line, keys: Keys, held: readonly Held[]): Promise<number> {
    const lists = [...new Set(held.map(({ list }) => list))];
    const args = held.flatMap(({ tag, moment, momentBefore, list, raw, queue }) => [
      tag,
      moment,
      momentBefore,
      lists.indexOf(list) + 1,
      markRedelivered(raw, queue, tag),
    ]);
    const gone = await line.run(line.scripts.settle, [keys.unacked, keys.unackedIndex, ...lists], args);
    return held.length - (gone as readonly Reply[]).length;
  }

  async #giveBackTaken(line: Line, keys: Keys, moment: number): Promise<number> {
    const tags = (await line.send("zrangebyscore", [keys.unackedIndex, moment, moment])) as readonly Buffer[];
    let given = 0;
    for (const tag of tags.toReversed()) {
      const record = await line.send("hget", [keys.unacked, tag]);
      const read = Buffer.isBuffer(record) ? readRecord(record) : undefined;
      // A message of another exchange waits for the timeout: which of its queues it was in is not known.
      if (read === undefined || read.exchange !== "") continue;
      const list = keys.listFor(read.routingKey, priorityOf(read.raw));
      const args = [tag, moment, moment, 1, read.raw];
      const gone = await line.run(line.scripts.settle, [keys.unacked, keys.unackedIndex, list], args);
      given += 1 - (gone as readonly Reply[]).length;
    }
    return given;
  }
}

function priorityOf(raw: Buffer): number | undefined {
  const { priority } = (JSON.parse(raw.toString()) as { properties?: { priority?: unknown } }).properties ?? {};
  return typeof priority === "number" ? priority : undefined;
}
