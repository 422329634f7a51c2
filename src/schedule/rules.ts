/**
 * What becomes of a callback: decided here, once, for every store. Pure.
 *
 * A store finds the row, asks, and writes down what was decided in the same transaction.
 */
import {
  type CallbackState,
  type CancelAnswer,
  type EndState,
  isLive,
  type Misfire,
  type OnLost,
  type Overlap,
} from "./callback.ts";
import type { RecurrenceState } from "./recurrence.ts";
import type { StoreLimits } from "./store.ts";

/** What of a row decides when its due time has come. */
export interface DueRow {
  readonly attempts: number;
  readonly dueMs: number;
  readonly expiresMs: number | null;
  readonly misfire: Misfire;
  readonly graceMs: number;
  /** Of an occurrence: the moment that its rule names. Null: it is none. */
  readonly nominalMs: number | null;
}

/** An occurrence that waits until an earlier one of its recurrence has ended: looked at again then, and when `dueMs` comes. */
export interface Hold {
  readonly state: "held";
  readonly dueMs: number;
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
/** A held occurrence is looked at again after so long, should nobody say that its turn has come (I9). */
const HOLD_MS = 1_000;

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
    return { state: "skipped", reason: lateness(row, nowMs) };
  }
  return undefined;
}

/** Counted from an occurrence's nominal time: while it was held, its due time moved on. */
function lateness({ nominalMs, dueMs, graceMs }: DueRow, nowMs: number): string {
  const fromMs = nominalMs ?? dueMs;
  const late = `it was ${nowMs - fromMs} ms late, with a grace of ${dueMs + graceMs - fromMs} ms`;
  return nominalMs === null ? late : `${late}: it is left to newer occurrences`;
}

/**
 * Of an occurrence that is due for the first time: undefined when it is to be claimed.
 * @param blocked another occurrence of its recurrence, of whatever generation, has started and not ended: it runs, or waits to run again
 */
export function fateOfOverlap(
  row: DueRow & { readonly overlap: Overlap },
  blocked: boolean,
  nowMs: number,
): Fate | Hold | undefined {
  if (!blocked || row.overlap === "allow" || row.attempts > 0) return undefined;
  if (row.overlap === "skip") return { state: "skipped", reason: "an earlier occurrence had not ended" };
  if (row.misfire === "fire") return { state: "held", dueMs: nowMs + HOLD_MS, graceMs: row.graceMs };
  // The moment until which it may start stands, however often it is held.
  const untilMs = row.dueMs + row.graceMs;
  if (untilMs <= nowMs) return { state: "skipped", reason: `${lateness(row, nowMs)}, as an earlier one had not ended` };
  const dueMs = Math.min(nowMs + HOLD_MS, untilMs);
  return { state: "held", dueMs, graceMs: untilMs - dueMs };
}

/**
 * When a held occurrence is due whose turn has come: at its nominal time, which is over, so before the newer ones of its recurrence that
 * nobody has looked at yet; and should the clock have stepped back meanwhile, not before it. (One that somebody moved to a moment before its
 * nominal time finds out by itself.) The turn comes with each operation that ended an occurrence which had started, or gave one back
 * unstarted, and goes to the oldest that is held, by nominal time. One that ends within a claim gives the turn after that claim.
 */
export function turnOfHeld(row: Pick<DueRow, "dueMs" | "misfire" | "graceMs">, nominalMs: number): Omit<Hold, "state"> {
  const dueMs = Math.min(nominalMs, row.dueMs);
  return { dueMs, graceMs: row.misfire === "fire" ? row.graceMs : row.dueMs + row.graceMs - dueMs };
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

/**
 * Whether an occurrence that is given back unstarted belongs to the past: had it not been claimed, the replacement or the pause would
 * have cancelled it.
 * @param recurrence as it stands now; undefined: past retention
 */
export function isOutdated(
  generation: number,
  recurrence: { readonly state: RecurrenceState; readonly generation: number } | undefined,
): boolean {
  return recurrence !== undefined && (recurrence.generation !== generation || recurrence.state === "paused");
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
