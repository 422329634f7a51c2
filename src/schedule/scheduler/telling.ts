/** Tells who listens what this worker did to callbacks: the worker itself, which keeps results, and the schedule's events. */
import type { Logger } from "../../kit/log.ts";
import type { Callback, Claim, RunEnd } from "../callback.ts";
import type { CallbackEvent, ScheduleEvents } from "../events.ts";
import type { Ended } from "../store.ts";

export interface TellingOptions {
  readonly log: Pick<Logger, "error">;
  readonly events?: ScheduleEvents;
  readonly onEnded?: (ended: Ended) => Promise<void> | void;
  readonly onSettled?: (callback: Callback, end: RunEnd) => Promise<void> | void;
}

export class Telling {
  readonly #options: TellingOptions;

  constructor(options: TellingOptions) {
    this.#options = options;
  }

  started({ callback, attempt, token }: Claim, lateMs: number): void {
    this.#options.events?.listening("started")?.({ ...eventOf(callback), lateMs, attempt, token });
  }

  /** How the store settled a run of this worker. Never rejects. */
  async settled(callback: Callback, claim: Claim, end: RunEnd): Promise<void> {
    const { events, onSettled } = this.#options;
    const { attempt, token } = claim;
    events?.listening("settled")?.({
      ...eventOf(callback),
      attempt,
      token,
      end: end.kind,
      state: callback.state,
      ...reasonOf(callback),
    });
    if (end.kind === "crashed" || end.kind === "lost") this.#lost(callback, callback.state as Ended["state"]);
    await this.#guard(callback, () => onSettled?.(callback, end));
  }

  /** What ended, or was given back, without a run of this worker. Never rejects. */
  async ended(ended: Ended): Promise<void> {
    const { callback } = ended;
    if (isTooLate(ended)) this.#expired(callback, ended.state);
    else this.#lost(callback, ended.state);
    await this.#guard(callback, () => this.#options.onEnded?.(ended));
  }

  clockStep(deltaMs: number): void {
    this.#options.events?.listening("clock-step")?.({ deltaMs });
  }

  #expired(callback: Callback, state: TooLate): void {
    this.#options.events?.listening("expired")?.({ ...eventOf(callback), state, ...reasonOf(callback) });
  }

  #lost(callback: Callback, state: Ended["state"]): void {
    this.#options.events?.listening("lost")?.({ ...eventOf(callback), state, ...reasonOf(callback) });
  }

  async #guard(callback: Callback, tell: () => Promise<void> | void): Promise<void> {
    try {
      await tell();
    } catch (error) {
      this.#options.log.error(`What became of callback ${callback.id} could not be told`, { error });
    }
  }
}

type TooLate = Exclude<Ended["state"], "waiting">;

/** It was too late to start it (again); else its run was lost. One that ran before ends as "failed" either way: the reason tells. */
function isTooLate(ended: Ended): ended is Ended & { readonly state: TooLate } {
  const { state, callback } = ended;
  if (state === "failed") return callback.reason?.startsWith("WorkerLostError") !== true;
  return state === "expired" || state === "skipped";
}

function eventOf({ id, key, message, queue, tags, dueMs, occurrence }: Callback): CallbackEvent {
  return {
    id,
    ...(key === undefined ? {} : { key }),
    task: message.task,
    queue,
    tags,
    dueMs,
    ...(occurrence === undefined ? {} : { recurrence: occurrence.recurrence }),
  };
}

function reasonOf({ reason }: Callback): { readonly reason?: string } {
  return reason === undefined ? {} : { reason };
}
