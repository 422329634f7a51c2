/**
 * The schedule in PostgreSQL: durable schedules, cancels, claims with their ends, and counts among 10^6 rows. Each figure is the median of
 * `BENCH_ROUNDS` rounds (default 3), in a schema that is made anew for each; README.md beside says how to read them.
 *
 *     LOVAGE_TEST_POSTGRES_URL=postgres://postgres@127.0.0.1:5432/postgres node --conditions=lovage-source bench/schedule-postgres.ts
 */
import { cpus } from "node:os";
import pg from "pg";
import type { Claim, NewCallback } from "../src/schedule/callback.ts";
import { openPostgresSchedule, type PostgresScheduleStore } from "../src/schedule/stores/postgres.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);
const URL_OF_SERVER = process.env.LOVAGE_TEST_POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/postgres";
const FAR_MS = Date.UTC(2100);
/** 300 bytes of payload. */
const BODY = JSON.stringify([["x".repeat(280)], {}, {}]);

const results = new Map<string, number[]>();

function record(name: string, value: number): void {
  process.stderr.write(`${name}: ${value}\n`);
  results.set(name, [...(results.get(name) ?? []), value]);
}

function callback(dueMs: number): NewCallback {
  return { dueMs, queue: "celery", message: { task: "bench.noop", body: BODY, retries: 0 } };
}

/** So many a second, and the CPU of this process for each, in µs. */
async function measure(name: string, count: number, run: () => Promise<unknown>): Promise<void> {
  const [startMs, cpu] = [performance.now(), process.cpuUsage()];
  await run();
  const used = process.cpuUsage(cpu);
  record(`${name} /s`, (count * 1_000) / (performance.now() - startMs));
  record(`${name}, CPU µs of the client`, (used.user + used.system) / count);
}

/** `count` operations with `width` under way at any time. */
async function inFlight(count: number, width: number, run: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) await run(i);
  };
  await Promise.all(Array.from({ length: width }, lane));
}

async function round(store: PostgresScheduleStore, client: pg.Client, schema: string): Promise<void> {
  const answer = async (text: string) => Number((await client.query(text)).rows[0]?.n);
  await client.query(
    `CREATE TABLE IF NOT EXISTS "${schema}".bare (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)`,
  );
  await measure("limit: bare INSERT of one row, one at a time", 1_000, () =>
    inFlight(1_000, 1, () => client.query(`INSERT INTO "${schema}".bare (body) VALUES ($1)`, [BODY])),
  );
  await inFlight(500, 50, () => store.put([callback(FAR_MS)]));
  const ids: string[] = [];
  for (const [width, count] of [
    [1, 1_000],
    [200, 20_000],
    [2_000, 40_000],
  ] as const) {
    await measure(`schedule, ${width.toLocaleString("en")} in flight`, count, () =>
      inFlight(count, width, async () => {
        const [put] = await store.put([callback(FAR_MS)]);
        if (put !== undefined && "id" in put) ids.push(put.id);
      }),
    );
  }
  for (const [width, count] of [
    [1, 1_000],
    [200, 20_000],
    [2_000, 40_000],
  ] as const) {
    await measure(`cancel, ${width.toLocaleString("en")} in flight`, count, () =>
      inFlight(count, width, () => store.cancel({ id: ids.pop() as string })),
    );
  }
  const due = 20_000;
  for (let i = 0; i < due; i += 2_000) await store.put(Array.from({ length: 2_000 }, (_, j) => callback(i + j)));
  await measure("claim and settle, 100 slots", due, async () => {
    let ended = 0;
    let waiting: Promise<unknown>[] = [];
    // As a worker does: what settles in a turn and the claim for its slots are asked together.
    for (let claims: Claim[] = []; ended < due; ) {
      const settles = claims.map((claim) => store.settle(claim, { kind: "succeeded" }));
      const claiming = store.claimDue({ id: "bench" }, 100, 30_000);
      waiting = settles;
      claims = (await claiming).claims;
      ended += waiting.length;
    }
    await Promise.all(waiting);
  });
  await store.put([callback(0)]);
  await measure("claim and settle, one at a time", 500, async () => {
    for (let i = 0; i < 500; i++) {
      await store.put([callback(0)]);
      const { claims } = await store.claimDue({ id: "bench" }, 1, 30_000);
      await Promise.all(claims.map((claim) => store.settle(claim, { kind: "succeeded" })));
    }
  });
  const have = await answer(`SELECT count(*) AS n FROM "${schema}".callbacks`);
  for (let i = have; i < ROWS; i += 5_000) await store.put(Array.from({ length: 5_000 }, () => callback(FAR_MS)));
  await client.query(`VACUUM ANALYZE "${schema}".callbacks`);
  const rows = await answer(`SELECT count(*) AS n FROM "${schema}".callbacks`);
  record(
    "bytes each, indexes counted in",
    (await answer(`SELECT pg_total_relation_size('"${schema}".callbacks') AS n`)) / rows,
  );
  await measure(`counts() among ${ROWS.toLocaleString("en")}`, 200, () => inFlight(200, 1, () => store.counts()));
  await measure(`upcoming() among ${ROWS.toLocaleString("en")}`, 200, () => inFlight(200, 1, () => store.upcoming()));
  await measure(`sweep() among ${ROWS.toLocaleString("en")}`, 200, () =>
    inFlight(200, 1, () => store.sweep({ id: "bench" }, 200)),
  );
  await measure(`list() of 100 among ${ROWS.toLocaleString("en")}`, 50, () =>
    inFlight(50, 1, () => store.list({ limit: 100 })),
  );
}

const client = new pg.Client({ connectionString: URL_OF_SERVER });
await client.connect();
const { rows } = await client.query("SELECT current_setting('server_version') AS version");
let level = "";
try {
  for (let i = 0; i < ROUNDS; i++) {
    const schema = `lovage_bench_${process.pid}_${i}`;
    const url = new URL(URL_OF_SERVER);
    url.searchParams.set("schema", schema);
    const store = await openPostgresSchedule(url.href);
    level = store.durability;
    try {
      await round(store, client, schema);
    } finally {
      await store.close();
      await client.query(`DROP SCHEMA "${schema}" CASCADE`);
    }
  }
} finally {
  await client.end();
}

console.log(
  `\n${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.version}, PostgreSQL ${rows[0]?.version}, ${level}, median [least - most] of ${ROUNDS}`,
);
for (const [name, values] of results) {
  const sorted = values.toSorted((a, b) => a - b);
  const show = (value: number | undefined = Number.NaN) =>
    value >= 100 ? Math.round(value).toLocaleString("en") : String(Math.round(value * 100) / 100);
  console.log(
    `  ${name.padEnd(58)} ${show(sorted[Math.floor(sorted.length / 2)])} [${show(sorted[0])} - ${show(sorted.at(-1))}]`,
  );
}
