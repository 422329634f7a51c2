/** A handle on one callback that was scheduled. */
import type { Callback } from "../schedule/callback.ts";
import { AsyncResult, type ResultSource } from "./async-result.ts";
import type { CancelWord, MoveTo, Schedule } from "./schedule.ts";

export class CallbackHandle<Result = unknown> {
  readonly id: string;
  readonly key: string | undefined;
  /** When it was due when it was put; `reschedule` moves the callback, not this. */
  readonly due: Date;
  /** "existing": a live callback had the key, and stands unchanged. */
  readonly put: "added" | "existing" | "replaced";
  readonly #schedule: Schedule;
  readonly #source: ResultSource;

  constructor(
    id: string,
    key: string | undefined,
    due: Date,
    put: "added" | "existing" | "replaced",
    schedule: Schedule,
    source: ResultSource,
  ) {
    this.id = id;
    this.key = key;
    this.due = due;
    this.put = put;
    this.#schedule = schedule;
    this.#source = source;
  }

  /** As `app.schedule.cancel`. */
  cancel(options: { readonly running?: "abort" } = {}): Promise<CancelWord> {
    return this.#schedule.cancel({ id: this.id }, options);
  }

  /** As `app.schedule.reschedule`. */
  reschedule(to: MoveTo): Promise<Date> {
    return this.#schedule.reschedule({ id: this.id }, to);
  }

  /** Its record as it stands. */
  get(): Promise<Callback | undefined> {
    return this.#schedule.get({ id: this.id });
  }

  /** What its run returns; its id is its task id. */
  get result(): AsyncResult<Result> {
    return new AsyncResult<Result>(this.id, this.#source);
  }

  toJSON(): string {
    return this.id;
  }
}
