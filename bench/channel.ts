/**
 * The channel to a pool process, and the pool on it: frames a second with many in flight, jobs a second of a pool of two.
 *
 *     node --conditions=lovage-source bench/channel.ts
 *
 * An ask is two frames, there and back, each written, read, parsed and checked. A job is three (run, accept, done) and one
 * at a time for each process, so it measures wake-ups more than bytes. The first round warms the code up and is not counted.
 */
import { spawn } from "node:child_process";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { Lovage } from "../src/index.ts";
import { silentLogger } from "../src/kit/log.ts";
import {
  CHANNEL_FD,
  Channel,
  TO_CHILD,
  TO_PARENT,
  type ToChildFrames,
  type ToParentFrames,
} from "../src/pool/prefork/ipc.ts";
import { PreforkPool } from "../src/pool/prefork/prefork.ts";
import { poolJob, runAll } from "../src/testing/pool-conformance.ts";

const FILE = fileURLToPath(import.meta.url);
const ROUNDS = 5;
const JOBS = 30_000;

/** What the processes of the pool load. */
export const app = new Lovage("bench-channel");
app.task("bench.noop", () => null);

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function report(name: string, rates: readonly number[], cpuUs: readonly number[]): void {
  const low = Math.min(...rates).toFixed(0);
  const high = Math.max(...rates).toFixed(0);
  console.log(
    `${name.padEnd(44)} ${median(rates).toFixed(0).padStart(8)}/s (${low} … ${high}), ${median(cpuUs).toFixed(1)} µs of the parent's CPU each`,
  );
}

async function measure(name: string, count: number, run: () => Promise<unknown>): Promise<void> {
  const rates: number[] = [];
  const cpuUs: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const cpu = process.cpuUsage();
    const startMs = performance.now();
    await run();
    const seconds = (performance.now() - startMs) / 1_000;
    const used = process.cpuUsage(cpu);
    if (round === 0) continue;
    rates.push(count / seconds);
    cpuUs.push((used.user + used.system) / count);
  }
  report(name, rates, cpuUs);
}

/** One at a time takes long. */
function asksOf(window: number): number {
  return window === 1 ? 20_000 : 200_000;
}

/** The child asks so many times, at most `window` at once, whenever it is told to; the parent answers. */
function childAsks(window: number): void {
  const asks = asksOf(window);
  let asked = 0;
  let answered = 0;
  const ask = () => {
    asked += 1;
    channel.send({
      kind: "ask",
      ask: asked,
      run: 1,
      op: "result.get",
      params: { taskId: "0b5e2c5e-1111-4222-8333-444455556666" },
    });
  };
  const channel = new Channel<ToChildFrames, ToParentFrames>(new Socket({ fd: CHANNEL_FD }), TO_CHILD, {
    onFrame: (frame) => {
      if (frame.kind === "leave") process.exit(0);
      if (frame.kind === "abort") {
        asked = 0;
        answered = 0;
        for (let i = 0; i < window; i += 1) ask();
      } else {
        answered += 1;
        if (asked < asks) ask();
        else if (answered === asks) channel.send({ kind: "ready" });
      }
    },
    onRefused: (why) => console.error(why),
    onEnd: () => process.exit(0),
  });
}

async function benchAsks(window: number): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, FILE, "asks", String(window)], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  let done: () => void = () => undefined;
  const channel = new Channel<ToParentFrames, ToChildFrames>(child.stdio[CHANNEL_FD] as Duplex, TO_PARENT, {
    onFrame: (frame) => {
      if (frame.kind === "ask") channel.send({ kind: "answer", ask: frame.ask, value: null });
      else done();
    },
    onRefused: (why) => console.error(why),
    onEnd: () => undefined,
  });
  await measure(`asks answered, ${window} in flight (2 frames each)`, asksOf(window), () => {
    const finished = new Promise<void>((resolve) => {
      done = resolve;
    });
    channel.send({ kind: "abort", run: 1, reason: "go" });
    return finished;
  });
  channel.send({ kind: "leave" });
}

async function benchJobs(size: number): Promise<void> {
  const pool = new PreforkPool({ size, appPath: FILE, ask: async () => null, log: silentLogger });
  await pool.start();
  const jobs = Array.from({ length: JOBS }, () => poolJob("bench.noop"));
  await measure(`no-op jobs, prefork ${size} (3 frames each)`, JOBS, () => runAll(pool, jobs));
  await pool.stop(10_000);
}

if (process.argv[2] === "asks") childAsks(Number(process.argv[3]));
else if (process.argv[1] === FILE) {
  for (const window of [1, 100, 1_000]) await benchAsks(window);
  for (const size of [1, 2]) await benchJobs(size);
}
