/**
 * The consuming side of a connection: its consumers, the prefetch window, and the loop that fills it.
 *
 * The loop takes as many as the window has room for; when a take brings less, the lists were empty, and it waits to be woken: by
 * Redis when one of them changes, by a settled message, by a new consumer, and after a second in any case.
 */
import { sleep } from "../../kit/deadline.ts";
import { messageOf, toError } from "../../kit/errors.ts";
import { Fifo } from "../../kit/fifo.ts";
import { replyCode } from "../../redis/failure.ts";
import type { Consumer, Delivery, HeardMessage, Subscription } from "../broker.ts";
import { checkPrefetch } from "../check.ts";
import { QueueMissingError } from "../errors.ts";
import type { Queue } from "../topology.ts";
import { Bell } from "./bell.ts";
import { type End, RedisConsumer, RedisDelivery } from "./delivery.ts";
import type { Ear, Listener } from "./ear.ts";
import { type Envelope, markRedelivered, readEnvelope } from "./envelope.ts";
import type { Holding } from "./holding.ts";
import type { Keys } from "./keys.ts";
import type { Line } from "./line.ts";
import type { Taken, Taking } from "./taking.ts";
import { fanoutsOf, type Topology } from "./topology.ts";

/** Lists are asked at least so often, whatever Redis tells. */
const FLOOR_MS = 1_000;
/** Where Redis tells nothing: the pause after a message, which grows to half the floor. */
const FIRST_PAUSE_MS = 20;
const GROWTH = 1.5;
/** A refusal that lasts is told again after so long. */
const TELL_AGAIN_MS = 60_000;
/** Of what is heard and does not fit into the window. */
const MOST_OVER = 100_000;

interface Serving {
  readonly queue: Queue;
  readonly consumer: RedisConsumer;
  /** Null: it acknowledges nothing. */
  readonly onDelivery: ((delivery: Delivery) => void) | null;
  readonly onMessage: ((message: HeardMessage) => void) | null;
  readonly channels: { readonly pattern: string; readonly listener: Listener }[];
}

export class Consuming {
  /** Called when a consumer threw: the connection is to be given up. */
  onThrow: (error: Error) => void = () => undefined;
  readonly #line: Line;
  readonly #keys: Keys;
  readonly #topology: Topology;
  readonly #holding: Holding;
  readonly #taking: Taking;
  readonly #openEar: () => Promise<Ear>;
  /** By queue, those that read its lists, in turn. */
  readonly #byQueue = new Map<string, Set<Serving>>();
  readonly #all = new Set<Serving>();
  /** Heard, and over the window. */
  readonly #over = new Fifo<() => void>();
  readonly #bell: Bell;
  #ear: Promise<Ear> | undefined;
  #looping: Promise<void> | undefined;
  #taken: Promise<unknown> | undefined;
  #looks = 0;
  #window = 0;
  /** Delivered and not settled. */
  #open = 0;
  #closing = false;

  constructor(
    line: Line,
    keys: Keys,
    topology: Topology,
    holding: Holding,
    taking: Taking,
    openEar: () => Promise<Ear>,
  ) {
    this.#line = line;
    this.#keys = keys;
    this.#topology = topology;
    this.#holding = holding;
    this.#taking = taking;
    this.#openEar = openEar;
    this.#bell = new Bell(line.clock);
    line.onEnd(() => this.#bell.ring());
  }

  /** How often lists were asked; undefined while there is nobody to ask for, or no room. */
  get progress(): number | undefined {
    const isFull = this.#window > 0 && this.#open >= this.#window;
    return this.#byQueue.size === 0 || isFull || this.#closing ? undefined : this.#looks;
  }

  setPrefetch(count: number): void {
    checkPrefetch(count);
    this.#window = count;
    this.#serveOver();
    this.#bell.ring();
  }

  /** @throws {QueueMissingError} nobody declared it, and nothing waits in it */
  async consume(queue: Queue, onDelivery: (delivery: Delivery) => void): Promise<Consumer> {
    if (!queue.noDeclare && !(await this.#topology.exists(queue.name)))
      throw new QueueMissingError(queue.name, "consume");
    return this.#serve({ queue, onDelivery, onMessage: null });
  }

  async subscribe(queue: Queue, onMessage: (message: HeardMessage) => void): Promise<Subscription> {
    await this.#topology.declare(queue);
    const consumer = await this.#serve({ queue, onDelivery: null, onMessage });
    // To a fanout exchange each listens for itself.
    return { others: 0, cancel: () => consumer.cancel() };
  }

  /** Deliver nothing more; resolves when nothing is being taken. */
  async stop(): Promise<void> {
    this.#closing = true;
    this.#bell.ring();
    await this.#looping;
  }

  /** Queues that end with their last consumer. */
  async removeAutoDelete(): Promise<void> {
    const queues = new Map([...this.#all].map(({ queue }) => [queue.name, queue]));
    this.#all.clear();
    await Promise.all([...queues.values()].filter(endsWithConsumer).map((queue) => this.#topology.remove(queue)));
  }

  async #serve(what: Pick<Serving, "queue" | "onDelivery" | "onMessage">): Promise<Consumer> {
    this.#ear ??= this.#openEar();
    const ear = await this.#ear.catch((error: unknown) => {
      this.#ear = undefined;
      throw error;
    });
    ear.onChange = this.#changed;
    const consumer = new RedisConsumer(what.queue.name, (each) => this.#cancel(each));
    const serving: Serving = { ...what, consumer, channels: [] };
    this.#line.check();
    this.#all.add(serving);
    const fanouts = fanoutsOf(what.queue);
    for (const { exchange, routingKey } of fanouts) {
      const pattern = this.#keys.channelPattern(exchange, routingKey);
      const listener: Listener = (channel, raw) => this.#hear(serving, exchange, channel, raw);
      serving.channels.push({ pattern, listener });
      await ear.listen(pattern, listener);
    }
    if (fanouts.length === 0) {
      const others = this.#byQueue.get(what.queue.name) ?? new Set();
      this.#byQueue.set(what.queue.name, others.add(serving));
      this.#isArmed = false;
      this.#bell.ring();
      this.#looping ??= this.#loop(ear);
    }
    return consumer;
  }

  async #cancel(consumer: RedisConsumer): Promise<void> {
    const serving = [...this.#all].find((each) => each.consumer === consumer);
    if (serving === undefined) return;
    this.#all.delete(serving);
    const others = this.#byQueue.get(serving.queue.name);
    others?.delete(serving);
    if (others?.size === 0) this.#byQueue.delete(serving.queue.name);
    if (this.#line.ended !== undefined) return;
    try {
      const ear = await this.#ear;
      for (const { pattern, listener } of serving.channels) await ear?.leave(pattern, listener);
      // What is on its way to us goes back as it comes.
      await this.#taken;
      await this.#holding.flush();
      const isLast = ![...this.#all].some(({ queue }) => queue.name === serving.queue.name);
      if (isLast && endsWithConsumer(serving.queue)) await this.#topology.remove(serving.queue);
    } catch (error) {
      // A line that has ended delivers nothing more, which is all that cancel promises.
      if (this.#line.ended === undefined) throw error;
    }
  }

  readonly #changed = () => {
    this.#isArmed = false;
    this.#bell.ring();
  };

  /** Redis will tell us of the next change of a list. */
  #isArmed = false;

  async #loop(ear: Ear): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (this.#line.ended === undefined && !this.#closing) {
      try {
        const step = this.#fill();
        this.#taken = step.catch(() => undefined);
        const came = await step;
        if (came === "more") continue;
        if (came === "some") pauseMs = FIRST_PAUSE_MS;
        if (this.#closing) return;
        if (came === "idle") {
          await this.#bell.wait(Number.POSITIVE_INFINITY);
          continue;
        }
        if (ear.isTracking && !this.#isArmed) {
          this.#isArmed = true;
          if (await ear.look(this.#taking.lists(this.#byQueue.keys()))) continue;
        }
        await this.#bell.wait(ear.isTracking ? FLOOR_MS : pauseMs);
        pauseMs = Math.min(pauseMs * GROWTH, FLOOR_MS / 2);
      } catch (error) {
        if (this.#line.ended !== undefined) return;
        if (replyCode(error) === undefined) {
          this.#line.lose(toError(error));
          return;
        }
        this.#tellRefusal(error as Error);
        await sleep(FLOOR_MS, this.#line.clock);
      }
    }
  }

  #refusal = { text: "", monoMs: 0 };

  /** Once a minute while it is the same. */
  #tellRefusal(error: Error): void {
    const { clock, log, url } = this.#line;
    const nowMs = clock.monoMs();
    if (this.#refusal.text === error.message && nowMs - this.#refusal.monoMs < TELL_AGAIN_MS) return;
    this.#refusal = { text: error.message, monoMs: nowMs };
    log.error(`${url} does not give messages; trying again`, { error });
  }

  /**
   * Take what fits, and hand it over. "idle": there is no room, or nobody to take for; "none" and "some": the lists were empty then.
   */
  async #fill(): Promise<"idle" | "none" | "some" | "more"> {
    this.#looks += 1;
    const recorded: string[] = [];
    const unrecorded: string[] = [];
    for (const [queue, servings] of this.#byQueue) {
      const [first] = servings;
      (first?.onDelivery === null ? unrecorded : recorded).push(queue);
    }
    const room = this.#window === 0 ? Number.POSITIVE_INFINITY : this.#window - this.#open;
    // What was settled makes room here at once, so Redis must hear of it first.
    void this.#holding.flush();
    const takes = [
      recorded.length > 0 && room > 0 ? this.#taking.take(recorded, room, true) : undefined,
      unrecorded.length > 0 ? this.#taking.take(unrecorded, Number.POSITIVE_INFINITY, false) : undefined,
    ].filter((take) => take !== undefined);
    if (takes.length === 0) return "idle";
    const answers = await Promise.all(takes);
    for (const { taken } of answers) for (const each of taken) this.#hand(each);
    if (answers.some(({ isMore }) => isMore)) return "more";
    return answers.some(({ taken }) => taken.length > 0) ? "some" : "none";
  }

  #hand({ queue, list, tag, raw, moment }: Taken): void {
    const servings = this.#byQueue.get(queue);
    const [serving] = servings ?? [];
    const envelope = readEnvelope(raw, queue);
    if (tag === "") {
      if (serving?.onMessage != null) this.#call(serving, () => serving.onMessage?.(envelope));
      return;
    }
    const held = this.#holding.hold(tag, queue, list, raw, moment);
    if (held === undefined) return;
    // Cancelled meanwhile, or lost: nobody had it, so it goes back as it was.
    if (serving === undefined || this.#closing || this.#line.ended !== undefined) {
      void this.#holding.settle(held, "back", envelope.isForeign ? markRedelivered(raw, queue, tag) : raw);
      return;
    }
    servings?.delete(serving);
    servings?.add(serving);
    this.#deliver(serving, envelope, (end) => this.#holding.settle(held, end === "requeue" ? "back" : "done"));
  }

  #deliver(serving: Serving, envelope: Envelope, settle: (end: End) => Promise<void>): void {
    this.#open += 1;
    const delivery = new RedisDelivery(serving.queue.name, envelope, (end) => {
      this.#open -= 1;
      const settled = settle(end);
      this.#serveOver();
      this.#roomAgain();
      return settled;
    });
    this.#call(serving, () => serving.onDelivery?.(delivery));
  }

  #call({ queue }: Serving, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#closing = true;
      const why = `the consumer of queue ${queue.name} threw: ${messageOf(error)}`;
      this.onThrow(new Error(why, { cause: toError(error) }));
    }
  }

  #roomScheduled = false;

  /** At the end of the turn, so that all that was settled in it makes room for one take. */
  #roomAgain(): void {
    if (this.#roomScheduled) return;
    this.#roomScheduled = true;
    setImmediate(() => {
      this.#roomScheduled = false;
      this.#bell.ring();
    });
  }

  /** What came on a channel: there is no record of it, and nothing to give back to. */
  #hear(serving: Serving, exchange: string, channel: string, raw: Buffer): void {
    const routingKey = this.#keys.routingKeyOf(channel, exchange);
    const envelope: Envelope = { ...readEnvelope(raw, serving.queue.name), exchange, routingKey };
    if (serving.onDelivery === null) {
      this.#call(serving, () => serving.onMessage?.(envelope));
      return;
    }
    this.#over.push(() => this.#handHeard(serving, envelope));
    if (this.#over.length > MOST_OVER) {
      this.#over.shift();
      this.#line.log.error(`Queue ${serving.queue.name} hears more than its consumer takes: a message was dropped`);
    }
    this.#serveOver();
  }

  #handHeard(serving: Serving, envelope: Envelope): void {
    this.#deliver(serving, envelope, async (end) => {
      if (end !== "requeue" || !this.#all.has(serving)) return;
      this.#over.push(() => this.#handHeard(serving, { ...envelope, redelivered: true }));
    });
  }

  #serveOver(): void {
    while (this.#over.length > 0 && (this.#window === 0 || this.#open < this.#window)) {
      if (this.#line.ended !== undefined || this.#closing) return;
      this.#over.shift()?.();
    }
  }
}

function endsWithConsumer({ autoDelete, exclusive, noDeclare }: Queue): boolean {
  return (autoDelete || exclusive) && !noDeclare;
}
