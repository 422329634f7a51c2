/**
 * The record of what recurs. Pure data: the rule's arithmetic is in `rule.ts`.
 *
 * A recurrence runs nothing itself. Its occurrences are callbacks, keyed by recurrence, generation and nominal time; the next one is
 * always there, in the schedule, to be seen, moved or cancelled like any other. Whoever finds its time come `advance`s the
 * recurrence: one change, which only the first of any number of workers can make, puts the following occurrence. So there is
 * no leader, and nothing to elect. (SEMANTICS G12)
 */
import type { Misfire, NewCallback, OnLost, Overlap, ParkedMessage } from "./callback.ts";

/** When it recurs. */
export type Rule =
  /** `anchorMs`, and every `everyMs` after it, in real time. */
  | { readonly kind: "every"; readonly everyMs: number; readonly anchorMs: number }
  /** A cron pattern of 5 fields, or of 6 with seconds first, by the clocks of an IANA zone. */
  | { readonly kind: "cron"; readonly cron: string; readonly timezone: string }
  /** RFC 5545, with its DTSTART; local times are those of the zone. */
  | { readonly kind: "rrule"; readonly rrule: string; readonly timezone: string };

/**
 * What happens to occurrences that nobody could start in time (SEMANTICS G13). "all" runs the newest `limit` of them; "coalesce" is "all"
 * with a limit of 1, so the newest stands for those before it; "skip" runs none that is later than `graceMs`.
 */
export type RecurringMisfire =
  | { readonly kind: "coalesce" }
  | { readonly kind: "all"; readonly limit: number }
  | { readonly kind: "skip"; readonly graceMs: number };

/** What recurs, as it was asked for. JSON data: a store keeps it as one text. */
export interface Definition {
  readonly rule: Rule;
  /** No occurrence before, or after. */
  readonly fromMs?: number;
  readonly untilMs?: number;
  readonly misfire: RecurringMisfire;
  readonly overlap: Overlap;
  /** Each occurrence is due up to so much after its nominal time, evenly spread, the same for whoever works it out. */
  readonly jitterMs: number;
  readonly call: {
    readonly queue: string;
    readonly tags: readonly string[];
    readonly message: ParkedMessage;
    readonly onLost: OnLost;
    /** An occurrence must not start later than this after its nominal time. */
    readonly expiresAfterMs?: number;
  };
}

/** `ended`: cancelled, or its rule has no further occurrence. */
export type RecurrenceState = "active" | "paused" | "ended";

export interface Recurrence {
  /** Made by the store; begins with "r-", which no callback's id does. */
  readonly id: string;
  /** Recurrences have names of their own: a callback may have the same key. */
  readonly key?: string;
  readonly state: RecurrenceState;
  readonly definition: Definition;
  /** Counts replacements and resumptions. Occurrences of an older generation that have not started are cancelled. */
  readonly generation: number;
  /** Nominal time of the newest occurrence that was put; when it comes, the recurrence is to be advanced. Absent unless active. */
  readonly nextMs?: number;
  /** An occurrence of it has started at some time. */
  readonly started: boolean;
  readonly createdMs: number;
  readonly endedMs?: number;
}

/** One occurrence to put; all else of it is the definition's. */
export interface NewOccurrence {
  readonly nominalMs: number;
  /** `nominalMs` and its jitter. */
  readonly dueMs: number;
  readonly expiresMs?: number;
  /** The recurring policy, made one row's: "skip" with the time after which so many newer ones are due that this one is not to run. */
  readonly misfire: Misfire;
  readonly graceMs: number;
}

/** What comes next of a recurrence, worked out by whoever changes it. */
export interface Plan {
  /** Nominal time of the last of `occurrences`; null: there is no further one, and the recurrence ends. */
  readonly nextMs: number | null;
  readonly occurrences: readonly NewOccurrence[];
}

export interface NewRecurrence {
  readonly key?: string;
  /**
   * What happens when an active or paused recurrence has the key. Default "replace": another definition takes its place (the same
   * definition changes nothing), so that each process may declare what recurs when it starts.
   */
  readonly onConflict?: "keep" | "replace" | "reject";
  readonly definition: Definition;
  /** Equal for equal definitions: what tells "the same again" from a change. Without what differs between two processes. */
  readonly fingerprint: string;
  readonly plan: Plan;
}

export type PutRecurrenceAnswer = {
  readonly put: "added" | "existing" | "replaced" | "conflict";
  readonly id: string;
  readonly generation: number;
  /** Absent when the one that stands is paused. */
  readonly nextMs?: number;
};

/** The occurrence as the callback that a store adds. */
export function callbackOfOccurrence({ call }: Definition, occurrence: NewOccurrence): NewCallback {
  const { dueMs, expiresMs, misfire, graceMs } = occurrence;
  return {
    dueMs,
    misfire,
    graceMs,
    ...(expiresMs === undefined ? {} : { expiresMs }),
    onLost: call.onLost,
    queue: call.queue,
    tags: call.tags,
    message: call.message,
  };
}
