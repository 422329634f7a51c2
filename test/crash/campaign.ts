/**
 * `npm run crash -- --store sqlite --what kill`: one scenario, as long as it is meant to be (some minutes), judged, and added to `docs/proof/`.
 *
 *   --store sqlite|redis|postgres   --what kill|all|stop|server|disk
 *   --times N   --pending N   --seed N   --into FOLDER (default docs/proof)   --no-record (only print)
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { parseArgs } from "node:util";
import { atEnd } from "../support/cleanup.ts";
import { allHold, type Verdict } from "./checker.ts";
import type { Figures } from "./figures.ts";
import type { Fault } from "./history.ts";
import { type Entry, entryOf, pageOf, sorted } from "./report.ts";
import { SCENARIOS, type ScenarioName, scenarios } from "./scenarios.ts";
import { openCrashStore, STORE_KINDS } from "./stores.ts";
import { World } from "./world.ts";

interface Plan {
  readonly times: number;
  readonly everyMs: number;
  readonly pending: number;
  readonly ballast: number;
  /** So long the faults take: what is pending is due within it. */
  readonly spreadS: number;
  readonly holdMs: number;
  readonly long: number;
  readonly workers: number;
  readonly concurrency: number;
}

const LEASE_MS = 2_000;
/** After the last fault all is quiet within three leases and 5 s (I18). */
const SETTLE_MS = 3 * LEASE_MS + 5_000;
const ROOT = join(import.meta.dirname, "../..");

/** Slots that are busy for less than half of the time, on a machine of two cores: what is late shall be so by the faults. */
const FLEET = { workers: 2, concurrency: 2 } as const;

const PLANS: Readonly<Record<ScenarioName, Plan>> = {
  kill: {
    times: 100,
    everyMs: 1_500,
    pending: 8_000,
    ballast: 12_000,
    spreadS: 260,
    holdMs: 60,
    long: 0.002,
    ...FLEET,
  },
  all: { times: 20, everyMs: 6_000, pending: 6_000, ballast: 14_000, spreadS: 180, holdMs: 60, long: 0.002, ...FLEET },
  stop: {
    times: 24,
    everyMs: 3_000,
    pending: 3_000,
    ballast: 5_000,
    spreadS: 170,
    holdMs: 60,
    long: 0.03,
    ...FLEET,
    concurrency: 3,
  },
  server: {
    times: 25,
    everyMs: 5_000,
    pending: 5_000,
    ballast: 5_000,
    spreadS: 170,
    holdMs: 60,
    long: 0.005,
    ...FLEET,
  },
  disk: { times: 12, everyMs: 4_000, pending: 3_000, ballast: 2_000, spreadS: 80, holdMs: 60, long: 0.005, ...FLEET },
};

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "sqlite" },
    what: { type: "string", default: "kill" },
    times: { type: "string" },
    pending: { type: "string" },
    seed: { type: "string" },
    into: { type: "string", default: join(ROOT, "docs/proof") },
    "no-record": { type: "boolean", default: false },
  },
});
const kind = oneOf("--store", values.store, STORE_KINDS);
const what = oneOf("--what", values.what, SCENARIOS);
const plan = { ...PLANS[what], ...numbers({ times: values.times, pending: values.pending }) };
const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed);

// As a test, so that what it starts is ended with it, whatever happens.
void test(`${what} ×${plan.times} on ${kind}, seed ${seed}`, async (t) => {
  const entry = await run(t);
  if (!values["no-record"]) record(entry, values.into);
  assert.deepEqual(
    Object.entries(entry.broken).filter(([, n]) => n > 0),
    [],
  );
});

async function run(t: TestContext): Promise<Entry> {
  const { times, everyMs, pending, workers, concurrency } = plan;
  const folder = mkdtempSync(join(tmpdir(), "lovage-crash-"));
  console.log(`${pending + plan.ballast} pending; what is seen is kept in ${folder}, if it is not as it should be`);
  const store = await openCrashStore(t, kind, join(folder, "store"), { onSmallDisk: what === "disk" });
  const spreadS = (plan.spreadS * times) / PLANS[what].times;
  const load = {
    pending,
    ballast: plan.ballast,
    spreadS,
    perSecond: 20,
    cancelled: 0.3,
    holdMs: plan.holdMs,
    long: plan.long,
  };
  const say = (line: string) => console.log(line);
  const world = new World({
    store,
    folder,
    seed,
    workers,
    concurrency,
    leaseMs: LEASE_MS,
    load,
    settleMs: SETTLE_MS,
    say,
  });
  let held = false;
  atEnd(t, async () => {
    await world.abandon();
    if (held) rmSync(folder, { recursive: true, force: true });
  });
  await world.start();
  const [beganMs, before] = [Date.now(), cpuTimes()];
  await scenarios[what](world, { times, everyMs });
  const { history, verdicts, figures } = await world.finish();
  const after = cpuTimes();
  const idlePercent = Math.round((100 * (after.idle - before.idle)) / (after.all - before.all));
  tell(history.faults, beganMs, verdicts, figures);
  held = allHold(verdicts);
  const about = {
    store: kind,
    what,
    note: store.note,
    seed,
    times,
    pending: pending + plan.ballast,
    workers,
    concurrency,
    leaseMs: LEASE_MS,
  };
  const where = { commit: commit(), machine: `${cpus().length} virtual cores, Node ${process.version}` };
  return entryOf(
    { ...about, seconds: Math.round((Date.now() - beganMs) / 1_000), idlePercent, ...where },
    figures,
    verdicts,
  );
}

function tell(faults: readonly Fault[], beganMs: number, verdicts: readonly Verdict[], figures: Figures): void {
  for (const { what, who, wallMs, pids } of faults) {
    console.log(
      `  +${((wallMs - beganMs) / 1_000).toFixed(3)} s ${what} ${who}${pids.length > 0 ? ` (${pids.join(" ")})` : ""}`,
    );
  }
  for (const { name, rule, broken } of verdicts) {
    console.log(`${broken.length === 0 ? "holds " : "BROKEN"} ${name.padEnd(3)} ${rule}`);
    for (const each of broken.slice(0, 20)) console.log(`         ${each}`);
    if (broken.length > 20) console.log(`         and ${broken.length - 20} more`);
  }
  console.log(JSON.stringify(figures, undefined, 2));
}

function record(entry: Entry, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "kill-tests.json");
  const entries: Entry[] = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
  entries.push(entry);
  writeFileSync(file, `${JSON.stringify(sorted(entries), undefined, 2)}\n`);
  writeFileSync(join(folder, "kill-tests.md"), pageOf(entries));
  console.log(`added to ${file}`);
}

function oneOf<Word extends string>(flag: string, given: string, words: readonly Word[]): Word {
  const word = words.find((each) => each === given);
  if (word === undefined) throw new Error(`${flag} must be one of ${words.join(", ")}, not ${JSON.stringify(given)}`);
  return word;
}

function numbers(texts: Readonly<Record<string, string | undefined>>): Record<string, number> {
  const read: Record<string, number> = {};
  for (const [name, text] of Object.entries(texts)) {
    if (text === undefined) continue;
    if (!/^\d+$/.test(text)) throw new Error(`--${name} must be a whole number, not ${JSON.stringify(text)}`);
    read[name] = Number(text);
  }
  return read;
}

function cpuTimes(): { readonly idle: number; readonly all: number } {
  let [idle, all] = [0, 0];
  for (const { times } of cpus()) {
    idle += times.idle;
    all += times.idle + times.user + times.sys + times.nice + times.irq;
  }
  return { idle, all };
}

function commit(): string {
  return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    cwd: ROOT,
    encoding: "utf8",
  }).trim();
}
