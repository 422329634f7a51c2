/** The fewest kinds of faults with which a seed still goes wrong: leave out one after the other. */
import type { FaultKind } from "./faults.ts";
import { runTwice } from "./run.ts";
import type { Outcome, WorldOptions } from "./world.ts";

export async function shrink(failed: Outcome, options: Omit<WorldOptions, "seed" | "only"> = {}): Promise<FaultKind[]> {
  let kinds = new Set(failed.kinds);
  for (const kind of failed.kinds) {
    const fewer = new Set([...kinds].filter((each) => each !== kind));
    const [outcome] = await runTwice([{ ...options, seed: failed.seed, only: fewer }]);
    if (outcome !== undefined && outcome.problems.length > 0) kinds = fewer;
  }
  return [...kinds];
}
