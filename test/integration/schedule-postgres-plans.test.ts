/**
 * Every operation finds its rows by an index, whatever PostgreSQL guesses: among many rows none reads more than it needs. Seen in the
 * server's own counts of what was read, in a table that was never analyzed, and with namespaces and queues that are not alike.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type pg from "pg";
import { openConnections } from "../../src/schedule/stores/postgres/open.ts";
import type { PostgresPool } from "../../src/schedule/stores/postgres/pool.ts";
import { openPostgresSchedule, PostgresScheduleStore } from "../../src/schedule/stores/postgres.ts";
import { ALICE, dueAt, ok } from "../../src/testing/schedule-fixtures.ts";
import { addRecurrence, planOf } from "../../src/testing/schedule-recurrence-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { connectPlain, needPostgres, ownSchema } from "../support/postgres.ts";

const { skip } = await needPostgres();
const MANY = 10_000;
const FAR_MS = Date.UTC(2100);
/** What one operation may read of the table's rows and index entries: far less than there are. */
const MAX_READ = 400;

describe("what an operation reads", { skip }, () => {
  test("is what it needs, among many rows of its own namespace, of others, and of other queues", async (t) => {
    const { url, schema } = ownSchema(t);
    // One connection: what it has read can be asked of it.
    const connections = await openConnections(url, { connections: 1 });
    const store = new PostgresScheduleStore(connections, undefined);
    const other = await openPostgresSchedule(url, { namespace: "other" });
    atEnd(t, async () => void (await Promise.all([store.close(), other.close()])));
    const client = await connectPlain(url);
    atEnd(t, () => client.end());
    // Plans are made while there is nothing, and kept.
    const [warm] = await store.put([dueAt(0, { key: "warm", tags: ["warm"] })]);
    await store.cancel({ id: warm !== undefined && "id" in warm ? warm.id : "" });
    await store.claimDue({ id: "a", queues: ["rare"] }, 1, 1_000);
    for (const each of [store, other]) {
      for (let i = 0; i < MANY; i += 5_000) {
        await each.put(
          Array.from({ length: 5_000 }, (_, j) => dueAt(FAR_MS, { key: `k${i + j}`, queue: "common", tags: ["t"] })),
        );
      }
    }
    await store.put([dueAt(0), dueAt(1), dueAt(2, { queue: "rare" }), dueAt(FAR_MS, { key: "mine", tags: ["mine"] })]);
    const recurrence = await addRecurrence(store, planOf(FAR_MS));

    const read = async (what: string, run: () => Promise<unknown>) => {
      const before = await readSoFar(connections.pool, client, schema);
      await run();
      const rows = (await readSoFar(connections.pool, client, schema)) - before;
      assert.ok(rows <= MAX_READ, `${what} read ${rows}`);
    };
    await read("claimDue", async () => {
      const { claims } = await store.claimDue(ALICE, 1, 60_000);
      await Promise.all(claims.map((claim) => store.settle(claim, ok)));
    });
    await read("claimDue of a queue", async () => {
      const { claims } = await store.claimDue({ id: "r", queues: ["rare"] }, 5, 60_000);
      assert.equal(claims.length, 2, "nobody serves celery, so it is anybody's");
      await store.renew(claims, 60_000);
      await store.release(claims);
    });
    // Not before: while anybody's older transaction lives on the server, what is left of them in the index of a queue is read, and counted.
    const ended = await store.put(Array.from({ length: 2_000 }, () => dueAt(FAR_MS)));
    await Promise.all(ended.map((each) => store.cancel({ id: "id" in each ? each.id : "" })));
    await read("put", () => store.put([dueAt(FAR_MS), dueAt(FAR_MS, { queue: "common" })]));
    await read("put with a key", () =>
      store.put([dueAt(FAR_MS, { key: "new" }), dueAt(FAR_MS, { key: "k7", onConflict: "replace" })]),
    );
    await read("cancel of 50", () =>
      Promise.all(Array.from({ length: 50 }, (_, i) => store.cancel({ key: `k${100 + i}` }))),
    );
    await read("get", () => store.get({ key: "mine" }));
    await read("reschedule", () => store.reschedule({ key: "mine" }, { byMs: 1 }));
    await read("upcoming", () => store.upcoming());
    await read("upcoming of a queue", () => store.upcoming({ id: "r", queues: ["rare"] }));
    await read("counts", () => store.counts());
    await read("sweep", () => store.sweep(ALICE, 100));
    await read("takeAborts", () => store.takeAborts(ALICE));
    await read("revoke", () => store.revoke("t-1", FAR_MS));
    await read("list by tag", () => store.list({ tags: ["mine"], limit: 10 }));
    await read("list of a page", () => store.list({ limit: 20 }));
    await read("list of what runs", () => store.list({ states: ["running"], limit: 20 }));
    await read("list by key", () => store.list({ keyPrefix: "mine", limit: 10 }));
    await read("list of a recurrence", () => store.list({ recurrence, limit: 10 }));
    await read("advance", () =>
      store.recurrences.advance(recurrence, { generation: 1, nextMs: FAR_MS }, planOf(FAR_MS + 1)),
    );
    await read("cancel of a recurrence", () => store.recurrences.cancel({ id: recurrence }));
  });
});

/** Rows and index entries of `callbacks` that were read by anybody; only this test is in the schema. */
async function readSoFar(pool: PostgresPool, client: pg.Client, schema: string): Promise<number> {
  // A server process tells what it has read now and then; this one, at the end of this statement.
  await pool.query("SELECT pg_stat_force_next_flush()", []);
  await client.query("SELECT pg_stat_clear_snapshot()");
  const { rows } = await client.query(
    `SELECT (SELECT seq_tup_read FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'callbacks')
       + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = $1 AND relname = 'callbacks') AS n`,
    [schema],
  );
  return Number(rows[0]?.n);
}
