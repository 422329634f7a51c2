/** Every message between a process and the thread that holds its file. Calls are answered in the order they were made. */
import type { Failure } from "./errors.ts";

/** What an acknowledged change survives: power loss (an fsync for each commit), or kill -9 of everything. */
export type Durability = "strict" | "process";

export interface ThreadData {
  readonly path: string;
  readonly durability: Durability;
  readonly lockWaitMs: number;
  /** Calls answered so far (it wraps round); who must not return to the event loop waits on it. */
  readonly answered: Int32Array;
}

/** Index of the operation, its parameters, the caller's clock if it is not the machine's, and about how many bytes it writes. */
export type Call = readonly [op: number, params: unknown, nowMs: number | undefined, bytes: number];

export type ToThread =
  | { readonly kind: "calls"; readonly calls: readonly Call[] }
  /** Load a module of tables and bring its schema up to date; answered by `loaded`. */
  | { readonly kind: "load"; readonly url: string }
  | { readonly kind: "durability"; readonly durability: Durability }
  /** Tell of other processes' commits, or no longer. */
  | { readonly kind: "watch"; readonly on: boolean }
  /** Answered by `closed`, after all that was asked before. */
  | { readonly kind: "close" };

export type FromThread =
  | { readonly kind: "opened" }
  | { readonly kind: "refused"; readonly failure: Failure }
  /** The next calls, in order: their answers; `failures` holds those that failed, by their place in `answers`. */
  | {
      readonly kind: "answers";
      readonly answers: readonly unknown[];
      readonly failures?: readonly (readonly [number, Failure])[];
    }
  | {
      readonly kind: "loaded";
      readonly url: string;
      readonly ops?: readonly string[];
      readonly base: number;
      readonly failure?: Failure;
    }
  /** Another process committed something. */
  | { readonly kind: "changed" }
  /** Something for the log. */
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "closed" };
