/**
 * The record of a callback, its states, and what cancel answers. Pure: no I/O, no clock.
 *
 * `scheduled` means that no claim has ever committed; `waiting` that at least one has. Keeping the two apart is what
 * makes cancel truthful: a model that merges them lies within six steps (claim, start, lease lost, cancel).
 */
import type { TaskMessage } from "../protocol/message.ts";

export type LiveState = "scheduled" | "waiting" | "running";
export type EndState = "succeeded" | "failed" | "dead" | "cancelled" | "stopped" | "expired" | "skipped";
export type CallbackState = LiveState | EndState;

/** What happens to a run that was lost: its child died, or its worker's lease ran out. (SEMANTICS G4) */
export type OnLost = "rerun" | "fail";

/** What happens to a one-shot callback that is claimed later than its grace time. (SEMANTICS G13) */
export type Misfire = "fire" | "skip";

/**
 * What happens to an occurrence that is due while an earlier one of its recurrence has started and not ended (it runs, or waits to run
 * again): it runs beside it, it ends as skipped, or it waits until that one has ended.
 */
export type Overlap = "allow" | "skip" | "queue";

/** Of a callback that is one occurrence of a recurrence: which. One row for each recurrence, generation and nominal time. (SEMANTICS G12) */
export interface Occurrence {
  /** Id of the recurrence. */
  readonly recurrence: string;
  readonly generation: number;
  /** The moment that the rule names; `dueMs` is later by the jitter, or by what it waited for. */
  readonly nominalMs: number;
  readonly overlap: Overlap;
}

/** What `put` does when a live callback already has the key. (SEMANTICS G7) */
export type OnConflict = "keep" | "replace" | "reject";

/** The call that a callback makes: a parked task message. What waits has no eta: `dueMs` says it. */
export type ParkedMessage = Omit<TaskMessage, "id" | "etaMs" | "expiresMs">;

export interface NewCallback {
  /** Unique among the live callbacks of the namespace. */
  readonly key?: string;
  /** Default "keep". */
  readonly onConflict?: OnConflict;
  /**
   * Task id of a message that was taken over from a broker. A second `put` of the same task id and retries answers
   * `existing`, also after the first one ended: a redelivered message makes no second callback. (G14)
   * Absent: the callback's own id is its task id.
   */
  readonly taskId?: string;
  /** Integer ms UTC, by the store's clock. In the past: due at once. */
  readonly dueMs: number;
  /** From this moment on it must not start. */
  readonly expiresMs?: number;
  /** Default "fire". */
  readonly misfire?: Misfire;
  /** With misfire "skip": how late it may still start, ms. Default 0. */
  readonly graceMs?: number;
  /** Default "rerun". */
  readonly onLost?: OnLost;
  /** Queue of the task: where it is published when the worker that claims it does not run it itself. */
  readonly queue: string;
  readonly tags?: readonly string[];
  readonly message: ParkedMessage;
}

export interface Callback {
  /** Made by the store; carries its row, so that finding it costs no second index. Letters, digits and "-". */
  readonly id: string;
  readonly key?: string;
  /** Equal to `id` when it was not taken over from a broker. */
  readonly taskId: string;
  readonly state: CallbackState;
  readonly dueMs: number;
  readonly expiresMs?: number;
  readonly misfire: Misfire;
  readonly graceMs: number;
  readonly onLost: OnLost;
  readonly queue: string;
  readonly tags: readonly string[];
  readonly message: ParkedMessage;
  /** Absent for a callback of its own. */
  readonly occurrence?: Occurrence;
  /** Claims committed so far. 0 if and only if it never could have started (I3). */
  readonly attempts: number;
  /** Fencing token; strictly increases with every claim, reschedule and replace. */
  readonly token: number;
  readonly createdMs: number;
  /** When the last claim was committed. */
  readonly claimedMs?: number;
  /** When the lease of a running one ends. */
  readonly leaseUntilMs?: number;
  /** When it ended, for an end state. */
  readonly endedMs?: number;
  /** Why it ended as it did, one line; for failed, dead, expired and skipped, and for an occurrence cancelled with its recurrence. */
  readonly reason?: string;
}

/** A claim: the committed store write that authorises one run. */
export interface Claim {
  readonly callback: Callback;
  readonly token: number;
  /** 1 for the first run. */
  readonly attempt: number;
  readonly leaseUntilMs: number;
}

/** How a claimed run ended. */
export type RunEnd =
  | { readonly kind: "succeeded" }
  | { readonly kind: "failed"; readonly reason: string }
  /** Run it again at `dueMs`, with this message (its retries counted up). */
  | { readonly kind: "retry"; readonly dueMs: number; readonly message: ParkedMessage; readonly reason: string }
  /** The child that ran it died. Follows `onLost`; the `crashLimit`-th crash ends it as dead. */
  | { readonly kind: "crashed"; readonly reason: string }
  /** Its worker gave it up (a cold stop). Follows `onLost`, and counts as a loss of the worker: no fault of the callback's. */
  | { readonly kind: "lost"; readonly reason: string }
  /** Aborted by request: no further run. */
  | { readonly kind: "stopped"; readonly reason: string };

/** What cancel answers (SEMANTICS 4). */
export type CancelAnswer =
  /** It never started and never will. */
  | { readonly answer: "cancelled"; readonly id: string }
  /** It ran before; no further run. */
  | { readonly answer: "stopped"; readonly id: string }
  /** It has started; with `abort`, the abort is requested. */
  | { readonly answer: "running"; readonly id: string }
  | { readonly answer: "finished"; readonly id: string; readonly state: EndState }
  /** Never existed here, or past retention. */
  | { readonly answer: "unknown" };

export type PutAnswer =
  | { readonly put: "added"; readonly id: string; readonly dueMs: number }
  /** The key's live callback, or the taken-over message's earlier one, stands; nothing was changed. */
  | { readonly put: "existing"; readonly id: string; readonly dueMs: number }
  /** `replace`: the live callback was given this call and due time; its id stays. */
  | { readonly put: "replaced"; readonly id: string; readonly dueMs: number }
  /** `replace`: it has started already; nothing was changed. */
  | { readonly put: "too_late"; readonly id: string }
  /** `reject`: the key is taken; nothing was changed. */
  | { readonly put: "conflict"; readonly id: string }
  /** The task id was revoked before it arrived (a tombstone stands): nothing was added. */
  | { readonly put: "revoked" };

export type RescheduleAnswer =
  | { readonly answer: "rescheduled"; readonly id: string; readonly dueMs: number }
  /** It has started, or ran before and waits to run again. */
  | { readonly answer: "too_late"; readonly id: string; readonly state: CallbackState }
  | { readonly answer: "unknown" };

/** All of them, live ones first. Stores number them in this order: only ever added to at the end. */
export const CALLBACK_STATES = [
  "scheduled",
  "waiting",
  "running",
  "succeeded",
  "failed",
  "dead",
  "cancelled",
  "stopped",
  "expired",
  "skipped",
] as const satisfies readonly CallbackState[];

export const LIVE_STATES: ReadonlySet<CallbackState> = new Set(["scheduled", "waiting", "running"]);

export function isLive(state: CallbackState): state is LiveState {
  return LIVE_STATES.has(state);
}
