/**
 * Which of the task ids in hand are revoked. Asked when a message comes, so that its slot need not wait for the answer: one
 * question a turn, however many messages came in it. While they wait here, each change that another process makes asks
 * again, once for all of them.
 */
import type { ScheduleStore } from "../schedule/store.ts";

export class Revoked {
  readonly #store: Pick<ScheduleStore, "revoked" | "onChange">;
  readonly #stopListening: () => void;
  /** Ids in hand, with how many requests carry each. */
  readonly #held = new Map<string, number>();
  readonly #known = new Set<string>();
  /** The question on its way, and the one that gathers ids meanwhile. */
  #asking: Promise<void> | undefined;
  #gathering: Promise<void> | undefined;
  #asked = new Set<string>();

  constructor(store: Pick<ScheduleStore, "revoked" | "onChange">) {
    this.#store = store;
    this.#stopListening = store.onChange(() => {
      if (this.#held.size > 0) void this.#ask([...this.#held.keys()]).catch(() => undefined);
    });
  }

  /** Take the id in hand. Resolves when it is known how it stands. @throws {StoreUnavailableError} it cannot be known now */
  hold(taskId: string): Promise<void> {
    this.#held.set(taskId, (this.#held.get(taskId) ?? 0) + 1);
    return this.#ask([taskId]);
  }

  /** As far as is known: false for an id that is not held. */
  has(taskId: string): boolean {
    return this.#known.has(taskId);
  }

  /** This process revoked it: known at once. */
  mark(taskId: string): void {
    if (this.#held.has(taskId)) this.#known.add(taskId);
  }

  /** Out of hand. */
  drop(taskId: string): void {
    const left = (this.#held.get(taskId) ?? 0) - 1;
    if (left > 0) this.#held.set(taskId, left);
    else {
      this.#held.delete(taskId);
      this.#known.delete(taskId);
    }
  }

  stop(): void {
    this.#stopListening();
  }

  /** One question at a time; what comes meanwhile is asked together. */
  #ask(taskIds: readonly string[]): Promise<void> {
    for (const id of taskIds) this.#asked.add(id);
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
    const revoked = await this.#store.revoked(ids);
    for (const id of revoked) if (this.#held.has(id)) this.#known.add(id);
  }
}
