/** Simulated worlds in which everything goes wrong that can, and which must come right; and stores that are wrong, which must be found out. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { ScheduleStore } from "../../src/schedule/store.ts";
import { FAULT_KINDS } from "./faults.ts";
import { MUTANTS } from "./mutants.ts";
import { runTwice, runWorlds } from "./run.ts";
import { shrink } from "./shrink.ts";
import { withoutChance } from "./trap.ts";
import type { Outcome } from "./world.ts";

const SEEDS = 200;
/** In how many worlds a wrong store must be found out. */
const FOUND_WITHIN = 320;
const CHUNK = 40;

function seedsFrom(from: number, length: number): { seed: number }[] {
  return Array.from({ length }, (_, i) => ({ seed: from + i }));
}

function failuresOf(outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ seed, problems }) =>
    problems.map((problem) => `SIM_SEED=${seed} npm run sim: ${problem}`),
  );
}

describe("a simulated world", () => {
  test(`comes right after all its faults, and is the same when it is run again: ${SEEDS} seeds`, async () => {
    const outcomes = await withoutChance(() => runTwice(seedsFrom(1, SEEDS)));
    assert.deepEqual(failuresOf(outcomes), []);
    assert.equal(new Set(outcomes.map(({ hash }) => hash)).size, SEEDS, "two seeds made the same world");
    assert.ok(outcomes.reduce((sum, { starts }) => sum + starts, 0) > 5 * SEEDS, "hardly anything was started");
    const kinds = new Set(outcomes.flatMap((outcome) => outcome.kinds));
    assert.deepEqual(
      FAULT_KINDS.filter((kind) => !kinds.has(kind)),
      [],
      "faults that never happened",
    );
  });

  test("comes right with the seeds that once went wrong", async () => {
    const seeds = JSON.parse(readFileSync(join(import.meta.dirname, "regressions.json"), "utf8")) as number[];
    assert.deepEqual(failuresOf(await withoutChance(() => runTwice(seeds.map((seed) => ({ seed }))))), []);
  });
});

/** The first world, of those looked at, in which the wrong store is found out. */
async function firstFailure(mutate: (store: ScheduleStore) => ScheduleStore): Promise<Outcome | undefined> {
  for (let from = 1; from <= FOUND_WITHIN; from += CHUNK) {
    const outcomes = await runWorlds(
      seedsFrom(from, CHUNK).map((options) => ({ ...options, mutate, stopAtFirst: true })),
    );
    const failed = outcomes.find(({ problems }) => problems.length > 0);
    if (failed !== undefined) return failed;
  }
  return undefined;
}

describe(`a store is found out within ${FOUND_WITHIN} worlds when`, () => {
  for (const [name, mutate] of Object.entries(MUTANTS)) {
    test(name, async () => {
      assert.notEqual(await withoutChance(() => firstFailure(mutate)), undefined, "nothing was noticed");
    });
  }
});

test("a failure is shrunk to the faults that it needs", async () => {
  const mutate = MUTANTS["settle looks at the state only, not at the token"];
  assert.ok(mutate !== undefined);
  await withoutChance(async () => {
    const failed = await firstFailure(mutate);
    assert.ok(failed !== undefined);
    const kinds = await shrink(failed, { mutate });
    assert.ok(kinds.length < failed.kinds.length, `${failed.kinds} became ${kinds}`);
    const [again] = await runWorlds([{ seed: failed.seed, only: new Set(kinds), mutate }]);
    assert.notDeepEqual(again?.problems, []);
  });
});
