/**
 * `npm run demo`: a real worker with two sub-processes, a message, a callback that fires on time, and one that another
 * process takes back. Ends by itself; the exit status says whether everything was seen.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { startIpService } from "./ip-service.ts";

const ROOT = join(import.meta.dirname, "../..");
const TASKS = join(import.meta.dirname, "tasks.ts");
const LOVAGE = [...process.execArgv, join(ROOT, "src/cli/main.ts"), "-A", TASKS];
const PATIENCE_MS = 60_000;
const LEAST_COUNTDOWN_SECONDS = 2.5;

/** The worker, with its log shown and searchable. */
class DemoWorker {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waiters = new Set<() => void>();

  constructor(cwd: string) {
    this.#process = spawn(process.execPath, [...LOVAGE, "worker", "-l", "info", "-c", "2"], {
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on("line", (line) => this.#see(line));
    }
    this.#process.once("exit", () => this.#see("(the worker has ended)"));
  }

  count(pattern: RegExp): number {
    return this.#lines.filter((line) => pattern.test(line)).length;
  }

  /** Resolves when a line of the log matches. */
  async sees(pattern: RegExp): Promise<void> {
    while (this.count(pattern) === 0) {
      if (this.count(/^\(the worker has ended\)$/) > 0) throw new Error(`the worker ended before it logged ${pattern}`);
      await new Promise<void>((resolve) => this.#waiters.add(resolve));
    }
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await Promise.race([exited, wait(5_000).then(() => this.#process.kill("SIGKILL"))]);
  }

  #see(line: string): void {
    console.log(`  ${line}`);
    this.#lines.push(line);
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
  }
}

/** Run the CLI in a process of its own; answers what it printed. */
async function lovage(cwd: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [...LOVAGE, ...args], { cwd, stdio: ["ignore", "pipe", "inherit"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(child, "close");
  return Buffer.concat(chunks).toString("utf8").trim();
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`expected: ${what}`);
}

async function run(folder: string): Promise<void> {
  const ipService = await startIpService();
  process.env.DEMO_IP_URL = ipService.url;
  process.env.LOVAGE_BROKER_URL ??= `sqlite:${join(folder, "lovage.db")}`;
  process.env.LOVAGE_SCHEDULE_URL ??= `sqlite:${join(folder, "lovage.db")}`;
  process.env.LOVAGE_RESULT_BACKEND ??= `sqlite:${join(folder, "lovage.db")}`;
  // After the environment is set: the app reads it when it is made.
  const { app, foo, scream } = await import("./tasks.ts");

  console.log("\n1. A worker boots, with two sub-processes.\n");
  const bootedMs = performance.now();
  const worker = new DemoWorker(folder);
  try {
    await worker.sees(/ ready\.$/);
    const bootSeconds = (performance.now() - bootedMs) / 1_000;

    console.log('\n2. We send demo.foo with ["foo"]. It schedules a callback in 5 seconds, and counts down.\n');
    const result = await foo.delay("foo");
    await worker.sees(/Your IP is: /);
    check(worker.count(/: [1-5]\.\.\.$/) === 5, "a countdown of five lines");
    const id = await result.get({ timeout: 20 });
    console.log(
      `\n   The task returned callback ${id}; the callback returned ${await app.result(id).get({ timeout: 20 })}.`,
    );

    // The other process must be there before it is due, also on a machine that is slow or busy.
    const countdown = Math.max(LEAST_COUNTDOWN_SECONDS, Math.ceil(bootSeconds * 3));
    console.log(`\n3. We schedule another one in ${countdown} seconds, and take it back from another process.\n`);
    const second = await scream.callAfter(countdown, ["bar"], { key: "the-other-scream" });
    console.log(`  $ lovage schedule cancel ${second.id}`);
    const answer = await lovage(folder, "schedule", "cancel", second.id);
    console.log(`  ${answer}`);
    check(answer === "cancelled", 'the answer "cancelled"');
    await wait(Math.max(0, second.due.getTime() - Date.now()) + 500);
    check(worker.count(/Your IP is: /) === 1, "that the cancelled callback never fires");
    console.log(`\n   It was due at ${second.due.toISOString()}. That has passed, and nothing was called.`);
  } finally {
    await app.close();
    await worker.stop();
    await ipService.close();
  }
  console.log(
    "\nShown: a message ran in a sub-process, which scheduled a durable callback on its worker; the callback fired",
  );
  console.log("on time and made an HTTP request; another one was cancelled from another process, and never ran.\n");
}

const folder = await mkdtemp(join(tmpdir(), "lovage-demo-"));
const patience = wait(PATIENCE_MS, undefined, { ref: false }).then(() => {
  throw new Error(`the demo has not come to its end within ${PATIENCE_MS / 1_000} s`);
});
try {
  await Promise.race([run(folder), patience]);
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
// A worker that hangs must not hold the demo.
process.exit();
