/**
 * What other processes changed, as PostgreSQL tells it: LISTEN, on a connection of its own, which is made when somebody wants to know and
 * made again when it is lost. A hint only: each worker looks for itself once a second.
 *
 * A pooler in transaction mode takes a LISTEN and never tells anything. So the connection is tried: a probe is sent to it through the
 * other connections, and when it does not come the store goes on without hints, and says so once.
 */
import type { Client } from "pg";
import { FullJitterBackoff } from "../../../kit/backoff.ts";
import { systemClock } from "../../../kit/clock.ts";
import { sleep, withDeadline } from "../../../kit/deadline.ts";
import type { Logger } from "../../../kit/log.ts";
import type { Change } from "../../store.ts";
import { type Place, wordsOf } from "./failure.ts";
import { destroy, loadPg, socketConfig } from "./pool.ts";

export interface HintsOptions {
  readonly place: Place;
  readonly channel: string;
  /** Ours: what we did ourselves is no news. */
  readonly by: number;
  readonly connectMs: number;
  readonly log: Pick<Logger, "warn">;
  /** Notify the channel with this text, through another connection. */
  readonly probe: (text: string) => Promise<void>;
}

const PROBE_MS = 5_000;
const BACKOFF = { firstMs: 200, capMs: 10_000 };

interface Told {
  readonly due?: number;
  readonly queue?: string;
  readonly abort?: boolean;
  readonly by?: number;
  readonly probe?: number;
}

class SilentError extends Error {}

export class Hints {
  readonly #options: HintsOptions;
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #closing = new AbortController();
  /** Rejects when it is closed. */
  readonly #closed = Promise.withResolvers<never>();
  #client: Client | undefined;
  #running: Promise<void> | undefined;
  #probed: (() => void) | undefined;
  #warned = false;
  #listening = false;

  constructor(options: HintsOptions) {
    this.#options = options;
    this.#closed.promise.catch(() => undefined);
  }

  add(listener: (change: Change) => void): () => void {
    const mine = (change: Change) => listener(change);
    this.#listeners.add(mine);
    this.#running ??= this.#run();
    return () => this.#listeners.delete(mine);
  }

  /** Whether hints come now; for tests. */
  get listening(): boolean {
    return this.#listening;
  }

  async close(): Promise<void> {
    const closed = new Error("closed");
    this.#closing.abort(closed);
    this.#closed.reject(closed);
    this.#drop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const backoff = new FullJitterBackoff(BACKOFF);
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const lost = await this.#listen();
        backoff.reset();
        // What was missed before is anybody's guess.
        this.#tell({});
        await this.#orClosed(lost.promise);
        this.#listening = false;
      } catch (error) {
        this.#warn(`cannot listen for hints of ${this.#options.place.shown}: ${wordsOf(error)}`);
        if (error instanceof SilentError) return this.#drop();
      }
      this.#drop();
      // Rejects when it is closed.
      await sleep(backoff.nextMs(), systemClock, signal, { ref: false }).catch(() => undefined);
    }
  }

  /**
   * Resolves when hints come, with the end of the connection (in an object: a promise of a promise is the latter's).
   * @throws {SilentError} they do not come through
   */
  async #listen(): Promise<{ readonly promise: Promise<void> }> {
    const { place, channel, connectMs, probe } = this.#options;
    const { default: pg } = await this.#orClosed(loadPg());
    const client = new pg.Client(socketConfig(place.client, connectMs));
    const { promise, resolve } = Promise.withResolvers<void>();
    client.on("error", () => resolve());
    client.on("end", () => resolve());
    client.on("notification", ({ payload }) => this.#hear(payload ?? ""));
    this.#client = client;
    await withDeadline(this.#orClosed(client.connect()), connectMs, systemClock, "the connection for hints");
    // Of pg's types one is missing.
    (client as unknown as { unref?(): void }).unref?.();
    await withDeadline(
      this.#orClosed(client.query(`LISTEN "${channel}"`)),
      connectMs,
      systemClock,
      "the answer to LISTEN",
    );
    const probed = Promise.withResolvers<"heard">();
    this.#probed = () => probed.resolve("heard");
    await this.#orClosed(probe(JSON.stringify({ probe: this.#options.by })));
    const silence = sleep(PROBE_MS, systemClock, this.#closing.signal, { ref: false }).then(() => "silent" as const);
    const came = await Promise.race([probed.promise, silence, promise.then(() => "lost" as const)]);
    this.#listening = came === "heard";
    if (came !== "silent") return { promise };
    await client.query(`UNLISTEN "${channel}"`).catch(() => undefined);
    throw new SilentError(
      "no notification comes through: a pooler in transaction mode passes none on; listen=off in the URL asks for none",
    );
  }

  /** pg leaves promises of a connection that is destroyed while it is made as they are. */
  #orClosed<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#closed.promise]);
  }

  #hear(payload: string): void {
    let told: Told;
    try {
      told = JSON.parse(payload) as Told;
    } catch {
      return; // not ours: a channel is anybody's to notify
    }
    if (typeof told !== "object" || told === null) return;
    if (told.probe !== undefined) {
      if (told.probe === this.#options.by) this.#probed?.();
      return;
    }
    if (told.by === this.#options.by) return;
    const { due, queue, abort } = told;
    this.#tell({
      ...(typeof due === "number" ? { dueMs: due } : {}),
      ...(typeof queue === "string" ? { queue } : {}),
      ...(abort === true ? { abort } : {}),
    });
  }

  #tell(change: Change): void {
    for (const listener of [...this.#listeners]) listener(change);
  }

  #warn(text: string): void {
    if (this.#warned || this.#closing.signal.aborted) return;
    this.#warned = true;
    this.#options.log.warn(`${text}; what other processes change is noticed within a second all the same`);
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    if (client !== undefined) destroy(client);
  }
}
