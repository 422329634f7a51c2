/**
 * The small form of the crash tests, for `npm test`: about a thousand callbacks on two workers, a few of each fault, the same verdicts. How long
 * anything took is told and not judged. With CRASH_KEEP=FOLDER all that was seen of one that failed is kept there.
 */
import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../support/cleanup.ts";
import { tempDir } from "../support/temp.ts";
import type { Figures } from "./figures.ts";
import type { History } from "./history.ts";
import { type ScenarioName, scenarios } from "./scenarios.ts";
import { type CrashStore, openCrashStore, type StoreKind } from "./stores.ts";
import { World } from "./world.ts";

export interface SmallOptions {
  readonly onSmallDisk?: boolean;
  readonly pending?: number;
  readonly spreadS?: number;
  readonly holdMs?: number;
}

/** One series of faults after the other. */
export type Series = readonly (readonly [what: ScenarioName, times: number, everyMs: number])[];

const LEASE_MS = 1_000;
/** Less than the runner lets a test take: what is wrong shall be told by a verdict. */
const REST_MS = 40_000;
const SHOWN = 12;

/** Break it, judge it. @throws {AssertionError} a verdict is broken; with the seed, what was done, and what breaks it */
export async function smallCrash(
  t: TestContext,
  kind: StoreKind,
  series: Series,
  { onSmallDisk = false, pending = 1_000, spreadS = 5, holdMs = 30 }: SmallOptions = {},
): Promise<{ readonly figures: Figures; readonly store: CrashStore }> {
  // Another one each time, so that many runs see more than one does; the same again by CRASH_SEED.
  const seed = Number(process.env.CRASH_SEED ?? Math.floor(Math.random() * 1_000_000));
  const folder = await tempDir(t);
  const store = await openCrashStore(t, kind, join(folder, "store"), { onSmallDisk });
  const load = { pending, ballast: 0, spreadS, perSecond: 20, cancelled: 0.3, holdMs, long: 0.004 };
  const say = (line: string) => t.diagnostic(line);
  const world = new World({
    store,
    folder,
    seed,
    workers: 2,
    concurrency: 2,
    leaseMs: LEASE_MS,
    load,
    restMs: REST_MS,
    say,
  });
  atEnd(t, () => world.abandon());

  await world.start();
  for (const [what, times, everyMs] of series) await scenarios[what](world, { times, everyMs });
  const { history, verdicts, figures } = await world.finish();

  t.diagnostic(`seed ${seed}; ${toldFaults(history)}`);
  t.diagnostic(
    `${figures.acknowledged} acknowledged, ${figures.cancels} cancels ${JSON.stringify(figures.answers)}, ` +
      `${figures.raced} of them raced ${JSON.stringify(figures.racedAnswers)}, ` +
      `${figures.repeated} of at most ${figures.bound} repeated`,
  );
  const broken = verdicts.flatMap(({ name, broken }) => broken.slice(0, SHOWN).map((each) => `${name}: ${each}`));
  const keep = process.env.CRASH_KEEP;
  if (broken.length > 0 && keep !== undefined) cpSync(folder, join(keep, `${kind}-${seed}`), { recursive: true });
  assert.deepEqual(broken, [], `seed ${seed}; ${toldFaults(history)}`);
  assert.ok(figures.started > 0 && figures.raced > 0, "nothing started, or nobody raced: this proved nothing");
  return { figures, store };
}

function toldFaults({ faults }: History): string {
  const beganMs = faults[0]?.wallMs ?? 0;
  return faults
    .map(({ what, who, wallMs }) => `${what} ${who} +${((wallMs - beganMs) / 1_000).toFixed(2)} s`)
    .join(", ");
}
