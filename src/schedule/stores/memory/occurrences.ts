/** The rows that are occurrences, by their recurrence: which there are, and which are live. */
import type { Occurrence } from "../../callback.ts";
import type { MemoryRow } from "./row.ts";

export class Occurrences {
  /** One row for each recurrence, generation and nominal time, ended ones among them. */
  readonly #names = new Set<string>();
  readonly #live = new Map<string, Set<MemoryRow>>();

  has(occurrence: Occurrence): boolean {
    return this.#names.has(nameOf(occurrence));
  }

  add(row: MemoryRow): void {
    if (row.occurrence === undefined) return;
    this.#names.add(nameOf(row.occurrence));
    const { recurrence } = row.occurrence;
    this.#live.set(recurrence, (this.#live.get(recurrence) ?? new Set()).add(row));
  }

  /** The row is live no more. */
  retire(row: MemoryRow): void {
    if (row.recurrence === undefined) return;
    const live = this.#live.get(row.recurrence);
    if (live?.delete(row) && live.size === 0) this.#live.delete(row.recurrence);
  }

  remove(row: MemoryRow): void {
    if (row.occurrence !== undefined) this.#names.delete(nameOf(row.occurrence));
  }

  /** Oldest first, as they were put. */
  liveOf(recurrence: string): MemoryRow[] {
    return [...(this.#live.get(recurrence) ?? [])];
  }

  /** Whether an occurrence has started and not ended. */
  isUnderWay(recurrence: string): boolean {
    for (const { state } of this.#live.get(recurrence) ?? []) if (state !== "scheduled") return true;
    return false;
  }

  /** The oldest that is held, by its nominal time. */
  oldestHeld(recurrence: string): MemoryRow | undefined {
    let oldest: MemoryRow | undefined;
    for (const row of this.#live.get(recurrence) ?? []) {
      if (row.held && (oldest === undefined || (row.nominalMs ?? 0) < (oldest.nominalMs ?? 0))) oldest = row;
    }
    return oldest;
  }
}

function nameOf({ recurrence, generation, nominalMs }: Occurrence): string {
  return `${recurrence} ${generation} ${nominalMs}`;
}
