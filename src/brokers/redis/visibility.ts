/**
 * The visibility timeout (PROTOCOL 8.6), from both sides: what we hold is given a new moment long before the timeout, for as long as we
 * hold it, so that nobody gives it back while its task runs; and what others held, whose moment is too old, goes back to its queue, under
 * kombu's lock and in kombu's order.
 *
 * A process that was stopped for a while looks around before it gives others' messages back: where the whole machine slept, so did they.
 */
import { randomUUID } from "node:crypto";
import type { Timeout } from "../../kit/clock.ts";
import { toError } from "../../kit/errors.ts";
import { replyCode } from "../../redis/failure.ts";
import { route } from "./bindings.ts";
import { markRedelivered, readEnvelope } from "./envelope.ts";
import type { Holding } from "./holding.ts";
import type { Keys } from "./keys.ts";
import type { Line, Reply } from "./line.ts";
import type { RedisOptions } from "./options.ts";
import { readRecord } from "./record.ts";
import type { Topology } from "./topology.ts";
import { Watchdog } from "./watchdog.ts";

/** Also safe beside a worker whose timeout is much shorter than ours: nobody can mean less than a few seconds. */
const REFRESH_MS = 2_500;
/** How long a loop with room may take to ask again, besides the deadline of its answer: it asks once a second. */
const STUCK_MS = 10_000;
/** Looked at in one script. */
const PAGE = 100;

export class Visibility {
  readonly #line: Line;
  readonly #keys: Keys;
  readonly #topology: Topology;
  readonly #holding: Holding;
  readonly #options: RedisOptions;
  readonly #refreshMs: number;
  readonly #restoreMs: number;
  #refreshing: Timeout | undefined;
  #restoring: Timeout | undefined;
  readonly #watchdog: Watchdog;
  /** How far who takes messages has come; undefined when it has nothing to do. */
  progress: () => number | undefined = () => undefined;
  #moment = 0;

  constructor(line: Line, keys: Keys, topology: Topology, holding: Holding, options: RedisOptions) {
    this.#line = line;
    this.#keys = keys;
    this.#topology = topology;
    this.#holding = holding;
    this.#options = options;
    this.#refreshMs = Math.min(options.visibilityTimeoutMs / 4, REFRESH_MS);
    this.#restoreMs = options.unackedRestoreIntervalMs * options.unackedRestoreThrottle;
    this.#watchdog = new Watchdog(Math.ceil((options.answerMs + STUCK_MS) / this.#refreshMs));
    line.onEnd(() => this.stop());
  }

  /** Refresh from now on, and look for what others left, at once. */
  start(): void {
    if (this.#refreshing !== undefined || this.#line.ended !== undefined) return;
    this.#refreshLater(this.#refreshMs);
    void this.#guard(() => this.#restoreNow());
  }

  stop(): void {
    this.#refreshing?.cancel();
    this.#restoring?.cancel();
  }

  /** Seconds of the server's clock; later at each call, so that it tells what it was given to from all else. */
  readonly nextMoment = (): number => {
    this.#moment = Math.max(this.#line.nowSeconds(), this.#moment + 0.000_001);
    return this.#moment;
  };

  #refreshLater(ms: number): void {
    this.#refreshing = this.#line.clock.timeout(() => void this.#refresh(), ms, { ref: false });
  }

  async #refresh(): Promise<void> {
    await this.#guard(async () => {
      await this.#line.tellTime();
      if (this.#holding.size > 0) await this.#refreshHeld();
      if (this.#watchdog.isStuck(this.progress())) {
        this.#line.lose(new Error("no list was asked for messages for too long, though there is room for them"));
      }
    });
    // A crowd in hand is refreshed less often, but never late.
    const crowdedMs = Math.min(this.#holding.size, this.#options.visibilityTimeoutMs / 4);
    if (this.#line.ended === undefined) this.#refreshLater(Math.max(this.#refreshMs, crowdedMs));
  }

  async #refreshHeld(): Promise<void> {
    const gone = await this.#holding.refresh(this.nextMoment());
    if (gone === 0) return;
    this.#line.log.warn(
      `${gone} of the messages in hand were given back by somebody else: this process was stopped for too long, or another worker's visibility_timeout is shorter than ours (${this.#options.visibilityTimeoutMs / 1_000} s); they may run twice`,
    );
  }

  #restoreLater(): void {
    const dueMs = this.#line.clock.monoMs() + this.#restoreMs;
    this.#restoring = this.#line.clock.timeout(
      () => {
        const lateMs = this.#line.clock.monoMs() - dueMs;
        if (lateMs > this.#refreshMs) this.#restoreLater();
        else void this.#guard(() => this.#restoreNow());
      },
      this.#restoreMs,
      { ref: false },
    );
  }

  async #restoreNow(): Promise<void> {
    try {
      await this.#line.tellTime();
      await this.#adopt();
      await this.restore();
    } finally {
      if (this.#line.ended === undefined) this.#restoreLater();
    }
  }

  /** Give back what others left. Answers how many messages. */
  async restore(): Promise<number> {
    const { unackedMutex } = this.#keys;
    const { unackedRestoreLimit: limit, visibilityTimeoutMs } = this.#options;
    const token = randomUUID();
    const ceiling = this.#line.nowSeconds() - visibilityTimeoutMs / 1_000;
    let restored = 0;
    let passed = 0;
    try {
      for (let looked = 0; limit === 0 || looked < limit; ) {
        const count = limit === 0 ? PAGE : Math.min(PAGE, limit - looked);
        const found = await this.#expired(token, ceiling, passed, count);
        if (found === undefined) return restored;
        const { given, left } = await this.#giveBack(found);
        restored += given;
        passed += left;
        looked += found.length;
        if (found.length < count) break;
      }
    } finally {
      await this.#line.run(this.#line.scripts.unlock, [unackedMutex], [token]).catch(() => undefined);
    }
    if (restored > 0) this.#line.log.info(`Restored ${restored} unacknowledged message(s) of workers that are gone`);
    return restored;
  }

  async #expired(
    token: string,
    ceiling: number,
    offset: number,
    count: number,
  ): Promise<readonly Expired[] | undefined> {
    const { unacked, unackedIndex, unackedMutex } = this.#keys;
    const args = [token, this.#options.unackedMutexExpireMs, ceiling, offset, count];
    const answer = await this.#line.run(this.#line.scripts.expired, [unacked, unackedIndex, unackedMutex], args);
    if (answer === null) return undefined;
    return (answer as readonly Reply[][]).map(([tag, moment, record]) => ({
      tag: tag as Buffer,
      moment: String(moment),
      record: (record ?? undefined) as Buffer | undefined,
    }));
  }

  async #giveBack(found: readonly Expired[]): Promise<{ readonly given: number; readonly left: number }> {
    const lists: string[] = [];
    const args: (string | number | Buffer)[] = [];
    let left = 0;
    for (const { tag, moment, record } of found) {
      const back = record === undefined ? { lists: [], text: "" } : await this.#backOf(tag.toString(), record);
      if (back === undefined) {
        left += 1;
        continue;
      }
      const numbers = back.lists.map((list) => (lists.includes(list) ? lists.indexOf(list) + 1 : lists.push(list)));
      args.push(tag, moment, numbers.length, ...numbers, back.text);
    }
    if (args.length === 0) return { given: 0, left };
    const { unacked, unackedIndex } = this.#keys;
    const given = await this.#line.run(this.#line.scripts.restore, [unacked, unackedIndex, ...lists], args);
    return { given: Number(given), left };
  }

  /** Where it goes and as what; undefined when nobody can tell: it stays where it is. */
  async #backOf(tag: string, record: Buffer): Promise<{ readonly lists: string[]; readonly text: string } | undefined> {
    const read = readRecord(record);
    if (read === undefined) {
      this.#line.log.error("A record of a message in hand cannot be read, and stays where it is", { deliveryTag: tag });
      return undefined;
    }
    const { raw, exchange, routingKey } = read;
    const queues = exchange === "" ? [routingKey] : route(await this.#topology.bindings(exchange), routingKey);
    if (queues.length === 0 || queues[0] === "") {
      this.#line.log.error(
        `A message that nobody holds any more has nowhere to go: exchange ${exchange} has no queue for routing key ${routingKey}; it stays in ${this.#keys.unacked}`,
        { deliveryTag: tag },
      );
      return undefined;
    }
    const { priority } = readEnvelope(raw, queues[0] ?? "").message.properties;
    const lists = queues.map((queue) => this.#keys.listFor(queue, priority));
    return { lists, text: markRedelivered(raw, queues[0] ?? "", tag) };
  }

  /** Records that the index does not know come back to nobody: it is told of them. */
  async #adopt(): Promise<void> {
    const { unacked, unackedIndex } = this.#keys;
    const [records, indexed] = await Promise.all([
      this.#line.send("hlen", [unacked]),
      this.#line.send("zcard", [unackedIndex]),
    ]);
    if (Number(records) <= Number(indexed)) return;
    const tags = (await this.#line.send("hkeys", [unacked])) as readonly Buffer[];
    for (let from = 0; from < tags.length; from += 1_000) {
      const args = [this.#line.nowSeconds(), ...tags.slice(from, from + 1_000)];
      const adopted = Number(await this.#line.run(this.#line.scripts.adopt, [unacked, unackedIndex], args));
      if (adopted > 0) this.#line.log.warn(`${adopted} messages in hand had no time of their own; they have one now`);
    }
  }

  /** What Redis refuses is told, and tried again at the next time. */
  async #guard(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.#line.ended !== undefined) return;
      if (replyCode(error) === undefined) this.#line.lose(toError(error));
      else this.#line.log.error(`${this.#line.url} does not let us look after messages in hand`, { error });
    }
  }
}

interface Expired {
  readonly tag: Buffer;
  /** As Redis writes it. */
  readonly moment: string;
  /** Undefined: the index knows a message that is not there. */
  readonly record: Buffer | undefined;
}
