/**
 * Tasks that ended here and may come again: those whose acknowledgement nobody heard, because the connection was lost first; and, with
 * `workerDeduplicateSuccessfulTasks`, late-acknowledged ones that succeeded (PROTOCOL 6.5). Bounded: the oldest are forgotten.
 */
import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { ResultBackend } from "../results/backend.ts";

export interface PastOptions {
  /** Of one that succeeded nothing is remembered or looked up without it. */
  readonly deduplicates: boolean;
  /** Undefined, or one that sends results and keeps none: only this process's own memory is asked. */
  readonly results: ResultBackend | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** As many, and for as long, as Celery remembers successes. */
const MAX_REMEMBERED = 1_000;
const KEEP_MS = 3 * 3_600_000;

/** What is known of an earlier success: its result, or nothing but that it was. */
export type Success = ResultDocument | null;

export class Past {
  readonly #options: PastOptions;
  readonly #succeeded: Memory;
  readonly #inDoubt: Memory;

  constructor(options: PastOptions) {
    this.#options = options;
    this.#succeeded = new Memory(options.clock);
    this.#inDoubt = new Memory(options.clock);
  }

  /** It was acknowledged on a connection that was lost: the broker gives it to somebody, maybe to us. */
  inDoubt(message: TaskMessage): void {
    this.#inDoubt.add(runOf(message));
  }

  /** Whether this one, delivered again, has ended here: answered once for each that did. */
  takeInDoubt(message: TaskMessage): boolean {
    return this.#inDoubt.take(runOf(message));
  }

  succeeded({ id }: TaskMessage): void {
    if (this.#options.deduplicates) this.#succeeded.add(id);
  }

  /** The earlier success of a message that was delivered again; undefined: none is known of. */
  async successOf({ id }: TaskMessage): Promise<Success | undefined> {
    const { deduplicates, results, log } = this.#options;
    if (!deduplicates) return undefined;
    if (this.#succeeded.has(id)) return null;
    try {
      const found = await results?.get(id);
      return found?.status === "SUCCESS" ? found : undefined;
    } catch (error) {
      // To run it twice is the lesser evil, and what late acknowledgement allows.
      log.warn(`Whether task ${id} succeeded before is not known: ${messageOf(error)}`);
      return undefined;
    }
  }
}

/** How often each was added, in the order of its last time. */
class Memory {
  readonly #clock: Clock;
  readonly #entries = new Map<string, { count: number; untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(name: string): void {
    const nowMs = this.#clock.monoMs();
    const count = this.has(name) ? (this.#entries.get(name)?.count ?? 0) : 0;
    this.#entries.delete(name);
    this.#entries.set(name, { count: count + 1, untilMs: nowMs + KEEP_MS });
    for (const [oldest, { untilMs }] of this.#entries) {
      if (this.#entries.size <= MAX_REMEMBERED && untilMs > nowMs) break;
      this.#entries.delete(oldest);
    }
  }

  has(name: string): boolean {
    const entry = this.#entries.get(name);
    return entry !== undefined && entry.untilMs > this.#clock.monoMs();
  }

  take(name: string): boolean {
    if (!this.has(name)) return false;
    const entry = this.#entries.get(name);
    if (entry !== undefined && entry.count > 1) entry.count -= 1;
    else this.#entries.delete(name);
    return true;
  }
}

/** A retry has its task's id, and is another message. */
export function runOf({ id, retries }: Pick<TaskMessage, "id" | "retries">): string {
  return `${retries}/${id}`;
}
