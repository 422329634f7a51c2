/**
 * What recurs, in a schedule store: definitions, each of which has the next of its occurrences among the store's callbacks. Every
 * operation is one atomic change, like those of `store.ts`, and linearizable for each recurrence.
 */
import type { CancelAnswer } from "./callback.ts";
import type { NewRecurrence, Plan, PutRecurrenceAnswer, Recurrence, RecurrenceState } from "./recurrence.ts";
import type { Target } from "./store.ts";

export interface RecurrenceQuery {
  /** Default: active and paused. */
  readonly states?: readonly RecurrenceState[];
  /** 1 … 1,000. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

export interface RecurrencePage {
  /** In the order they were added. */
  readonly recurrences: readonly Recurrence[];
  readonly next?: string;
}

/** What a change found: "stale" when it was meant for another generation or another next time. */
export type ChangeAnswer =
  | { readonly answer: "changed" | "unchanged" | "ended" | "stale"; readonly id: string }
  | { readonly answer: "unknown" };

export interface RecurrenceStore {
  /**
   * Add it with its first occurrences, in one durable commit. A replacement keeps the id, counts the generation up, and cancels the
   * occurrences of the old one that have not started; paused or not, it is active then. The same fingerprint changes nothing, whatever
   * `onConflict` says.
   * @throws {BackpressureError} a new one would put more callbacks than the limit allows; replacing and advancing are never refused for it
   */
  put(recurrence: NewRecurrence): Promise<PutRecurrenceAnswer>;

  /** By its id; or by its key: the one that has not ended, else the last that had it. */
  get(target: Target): Promise<Recurrence | undefined>;
  list(query: RecurrenceQuery): Promise<RecurrencePage>;

  /** Active ones whose `nextMs` has come by the store's clock, earliest first. */
  due(limit: number): Promise<Recurrence[]>;

  /**
   * Put what follows, and move `nextMs` on; with `plan.nextMs` null the recurrence ends. Of any number of workers that try, one
   * succeeds ("changed"); for the others it is "stale", or "ended".
   * @param from what the plan was worked out from
   */
  advance(
    id: string,
    from: { readonly generation: number; readonly nextMs: number },
    plan: Plan,
  ): Promise<ChangeAnswer>;

  /** No further occurrence; those that have not started are cancelled. "unchanged": it is paused already. */
  pause(target: Target): Promise<ChangeAnswer>;

  /** Go on from the plan, in a new generation. "unchanged": it is active. @param generation that the plan was worked out from */
  resume(target: Target, generation: number, plan: Plan): Promise<ChangeAnswer>;

  /**
   * End it for good, with the occurrences that have not started. What it answers holds for the recurrence as a whole: "cancelled":
   * none ever started, and none will. "stopped": some ran; none will start, and none runs. "running": one has started and not ended, and no
   * further one will start; with `abort`, its abort is requested (one that waits to run again is stopped, and does not count).
   * "finished", state "stopped": it had ended before; what is left of it (the last occurrence of a rule that has run out, say) is
   * taken back all the same. "unknown": there is none. A claim counts as a start, also one that was given back; what runs is left to run, but
   * does not run again.
   */
  cancel(target: Target, options?: { readonly abort?: boolean }): Promise<CancelAnswer>;
}
