/**
 * Eight schedulers on one store: what they ask of it for each start, how evenly they share, how late starts are. And one scheduler alone,
 * which must lose nothing by it. Medians of `BENCH_ROUNDS` rounds.
 *
 *     node --conditions=lovage-source bench/fleet.ts              BENCH_STORES=sqlite,redis,postgres  BENCH_SECONDS=20
 *     BENCH_ALONE=1 …                    tell each that it is the only one: what it would be without a pace
 *
 * Four processes with two schedulers each, 25 slots a scheduler, runs of 0 … 5 ms. Redis is a server of its own, with every write fsynced;
 * PostgreSQL is the one at BENCH_POSTGRES_URL, in a database of its own.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { NewCallback } from "../src/schedule/callback.ts";
import type { ScheduleStore } from "../src/schedule/store.ts";
import { openAt } from "./fleet-store.ts";
import type { FleetCount, FleetJob } from "./fleet-worker.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const STORES = (process.env.BENCH_STORES ?? "sqlite").split(",");
const SECONDS = Number(process.env.BENCH_SECONDS ?? 20);
const ALONE = process.env.BENCH_ALONE === "1";
const POSTGRES_URL = process.env.BENCH_POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/postgres";
const A_SECOND = 1_000;

const folder = mkdtempSync(join(tmpdir(), "lovage-fleet-"));
const results = new Map<string, number[]>();

function record(name: string, value: number): void {
  process.stderr.write(`${name}: ${Math.round(value * 1_000) / 1_000}\n`);
  results.set(name, [...(results.get(name) ?? []), value]);
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

class Fleet {
  readonly #children: ChildProcess[] = [];

  static async of(processes: number, job: FleetJob): Promise<Fleet> {
    const fleet = new Fleet();
    for (let i = 0; i < processes; i += 1) {
      fleet.#children.push(
        fork(join(import.meta.dirname, "fleet-worker.ts"), { execArgv: ["--conditions=lovage-source"] }),
      );
    }
    await fleet.ask("start", job);
    return fleet;
  }

  async ask(what: "start" | "reset" | "count" | "stop", job?: FleetJob): Promise<FleetCount[]> {
    return await Promise.all(
      this.#children.map(async (child) => {
        const answer = once(child, "message");
        child.send({ do: what, ...(job === undefined ? {} : { job }) });
        return (await answer)[0] as FleetCount;
      }),
    );
  }
}

function due(dueMs: number): NewCallback {
  return {
    dueMs,
    queue: "celery",
    message: { task: "bench.noop", body: `[[${"x".repeat(200)}], {}, {}]`, retries: 0 },
  };
}

async function putAll(store: ScheduleStore, count: number, dueOf: (i: number) => number): Promise<void> {
  for (let i = 0; i < count; i += A_SECOND) {
    const length = Math.min(A_SECOND, count - i);
    await store.put(Array.from({ length }, (_, j) => due(dueOf(i + j))));
  }
}

function told(label: string, counts: readonly FleetCount[], starts: number): void {
  const each = counts.flatMap(({ late }) => late);
  const late = each.flat().toSorted((a, b) => a - b);
  const shares = each.map((of) => of.length);
  const calls = counts.reduce((sum, of) => sum + Object.values(of.calls).reduce((a, b) => a + b, 0), 0);
  const claims = counts.reduce((sum, of) => sum + (of.calls.claimDue ?? 0), 0);
  const trips = counts.reduce((sum, of) => sum + of.trips, 0);
  record(`${label}: started of ${starts}`, late.length);
  record(`${label}: early`, late.filter((ms) => ms < 0).length);
  record(`${label}: store calls for each start`, calls / late.length);
  record(`${label}: trips for each start`, trips / late.length);
  record(`${label}: claims for each start`, claims / late.length);
  if (shares.length > 1) {
    const fair = late.length / shares.length;
    record(`${label}: least share of a fair one %`, (Math.min(...shares) / fair) * 100);
    record(`${label}: most share of a fair one %`, (Math.max(...shares) / fair) * 100);
  }
  record(`${label}: late p50 ms`, quantile(late, 0.5));
  record(`${label}: late p99 ms`, quantile(late, 0.99));
  record(`${label}: late max ms`, quantile(late, 1));
}

async function measure(label: string, url: string, processes: number, schedulers: number): Promise<void> {
  const store = await openAt(url);
  const fleet = await Fleet.of(processes, {
    url,
    schedulers,
    slots: 25,
    runMs: 5,
    alone: ALONE,
  });
  const name = `${label}, ${processes * schedulers} schedulers`;
  // Sweeps tell each of the others.
  await wait(2_500);

  const count = SECONDS * A_SECOND;
  const firstMs = Date.now() + 2_000 + count / 20;
  await putAll(store, count, (i) => firstMs + i);
  await wait(firstMs - 500 - Date.now());
  await fleet.ask("reset");
  await wait(firstMs + count + 1_500 - Date.now());
  told(`${name}, 1,000 due a second`, await fleet.ask("count"), count);

  const instantMs = Date.now() + 1_500;
  await putAll(store, A_SECOND, () => instantMs);
  await fleet.ask("reset");
  await wait(instantMs + 3_000 - Date.now());
  told(`${name}, 1,000 due at one instant`, await fleet.ask("count"), A_SECOND);

  const singleMs = Date.now() + 1_500;
  await putAll(store, 20, (i) => singleMs + i * 250);
  await fleet.ask("reset");
  await wait(singleMs + 20 * 250 + 500 - Date.now());
  told(`${name}, one due now and then`, await fleet.ask("count"), 20);

  await store.close();
  await fleet.ask("stop");
}

/** A store of its own; answers its URL, and how to be rid of it. */
const OPEN: Readonly<Record<string, (round: number) => Promise<readonly [url: string, close: () => Promise<void>]>>> = {
  sqlite: async (round) => [`sqlite:${join(folder, `${round}.db`)}`, async () => undefined],
  redis: async () => {
    const port = await freePort();
    const at = mkdtempSync(join(folder, "redis-"));
    const args = ["--port", port, "--bind", "127.0.0.1", "--dir", at, "--appendonly", "yes", "--appendfsync", "always"];
    const server = spawn("redis-server", [...args.map(String), "--save", ""], { stdio: "ignore" });
    await wait(1_000);
    return [
      `redis://127.0.0.1:${port}/0`,
      async () => {
        server.kill("SIGKILL");
        await once(server, "exit");
      },
    ];
  },
  postgres: async (round) => {
    const { default: pg } = await import("pg");
    const name = `lovage_bench_fleet_${process.pid}_${round}`;
    const admin = new pg.Client(POSTGRES_URL);
    await admin.connect();
    await admin.query(`CREATE DATABASE ${name}`);
    const url = new URL(POSTGRES_URL);
    url.pathname = `/${name}`;
    return [
      url.href,
      async () => {
        await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
        await admin.end();
      },
    ];
  },
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

try {
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const name of STORES) {
      for (const [processes, schedulers] of [
        [4, 2],
        [1, 1],
      ] as const) {
        const [url, close] = await (OPEN[name] ?? fail(name))(round * 2 + schedulers);
        try {
          await measure(name, url, processes, schedulers);
        } finally {
          await close();
        }
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function fail(name: string): never {
  throw new Error(`BENCH_STORES names ${name}; there are ${Object.keys(OPEN).join(", ")}`);
}

console.log(`\n${ROUNDS} rounds, ${SECONDS} s each; median [least - most]`);
for (const [name, values] of results) {
  const sorted = values.toSorted((a, b) => a - b);
  const show = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
  console.log(
    `  ${name.padEnd(72)} ${show(quantile(sorted, 0.5))} [${show(sorted[0] ?? 0)} - ${show(sorted.at(-1) ?? 0)}]`,
  );
}
