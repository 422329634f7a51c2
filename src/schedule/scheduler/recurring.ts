/**
 * Brings recurrences up to date: each one whose newest occurrence has come gets its next. No worker leads: any of them works out what follows, and
 * the store takes the first of them ("stale" is the answer to the others, and as good).
 *
 * One that cannot be worked out (an RRULE without the package that reads it) stays as it is: it is said once, and again when it is another
 * definition, and the others go on.
 */
import type { Logger } from "../../kit/log.ts";
import { nextPlan } from "../recurrence/plan.ts";
import { evaluatorOf } from "../recurrence/rule.ts";
import type { Plan, Recurrence } from "../recurrence.ts";
import type { ScheduleStore } from "../store.ts";

export interface RecurringOptions {
  readonly store: Pick<ScheduleStore, "recurrences">;
  readonly log: Pick<Logger, "error">;
  /** By the store's clock. */
  readonly nowMs: () => number;
  /** @throws {Error} it cannot be worked out */
  readonly planNext: (recurrence: Recurrence, nowMs: number) => Promise<Plan>;
  /** An occurrence was put that is due then. */
  readonly onDue: (dueMs: number) => void;
}

/** Advanced at the same time: what is asked of a store in one turn goes there together. */
const PAGE = 100;

export class Recurring {
  readonly #options: RecurringOptions;
  /** Those that could not be worked out, by id and generation. */
  #stuck = new Set<string>();
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: RecurringOptions) {
    this.#options = options;
  }

  /** Resolves when none is due that can be advanced. A call during another makes that one look again. @throws {StoreUnavailableError} */
  catchUp(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      await this.#advanceAll();
    }
  }

  async #advanceAll(): Promise<void> {
    const { recurrences } = this.#options.store;
    const stuck = new Set<string>();
    for (;;) {
      // Those that cannot be advanced stay the first of all: others are found behind them.
      const limit = PAGE + stuck.size;
      const due = await recurrences.due(limit);
      const fresh = due.filter((each) => !stuck.has(nameOf(each)));
      const advanced = await Promise.all(fresh.map((each) => this.#advance(each)));
      for (const [i, each] of fresh.entries()) if (!advanced[i]) stuck.add(nameOf(each));
      if (due.length < limit || fresh.length === 0) break;
    }
    this.#stuck = stuck;
  }

  /** False: it cannot be worked out. */
  async #advance(recurrence: Recurrence): Promise<boolean> {
    const { store, planNext, nowMs, onDue } = this.#options;
    const { id, generation, nextMs } = recurrence;
    if (nextMs === undefined) return true;
    let plan: Plan;
    try {
      // Found due, it is due, whatever our reading of the store's clock says.
      plan = await planNext(recurrence, Math.max(nowMs(), nextMs));
    } catch (error) {
      this.#sayStuck(recurrence, error);
      return false;
    }
    const { answer } = await store.recurrences.advance(id, { generation, nextMs }, plan);
    if (answer !== "changed") return true;
    for (const { dueMs } of plan.occurrences) onDue(dueMs);
    return true;
  }

  #sayStuck(recurrence: Recurrence, error: unknown): void {
    if (this.#stuck.has(nameOf(recurrence))) return;
    const { id, key, definition } = recurrence;
    const what = key === undefined ? id : `${id} (${key})`;
    this.#options.log.error(
      `Recurrence ${what} of ${definition.call.message.task} cannot be worked out, and waits as it is`,
      { error },
    );
  }
}

/** What the rule of its definition says. */
export async function planByRule(recurrence: Recurrence, nowMs: number): Promise<Plan> {
  return nextPlan(recurrence, await evaluatorOf(recurrence.definition), nowMs);
}

function nameOf({ id, generation }: Recurrence): string {
  return `${id}/${generation}`;
}
