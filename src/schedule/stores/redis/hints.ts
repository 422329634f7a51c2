/**
 * Hints of other processes: that something is due earlier than what was, that an abort was requested. They come by publish and subscribe,
 * over a second connection, which is opened when somebody listens. Losing them costs at most one second (I9): a worker looks by
 * itself, and is told to look when the connection is there again.
 */
import type { Redis } from "ioredis";
import { FullJitterBackoff } from "../../../kit/backoff.ts";
import { sleep, withDeadline } from "../../../kit/deadline.ts";
import { type DialOptions, dial } from "../../../redis/dial.ts";
import type { Change } from "../../store.ts";
import { unpack } from "./pack.ts";

const RECONNECT = { firstMs: 100, capMs: 5_000 } as const;

/** Kinds of a hint, as scripts write them. */
const DUE = 0;

export class Hints {
  readonly #dial: DialOptions;
  readonly #channel: string;
  /** Hints of this name are our own. */
  readonly #me: string;
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #closing = new AbortController();
  #running = false;
  #client: Redis | undefined;

  constructor(dialOptions: DialOptions, channel: string, me: string) {
    this.#dial = dialOptions;
    this.#channel = channel;
    this.#me = me;
  }

  listen(listener: (change: Change) => void): () => void {
    // Each call is a listener of its own, also of the same function.
    const own = (change: Change) => listener(change);
    this.#listeners.add(own);
    if (!this.#running) void this.#run();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.#hangUp();
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#closing.abort(new Error("closed"));
    this.#hangUp();
  }

  get #wanted(): boolean {
    return this.#listeners.size > 0 && !this.#closing.signal.aborted;
  }

  async #run(): Promise<void> {
    this.#running = true;
    const backoff = new FullJitterBackoff(RECONNECT);
    while (this.#wanted) {
      try {
        const { lost } = await this.#subscribe();
        backoff.reset();
        this.#tell({}); // whatever was said before
        await lost;
      } catch {
        // Not there now; the store's own line says why in the log.
      }
      if (!this.#wanted) break;
      await sleep(backoff.nextMs(), this.#dial.clock, this.#closing.signal, { ref: false }).catch(() => undefined);
    }
    this.#running = false;
  }

  /** Resolves when we are subscribed; `lost` when the connection has ended. */
  async #subscribe(): Promise<{ readonly lost: Promise<void> }> {
    const { client } = await dial(this.#dial);
    const lost = new Promise<void>((resolve) => client.once("end", () => resolve()));
    client.on("messageBuffer", (_channel: Buffer, message: Buffer) => this.#hear(message));
    this.#client = client;
    try {
      const { clock, connectMs } = this.#dial;
      await withDeadline(client.subscribe(this.#channel), connectMs, clock, "the answer to SUBSCRIBE");
    } catch (error) {
      this.#hangUp();
      throw error;
    }
    if (!this.#wanted) this.#hangUp();
    return { lost };
  }

  #hear(message: Buffer): void {
    let change: Change = {};
    try {
      const [from, kind, dueMs, queue] = unpack(message) as [string, number, number, string];
      if (from === this.#me) return;
      change = kind === DUE ? { dueMs, queue } : { abort: true };
    } catch {
      // Somebody else's message: it says no more than that something happened.
    }
    this.#tell(change);
  }

  #tell(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }

  #hangUp(): void {
    const client = this.#client;
    this.#client = undefined;
    // "end" is what `#run` waits for: our own listeners stay.
    client?.disconnect();
  }
}
