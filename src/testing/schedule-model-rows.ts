/** What the model of a schedule store remembers of a callback. */
import type { CallbackState, Misfire, OnLost, Overlap } from "../schedule/callback.ts";

export interface ModelOccurrence {
  /** Number of the recurrence. */
  readonly recurrence: number;
  readonly generation: number;
  readonly nominalMs: number;
  readonly overlap: Overlap;
}

export interface ModelRow {
  /** Order of making, from 0. */
  readonly n: number;
  readonly key: string | undefined;
  /** Of a taken-over message. */
  taskId: string | undefined;
  arrived: number | undefined;
  state: CallbackState;
  dueMs: number;
  expiresMs: number | undefined;
  misfire: Misfire;
  graceMs: number;
  onLost: OnLost;
  queue: string;
  tags: readonly string[];
  task: string;
  body: string;
  retries: number;
  attempts: number;
  token: number;
  crashes: number;
  losses: number;
  /** "quiet": nobody asks it to stop, but it does not run again. */
  abort: "no" | "quiet" | "asked" | "told";
  owner: string | undefined;
  leaseUntilMs: number | undefined;
  endedMs: number | undefined;
  readonly occurrence: ModelOccurrence | undefined;
  /** It waits until another occurrence has ended. */
  held: boolean;
}

/** An owner, as it claims. */
export interface ModelOwner {
  readonly id: string;
  readonly queues?: readonly string[];
}

export interface ModelClaim {
  readonly row: ModelRow;
  readonly token: number;
}

export type ModelTarget = { readonly n: number } | { readonly key: string };
