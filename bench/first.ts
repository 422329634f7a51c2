/**
 * The first figures of the embedded default: durable schedules and cancels a second, lateness of starts, no-op tasks a
 * second, memory with much pending. Each is the median of `ROUNDS` alternating rounds; README.md beside says how to read them.
 *
 *     node --conditions=lovage-source bench/first.ts
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as wait } from "node:timers/promises";
import { WorkerProcess } from "./worker-process.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const AMQP_URL = process.env.LOVAGE_TEST_AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672//";
const FAR = "30d";

const folder = mkdtempSync(join(tmpdir(), "lovage-bench-"));
const results = new Map<string, number[]>();

function record(name: string, value: number): void {
  process.stderr.write(`${name}: ${value}\n`);
  results.set(name, [...(results.get(name) ?? []), value]);
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

/** Settings of one measurement, in a file of its own; for this process and for the worker. */
function setUp(name: string, extra: Record<string, string> = {}): Record<string, string> {
  const url = `sqlite:${join(folder, `${name}.db`)}`;
  const env = {
    LOVAGE_BROKER_URL: url,
    LOVAGE_SCHEDULE_URL: url,
    LOVAGE_RESULT_BACKEND: url,
    BENCH_LEDGER: join(folder, `${name}.ledger`),
    BENCH_QUEUE: `lovage-bench-${process.pid}`,
    ...extra,
  };
  Object.assign(process.env, env);
  return env;
}

/** A fresh copy of the tasks, made with the settings that stand now. */
async function freshTasks(name: string): Promise<typeof import("./tasks.ts")> {
  return (await import(`./tasks.ts?${name}`)) as typeof import("./tasks.ts");
}

function ledgerLines(name: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.startsWith(`${name}.ledger.`))
    .flatMap((file) => readFileSync(join(folder, file), "utf8").trim().split("\n"));
}

async function perSecond(count: number, run: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await run();
  return (count * 1_000) / (performance.now() - startMs);
}

/** The limit of a durable write one at a time: SQLite itself, a row of 300 B in a file of the same kind, no thread between. */
async function oneFsync(round: number): Promise<void> {
  const db = new DatabaseSync(join(folder, `limit-${round}.db`));
  db.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (n INTEGER PRIMARY KEY, body TEXT)");
  const insert = db.prepare("INSERT INTO t (body) VALUES (?)");
  const body = "x".repeat(300);
  record(
    "limit: one fsync each, bare SQLite /s",
    await perSecond(1_000, async () => {
      for (let i = 0; i < 1_000; i += 1) insert.run(body);
    }),
  );
  db.close();
}

/** One after the other, and with many in flight; then take them all back. */
async function schedules(round: number): Promise<void> {
  const name = `schedules-${round}`;
  setUp(name);
  const { app, lateness } = await freshTasks(name);
  for (let i = 0; i < 300; i += 1) await lateness.callAfter(FAR, [i]);
  const one = await perSecond(1_000, async () => {
    for (let i = 0; i < 1_000; i += 1) await lateness.callAfter(FAR, [i]);
  });
  record("schedule, one at a time /s", one);
  const ids: string[] = [];
  const many = await perSecond(20_000, async () => {
    for (let i = 0; i < 20; i += 1) {
      const batch = await Promise.all(Array.from({ length: 1_000 }, () => lateness.callAfter(FAR, [i])));
      ids.push(...batch.map((each) => each.id));
    }
  });
  record("schedule, 1,000 in flight /s", many);
  const cancels = await perSecond(ids.length, async () => {
    for (let i = 0; i < ids.length; i += 1_000) {
      await Promise.all(ids.slice(i, i + 1_000).map((id) => app.schedule.cancel({ id })));
    }
  });
  record("cancel, 1,000 in flight /s", cancels);
  await app.close();
}

/** 5,000 callbacks spread over 10 s, prefork 2. */
async function startLateness(round: number): Promise<void> {
  const name = `lateness-${round}`;
  const env = setUp(name);
  const { app, lateness } = await freshTasks(name);
  const worker = new WorkerProcess(env, ["-c", "2"]);
  await worker.ready;
  const firstMs = Date.now() + 3_000;
  await Promise.all(
    Array.from({ length: 5_000 }, (_, i) => lateness.callAt(new Date(firstMs + i * 2), [firstMs + i * 2])),
  );
  await wait(firstMs + 10_000 + 3_000 - Date.now());
  await app.close();
  await worker.stop();
  const late = ledgerLines(name)
    .map(Number)
    .sort((a, b) => a - b);
  record("lateness p50 ms", quantile(late, 0.5));
  record("lateness p99 ms", quantile(late, 0.99));
  record("lateness max ms", quantile(late, 1));
  record("early starts", late.filter((each) => each < 0).length);
  record("starts of 5,000", late.length);
}

/** No-op tasks that wait already when the worker starts, prefork 2, results off. */
async function noops(round: number, label: string, brokerUrl?: string): Promise<void> {
  const name = `noop-${label}-${round}`;
  const count = 20_000;
  const env = setUp(name, brokerUrl === undefined ? {} : { LOVAGE_BROKER_URL: brokerUrl });
  const { app, noop } = await freshTasks(name);
  const published = await perSecond(count, async () => {
    for (let i = 0; i < count; i += 1_000) await Promise.all(Array.from({ length: 1_000 }, () => noop.delay()));
  });
  record(`publish, ${label}, 1,000 in flight /s`, published);
  const worker = new WorkerProcess(env, ["-c", "2"]);
  await worker.ready;
  const connection = await app.producer.connection();
  while ((await connection.depth(env.BENCH_QUEUE ?? "")) !== 0) await wait(100);
  await wait(300);
  await worker.stop();
  await app.close();
  const notes = ledgerLines(name).map((line) => line.split(" ").map(Number) as [number, number]);
  const times = notes.map(([ms]) => ms).sort((a, b) => a - b);
  const tasks = notes.length * 50;
  record(`no-op tasks, ${label}, prefork 2 /s`, (tasks * 1_000) / ((times.at(-1) ?? 0) - (times[0] ?? 0)));
}

/** Memory and idle CPU of a worker, prefork 2, with nothing and with 200,000 pending. */
async function memory(): Promise<void> {
  const env = setUp("memory");
  const { app, lateness } = await freshTasks("memory");
  await lateness.callAfter(FAR, [0]);
  for (const [label, pending] of [
    ["0", 0],
    ["200,000", 200_000],
  ] as const) {
    for (let i = 0; i < pending; i += 2_000) {
      await Promise.all(Array.from({ length: 2_000 }, () => lateness.callAfter(FAR, [i])));
    }
    const worker = new WorkerProcess(env, ["-c", "2"]);
    await worker.ready;
    await wait(5_000);
    const cpu = worker.cpuSeconds();
    await wait(10_000);
    record(`idle CPU of the main process, ${label} pending %`, (worker.cpuSeconds() - cpu) * 10);
    const { main, children } = worker.rssMb();
    record(`RSS of the main process, ${label} pending MB`, main);
    record(`RSS of its two children, ${label} pending MB`, children);
    await worker.stop();
  }
  await app.close();
}

/** `BENCH_ONLY=lateness,memory` takes some of them. */
const MEASUREMENTS: Readonly<Record<string, (round: number) => Promise<void>>> = {
  limit: (round) => oneFsync(round),
  schedules: (round) => schedules(round),
  lateness: (round) => startLateness(round),
  sqlite: (round) => noops(round, "sqlite"),
  rabbitmq: (round) => noops(round, "RabbitMQ", AMQP_URL),
};
const wanted = process.env.BENCH_ONLY?.split(",");
const isWanted = (name: string) => wanted === undefined || wanted.includes(name);

try {
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, measure] of Object.entries(MEASUREMENTS)) if (isWanted(name)) await measure(round);
  }
  if (isWanted("memory")) await memory();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

console.log(
  `\n${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.version}, strict (fsync), median [least - most]`,
);
for (const [name, values] of results) {
  const sorted = values.toSorted((a, b) => a - b);
  const show = (value: number) =>
    value >= 100 ? Math.round(value).toLocaleString("en") : String(Math.round(value * 100) / 100);
  const spread = sorted.length === 1 ? "" : ` [${show(sorted[0] ?? 0)} - ${show(sorted.at(-1) ?? 0)}]`;
  console.log(`  ${name.padEnd(52)} ${show(quantile(sorted, 0.5))}${spread}`);
}
