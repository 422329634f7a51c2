/**
 * The store of the model of a callback's life: one row, and each operation as one atomic change of it. What becomes of the row is decided
 * by the production rules (`src/schedule/rules.ts`); only the finding and writing is modelled. A mutant is this store with
 * one operation replaced by a wrong one.
 */
import { type CallbackState, type CancelAnswer, isLive, type OnLost } from "../../src/schedule/callback.ts";
import { DEFAULT_LIMITS } from "../../src/schedule/limits.ts";
import {
  answerOfCancel,
  type DueRow,
  type Fate,
  fateOfCrash,
  fateOfLoss,
  fateOfRetry,
  fateWhenDue,
  stateOfReleased,
} from "../../src/schedule/rules.ts";
import type { StoreLimits } from "../../src/schedule/store.ts";

/** The model's unit of time; longer than the second that the misfire rule forgives. */
export const UNIT_MS = 10_000;

/** What a callback was scheduled with. */
export interface Profile {
  readonly onLost: OnLost;
  readonly expiresMs: number | null;
  readonly misfire: DueRow["misfire"];
  /** Whether cancel asks for the abort of a running one. */
  readonly abort: boolean;
  readonly limits: StoreLimits;
}

export const PLAIN: Profile = {
  onLost: "rerun",
  expiresMs: null,
  misfire: "fire",
  abort: false,
  limits: DEFAULT_LIMITS,
};

export interface Row {
  readonly state: CallbackState;
  readonly dueMs: number;
  readonly attempts: number;
  readonly token: number;
  readonly crashes: number;
  readonly losses: number;
  /** Its end was asked for. */
  readonly unwanted: boolean;
  /** Of a running one: its lease has run out. */
  readonly lapsed: boolean;
  readonly retried: boolean;
}

/** Outcomes of a run, as a worker settles them. */
export type End = "succeeded" | "stopped" | "retry" | "crashed" | "lost";

/** Each operation answers the row as it stands then; the very same object when nothing changed. */
export interface LifeStore {
  /** Recover a lapsed lease, then claim what is due. The token of the claim; undefined: there was none to make. */
  claim(row: Row, nowMs: number): { readonly row: Row; readonly token: number | undefined };
  renew(row: Row, token: number): Row;
  settle(row: Row, token: number, end: End, nowMs: number): Row;
  release(row: Row, token: number): Row;
  /** Give back or end what is lapsed. */
  recover(row: Row, nowMs: number): Row;
  cancel(row: Row): { readonly row: Row; readonly answer: CancelAnswer["answer"] };
  /** Of a cancel that is made in two steps: what it answers is decided by an earlier look. Production has none. */
  readonly cancelByEarlierLook?: true;
}

export const newRow = (dueMs: number): Row => ({
  state: "scheduled",
  dueMs,
  attempts: 0,
  token: 0,
  crashes: 0,
  losses: 0,
  unwanted: false,
  lapsed: false,
  retried: false,
});

export function honestStore(profile: Profile): LifeStore {
  const { onLost, expiresMs, misfire, limits } = profile;
  return {
    claim(found, nowMs) {
      const row = this.recover(found, nowMs);
      if ((row.state !== "scheduled" && row.state !== "waiting") || row.dueMs > nowMs) return { row, token: undefined };
      const fate = fateWhenDue({ ...row, expiresMs, misfire, graceMs: 0, nominalMs: null }, nowMs);
      if (fate !== undefined) return { row: meet(row, fate, nowMs), token: undefined };
      const token = row.token + 1;
      return { row: { ...row, state: "running", attempts: row.attempts + 1, token, lapsed: false }, token };
    },
    renew: (row, token) => (holds(row, token) && row.lapsed ? { ...row, lapsed: false } : row),
    settle(row, token, end, nowMs) {
      if (!holds(row, token)) return row;
      switch (end) {
        case "crashed": {
          const crashed = { ...row, crashes: row.crashes + 1 };
          return meet(crashed, fateOfCrash({ ...crashed, onLost }, limits, "SIGSEGV"), nowMs);
        }
        case "lost": {
          const lost = { ...row, losses: row.losses + 1 };
          return meet(lost, fateOfLoss({ ...lost, onLost }, limits), nowMs);
        }
        case "retry":
          return meet({ ...row, retried: true }, fateOfRetry(row.unwanted), nowMs);
        default:
          return { ...row, state: end, lapsed: false };
      }
    },
    release(row, token) {
      if (!holds(row, token)) return row;
      const attempts = row.attempts - 1;
      const state = stateOfReleased(attempts, row.unwanted);
      return { ...row, attempts, state, lapsed: false, unwanted: isLive(state) ? false : row.unwanted };
    },
    recover(row, nowMs) {
      if (row.state !== "running" || !row.lapsed) return row;
      const lost = { ...row, losses: row.losses + 1 };
      return meet(lost, fateOfLoss({ ...lost, onLost }, limits), nowMs);
    },
    cancel(row) {
      const { answer } = answerOfCancel("it", row.state);
      if (row.state === "scheduled") return { row: { ...row, state: "cancelled" }, answer };
      if (row.state === "waiting") return { row: { ...row, state: "stopped" }, answer };
      if (row.state === "running" && profile.abort) return { row: { ...row, unwanted: true }, answer };
      return { row, answer };
    },
  };
}

/** The row of the claim, if the claim still holds it: by its token, never by the state alone. */
export function holds(row: Row, token: number): boolean {
  return row.state === "running" && row.token === token;
}

/** Do what was decided: back to waiting, due at once, or ended. */
function meet(row: Row, fate: Fate, nowMs: number): Row {
  if (fate.state !== "waiting") return { ...row, state: fate.state, lapsed: false };
  return { ...row, state: "waiting", dueMs: nowMs, unwanted: false, lapsed: false };
}
