/** What becomes of a recurrence: decided here, once, for every store. Pure. What becomes of its occurrences is in `rules.ts`. */
import type { CancelAnswer } from "./callback.ts";
import type { NewRecurrence, PutRecurrenceAnswer, RecurrenceState } from "./recurrence.ts";
import type { ChangeAnswer } from "./recurrence-store.ts";

/** Why occurrences that had not started were cancelled with what they belonged to. */
export const REPLACED = "its recurrence was replaced";
export const PAUSED = "its recurrence was paused";
export const CANCELLED = "its recurrence was cancelled";

/** What of a recurrence decides when it is to be changed. */
export interface RecurrenceRow {
  readonly state: RecurrenceState;
  readonly generation: number;
  /** Undefined unless it is active. */
  readonly nextMs: number | undefined;
}

/** @param holder the active or paused one that has the key */
export function outcomeOfPut(
  holder: { readonly fingerprint: string } | undefined,
  wanted: Pick<NewRecurrence, "onConflict" | "fingerprint">,
): PutRecurrenceAnswer["put"] {
  if (holder === undefined) return "added";
  // The same again changes nothing, whatever was to happen to another one; paused, it stays paused.
  if (holder.fingerprint === wanted.fingerprint || wanted.onConflict === "keep") return "existing";
  return wanted.onConflict === "reject" ? "conflict" : "replaced";
}

type Change = Extract<ChangeAnswer, { id: string }>["answer"];

/** Of any number of workers that found its time come, the first. */
export function outcomeOfAdvance(
  row: RecurrenceRow,
  from: { readonly generation: number; readonly nextMs: number },
): Change {
  if (row.state === "ended") return "ended";
  return row.generation === from.generation && row.nextMs === from.nextMs ? "changed" : "stale";
}

export function outcomeOfPause(state: RecurrenceState): Change {
  if (state === "ended") return "ended";
  return state === "paused" ? "unchanged" : "changed";
}

export function outcomeOfResume(row: RecurrenceRow, generation: number): Change {
  if (row.state === "ended") return "ended";
  if (row.state === "active") return "unchanged";
  return row.generation === generation ? "changed" : "stale";
}

/**
 * What cancel answers for the recurrence as a whole, as it was found. A claim counts as a start, also one that was given back since: to
 * say "cancelled", nothing may ever have been authorised to run.
 */
export function answerOfCancelRecurrence(
  id: string,
  found: { readonly state: RecurrenceState; readonly started: boolean; readonly running: boolean },
): Exclude<CancelAnswer, { answer: "unknown" }> {
  if (found.state === "ended") return { answer: "finished", id, state: "stopped" };
  if (found.running) return { answer: "running", id };
  return { answer: found.started ? "stopped" : "cancelled", id };
}
