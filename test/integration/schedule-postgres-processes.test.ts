/** One schedule in PostgreSQL for several processes, and through a pooler. */
import assert from "node:assert/strict";
import { chmod, chown, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { freePorts } from "../../scripts/services/ports.ts";
import { serverUser } from "../../scripts/services/postgres.ts";
import { missingVariable } from "../../scripts/services/service.ts";
import { findPgbouncer } from "../../scripts/services/tools.ts";
import { openPostgresSchedule } from "../../src/schedule/stores/postgres.ts";
import { ALICE, add, BOB, dueAt, ok } from "../../src/testing/schedule-fixtures.ts";
import { addRecurrence, definition, occurrenceAt, planOf } from "../../src/testing/schedule-recurrence-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { type Needed, skipOrFail } from "../support/needed.ts";
import { connectPlain, needPostgres, ownSchema } from "../support/postgres.ts";
import { Program, startNode } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";
import { until } from "../support/until.ts";

const { skip } = await needPostgres();
const PROCESS = join(import.meta.dirname, "../support/apps/postgres-process.ts");
const LEASE_MS = 60_000;
const FAR_MS = Date.UTC(2100);

describe("several processes on one schedule in PostgreSQL", { skip }, () => {
  test("share what is due: each callback is started once, in all", async (t) => {
    const { url } = ownSchema(t);
    const store = await openPostgresSchedule(url);
    atEnd(t, () => store.close());
    const count = 2_000;
    await store.put(Array.from({ length: count }, (_, i) => dueAt(i)));
    const processes = ["a", "b", "c"].map((owner) => startNode(t, PROCESS, { args: [url, owner] }));
    for (const each of processes) assert.equal((await each.ended).status, 0, each.text);

    const started = processes.map((each) => each.lines.filter((line) => line.startsWith("started ")));
    assert.equal(started.flat().length, count);
    assert.equal(new Set(started.flat()).size, count);
    assert.deepEqual(await store.counts(), { succeeded: count });
  });

  test("50 on as many connections put the same occurrence: one row (A12); of two that claim two at once, one starts", async (t) => {
    const { url, schema } = ownSchema(t);
    const stores = await Promise.all(Array.from({ length: 10 }, () => openPostgresSchedule(url)));
    atEnd(t, async () => void (await Promise.all(stores.map((store) => store.close()))));
    const [first] = stores;
    assert.ok(first);
    const id = await addRecurrence(first, planOf(1), { definition: definition({ overlap: "skip" }) });
    const plan = planOf(occurrenceAt(2), occurrenceAt(FAR_MS));
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => stores[i % 10]?.recurrences.advance(id, { generation: 1, nextMs: 1 }, plan)),
    );
    assert.equal(answers.filter((answer) => answer?.answer === "changed").length, 1);
    assert.equal(answers.filter((answer) => answer?.answer === "stale").length, 49);
    assert.deepEqual(await first.counts(), { scheduled: 3 });

    const claimed = await Promise.all(stores.map((store, i) => store.claimDue({ id: `w${i}` }, 5, LEASE_MS)));
    // Whoever found the recurrence in another's hands left what is due for the next look.
    const rest = await first.claimDue(ALICE, 5, LEASE_MS);
    const claims = [...claimed, rest].flatMap((each) => each.claims);
    assert.equal(claims.length, 1);
    assert.deepEqual(await first.counts(), { running: 1, skipped: 1, scheduled: 1 });
    const client = await connectPlain(url);
    atEnd(t, () => client.end());
    const { rows } = await client.query(`SELECT count(*)::integer AS n FROM "${schema}".callbacks`);
    assert.equal(rows[0]?.n, 3);
  });

  test("counts equal the rows while many count at once, and are few rows themselves", async (t) => {
    const { url, schema } = ownSchema(t);
    const stores = await Promise.all(Array.from({ length: 4 }, () => openPostgresSchedule(url)));
    atEnd(t, async () => void (await Promise.all(stores.map((store) => store.close()))));
    await Promise.all(
      stores.map(async (store, lane) => {
        for (let i = 0; i < 60; i++) {
          const id = await add(store, dueAt(i % 2 === 0 ? FAR_MS : lane));
          if (i % 4 === 0) await store.cancel({ id });
          const { claims } = await store.claimDue({ id: `w${lane}` }, 2, LEASE_MS);
          await Promise.all(claims.map((claim) => store.settle(claim, ok)));
          await store.sweep(ALICE, 10);
        }
      }),
    );
    const client = await connectPlain(url);
    atEnd(t, () => client.end());
    const { rows } = await client.query(
      `SELECT count(*) FILTER (WHERE state = 0)::integer AS scheduled, count(*) FILTER (WHERE state = 3)::integer AS succeeded,
         count(*) FILTER (WHERE state = 6)::integer AS cancelled, (SELECT count(*)::integer FROM "${schema}".deltas) AS deltas
       FROM "${schema}".callbacks`,
    );
    const { deltas, ...counted } = rows[0] as Record<string, number>;
    assert.deepEqual(await stores[0]?.counts(), counted);
    assert.ok((deltas ?? 0) < 100, `${deltas} rows of differences`);
  });
});

/** For tests that go through PgBouncer. @throws in CI, when there is none */
async function needPgbouncer(): Promise<Needed & { readonly path: string }> {
  const missing = process.env[missingVariable("LOVAGE_TEST_PGBOUNCER")];
  const path = process.env.LOVAGE_TEST_PGBOUNCER ?? (await findPgbouncer())?.path;
  if (missing === undefined && path !== undefined) return { skip: false, path };
  return { ...skipOrFail(missing ?? "no pgbouncer on PATH: install pgbouncer"), path: "" };
}

const pgbouncer = await needPgbouncer();

describe("a pooler in transaction mode", { skip: skip || pgbouncer.skip }, () => {
  test("may stand between: everything works, one warning says that hints do not come through, and nothing stays locked", async (t) => {
    const direct = ownSchema(t);
    const url = await startPgbouncer(t, direct.url);
    const warned: string[] = [];
    let wake = () => {};
    const log = {
      warn: (text: string) => {
        warned.push(text);
        wake();
      },
    };
    const [one, two] = await Promise.all([openPostgresSchedule(url, { log }), openPostgresSchedule(url)]);
    atEnd(t, async () => void (await Promise.all([one.close(), two.close()])));
    one.onChange(() => undefined);
    await Promise.all(
      [one, two].map(async (store, lane) => {
        const ids = await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            add(store, dueAt(i, { tags: ["t"], ...(i % 2 ? { key: `${lane}/${i}` } : {}) })),
          ),
        );
        await store.cancel({ id: ids[49] as string });
        await store.reschedule({ id: ids[48] as string }, { dueMs: FAR_MS });
      }),
    );
    const id = await addRecurrence(one, planOf(FAR_MS));
    assert.equal((await two.recurrences.pause({ id })).answer, "changed");
    const claimed = await Promise.all([one.claimDue(ALICE, 48, LEASE_MS), two.claimDue(BOB, 48, LEASE_MS)]);
    const claims = claimed.flatMap((each) => each.claims);
    assert.equal(new Set(claims.map(({ callback }) => callback.id)).size, 96);
    await Promise.all(claims.map((claim, i) => (i % 2 ? one : two).settle(claim, ok)));
    assert.deepEqual(await one.counts(), { scheduled: 2, cancelled: 3, succeeded: 96 });
    assert.equal((await one.list({ tags: ["t"], limit: 1_000 })).callbacks.length, 100);

    while (warned.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    assert.equal(warned.length, 1);
    assert.match(warned[0] ?? "", /no notification comes through.*pooler.*within a second all the same/);
    const client = await connectPlain(direct.url);
    atEnd(t, () => client.end());
    const locks =
      "SELECT count(*)::integer AS n FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()";
    // Tests beside this one lock the same database, for moments.
    await until(async () => (await client.query(locks)).rows[0]?.n === 0);
  });
});

/** A PgBouncer of the test's own before the test's server; the URL through it. */
async function startPgbouncer(t: TestContext, url: string): Promise<string> {
  const [port] = (await freePorts(1)) as [number];
  const folder = await tempDir(t);
  const server = new URL(url);
  const ini = join(folder, "pgbouncer.ini");
  const users = join(folder, "users.txt");
  await writeFile(users, `"${server.username || "postgres"}" "${decodeURIComponent(server.password)}"\n`);
  await writeFile(
    ini,
    `[databases]
* = host=${server.hostname} port=${server.port || 5432} pool_size=3
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
auth_type = trust
auth_file = ${users}
pool_mode = transaction
unix_socket_dir =
max_client_conn = 100
`,
  );
  const user = serverUser();
  for (const path of [folder, ini, users]) {
    if (user !== undefined) await chown(path, user.uid, user.gid);
    await chmod(path, path === folder ? 0o755 : 0o644);
  }
  const args = [pgbouncer.path, ini];
  const [command = "", ...rest] =
    user === undefined ? args : ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", ...args];
  const program = new Program(t, command, { args: rest });
  await program.waitForLine(/process up/);
  server.hostname = "127.0.0.1";
  server.port = String(port);
  return server.href;
}
