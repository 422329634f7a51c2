/**
 * The order in which steps start. Deterministic: as they were declared, but each after what it needs. (In Celery the order
 * among independent steps differs from process to process.)
 */
import { ContractError, InvalidInputError } from "../kit/errors.ts";
import { textOf } from "../kit/printable.ts";
import type { AnyStep } from "./step.ts";

/** Steps need each other in a circle: none of them can be the first to start. */
export class StepCycleError extends ContractError {
  readonly code = "ERR_STEP_CYCLE";
  /** Names in order of need; the last is the first again. */
  readonly cycle: readonly string[];

  constructor(blueprint: string, cycle: readonly string[], options?: ErrorOptions) {
    super(
      `steps of the ${blueprint} blueprint need each other: ${cycle.join(" -> ")}; remove one of these needs`,
      options,
    );
    this.cycle = cycle;
  }
}

/** Two steps of a blueprint have the same name. */
export class DuplicateStepError extends ContractError {
  readonly code = "ERR_STEP_DUPLICATE";
  readonly step: string;

  constructor(blueprint: string, step: string, options?: ErrorOptions) {
    super(
      `the ${blueprint} blueprint has two steps named ${JSON.stringify(step)}; rename one, or add it once`,
      options,
    );
    this.step = step;
  }
}

const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

/**
 * The steps in the order of their start. Needs that are none of these steps do not count: they are given, or of another
 * blueprint.
 *
 * @throws {InvalidInputError} a step has no such form
 * @throws {DuplicateStepError}
 * @throws {StepCycleError}
 */
export function startOrder(blueprint: string, steps: readonly AnyStep[]): AnyStep[] {
  const byName = new Map<string, AnyStep>();
  for (const step of steps) {
    check(blueprint, step);
    if (byName.has(step.name)) throw new DuplicateStepError(blueprint, step.name);
    byName.set(step.name, step);
  }

  const ordered = new Set<AnyStep>();
  const late = new Map<AnyStep, boolean>();
  const path: AnyStep[] = [];
  const ownNeeds = (step: AnyStep) =>
    Object.values(step.needs ?? {})
      .map((ref) => byName.get(ref.name))
      .filter((need) => need !== undefined);

  /** After its needs; answers whether it is `last`, or needs one that is. */
  const isLate = (step: AnyStep): boolean => {
    const known = late.get(step);
    if (known !== undefined) return known;
    const at = path.indexOf(step);
    if (at >= 0)
      throw new StepCycleError(
        blueprint,
        [...path.slice(at), step].map((each) => each.name),
      );
    path.push(step);
    const needsLate = ownNeeds(step).map(isLate).includes(true);
    path.pop();
    late.set(step, needsLate || step.last === true);
    return needsLate || step.last === true;
  };
  const place = (step: AnyStep): void => {
    if (ordered.has(step)) return;
    for (const need of ownNeeds(step)) place(need);
    ordered.add(step);
  };

  for (const step of steps) isLate(step);
  for (const step of steps) if (late.get(step) === false) place(step);
  for (const step of steps) place(step);
  return [...ordered];
}

function check(blueprint: string, step: unknown): void {
  if (typeof step !== "object" || step === null) {
    throw new InvalidInputError(`a step of the ${blueprint} blueprint must be an object; it was ${textOf(step, 80)}`);
  }
  const { name, needs, start } = step as Partial<Record<keyof AnyStep, unknown>>;
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new InvalidInputError(
      `a step of the ${blueprint} blueprint must have a name in lower case, words joined by "-", such as "my-step"; it was ${textOf(JSON.stringify(name) ?? "undefined", 80)}`,
    );
  }
  if (typeof start !== "function") {
    throw new InvalidInputError(
      `step ${JSON.stringify(name)} must have a function "start"; it was ${textOf(start, 80)}`,
    );
  }
  if (needs === undefined) return;
  const refs = typeof needs === "object" && needs !== null ? Object.entries(needs) : undefined;
  const wrong = refs?.find(([, ref]) => typeof (ref as { name?: unknown } | null | undefined)?.name !== "string");
  if (refs === undefined || wrong !== undefined) {
    const what = wrong === undefined ? `"needs"` : `need ${JSON.stringify(wrong[0])}`;
    throw new InvalidInputError(
      `${what} of step ${JSON.stringify(name)} must name a step, such as { timer: timerStep }`,
    );
  }
}
