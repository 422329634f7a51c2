/** The bootsteps that an app adds to one of the worker's blueprints. */
import type { Needs, Step } from "./step.ts";

/** A step whose types no longer matter: the blueprint has checked them by name. */
export type AnyStep = Step<unknown, Needs>;

export class StepSet implements Iterable<AnyStep> {
  readonly #steps: AnyStep[] = [];

  /** Add a step. It starts after its needs, and stops before them. */
  add<Part, N extends Needs>(step: Step<Part, N>): void {
    this.#steps.push(step as unknown as AnyStep);
  }

  get size(): number {
    return this.#steps.length;
  }

  [Symbol.iterator](): Iterator<AnyStep> {
    return this.#steps[Symbol.iterator]();
  }
}
