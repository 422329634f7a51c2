/** Runs worlds: several at a time, a step of each in every turn of the real event loop, because a turn is what makes promises settle for sure. */
import { type Outcome, World, type WorldOptions } from "./world.ts";

/** Taken before anything can take it away. */
const nextTurn = setImmediate;

export async function runWorlds(all: Iterable<WorldOptions>, atOnce = 32): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const waiting = all[Symbol.iterator]();
  let worlds: World[] = [];
  for (;;) {
    while (worlds.length < atOnce) {
      const next = waiting.next();
      if (next.done) break;
      worlds.push(new World(next.value));
    }
    if (worlds.length === 0) return outcomes;
    for (const world of worlds) world.step();
    await new Promise<void>((resolve) => nextTurn(resolve));
    if (!worlds.some((world) => world.isOver)) continue;
    for (const world of worlds) if (world.isOver) outcomes.push(world.outcome);
    worlds = worlds.filter((world) => !world.isOver);
  }
}

/** Each twice: the second run must be the first again. */
export async function runTwice(seeds: readonly WorldOptions[]): Promise<Outcome[]> {
  const outcomes = await runWorlds(seeds.flatMap((options) => [options, options]));
  const bySeed = Map.groupBy(outcomes, ({ seed }) => seed);
  return seeds.map(({ seed }) => {
    const [first, second] = bySeed.get(seed) as [Outcome, Outcome];
    if (first.hash === second.hash) return first;
    return { ...first, problems: [...first.problems, `not deterministic: ${first.hash} and ${second.hash}`] };
  });
}
