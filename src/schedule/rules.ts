/**
 * What becomes of a callback: decided here, once, for every store. Pure.
 *
 * A store finds the row, asks, and writes down what was decided in the same transaction.
 */
import { type CallbackState, type CancelAnswer, type EndState, isLive, type Misfire, type OnLost } from "./callback.ts";
import type { StoreLimits } from "./store.ts";

/** What of a row decides when its due time has come. */
export interface DueRow {
  readonly attempts: number;
  readonly dueMs: number;
  readonly expiresMs: number | null;
  readonly misfire: Misfire;
  readonly graceMs: number;
}

/** What of a row decides when its run was lost. */
export interface LostRow {
  readonly onLost: OnLost;
  /** Crashes of its child and losses of its worker so far, this one counted. */
  readonly crashes: number;
  readonly losses: number;
  /** Its end was asked for: an abort was requested, or its task id is revoked. It does not run again. */
  readonly unwanted: boolean;
}

/** It ends so; or it waits to run again. */
export type Fate =
  | { readonly state: EndState; readonly reason: string | null }
  | { readonly state: "waiting"; readonly reason: null };

/** What a lost hint may cost (I9) is not yet a misfire: with a grace of 0 nothing would ever start in time. */
const PUNCTUAL_MS = 1_000;

const WAITING: Fate = { state: "waiting", reason: null };
const UNWANTED: Fate = { state: "stopped", reason: "it was to be stopped while it ran, and does not run again" };

/** Of one whose due time has come: undefined when it is to be claimed. */
export function fateWhenDue(row: DueRow, nowMs: number): Fate | undefined {
  const first = row.attempts === 0;
  if (row.expiresMs !== null && row.expiresMs <= nowMs) {
    const when = new Date(row.expiresMs).toISOString();
    // One that ran before cannot be "expired", which says that it never started (I3).
    return first
      ? { state: "expired", reason: `it had to start before ${when}` }
      : { state: "failed", reason: `it had to start before ${when}, and so could not run again` };
  }
  if (first && row.misfire === "skip" && nowMs - row.dueMs > row.graceMs + PUNCTUAL_MS) {
    return { state: "skipped", reason: `it was ${nowMs - row.dueMs} ms late, with a grace of ${row.graceMs} ms` };
  }
  return undefined;
}

/** Of one whose child died. */
export function fateOfCrash(row: LostRow, limits: StoreLimits, reason: string): Fate {
  if (row.unwanted) return UNWANTED;
  if (row.onLost === "fail") return { state: "failed", reason: `WorkerLostError: ${reason}` };
  if (row.crashes >= limits.crashLimit) {
    return { state: "dead", reason: `its process died ${times(row.crashes)}, the last time: ${reason}` };
  }
  return WAITING;
}

/** Of one whose worker was lost: it died, or stalled past the lease. */
export function fateOfLoss(row: LostRow, limits: StoreLimits, how = "its worker died or stalled past its lease"): Fate {
  if (row.unwanted) return UNWANTED;
  if (row.onLost === "fail") return { state: "failed", reason: `WorkerLostError: ${how}` };
  if (row.losses >= limits.lostLimit) return { state: "dead", reason: `${how}, ${times(row.losses)}` };
  return WAITING;
}

/** Of one that asks to run again. */
export function fateOfRetry(unwanted: boolean): Fate {
  return unwanted ? UNWANTED : WAITING;
}

/** Of an unstarted claim that is given back: the state that it came from, unless it is unwanted. */
export function stateOfReleased(
  attemptsBefore: number,
  unwanted: boolean,
): "scheduled" | "waiting" | "cancelled" | "stopped" {
  if (attemptsBefore === 0) return unwanted ? "cancelled" : "scheduled";
  return unwanted ? "stopped" : "waiting";
}

/** What cancel answers for one found in this state (SEMANTICS 4). A scheduled or waiting one is ended; a running one is not. */
export function answerOfCancel(id: string, found: CallbackState): Exclude<CancelAnswer, { answer: "unknown" }> {
  switch (found) {
    case "scheduled":
    case "cancelled":
      return { answer: "cancelled", id };
    case "waiting":
      return { answer: "stopped", id };
    case "running":
      return { answer: "running", id };
    default:
      return { answer: "finished", id, state: found };
  }
}

/** What revoke answers for the callbacks that carry the task id, oldest first, as they were found. */
export function answerOfRevoke(
  rows: readonly { readonly id: string; readonly state: CallbackState; readonly attempts: number }[],
): CancelAnswer {
  const started = rows.filter((row) => row.attempts > 0);
  const live = rows.filter((row) => isLive(row.state));
  // Of several (a retry beside its first run) the answer must hold for all: what runs outweighs what has run.
  const told = live.find((row) => row.state === "running") ?? live.at(-1) ?? started.at(-1) ?? rows.at(-1);
  if (told === undefined) return { answer: "unknown" };
  const answer = answerOfCancel(told.id, told.state);
  return answer.answer === "cancelled" && started.length > 0 ? { answer: "stopped", id: told.id } : answer;
}

/** How long an ended row is kept. */
export function keepMsOf(keyed: boolean, limits: StoreLimits): number {
  return keyed ? limits.keepKeyedMs : limits.keepMs;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
