/**
 * Exchanges, queues and bindings in Redis. An exchange is a set of bindings, and a queue its lists, which are there only while a message
 * waits (PROTOCOL 8.1): what was declared here is remembered for the broker, and a queue of others is known by a message or by the
 * binding to the exchange of its name, which Celery makes for each queue.
 */
import { InvalidInputError } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import type { PublishTarget } from "../broker.ts";
import { checkQueueName } from "../check.ts";
import { QueueMissingError, QueueRefusedError } from "../errors.ts";
import { type Exchange, type ExchangeType, type Queue, queueNamed } from "../topology.ts";
import { type Binding, bindingMember, parseBinding, topicPattern } from "./bindings.ts";
import type { Keys } from "./keys.ts";
import type { Line, Reply } from "./line.ts";

/** What all connections of one broker know. */
export interface Known {
  /** Queues that were declared, or found to be there. */
  readonly queues: Map<string, Queue>;
  readonly exchanges: Map<string, ExchangeType>;
}

const TYPES: readonly string[] = ["direct", "topic", "fanout"];

export class Topology {
  readonly #line: Line;
  readonly #keys: Keys;
  readonly #known: Known;
  readonly #log: Logger;

  constructor(line: Line, keys: Keys, known: Known) {
    this.#line = line;
    this.#keys = keys;
    this.#known = known;
    this.#log = line.log;
  }

  /** @throws {QueueRefusedError} an exchange of a type that Redis has not */
  async declare(declared: string | Queue): Promise<void> {
    const queue = typeof declared === "string" ? (this.#known.queues.get(declared) ?? queueNamed(declared)) : declared;
    checkQueueName(queue.name);
    if (!queue.noDeclare) {
      for (const { exchange } of bindingsOf(queue)) this.#checkType(exchange.type, queue.name);
      await Promise.all(
        bindingsOf(queue).map(({ exchange, routingKey }) => this.#bind(queue.name, exchange, routingKey)),
      );
    }
    this.#known.queues.set(queue.name, queue);
  }

  declareExchange({ name, type }: Exchange): void {
    if (!TYPES.includes(type)) throw new InvalidInputError(unfitType(name, type));
    this.#known.exchanges.set(name, type);
  }

  /** Is it declared, bound, or does something wait in it? */
  async exists(queue: string): Promise<boolean> {
    checkQueueName(queue);
    if (this.#known.queues.has(queue)) return true;
    const member = bindingMember({ routingKey: queue, pattern: "", queue }, this.#keys.sep);
    const [lists, bound] = await Promise.all([
      this.#line.send("exists", this.#keys.lists(queue)),
      this.#line.send("sismember", [this.#keys.bindings(queue), member]),
    ]);
    if (bound === 1) this.#known.queues.set(queue, queueNamed(queue));
    return bound === 1 || Number(lists) > 0;
  }

  async depth(queue: string): Promise<number | undefined> {
    checkQueueName(queue);
    const lengths = await Promise.all(this.#keys.lists(queue).map((list) => this.#line.send("llen", [list])));
    const depth = lengths.reduce((sum: number, length) => sum + Number(length), 0);
    return depth > 0 || (await this.exists(queue)) ? depth : undefined;
  }

  async purge(queue: string): Promise<number> {
    checkQueueName(queue);
    const lists = this.#keys.lists(queue);
    // In one step, as kombu does it: what comes meanwhile is counted or kept.
    const [, ...answers] = await Promise.all([
      this.#line.send("multi", []),
      ...lists.map((list) => this.#line.send("llen", [list])),
      this.#line.send("del", lists),
      this.#line.send("exec", []),
    ]);
    const counts = answers.at(-1) as readonly Reply[];
    const purged = counts.slice(0, -1).reduce((sum: number, count) => sum + Number(count), 0);
    if (purged === 0 && !(await this.exists(queue))) throw new QueueMissingError(queue, "purge");
    return purged;
  }

  /** The type of the exchange that a message is sent to. */
  typeOf({ exchange, exchangeType }: PublishTarget): ExchangeType {
    const type = exchangeType ?? this.#known.exchanges.get(exchange) ?? "direct";
    if (!TYPES.includes(type)) throw new InvalidInputError(unfitType(exchange, type));
    return type;
  }

  /** `x-expires` of a queue that was declared here. */
  expiresMs(queue: string): number | undefined {
    const ms = this.#known.queues.get(queue)?.arguments["x-expires"];
    return typeof ms === "number" && ms > 0 ? Math.ceil(ms) : undefined;
  }

  /** Everybody's bindings of the exchange. */
  async bindings(exchange: string): Promise<Binding[]> {
    const members = (await this.#line.send("smembers", [this.#keys.bindings(exchange)])) as readonly Reply[];
    const bindings: Binding[] = [];
    for (const member of members) {
      const binding = parseBinding(String(member), this.#keys.sep);
      if (binding === undefined) {
        this.#log.warn(`A binding of exchange ${exchange} cannot be read, and is passed over`, {
          member: String(member).slice(0, 200),
        });
      } else bindings.push(binding);
    }
    return bindings;
  }

  /** An auto-delete queue without consumers: its bindings and lists, as kombu removes them. */
  async remove(queue: Queue): Promise<void> {
    this.#known.queues.delete(queue.name);
    const removed = bindingsOf(queue).map(({ exchange, routingKey }) =>
      this.#line.send("srem", [this.#keys.bindings(exchange.name), this.#member(queue.name, exchange, routingKey)]),
    );
    await Promise.all([...removed, this.#line.send("del", this.#keys.lists(queue.name))]);
  }

  async #bind(queue: string, exchange: Exchange, routingKey: string): Promise<void> {
    this.declareExchange(exchange);
    await this.#line.send("sadd", [this.#keys.bindings(exchange.name), this.#member(queue, exchange, routingKey)]);
  }

  #member(queue: string, { type }: Exchange, routingKey: string): string {
    const pattern = type === "topic" ? topicPattern(routingKey) : "";
    return bindingMember({ routingKey, pattern, queue }, this.#keys.sep);
  }

  #checkType(type: ExchangeType, queue: string): void {
    if (!TYPES.includes(type)) throw new QueueRefusedError(queue, unfitType("of its binding", type));
  }
}

/** All bindings that are kept anywhere: the default exchange has none. */
export function bindingsOf(queue: Queue): readonly { readonly exchange: Exchange; readonly routingKey: string }[] {
  const all = [{ exchange: queue.exchange, routingKey: queue.routingKey }, ...queue.bindings];
  return all.filter(({ exchange }) => exchange.name !== "");
}

/** The fanout exchanges that the queue hears; if there is one, it has no list that anybody reads. */
export function fanoutsOf(queue: Queue): { readonly exchange: string; readonly routingKey: string }[] {
  return bindingsOf(queue)
    .filter(({ exchange }) => exchange.type === "fanout")
    .map(({ exchange, routingKey }) => ({ exchange: exchange.name, routingKey }));
}

function unfitType(exchange: string, type: string): string {
  return `exchange ${exchange} is of type ${JSON.stringify(type)}, which Redis has not: it has direct, topic and fanout`;
}
