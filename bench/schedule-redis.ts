/**
 * The schedule in Redis: schedules and cancels a second with 1, 200 and 2,000 in flight, claims with their ends, bytes of a pending
 * callback, how long a script of 200 keeps the server busy. At two levels of durability, each on a private server. Beside it BullMQ,
 * where it is installed (`npm install` in this folder): the same server, window, count and payload, in alternating rounds.
 *
 *     node --conditions=lovage-source bench/schedule-redis.ts
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { freePorts } from "../scripts/services/ports.ts";
import type { Claim, NewCallback } from "../src/schedule/callback.ts";
import { openRedisSchedule, type RedisScheduleStore } from "../src/schedule/stores/redis.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const WINDOWS = [
  { inFlight: 1, count: 1_500 },
  { inFlight: 200, count: 20_000 },
  { inFlight: 2_000, count: 40_000 },
] as const;
const LEVELS = { memory: ["no", "no"], strict: ["yes", "always"] } as const;
const PENDING = 100_000;
const DUE = 40_000;
/** 300 bytes in all. */
const BODY = JSON.stringify([["x".repeat(286)], {}, {}]);
const FAR_MS = Date.now() + 30 * 86_400_000;

const folder = mkdtempSync(join(tmpdir(), "lovage-bench-redis-"));
const results = new Map<string, number[]>();

function record(name: string, value: number): void {
  process.stderr.write(`${name}: ${Math.round(value).toLocaleString("en")}\n`);
  results.set(name, [...(results.get(name) ?? []), value]);
}

/** One server for a round: each contender finds it empty. */
async function startServer(level: keyof typeof LEVELS): Promise<{ url: string; client: Redis; stop(): Promise<void> }> {
  const [port] = (await freePorts(1)) as [number];
  const [appendonly, appendfsync] = LEVELS[level];
  const settings = {
    port,
    bind: "127.0.0.1",
    dir: folder,
    save: "",
    appendonly,
    appendfsync,
    appenddirname: `aof-${port}`,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn("redis-server", args, { stdio: "ignore" });
  const client = new Redis(port, { maxRetriesPerRequest: null });
  client.on("error", () => undefined);
  await client.ping();
  const stop = async () => {
    client.disconnect();
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
  };
  return { url: `redis://127.0.0.1:${port}`, client, stop };
}

/** As many at a time as the window has; each that ends begins another. */
async function perSecond(count: number, inFlight: number, run: (i: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const lane = async () => {
    while (next < count) await run(next++);
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: inFlight }, lane));
  return (count * 1_000) / (performance.now() - startMs);
}

/** Figures double or halve when a core is busy elsewhere; what was computed does not. */
function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

async function serverCpuUs(client: Redis): Promise<number> {
  const info = await client.info("cpu");
  const seconds = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1] ?? 0);
  return (seconds("used_cpu_user") + seconds("used_cpu_sys")) * 1e6;
}

function callback(dueMs: number): NewCallback {
  return { dueMs, queue: "celery", message: { task: "shop.remind", body: BODY, retries: 0 } };
}

interface Contender {
  readonly name: string;
  schedule(i: number): Promise<void>;
  cancel(i: number): Promise<unknown>;
  close(): Promise<void>;
}

async function lovage(url: string): Promise<Contender> {
  const store = await openRedisSchedule(url);
  const ids: string[] = [];
  return {
    name: "lovage",
    schedule: async (i) => {
      const [answer] = await store.put([callback(FAR_MS + i)]);
      if (answer?.put === "added") ids[i] = answer.id;
    },
    cancel: (i) => store.cancel({ id: ids[i] ?? "" }),
    close: () => store.close(),
  };
}

/** What is used of it: it is no dependency of the tree. */
interface BullQueue {
  waitUntilReady(): Promise<unknown>;
  add(name: string, data: object, options: object): Promise<{ id: string }>;
  remove(id: string): Promise<unknown>;
  close(): Promise<void>;
}

async function bullmq(url: string): Promise<Contender | undefined> {
  const name = "bullmq";
  const module = (await import(name).catch(() => undefined)) as
    | { Queue: new (name: string, options: object) => BullQueue }
    | undefined;
  if (module === undefined) return undefined;
  const queue = new module.Queue("bench", { connection: { url }, skipMetasUpdate: true });
  await queue.waitUntilReady();
  const ids: string[] = [];
  const data = { args: "x".repeat(300 - '{"args":""}'.length) };
  return {
    name: "bullmq",
    schedule: async (i) => {
      ids[i] = (await queue.add("shop.remind", data, { delay: FAR_MS + i - Date.now() })).id;
    },
    cancel: (i) => queue.remove(ids[i] ?? ""),
    close: () => queue.close(),
  };
}

async function rates(level: keyof typeof LEVELS, open: (url: string) => Promise<Contender | undefined>): Promise<void> {
  for (const { inFlight, count } of WINDOWS) {
    // One fsync a trip: fewer are enough.
    const some = level === "strict" && inFlight === 1 ? count / 3 : count;
    const server = await startServer(level);
    const contender = await open(server.url);
    if (contender === undefined) {
      await server.stop();
      return;
    }
    const name = `${contender.name}, ${level}, ${inFlight.toLocaleString("en")} in flight`;
    for (const [what, run] of [
      ["schedules", (i: number) => contender.schedule(i)],
      ["cancels", (i: number) => contender.cancel(i)],
    ] as const) {
      const before = [cpuUs(), await serverCpuUs(server.client)] as const;
      record(`${name}: ${what} /s`, await perSecond(some, inFlight, run));
      record(`${name}: CPU of the client, µs each of ${what}`, (cpuUs() - before[0]) / some);
      record(`${name}: CPU of the server, µs each of ${what}`, ((await serverCpuUs(server.client)) - before[1]) / some);
    }
    await contender.close();
    await server.stop();
  }
}

async function bytesEach(open: (url: string) => Promise<Contender | undefined>): Promise<void> {
  const server = await startServer("memory");
  const contender = await open(server.url);
  if (contender !== undefined) {
    const used = async () => Number(/used_memory:(\d+)/.exec(await server.client.info("memory"))?.[1]);
    const before = await used();
    await perSecond(PENDING, 2_000, (i) => contender.schedule(i));
    record(`${contender.name}: bytes of a pending callback, 300 of them payload`, ((await used()) - before) / PENDING);
    await contender.close();
  }
  await server.stop();
}

/** Claims of 200 from 40,000 that are due, each settled; and the time that scripts of 200 take. */
async function claims(level: keyof typeof LEVELS): Promise<void> {
  const server = await startServer(level);
  const store: RedisScheduleStore = await openRedisSchedule(server.url);
  const scriptUs = async (what: string, run: () => Promise<unknown>) => {
    await server.client.config("RESETSTAT");
    await run();
    const stats = await server.client.info("commandstats");
    record(
      `lovage, ${level}: ${what}, µs a script`,
      Number(/cmdstat_evalsha:.*?usec_per_call=([\d.]+)/.exec(stats)?.[1]),
    );
  };
  const owner = { id: "bench" };
  // The server knows each script before it is measured.
  await store.put([callback(0), callback(FAR_MS)]);
  const [first] = (await store.claimDue(owner, 1, 60_000)).claims;
  if (first !== undefined) await store.settle(first, { kind: "succeeded" });
  await store.cancel({ key: "none" });
  await store.list({ task: "none", limit: 1 });
  await store.sweep(owner, 1);
  await scriptUs("put of 200", () => store.put(Array.from({ length: DUE }, (_, i) => callback(i))));
  let done = 0;
  const startMs = performance.now();
  for (;;) {
    const { claims: claimed } = await store.claimDue(owner, 200, 60_000);
    if (claimed.length === 0) break;
    await Promise.all(claimed.map((claim) => store.settle(claim, { kind: "succeeded" })));
    done += claimed.length;
  }
  record(`lovage, ${level}: claims of 200, settled /s`, (done * 1_000) / (performance.now() - startMs));
  await store.put(Array.from({ length: 20_000 }, (_, i) => callback(i)));
  const held: Claim[] = [];
  await scriptUs("claim of 200", async () => {
    for (let i = 0; i < 50; i++) held.push(...(await store.claimDue(owner, 200, 60_000)).claims);
  });
  await scriptUs("settle of 200", () => Promise.all(held.map((claim) => store.settle(claim, { kind: "succeeded" }))));
  const { callbacks } = await store.list({ states: ["scheduled"], limit: 1_000 });
  await scriptUs("cancel of 200", () => Promise.all(callbacks.map(({ id }) => store.cancel({ id }))));
  await scriptUs("list that looks at 500", () => store.list({ task: "none", limit: 1_000 }));
  await scriptUs("sweep with nothing to do", () => store.sweep(owner, 100));
  await store.close();
  await server.stop();
}

try {
  for (let round = 0; round < ROUNDS; round++) {
    for (const level of ["memory", "strict"] as const) {
      await rates(level, lovage);
      await rates(level, bullmq);
      await claims(level);
    }
    await bytesEach(lovage);
    await bytesEach(bullmq);
    await wait(500);
  }
  for (const [name, values] of results) {
    const sorted = values.toSorted((a, b) => a - b);
    const shown = [sorted[Math.floor(sorted.length / 2)], sorted[0], sorted.at(-1)].map((each) =>
      Math.round(each ?? 0).toLocaleString("en"),
    );
    console.log(`| ${name} | ${shown[0]} | ${shown[1]} - ${shown[2]} |`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
