/** The names of kombu's keys and channels in Redis (PROTOCOL 8.1, 8.7), and what their names say. Pure. */
import type { RedisOptions } from "./options.ts";

/** kombu clamps a priority to these before it looks for the step. */
const MAX_PRIORITY = 9;

export class Keys {
  readonly unacked: string;
  readonly unackedIndex: string;
  readonly unackedMutex: string;
  readonly sep: string;
  readonly steps: readonly number[];
  readonly #prefix: string;
  readonly #fanout: string;
  readonly #patterns: boolean;

  constructor(options: RedisOptions, database: number) {
    const prefix = options.globalKeyprefix;
    this.unacked = prefix + options.unackedKey;
    this.unackedIndex = prefix + options.unackedIndexKey;
    this.unackedMutex = prefix + options.unackedMutexKey;
    this.sep = options.sep;
    this.steps = options.prioritySteps;
    this.#prefix = prefix;
    this.#fanout = options.fanoutPrefix.replaceAll("{db}", String(database));
    this.#patterns = options.fanoutPatterns;
  }

  /** Set of an exchange's bindings. */
  bindings(exchange: string): string {
    return `${this.#prefix}_kombu.binding.${exchange}`;
  }

  /** The queue's lists, the most urgent first. */
  lists(queue: string): string[] {
    return this.steps.map((step) => this.list(queue, step));
  }

  list(queue: string, step: number): string {
    return step === 0 ? this.#prefix + queue : `${this.#prefix}${queue}${this.sep}${step}`;
  }

  /** The list for a message of this priority: the step at or below it. */
  listFor(queue: string, priority: number | undefined): string {
    return this.list(queue, this.stepOf(priority));
  }

  stepOf(priority: number | undefined): number {
    const clamped = Math.min(Math.max(priority ?? 0, 0), MAX_PRIORITY);
    let step = 0;
    for (const each of this.steps) if (each <= clamped) step = each;
    return step;
  }

  /** Where an item lies that is too large to be carried: nobody's queue. */
  aside(queue: string): string {
    return `${this.#prefix}${queue}${this.sep}too-large`;
  }

  /** Where a fanout exchange's messages are published. */
  channel(exchange: string, routingKey: string): string {
    return `${this.#prefix}${this.#fanout}${exchange}${this.#patterns && routingKey !== "" ? `/${routingKey}` : ""}`;
  }

  /** What a queue bound to a fanout exchange listens to. `#` is `*`, as in kombu; other signs of Redis' patterns mean what they mean to Redis. */
  channelPattern(exchange: string, routingKey: string): string {
    return this.channel(exchange, routingKey.replaceAll("#", "*"));
  }

  /** The routing key of a message that came on the channel of this exchange. */
  routingKeyOf(channel: string, exchange: string): string {
    const before = `${this.#prefix}${this.#fanout}${exchange}/`;
    return channel.startsWith(before) ? channel.slice(before.length) : "";
  }
}
