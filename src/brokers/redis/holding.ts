/**
 * What the connection has in hand: recorded in `unacked`, delivered, and not settled. Settling is batched: all of a turn of the event loop
 * goes in one script, with the youngest that goes back first, so that the oldest is read next.
 *
 * Somebody else may give a message back while we hold it: we were stopped for longer than the visibility timeout, or theirs is shorter than
 * ours. Then it is not ours any more. When it ends well here, it is taken out of its list if it still waits there; and when it comes to
 * this connection again, it is not delivered a second time. What somebody else has meanwhile, he runs.
 */
import { sleep } from "../../kit/deadline.ts";
import { messageOf } from "../../kit/errors.ts";
import { replyCode } from "../../redis/failure.ts";
import { markRedelivered, readEnvelope } from "./envelope.ts";
import type { Keys } from "./keys.ts";
import type { Line, Reply } from "./line.ts";

/** A message in hand. */
export interface Held {
  /** Its field in `unacked`. */
  readonly tag: string;
  readonly queue: string;
  /** The list that it came from, and goes back to. */
  readonly list: string;
  readonly raw: Buffer;
  /** Its place among all that was delivered. */
  readonly place: number;
  /** Seconds: what we wrote last, and before that. Which of them stands there is known only when the answer is. */
  moment: number;
  momentBefore: number;
}

type End = "done" | "back";

interface Settling {
  readonly held: Held;
  readonly end: End;
  /** The text that goes back, where it is not the message marked as redelivered. */
  readonly text: string | Buffer | undefined;
  readonly told: () => void;
}

/** Messages in one script. */
const CHUNK = 200;
const CHUNK_BYTES = 4_000_000;
/** How far from the end that is read next a message is looked for that we are done with. */
const RETRACT_DEPTH = 1_000;
const RETRY_MS = 1_000;

export class Holding {
  readonly #line: Line;
  readonly #keys: Keys;
  /** Ours; by tag. */
  readonly #held = new Map<string, Held>();
  /** Delivered by us and given back by somebody else; by tag. */
  readonly #taken = new Map<string, Held>();
  #waiting: Settling[] = [];
  #isScheduled = false;
  #places = 0;

  constructor(line: Line, keys: Keys) {
    this.#line = line;
    this.#keys = keys;
  }

  get size(): number {
    return this.#held.size;
  }

  /** In the order they were delivered. */
  get all(): IterableIterator<Held> {
    return this.#held.values();
  }

  /**
   * It has just been recorded for us.
   * @returns undefined when it is one that was delivered already: then that one is ours again
   */
  hold(tag: string, queue: string, list: string, raw: Buffer, moment: number): Held | undefined {
    const known = this.#taken.get(tag) ?? this.#held.get(tag);
    if (known === undefined || !isSameMessage(known, raw)) {
      const held: Held = { tag, queue, list, raw, place: this.#places++, moment, momentBefore: moment };
      this.#held.set(tag, held);
      return held;
    }
    known.moment = moment;
    known.momentBefore = moment;
    this.#taken.delete(tag);
    this.#held.set(tag, known);
    this.#line.log.warn(
      `A message of queue ${queue} that we hold was given back by somebody else and came to us again: it is not run twice`,
      { deliveryTag: tag },
    );
    return undefined;
  }

  /** Resolves when Redis has been told, or cannot be any more. */
  settle(held: Held, end: End, text?: string | Buffer): Promise<void> {
    if (this.#line.ended !== undefined) return Promise.resolve();
    return new Promise((told) => {
      this.#waiting.push({ held, end, text, told });
      if (this.#isScheduled) return;
      this.#isScheduled = true;
      setImmediate(() => void this.flush());
    });
  }

  /** Give back all that is in hand, but what was settled. */
  async giveBackAll(): Promise<void> {
    const settled = new Set(this.#waiting.map(({ held }) => held));
    const back = [...this.#held.values()].filter((held) => !settled.has(held));
    const all = back.map((held) => this.settle(held, "back"));
    await this.flush();
    await Promise.all(all);
  }

  /** Tell Redis what was settled up to now. It is written before this returns, and told when it resolves. */
  async flush(): Promise<void> {
    this.#isScheduled = false;
    const settlings = this.#waiting;
    if (settlings.length === 0) return;
    this.#waiting = [];
    settlings.sort((a, b) => (a.end === b.end ? b.held.place - a.held.place : a.end === "done" ? -1 : 1));
    await this.#tell(settlings);
  }

  /** Write a new moment for all that is ours. Answers how many were given back by somebody else meanwhile. */
  async refresh(moment: number): Promise<number> {
    let gone = 0;
    const all = [...this.#held.values()];
    for (let from = 0; from < all.length; from += CHUNK) {
      const chunk = all.slice(from, from + CHUNK);
      const args = chunk.flatMap((held) => [held.tag, held.moment, held.momentBefore]);
      for (const held of chunk) [held.momentBefore, held.moment] = [held.moment, moment];
      const answer = await this.#line.run(this.#line.scripts.refresh, [this.#keys.unackedIndex], [moment, ...args]);
      for (const at of answer as readonly number[]) {
        const held = chunk[at];
        // One that was settled meanwhile is no loss.
        if (held !== undefined && this.#held.get(held.tag) === held && !this.#isSettled(held)) {
          this.#held.delete(held.tag);
          this.#taken.set(held.tag, held);
          gone += 1;
        }
      }
    }
    return gone;
  }

  #isSettled(held: Held): boolean {
    return this.#settling.has(held);
  }

  /** Under way. */
  readonly #settling = new Set<Held>();

  async #tell(settlings: readonly Settling[]): Promise<void> {
    for (const { held } of settlings) this.#settling.add(held);
    // All chunks are written to the socket at once; each waits for its own answer.
    await Promise.all([...chunks(settlings)].map((chunk) => this.#tellChunk(chunk)));
    for (const { held } of settlings) this.#settling.delete(held);
  }

  async #tellChunk(chunk: readonly Settling[]): Promise<void> {
    const { unacked, unackedIndex } = this.#keys;
    const lists = [...new Set(chunk.flatMap(({ held, end }) => (end === "back" ? [held.list] : [])))];
    const args = chunk.flatMap(({ held, end, text }) => [
      held.tag,
      held.moment,
      held.momentBefore,
      end === "back" ? lists.indexOf(held.list) + 1 : 0,
      end === "back" ? (text ?? markRedelivered(held.raw, held.queue, held.tag)) : "",
    ]);
    const gone = await this.#insist(() =>
      this.#line.run(this.#line.scripts.settle, [unacked, unackedIndex, ...lists], args),
    );
    for (const { held } of chunk) {
      if (this.#held.get(held.tag) === held) this.#held.delete(held.tag);
      if (this.#taken.get(held.tag) === held) this.#taken.delete(held.tag);
    }
    const lost = ((gone ?? []) as readonly number[]).map((at) => chunk[at]).filter((each) => each !== undefined);
    await Promise.all(lost.filter(({ end }) => end === "done").map(({ held }) => this.#retract(held)));
    for (const { told } of chunk) told();
  }

  /** What Redis refuses now (its disk is full, say) it may take later. Undefined: the line ended. */
  async #insist(call: () => Promise<Reply>): Promise<Reply | undefined> {
    let isTold = false;
    while (this.#line.ended === undefined) {
      try {
        return await call();
      } catch (error) {
        if (replyCode(error) === undefined) return undefined;
        if (!isTold) this.#line.log.error(`${this.#line.url} does not take acknowledgements; trying again`, { error });
        isTold = true;
        await sleep(RETRY_MS, this.#line.clock);
      }
    }
    return undefined;
  }

  async #retract(held: Held): Promise<void> {
    const body = bodyTextOf(held.raw);
    if (body === undefined) return;
    try {
      const args = [held.tag, body, RETRACT_DEPTH];
      const removed = Number(await this.#line.run(this.#line.scripts.retract, [held.list], args));
      const what = removed > 0 ? "it was taken out of its list again" : "somebody else may run it again";
      this.#line.log.warn(
        `A message of queue ${held.queue} was given back by somebody else while we held it; it is done here, and ${what}`,
        { deliveryTag: held.tag },
      );
    } catch (error) {
      if (replyCode(error) !== undefined) this.#line.log.warn(`A message could not be looked for: ${messageOf(error)}`);
    }
  }
}

function* chunks(settlings: readonly Settling[]): Iterable<Settling[]> {
  let chunk: Settling[] = [];
  let bytes = 0;
  for (const each of settlings) {
    chunk.push(each);
    bytes += each.end === "back" ? each.held.raw.byteLength : 100;
    if (chunk.length < CHUNK && bytes < CHUNK_BYTES) continue;
    yield chunk;
    chunk = [];
    bytes = 0;
  }
  if (chunk.length > 0) yield chunk;
}

/** Two messages may have the same tag (a publisher's mistake, or a copy for another queue): those are two. */
function isSameMessage(held: Held, raw: Buffer): boolean {
  const [one, other] = [readEnvelope(held.raw, held.queue), readEnvelope(raw, held.queue)];
  return (
    Buffer.from(one.message.body).equals(Buffer.from(other.message.body)) &&
    one.message.properties.correlationId === other.message.properties.correlationId &&
    one.message.headers.id === other.message.headers.id
  );
}

function bodyTextOf(raw: Buffer): string | undefined {
  try {
    const { body } = JSON.parse(raw.toString()) as { readonly body?: unknown };
    return typeof body === "string" ? body : undefined;
  } catch {
    return undefined;
  }
}
