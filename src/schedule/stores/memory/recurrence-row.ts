/** One recurrence in the memory store. */
import type { Definition, NewRecurrence, Recurrence, RecurrenceState } from "../../recurrence.ts";

export class MemoryRecurrence {
  /** Order of making. */
  readonly n: number;
  readonly id: string;
  readonly key: string | undefined;
  readonly createdMs: number;
  state: RecurrenceState = "active";
  definition: Definition;
  fingerprint: string;
  generation = 1;
  nextMs: number | undefined;
  started = false;
  endedMs: number | undefined;
  /** When it may be removed; undefined while it has not ended. */
  forgetMs: number | undefined;

  constructor(n: number, id: string, { key, definition, fingerprint }: NewRecurrence, nowMs: number) {
    this.n = n;
    this.id = id;
    this.key = key;
    this.createdMs = nowMs;
    this.definition = copyOf(definition);
    this.fingerprint = fingerprint;
  }

  /** Be this from now on. */
  take({ definition, fingerprint }: NewRecurrence): void {
    this.definition = copyOf(definition);
    this.fingerprint = fingerprint;
  }

  toRecurrence(): Recurrence {
    const { id, key, state, definition, generation, nextMs, started, createdMs, endedMs } = this;
    return {
      id,
      ...(key === undefined ? {} : { key }),
      state,
      definition,
      generation,
      ...(nextMs === undefined ? {} : { nextMs }),
      started,
      createdMs,
      ...(endedMs === undefined ? {} : { endedMs }),
    };
  }
}

/** As it would come back from a disk. */
function copyOf(definition: Definition): Definition {
  return JSON.parse(JSON.stringify(definition));
}
