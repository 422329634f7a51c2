/**
 * All that is known of a run of the crash tests when it is over: what clients asked and were told, what handlers put down, what was broken and
 * when, and what the store holds in the end. Plain data, so that a history can be kept, read again, and made by hand.
 */
import type { CallbackState, CancelAnswer, PutAnswer } from "../../src/schedule/callback.ts";
import type { RunLine } from "./ledger.ts";

/** "fail": it did not happen, and that is certain. "unknown": it may or may not have. */
export type Outcome = "ok" | "fail" | "unknown";

interface Asked {
  /** The callback's key. */
  readonly name: string;
  readonly invokedMs: number;
  readonly invokedMonoMs: number;
  readonly answeredMs: number;
  readonly outcome: Outcome;
  /** Code of the error, for one that did not go well. */
  readonly code?: string;
}

export interface ScheduleCall extends Asked {
  readonly op: "schedule";
  readonly dueMs: number;
  /** Its first run asks to run once more. */
  readonly again?: boolean;
  readonly put?: PutAnswer["put"];
  readonly id?: string;
}

export interface CancelCall extends Asked {
  readonly op: "cancel";
  /** When the callback was due: how close the race was. */
  readonly dueMs: number;
  readonly answer?: CancelAnswer["answer"];
  readonly id?: string;
}

export type Call = ScheduleCall | CancelCall;

/** What was broken, and what was set right again. */
export interface Fault {
  readonly what:
    | "kill"
    | "kill-parent"
    | "kill-all"
    | "stop"
    | "continue"
    /** Nobody broke anything, but a worker says that it stood still past its lease: the machine was too busy for it. */
    | "stall"
    | "exit"
    | "server-kill"
    | "disk-full"
    | "disk-freed"
    | "ready";
  /** To whom: the name of a worker, or of the server. */
  readonly who: string;
  readonly wallMs: number;
  /** Processes that it ended or stopped. */
  readonly pids: readonly number[];
  /** Of a worker's: so many others served then. */
  readonly standing?: number;
  /** So many runs may start once more for it: the slots that were in flight. */
  readonly mayRepeat: number;
}

/** A callback as the store holds it in the end. */
export interface Row {
  readonly id: string;
  readonly key?: string;
  readonly state: CallbackState;
  readonly attempts: number;
  readonly token: number;
  readonly dueMs: number;
  readonly endedMs?: number;
}

/** What should have recurred. */
export interface Recurring {
  readonly name: string;
  readonly nominalMs: readonly number[];
  /** How late a start may be and still be that of its nominal time. */
  readonly withinMs: number;
}

export interface History {
  readonly calls: readonly Call[];
  readonly runs: readonly RunLine[];
  readonly faults: readonly Fault[];
  readonly dump: readonly Row[];
  /** As the store itself counts. */
  readonly counts: Partial<Record<CallbackState, number>>;
  /** The store's clock less that of the machine on which handlers ran. */
  readonly clockOffsetMs: number;
  readonly recurring?: readonly Recurring[];
  /** With it: no start may be later than this after its due time, or after the last fault where that came later. */
  readonly settleMs?: number;
  /** Processes that were left over. */
  readonly orphans: readonly string[];
}
