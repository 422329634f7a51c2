/** A job in a child, seen from the pool. It only holds the two promises; the child's handle settles them. */
import type { Job, Outcome, Run } from "../pool.ts";

/** What a run asks of the handle of its child. */
export interface RunOwner {
  abort(run: ChildRun, reason: string, graceMs: number, signal?: NodeJS.Signals): void;
}

export class ChildRun implements Run {
  readonly job: Job;
  /** Counts the runs of its child: what `accept` and `done` must name. */
  readonly number: number;
  readonly accepted: Promise<number | undefined>;
  readonly outcome: Promise<Outcome>;
  readonly #owner: RunOwner;
  readonly #resolveAccepted: (pid: number | undefined) => void;
  readonly #resolveOutcome: (outcome: Outcome) => void;
  #started = false;

  constructor(job: Job, number: number, owner: RunOwner) {
    this.job = job;
    this.number = number;
    this.#owner = owner;
    const accepted = Promise.withResolvers<number | undefined>();
    const outcome = Promise.withResolvers<Outcome>();
    this.accepted = accepted.promise;
    this.outcome = outcome.promise;
    this.#resolveAccepted = accepted.resolve;
    this.#resolveOutcome = outcome.resolve;
  }

  /** The child has accepted it: from then on the handler may have run. */
  get started(): boolean {
    return this.#started;
  }

  abort(reason: string, graceMs: number, signal?: NodeJS.Signals): void {
    this.#owner.abort(this, reason, graceMs, signal);
  }

  accept(pid: number | undefined): void {
    this.#started = true;
    this.#resolveAccepted(pid);
  }

  end(outcome: Outcome): void {
    this.#resolveAccepted(undefined);
    this.#resolveOutcome(outcome);
  }
}
