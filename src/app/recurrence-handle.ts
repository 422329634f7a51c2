/** A handle on what recurs. */
import type { Recurrence } from "../schedule/recurrence.ts";
import type { CancelWord, Schedule } from "./schedule.ts";

export interface RecurrenceHandleData {
  readonly id: string;
  readonly key: string | undefined;
  readonly generation: number;
  readonly next: Date | undefined;
  readonly put: "added" | "existing" | "replaced";
}

export class RecurrenceHandle {
  /** Begins with "r-". */
  readonly id: string;
  readonly key: string | undefined;
  /** Counts replacements and resumptions; 1 at first. */
  readonly generation: number;
  /** The next occurrence's time by the rule, when it was put, before its jitter; undefined when it is paused. */
  readonly next: Date | undefined;
  /** "existing": the same definition stood under the key already, or `onConflict` is "keep"; it stands unchanged. */
  readonly put: "added" | "existing" | "replaced";
  readonly #schedule: Schedule;

  constructor({ id, key, generation, next, put }: RecurrenceHandleData, schedule: Schedule) {
    this.id = id;
    this.key = key;
    this.generation = generation;
    this.next = next;
    this.put = put;
    this.#schedule = schedule;
  }

  /** End it for good, as `app.schedule.cancel` does. */
  cancel(options: { readonly running?: "abort" } = {}): Promise<CancelWord> {
    return this.#schedule.cancel({ id: this.id }, options);
  }

  /** As `app.schedule.pause`. */
  pause(): Promise<boolean> {
    return this.#schedule.pause({ id: this.id });
  }

  /** As `app.schedule.resume`. */
  resume(): Promise<Date | undefined> {
    return this.#schedule.resume({ id: this.id });
  }

  /** Its record as it stands. */
  get(): Promise<Recurrence | undefined> {
    return this.#schedule.recurrence({ id: this.id });
  }

  /** The times of its next `count` occurrences, by its definition as it stands. Default 10. */
  preview(count?: number): ReturnType<Schedule["preview"]> {
    return this.#schedule.preview({ id: this.id }, count === undefined ? {} : { count });
  }

  toJSON(): string {
    return this.id;
  }
}
