/**
 * What `npm test` runs: the static checks, then the servers and tools that the chosen tests want, then the tests, in
 * two phases, then a look at what they left behind, then the summary. The exit status is 0 only if all of it is well.
 *
 *   npm test                              everything
 *   npm test -- test/unit/hub durations   only the test files whose path contains one of these; no static checks
 *   npm test -- --test-name-pattern=lease what begins with a dash goes to Node's test runner
 *
 * Environment: CI=true makes a missing server a failure; LOVAGE_TEST_PRIVATE=1 starts private servers although others
 * run; LOVAGE_TEST_INSTALL=0 forbids apt-get; LOVAGE_TEST_CONCURRENCY (files at once), LOVAGE_TEST_DEADLINE (seconds
 * for everything); LOVAGE_TEST_AMQP_URL, LOVAGE_TEST_REDIS_URL, LOVAGE_TEST_PYTHON (use these).
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { keep } from "./services/kept.ts";
import { type Ensured, inCi, missingVariable } from "./services/service.ts";
import { SERVICES } from "./services/table.ts";
import { killProcesses, processesOfRun, RUN_VARIABLE } from "./services/tagged.ts";
import { choose, type Phase, wanted } from "./testing/plan.ts";
import { Programs } from "./testing/programs.ts";
import type { Finding } from "./testing/reporter.ts";
import { Summary } from "./testing/summary.ts";

const DEADLINE_S = Number(process.env.LOVAGE_TEST_DEADLINE) || 1_500;
/** A safety net under one test, not an assertion: what waits for an event that never comes ends with a name. */
const TEST_TIMEOUT_MS = 120_000;

const root = join(import.meta.dirname, "..");
process.chdir(root);
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const flags = args.filter((arg) => arg.startsWith("-"));
  const filters = args.filter((arg) => !arg.startsWith("-"));
  let phases: Phase[];
  try {
    phases = choose(filters);
  } catch (error) {
    console.error(`npm test: ${error instanceof Error ? error.message : error}`);
    return 2;
  }

  const summary = new Summary();
  const run = crypto.randomUUID().slice(0, 8);
  const folder = mkdtempSync(join(tmpdir(), "lovage-test-"));
  // Servers that refuse to run as root pass through it to their own folders.
  chmodSync(folder, 0o711);
  const temporary = join(folder, "tmp");
  mkdirSync(temporary);
  // Ends what is left and removes the folder, also when this process is killed.
  const keeper = keep({ folder, commands: [], run });
  const programs = new Programs(DEADLINE_S * 1000);
  const services: Ensured[] = [];
  try {
    const env = environment(run, temporary, join(folder, "compiled"));
    if (filters.length === 0) await checks(programs, env, summary);
    if (!programs.stopped) await ensureServices(phases, env, services, summary);
    for (const phase of phases) {
      if (!programs.stopped) await runPhase(phase, flags, programs, env, folder, summary);
    }
    await lookForLeftovers(run, temporary, services, summary);
  } finally {
    for (const service of services.toReversed()) await service.stop();
    await keeper.stop();
  }
  if (programs.stopped) summary.problem(programs.stopReason);
  summary.print();
  return summary.ok ? 0 : 1;
}

/** The tests' environment: ours, without what would configure Lovage or Celery behind a test's back. */
function environment(run: string, temporary: string, compiled: string): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value === undefined || /^(LOVAGE_(?!TEST_)|CELERY_)/.test(name)) continue;
    env[name] = value;
  }
  env[RUN_VARIABLE] = run;
  env.TMPDIR = temporary;
  // Hundreds of programs are started from the sources: each is read and compiled once (a third of the time of a start).
  env.NODE_COMPILE_CACHE = compiled;
  env.PATH = `${join(root, "node_modules", ".bin")}:${env.PATH ?? ""}`;
  return env;
}

async function checks(programs: Programs, env: Record<string, string>, summary: Summary): Promise<void> {
  for (const [name, command, args] of [
    ["types", "tsc", ["-p", "tsconfig.json"]], // test/types/ among them: a type test is a line that must not compile
    ["lint", "biome", ["check", "--error-on-warnings", "--diagnostic-level=warn", "."]],
  ] as const) {
    const began = performance.now();
    const { status } = await programs.run(join("node_modules", ".bin", command), args, env);
    summary.check(name, status === 0, performance.now() - began);
  }
}

async function ensureServices(
  phases: readonly Phase[],
  env: Record<string, string>,
  services: Ensured[],
  summary: Summary,
): Promise<void> {
  const files = phases.flatMap((phase) => phase.files);
  const variables = wanted(
    files,
    SERVICES.map((service) => service.variable),
  );
  for (const service of SERVICES) {
    if (!variables.has(service.variable)) continue;
    const answer = await service.ensure();
    if ("missing" in answer) {
      env[missingVariable(service.variable)] = answer.missing;
      summary.service(answer.missing);
      if (inCi()) summary.problem(answer.missing);
      continue;
    }
    services.push(answer);
    env[service.variable] = answer.url;
    Object.assign(env, answer.env);
    summary.service(`${service.name}: ${answer.note}`);
  }
}

async function runPhase(
  phase: Phase,
  flags: readonly string[],
  programs: Programs,
  env: Record<string, string>,
  folder: string,
  summary: Summary,
): Promise<void> {
  console.log(`\n# ${phase.name}: ${phase.files.length} files`);
  const findings = join(folder, `${phase.name}.findings`);
  // Files at once: they share the cores with the servers and the workers that they start.
  const concurrency = Number(env.LOVAGE_TEST_CONCURRENCY) || Math.max(3, Math.min(availableParallelism(), 4));
  const { status } = await programs.run(
    process.execPath,
    [
      "--conditions=lovage-source",
      `--import=${join(root, "scripts/testing/preload.ts")}`,
      "--test",
      `--test-concurrency=${concurrency}`,
      `--test-timeout=${TEST_TIMEOUT_MS}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      `--test-reporter=${join(root, "scripts/testing/reporter.ts")}`,
      `--test-reporter-destination=${findings}`,
      ...flags,
      ...phase.files,
    ],
    env,
  );
  const text = existsSync(findings) ? readFileSync(findings, "utf8") : "";
  const lines = text.split("\n").filter((line) => line !== "");
  summary.phase(
    phase.name,
    status,
    lines.map((line) => JSON.parse(line) as Finding),
  );
}

/** What tests left: it is cleared away, but a test that leaves something behind is wrong. */
async function lookForLeftovers(run: string, temporary: string, services: readonly Ensured[], summary: Summary) {
  // A process that was just killed may take a moment to be gone.
  let processes = processesOfRun(run);
  for (let look = 0; look < 20 && processes.length > 0; look += 1) {
    await sleep(100);
    processes = processesOfRun(run);
  }
  killProcesses(processes);
  for (const { pid, command } of processes) summary.leftover(`process ${pid}: ${command.slice(0, 160)}`);
  for (const name of readdirSync(temporary)) summary.leftover(`temporary ${name}`);
  for (const service of services) {
    for (const what of (await service.leftovers?.()) ?? []) summary.leftover(what);
  }
}
