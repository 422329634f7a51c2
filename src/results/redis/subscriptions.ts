/**
 * Who waits for which key: one connection for any number of them, and a few commands for many that come at once.
 *
 * A key is joined in three steps: SUBSCRIBE; then read what stands, on the other connection; then PING, whose answer comes after
 * everything that was published before what was read. What was heard until then is put in order: if the text that was read is among it, what
 * came before is older than it; else all of it is newer. So a watch is told what stands, and each change after it, once and in
 * order. After a loss every key is joined anew, and what was told already is not told again.
 */
import type { Redis } from "ioredis";
import { FullJitterBackoff } from "../../kit/backoff.ts";
import type { Timeout } from "../../kit/clock.ts";
import { sleep, withDeadline } from "../../kit/deadline.ts";
import { ContractError } from "../../kit/errors.ts";
import { type DialOptions, dial, hangUp } from "../../redis/dial.ts";

export interface SubscriptionsOptions {
  readonly dial: DialOptions;
  /** The texts that stand under these keys, null where none does; on another connection. */
  readonly read: (keys: readonly string[]) => Promise<readonly (string | null)[]>;
  /** How long Redis may take to answer, ms. */
  readonly answerMs: number;
  /** Of the texts. */
  readonly encoding: "utf8" | "latin1";
  /** A connection that says nothing is asked so often whether it lives, ms. Default 15,000. */
  readonly pingMs?: number;
}

/** Keys joined, or left, by one command. */
const BATCH = 500;
const RECONNECT = { firstMs: 50, capMs: 2_000 } as const;
const PING_MS = 15_000;
/** A ping is answered sooner than a command with much to read. */
const PONG_MS = 10_000;

export class KeyWatch {
  readonly key: string;
  readonly tell: (text: string) => void;
  /** Resolves when what stands was told. Rejects with what the listener threw at it. */
  readonly joined: Promise<void>;
  resolve: () => void = () => undefined;
  reject: (error: unknown) => void = () => undefined;
  stopped = false;
  isNew = true;
  /** What came while it is being joined; null: it is joined. */
  heard: string[] | null = [];
  /** What was told last; undefined: nothing. */
  told: string | undefined;

  constructor(key: string, tell: (text: string) => void) {
    this.key = key;
    this.tell = tell;
    this.joined = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.joined.catch(() => undefined); // looked at by whoever waits for it
  }
}

interface Channel {
  readonly watches: Set<KeyWatch>;
  /** On the connection in use. */
  subscribed: boolean;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #channels = new Map<string, Channel>();
  readonly #closing = new AbortController();
  readonly #joining = new Set<KeyWatch>();
  /** Keys that nobody waits for any more. */
  readonly #leaving = new Set<string>();
  readonly #backoff = new FullJitterBackoff(RECONNECT);
  #client: Redis | undefined;
  #ping: Timeout | undefined;
  #running = false;
  #why: unknown;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /** Keys that somebody waits for. */
  get size(): number {
    return this.#channels.size - this.#leaving.size;
  }

  /** What went wrong last, for who gave up waiting. */
  get why(): unknown {
    return this.#why;
  }

  add(key: string, tell: (text: string) => void): KeyWatch {
    const watch = new KeyWatch(key, tell);
    const channel = this.#channels.get(key);
    if (channel === undefined) this.#channels.set(key, { watches: new Set([watch]), subscribed: false });
    else channel.watches.add(watch);
    this.#leaving.delete(key);
    this.#joining.add(watch);
    this.#run();
    return watch;
  }

  remove(watch: KeyWatch): void {
    if (watch.stopped) return;
    watch.stopped = true;
    const channel = this.#channels.get(watch.key);
    channel?.watches.delete(watch);
    if (channel?.watches.size !== 0) return;
    this.#leaving.add(watch.key);
    this.#run();
  }

  /** What was told of it is forgotten: should the same come again, it is new. */
  forget(key: string): void {
    for (const watch of this.#channels.get(key)?.watches ?? []) watch.told = undefined;
  }

  close(): void {
    this.#closing.abort(new Error("closed"));
    for (const { watches } of this.#channels.values()) {
      for (const watch of watches) {
        watch.stopped = true;
        watch.reject(new Error("closed"));
      }
    }
    this.#channels.clear();
    this.#leaving.clear();
    this.#joining.clear();
    this.#hangUp();
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  #run(): void {
    if (this.#running || this.#closed) return;
    this.#running = true;
    void this.#work();
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    // Those of one turn go together.
    await new Promise((resolve) => setImmediate(resolve));
    while (!this.#closed && (this.#joining.size > 0 || this.#leaving.size > 0)) {
      try {
        const client = this.#client ?? (this.#joining.size > 0 ? await this.#connect() : undefined);
        if (client === undefined) this.#leaveAll();
        else {
          await this.#leave(client);
          await this.#join(client);
        }
        this.#backoff.reset();
      } catch (error) {
        // The command line says in the log why Redis is away.
        this.#why = error;
        await sleep(this.#backoff.nextMs(), this.#options.dial.clock, this.#closing.signal, { ref: false }).catch(
          () => undefined,
        );
      }
    }
    this.#running = false;
    // What came between the last look and this line.
    if (this.#joining.size > 0 || this.#leaving.size > 0) this.#run();
  }

  /** Without a connection nothing is subscribed. */
  #leaveAll(): void {
    for (const key of this.#leaving) this.#channels.delete(key);
    this.#leaving.clear();
  }

  async #leave(client: Redis): Promise<void> {
    const keys: string[] = [];
    for (const key of this.#leaving) {
      keys.push(key);
      if (keys.length === BATCH) break;
    }
    if (keys.length === 0) return;
    for (const key of keys) {
      this.#leaving.delete(key);
      // From now on it is a new channel for whoever comes.
      this.#channels.delete(key);
    }
    try {
      await this.#answer(client, client.unsubscribe(...keys));
    } catch (error) {
      this.#drop(client);
      throw error;
    }
  }

  async #join(client: Redis): Promise<void> {
    const batch = this.#take();
    if (batch.length === 0) return;
    try {
      const keys = [...new Set(batch.map(({ key }) => key))];
      for (const watch of batch) watch.heard = [];
      const fresh = keys.filter((key) => this.#channels.get(key)?.subscribed === false);
      if (fresh.length > 0) await this.#answer(client, client.subscribe(...fresh));
      if (this.#client !== client) throw new Error("the connection was lost");
      for (const key of fresh) {
        const channel = this.#channels.get(key);
        if (channel !== undefined) channel.subscribed = true;
      }
      const texts = await this.#options.read(keys);
      await this.#answer(client, client.ping());
      const standing = new Map(keys.map((key, i) => [key, texts[i] ?? undefined]));
      for (const watch of batch) this.#settle(watch, standing.get(watch.key));
    } catch (error) {
      if (error instanceof ContractError) this.#refuse(batch, error);
      else for (const watch of batch) this.#joining.add(watch);
      this.#drop(client);
      throw error;
    }
  }

  #take(): KeyWatch[] {
    const batch: KeyWatch[] = [];
    for (const watch of this.#joining) {
      this.#joining.delete(watch);
      if (!watch.stopped) batch.push(watch);
      if (batch.length === BATCH) break;
    }
    return batch;
  }

  #settle(watch: KeyWatch, standing: string | undefined): void {
    if (watch.stopped) return;
    const heard = watch.heard ?? [];
    watch.heard = null;
    const news = standing === undefined ? heard : heard.slice(heard.lastIndexOf(standing) + 1);
    if (standing !== undefined && standing !== watch.told) news.unshift(standing);
    try {
      for (const text of news) tell(watch, text);
      watch.resolve();
    } catch (error) {
      if (watch.isNew) watch.reject(error);
      else throwLater(error);
    }
    watch.isNew = false;
  }

  /** They cannot be read: those who begin to wait are told, the others go on waiting. */
  #refuse(batch: readonly KeyWatch[], error: Error): void {
    for (const watch of batch) {
      if (watch.isNew) watch.reject(error);
      else this.#joining.add(watch);
    }
  }

  #hear(key: string, text: string): void {
    for (const watch of this.#channels.get(key)?.watches ?? []) {
      if (watch.heard !== null) watch.heard.push(text);
      else {
        try {
          tell(watch, text);
        } catch (error) {
          throwLater(error);
        }
      }
    }
  }

  async #connect(): Promise<Redis> {
    const { client } = await dial(this.#options.dial);
    if (this.#closed) {
      hangUp(client);
      throw new Error("closed");
    }
    this.#client = client;
    client.on("messageBuffer", (channel: Buffer, message: Buffer) =>
      this.#hear(channel.toString("utf8"), message.toString(this.#options.encoding)),
    );
    client.once("end", () => this.#drop(client));
    if (client.status !== "ready") {
      this.#drop(client);
      throw new Error("the connection was lost");
    }
    this.#armPing(client);
    return client;
  }

  /** The connection is of no use any more: join every key anew. */
  #drop(client: Redis): void {
    if (this.#client !== client) return;
    this.#hangUp();
    for (const channel of this.#channels.values()) {
      channel.subscribed = false;
      for (const watch of channel.watches) {
        watch.heard = [];
        this.#joining.add(watch);
      }
    }
    this.#run();
  }

  #hangUp(): void {
    this.#ping?.cancel();
    const client = this.#client;
    this.#client = undefined;
    if (client !== undefined) hangUp(client);
  }

  /** Nothing is said for as long as nothing is stored: a connection that died silently looks the same. */
  #armPing(client: Redis): void {
    const { pingMs = PING_MS, dial: options } = this.#options;
    this.#ping = options.clock.timeout(
      () => {
        this.#answer(client, client.ping(), PONG_MS).then(
          () => {
            if (this.#client === client) this.#armPing(client);
          },
          () => this.#drop(client),
        );
      },
      pingMs,
      { ref: false },
    );
  }

  #answer(client: Redis, answer: Promise<unknown>, atMostMs = Number.POSITIVE_INFINITY): Promise<unknown> {
    const { answerMs, dial: options } = this.#options;
    answer.catch(() => undefined); // it may come after the deadline
    if (client.status !== "ready") return Promise.reject(new Error("the connection is not ready"));
    return withDeadline(answer, Math.min(answerMs, atMostMs), options.clock, "Redis' answer");
  }
}

function tell(watch: KeyWatch, text: string): void {
  if (watch.stopped) return;
  watch.told = text;
  watch.tell(text);
}

/** As of an event listener: nobody catches it, and the others are told all the same. */
function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
