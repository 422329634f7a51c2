/**
 * Which of the tasks in hand are revoked, by their id or by a stamp, and which of the running ones are to be ended. Asked when a message
 * comes, so that its slot need not wait for the answer: one question a turn, however many messages came in it. While they are in hand, each
 * change that another process makes asks again, once for all of them.
 */
import { endingOf, stampEnding, stampsOf, stampTombstone } from "../app/tombstones.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { ScheduleStore } from "../schedule/store.ts";

export type Known = Pick<TaskMessage, "id" | "headers">;

export class Revoked {
  readonly #store: Pick<ScheduleStore, "revoked" | "onChange">;
  readonly #stopListening: () => void;
  /** Tombstones asked about, with how many requests each is for. */
  readonly #held = new Map<string, number>();
  readonly #known = new Set<string>();
  /** What ends the runs of a tombstone. */
  readonly #endings = new Map<string, Set<() => void>>();
  /** The question on its way, and the one that gathers ids meanwhile. */
  #asking: Promise<void> | undefined;
  #gathering: Promise<void> | undefined;
  #asked = new Set<string>();

  constructor(store: Pick<ScheduleStore, "revoked" | "onChange">) {
    this.#store = store;
    this.#stopListening = store.onChange(() => {
      const all = [...this.#held.keys(), ...this.#endings.keys()];
      if (all.length > 0) void this.#ask(all).catch(() => undefined);
    });
  }

  /** Take the message in hand. Resolves when it is known how it stands. @throws {StoreUnavailableError} it cannot be known now */
  hold(message: Known): Promise<void> {
    const tombstones = tombstonesOf(message);
    for (const each of tombstones) this.#held.set(each, (this.#held.get(each) ?? 0) + 1);
    return this.#ask(tombstones);
  }

  /** As far as is known: false for one that is not held. */
  has(message: Known): boolean {
    return tombstonesOf(message).some((each) => this.#known.has(each));
  }

  /** Out of hand. */
  drop(message: Known): void {
    for (const each of tombstonesOf(message)) {
      const left = (this.#held.get(each) ?? 0) - 1;
      if (left > 0) this.#held.set(each, left);
      else {
        this.#held.delete(each);
        this.#known.delete(each);
      }
    }
  }

  /** It runs: `end` is called when its end is asked for. Answers how to stop listening. */
  running(message: Known, end: () => void): () => void {
    const tombstones = endingsOf(message);
    for (const each of tombstones) {
      const ends = this.#endings.get(each);
      if (ends === undefined) this.#endings.set(each, new Set([end]));
      else ends.add(end);
    }
    // Revoked between the first look and now.
    if (this.has(message)) void this.#ask(tombstones).catch(() => undefined);
    return () => {
      for (const each of tombstones) {
        const ends = this.#endings.get(each);
        ends?.delete(end);
        if (ends?.size === 0) this.#endings.delete(each);
      }
    };
  }

  /** This process revoked it: known at once. */
  mark(tombstone: string, ending: string | undefined): void {
    if (this.#held.has(tombstone)) this.#known.add(tombstone);
    if (ending !== undefined) this.#end(ending);
  }

  /** Of messages that are not held, a callback's: whether a stamp of theirs is revoked. Asks only where there are stamps. */
  async stamped(message: Known): Promise<boolean> {
    const stamps = stampsOf(message.headers);
    if (stamps.length === 0) return false;
    return (await this.#store.revoked(stamps.map(([header, value]) => stampTombstone(header, value)))).size > 0;
  }

  stop(): void {
    this.#stopListening();
  }

  #end(ending: string): void {
    for (const end of this.#endings.get(ending) ?? []) end();
  }

  /** One question at a time; what comes meanwhile is asked together. */
  #ask(tombstones: readonly string[]): Promise<void> {
    for (const id of tombstones) this.#asked.add(id);
    this.#gathering ??= this.#gather();
    return this.#gathering;
  }

  async #gather(): Promise<void> {
    // The question before this one, whatever became of it; else the end of this turn's microtasks.
    await this.#asking?.catch(() => undefined);
    await Promise.resolve();
    const ids = [...this.#asked];
    this.#asked = new Set();
    this.#asking = this.#gathering;
    this.#gathering = undefined;
    for (const id of await this.#store.revoked(ids)) {
      if (this.#held.has(id)) this.#known.add(id);
      this.#end(id);
    }
  }
}

function tombstonesOf({ id, headers }: Known): string[] {
  return [id, ...stampsOf(headers).map(([header, value]) => stampTombstone(header, value))];
}

function endingsOf({ id, headers }: Known): string[] {
  return [endingOf(id), ...stampsOf(headers).map(([header, value]) => stampEnding(header, value))];
}
