/**
 * Runs simulated worlds, each seed twice.
 *
 *   npm run sim -- --seeds 10000 [--from 1] [--minutes 9] [--out totals.json]
 *   SIM_SEED=4711 npm run sim                    one world, with the end of its trace
 *
 * What goes wrong is shown with its seed and the fewest kinds of faults that bring it about, and is kept in regressions.json, which `npm test`
 * runs. With --out the totals are added to those of the file. Exit status 1: something went wrong.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runTwice, runWorlds } from "./run.ts";
import { shrink } from "./shrink.ts";
import { addToFile, count, noTotals } from "./totals.ts";
import { withoutChance } from "./trap.ts";

const CHUNK = 200;
const TRACE_LINES = 200;
const regressions = join(import.meta.dirname, "regressions.json");
const monoMs = performance.now.bind(performance);

// A promise that nobody waits for has failed: a bug, whatever the world looks like.
process.on("unhandledRejection", (error) => {
  console.error("unhandled rejection:", error);
  process.exit(1);
});

const one = process.env.SIM_SEED;
process.exitCode = one === undefined ? await campaign() : await showOne(Number(one));

async function showOne(seed: number): Promise<number> {
  const [outcome] = await withoutChance(() => runWorlds([{ seed, keepTrace: true }]));
  if (outcome === undefined) return 1;
  console.log(outcome.trace.slice(-TRACE_LINES).join("\n"));
  console.log(`faults: ${outcome.kinds.join(", ") || "none"}; trace ${outcome.hash}`);
  console.log(outcome.problems.join("\n") || "nothing is wrong");
  return outcome.problems.length > 0 ? 1 : 0;
}

async function campaign(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string", default: "1000" },
      from: { type: "string", default: "1" },
      minutes: { type: "string", default: "Infinity" },
      out: { type: "string" },
    },
  });
  const [seeds, from] = [Number(values.seeds), Number(values.from)];
  const untilMs = monoMs() + Number(values.minutes) * 60_000;
  const startedMs = monoMs();
  const totals = noTotals();
  let next = from;
  while (next < from + seeds && monoMs() < untilMs) {
    const first = next;
    const length = Math.min(CHUNK, from + seeds - first);
    const outcomes = await withoutChance(() => runTwice(Array.from({ length }, (_, i) => ({ seed: first + i }))));
    for (const outcome of outcomes) {
      count(totals, outcome);
      const [problem] = outcome.problems;
      if (problem === undefined) continue;
      const kinds = await withoutChance(() => shrink(outcome));
      totals.failures.push({ seed: outcome.seed, kinds, problem });
      remember(outcome.seed);
      console.log(`SIM_SEED=${outcome.seed} npm run sim    ${problem}    (with ${kinds.join(", ") || "no fault"})`);
    }
    next += length;
  }
  totals.ranges.push(`${from}-${next - 1}`);
  const seconds = (monoMs() - startedMs) / 1_000;
  console.log(
    `${totals.seeds} seeds, each twice, in ${seconds.toFixed(0)} s: ${(totals.seeds / seconds).toFixed(0)} seeds/s; ` +
      `${totals.virtualDays.toFixed(2)} virtual days, ${totals.events} events, ${totals.storeCalls} store calls, ` +
      `${totals.starts} starts; ${totals.failures.length} failures`,
  );
  console.log(
    Object.entries(totals.faults)
      .map(([kind, times]) => `${kind} ${times}`)
      .join(", "),
  );
  if (values.out !== undefined) addToFile(values.out, totals);
  return totals.failures.length > 0 ? 1 : 0;
}

function remember(seed: number): void {
  const known = existsSync(regressions) ? (JSON.parse(readFileSync(regressions, "utf8")) as number[]) : [];
  if (known.includes(seed)) return;
  writeFileSync(regressions, `${JSON.stringify([...known, seed].sort((a, b) => a - b))}\n`);
}
