/** The bootsteps that an app adds to one of the worker's blueprints. */
import type { AnyStep, Needs, Step } from "./step.ts";

export type { AnyStep } from "./step.ts";

export class StepSet implements Iterable<AnyStep> {
  readonly #steps: AnyStep[] = [];

  /** Add a step. It starts after its needs, and stops before them. */
  add<Part, N extends Needs>(step: Step<Part, N>): void {
    this.#steps.push(step);
  }

  get size(): number {
    return this.#steps.length;
  }

  [Symbol.iterator](): Iterator<AnyStep> {
    return this.#steps[Symbol.iterator]();
  }
}
