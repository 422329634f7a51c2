/** What clients asked, and what they were told: what the system promised, told by those it was promised to. */
import { OutcomeUnknownError } from "../../src/kit/errors.ts";
import type { CancelAnswer, NewCallback, PutAnswer } from "../../src/schedule/callback.ts";
import type { Definition } from "../../src/schedule/recurrence.ts";

export interface PutRecord {
  readonly mark: string;
  readonly callback: NewCallback;
  /** Every answer that any attempt of it got; "unknown" when one was lost, "failed" when one was certainly not done. */
  readonly answers: (PutAnswer["put"] | "unknown" | "failed")[];
  /** Where it is kept, as far as anybody was told. */
  id?: string;
}

export class History {
  readonly puts = new Map<string, PutRecord>();
  /** Ids of callbacks, and of recurrences, of which it was answered that they never started and never will. */
  readonly cancelled = new Set<string>();
  /** It may have been taken back: a cancel was asked for that may apply to it, whatever was answered. */
  readonly takenBack = new Set<string>();
  /** The same for everything with one of these keys, task ids. */
  readonly takenBackKeys = new Set<string>();
  readonly recurrences = new Set<string>();
  /** Callbacks that were asked to be moved: when they became due nobody can tell from their due time. */
  readonly moved = new Set<string>();
  /** What was asked to recur, by the mark in its message's body. */
  readonly definitions = new Map<string, Definition>();

  put(mark: string, callback: NewCallback): PutRecord {
    const record: PutRecord = { mark, callback, answers: [] };
    this.puts.set(mark, record);
    return record;
  }

  answered(record: PutRecord, answer: PutAnswer | undefined): void {
    if (answer === undefined) return;
    record.answers.push(answer.put);
    if ("id" in answer) record.id = answer.id;
  }

  failed(record: PutRecord, error: unknown): void {
    record.answers.push(isUnknown(error) ? "unknown" : "failed");
  }

  asksToTakeBack(target: { readonly id: string } | { readonly key: string }): void {
    if ("id" in target) this.takenBack.add(target.id);
    else this.takenBackKeys.add(target.key);
  }

  takesBack(answer: CancelAnswer): void {
    if (answer.answer === "cancelled") this.cancelled.add(answer.id);
  }
}

/** Not known to have failed. */
export function isUnknown(error: unknown): boolean {
  return error instanceof OutcomeUnknownError;
}
