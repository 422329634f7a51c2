/**
 * Durable callbacks, shared by every process that opens the same store. Contract of `stores/*`; the guarantees, states
 * and invariants are those of `docs/semantics.md`. Every operation is atomic and linearizable for each id. One that
 * rejects with `OutcomeUnknownError` may or may not have happened; with any other error it did not.
 */
import type {
  Callback,
  CallbackState,
  CancelAnswer,
  Claim,
  EndState,
  NewCallback,
  PutAnswer,
  RescheduleAnswer,
  RunEnd,
} from "./callback.ts";
import type { RecurrenceStore } from "./recurrence-store.ts";

/** What an acknowledged change survives: power loss, kill -9 of everything, nothing. */
export type Durability = "strict" | "process" | "memory";

/** One callback, by its id, or by its key: the live one that has it, else the last that had it. */
export type Target = { readonly id: string } | { readonly key: string };

export interface ListQuery {
  readonly states?: readonly CallbackState[];
  /** Task name; `*` stands for any characters. */
  readonly task?: string;
  readonly keyPrefix?: string;
  /** Callbacks that carry all of them. */
  readonly tags?: readonly string[];
  readonly queue?: string;
  /** Id of a recurrence: its occurrences. */
  readonly recurrence?: string;
  /** Inclusive. */
  readonly dueFromMs?: number;
  /** Exclusive. */
  readonly dueBeforeMs?: number;
  /** 1 … 1,000. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

export interface ListPage {
  /** In due order, then in the order they were added. */
  readonly callbacks: readonly Callback[];
  /** Absent on the last page. */
  readonly next?: string;
}

/** A callback that ended, or was given back, without a run that could report it. */
export interface Ended {
  readonly callback: Callback;
  /** `expired` and `skipped` at the claim; `failed` and `dead` for runs lost for good; `waiting` for one that will run again. */
  readonly state: EndState | "waiting";
}

/** The process that claims. On one machine a dead owner is known at once by its pid and start time. */
export interface Owner {
  /** Unique for the life of the process. */
  readonly id: string;
  /**
   * Queues that it serves, as `enlist` announces them; absent: every queue. What waits for a queue that this owner does not serve
   * is left to the owners that do. When no live owner serves the queue, it is anybody's: whoever claims it sends it on (a Python
   * task). A change of who serves what is seen by all within 2 s.
   */
  readonly queues?: readonly string[];
  /**
   * Default true. False: what it sent on would reach nobody (its broker is a file of its own machine, and the schedule is everybody's), so it
   * claims from its own queues only. What waits for a queue that nobody serves goes on waiting.
   */
  readonly sendsOn?: boolean;
}

/** What comes next, both by the store's clock. */
export interface Upcoming {
  /** The earliest due time; undefined when nothing waits. */
  readonly dueMs: number | undefined;
  readonly nowMs: number;
}

/** What another process changed, as far as the store tells; with no field: something. */
export interface Change {
  /** Something is due then that was not before; it matters to those who serve `queue`. */
  readonly dueMs?: number;
  readonly queue?: string;
  /** An abort was requested of something that runs. */
  readonly abort?: boolean;
}

export interface Claimed {
  readonly claims: Claim[];
  readonly ended: Ended[];
  readonly upcoming: Upcoming;
}

export interface Swept {
  readonly ended: Ended[];
  /** The limit was met: there may be more to sweep. */
  readonly more: boolean;
  /**
   * How many live owners serve a queue that this owner serves, itself counted: they share its work, and with it the claims that a store
   * should have to answer. May be some seconds old. Absent: the store does not say, and the owner takes itself for the only one.
   */
  readonly owners?: number;
}

export interface ScheduleStore {
  /** The URL as it may be shown. */
  readonly url: string;
  /** What the store really gives, whatever was wished for. */
  readonly durability: Durability;
  /** What recurs: definitions, whose occurrences are callbacks of this store. */
  readonly recurrences: RecurrenceStore;

  /** The store's clock, integer ms. */
  nowMs(): Promise<number>;

  /** Add the callbacks; one durable commit for all of them, an answer for each, in order. */
  put(callbacks: readonly NewCallback[]): Promise<PutAnswer[]>;

  /**
   * Linearizable with `claimDue`: "cancelled" means that it never started and never will.
   * @param options.abort a running one is asked to stop (`takeAborts` of its owner answers it)
   */
  cancel(target: Target, options?: { readonly abort?: boolean }): Promise<CancelAnswer>;

  /** Move one that never started. @param by relative to the time it is due now */
  reschedule(target: Target, to: { readonly dueMs: number } | { readonly byMs: number }): Promise<RescheduleAnswer>;

  get(target: Target): Promise<Callback | undefined>;
  list(query: ListQuery): Promise<ListPage>;
  /** How many there are in each state of the namespace. */
  counts(): Promise<Partial<Record<CallbackState, number>>>;

  /** What comes next of all that is scheduled or waiting; with an owner: of what that one may claim. */
  upcoming(owner?: Owner): Promise<Upcoming>;

  /**
   * Claim what is due, earliest first, and end what has expired or is skipped on the way. A claim is a lease: one that
   * runs out gives the callback back (or ends it, by `onLost`), so it starts at least once, and twice only if a worker
   * stalls past its lease. Respects `owner.queues`, and an occurrence's `overlap`. Answers also what comes next for this owner, as it
   * stands after the claim, so that a worker needs no second trip to arm its timer.
   *
   * @param limit as many as there are free slots; what is claimed starts now
   * @param leaseMs how long the claim holds, by the store's clock
   * @throws {StoreUnavailableError} nothing was claimed
   */
  claimDue(owner: Owner, limit: number, leaseMs: number): Promise<Claimed>;

  /** Extend the leases that still stand; when each ends now, undefined for one that is lost. */
  renew(claims: readonly Claim[], leaseMs: number): Promise<(number | undefined)[]>;

  /** Record how a claimed run ended; the callback as it stands now. @throws {LeaseLostError} the token is an old one; nothing changed */
  settle(claim: Claim, end: RunEnd): Promise<Callback>;

  /** Give unstarted claims back to the state they came from. Old tokens are passed over. */
  release(claims: readonly Claim[]): Promise<void>;

  /** Give back or end what dead or stalled owners hold; remove what is past retention. Small steps: at most `limit` of each. */
  sweep(owner: Owner, limit: number): Promise<Swept>;

  /** Abort requests for what this owner runs, each answered once. */
  takeAborts(owner: Owner): Promise<{ readonly id: string; readonly token: number }[]>;

  /**
   * Revoke a task id: cancel the live callbacks that carry it, and leave a tombstone until `untilMs`, so that a message
   * still on its way is discarded. Answers what stood for the callback, or "unknown".
   */
  revoke(taskId: string, untilMs: number, options?: { readonly abort?: boolean }): Promise<CancelAnswer>;
  /** Those of the task ids for which a tombstone stands. */
  revoked(taskIds: readonly string[]): Promise<Set<string>>;

  /**
   * Announce this process, the queues that it serves and the children that run its claims, so that they can be ended if it dies. Again at each
   * change. Claiming and sweeping with the owner's id keep it alive in a store that cannot see its process.
   */
  enlist(owner: Owner, childPids: readonly number[]): Promise<void>;
  /** This process claims no more. */
  resign(owner: Owner): Promise<void>;

  /** Called when another process changed something. A hint: losing all of them delays by at most 1 s. Answers how to stop. */
  onChange(listener: (change: Change) => void): () => void;

  /** Finish what was asked, then close. Later calls reject with ClosedError. */
  close(): Promise<void>;
}

/** Limits that a store applies; the same in every store. */
export interface StoreLimits {
  /** Crashes of its child after which a callback ends as dead. Default 3. */
  readonly crashLimit: number;
  /** Losses of its worker after which it does. Default 10. */
  readonly lostLimit: number;
  /** How long an ended row is kept, ms. Default 1 day; 7 days for one with a key. */
  readonly keepMs: number;
  readonly keepKeyedMs: number;
  /** Live callbacks allowed in the namespace; 0 = no limit. */
  readonly maxPending: number;
}
