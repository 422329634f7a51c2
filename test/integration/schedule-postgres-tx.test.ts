/** `tx`: an order and its reminder are committed together, or not at all. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { describe, test } from "node:test";
import pg from "pg";
import { Lovage } from "../../src/app/app.ts";
import { putInTransaction, type Transaction } from "../../src/schedule/stores/postgres/tx.ts";
import { openPostgresSchedule } from "../../src/schedule/stores/postgres.ts";
import { claimOne, dueAt } from "../../src/testing/schedule-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { connectPlain, needPostgres, ownSchema } from "../support/postgres.ts";
import { runCli, startWorker } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const { skip } = await needPostgres();
const FAR_MS = Date.UTC(2100);
const APP = join(import.meta.dirname, "../support/apps/tx-app.ts");

/** What postgres.js gives to the function of `sql.begin`: rows, and json as objects. */
function likePostgresJs(client: pg.Client): Transaction {
  const sql = () => assert.fail("not as a template");
  return Object.assign(sql, {
    unsafe: async (text: string, values: unknown[]) => (await client.query(text, values)).rows,
    savepoint: () => undefined,
  });
}

async function opened(t: TestContext) {
  const { url, schema } = ownSchema(t);
  const app = new Lovage("shop", { broker: "memory://", schedule: url }, { env: {} });
  atEnd(t, () => app.close());
  const remind = app.task("shop.remind", async () => undefined);
  const store = await openPostgresSchedule(url);
  atEnd(t, () => store.close());
  const client = await connectPlain(url);
  atEnd(t, () => client.end());
  await client.query(`CREATE TABLE "${schema}".orders (n integer)`);
  const orders = async () => Number((await client.query(`SELECT count(*) AS n FROM "${schema}".orders`)).rows[0]?.n);
  const order = `INSERT INTO "${schema}".orders VALUES (1)`;
  return { url, schema, app, remind, store, client, order, orders };
}

describe("scheduling in the caller's own transaction", { skip }, () => {
  for (const kind of ["pg", "postgres.js"] as const) {
    test(`with ${kind}: both are there after a commit, neither after a rollback, and nobody sees it before`, async (t) => {
      const { remind, store, client, order, orders } = await opened(t);
      const tx = kind === "pg" ? client : likePostgresJs(client);

      await client.query("BEGIN");
      await client.query(order);
      const gone = await remind.callAfter("1h", [], { key: "order:1", tags: ["customer:7"], tx });
      assert.deepEqual(await store.counts(), {});
      await client.query("ROLLBACK");
      assert.deepEqual([await orders(), await store.counts(), await store.get({ id: gone.id })], [0, {}, undefined]);

      await client.query("BEGIN");
      await client.query(order);
      const kept = await remind.callAfter("1h", [], { key: "order:1", tags: ["customer:7"], tx });
      assert.equal(kept.put, "added");
      await client.query("COMMIT");
      assert.deepEqual([await orders(), await store.counts()], [1, { scheduled: 1 }]);
      assert.deepEqual(
        (await store.list({ tags: ["customer:7"], limit: 2 })).callbacks.map(({ id }) => id),
        [kept.id],
      );
      assert.equal(await kept.cancel(), "cancelled");
    });
  }

  test("keys mean what they mean everywhere: kept, replaced, refused, too late", async (t) => {
    const { remind, store, client } = await opened(t);
    const { id } = await remind.callAfter("1h", [], { key: "k" });
    await client.query("BEGIN");
    assert.deepEqual(await shown(remind.callAfter("2h", [], { key: "k", tx: client })), ["existing", id]);
    assert.deepEqual(await shown(remind.callAfter("2h", [], { key: "k", onConflict: "replace", tx: client })), [
      "replaced",
      id,
    ]);
    await assert.rejects(remind.callAfter("2h", [], { key: "k", onConflict: "reject", tx: client }), {
      code: "ERR_KEY_TAKEN",
    });
    await client.query("COMMIT");
    assert.equal((await store.get({ id }))?.token, 1);

    await store.reschedule({ id }, { dueMs: 0 });
    await claimOne(store);
    await client.query("BEGIN");
    await assert.rejects(remind.callAfter("2h", [], { key: "k", onConflict: "replace", tx: client }), {
      code: "ERR_TOO_LATE",
    });
    await client.query("COMMIT");
  });

  test("a second one with the same key waits for the first to commit; what runs is kept from nobody meanwhile", async (t) => {
    const { remind, store, client } = await opened(t);
    await store.put([dueAt(0)]);
    await client.query("BEGIN");
    const { id } = await remind.callAfter("1h", [], { key: "k", tx: client });
    const waits = store.put([dueAt(FAR_MS, { key: "k" })]);
    const claim = await claimOne(store);
    await store.settle(claim, { kind: "succeeded" });
    await store.put([dueAt(FAR_MS)]);
    assert.deepEqual(await store.counts(), { scheduled: 1, succeeded: 1 });
    await client.query("COMMIT");
    assert.deepEqual((await waits)[0], { put: "existing", id, dueMs: (await store.get({ id }))?.dueMs });
    assert.deepEqual(await store.counts(), { scheduled: 2, succeeded: 1 });
  });

  test("the limit holds, and does not end the transaction; revoked and taken-over messages are recognised", async (t) => {
    const { url, store, client, order, orders } = await opened(t);
    const within = { url, namespace: "lovage", maxPending: 2 };
    await store.put([dueAt(FAR_MS)]);
    await store.revoke("t-revoked", FAR_MS);
    await client.query("BEGIN");
    await client.query(order);
    await assert.rejects(putInTransaction(client, within, [dueAt(1), dueAt(2)]), { code: "ERR_BACKPRESSURE" });
    const taken = [dueAt(FAR_MS, { taskId: "t" })];
    assert.equal((await putInTransaction(client, within, taken))[0]?.put, "added");
    assert.equal((await putInTransaction(client, within, taken))[0]?.put, "existing");
    assert.deepEqual(
      await putInTransaction(client, { ...within, maxPending: 0 }, [dueAt(1, { taskId: "t-revoked" })]),
      [{ put: "revoked" }],
    );
    assert.deepEqual(await putInTransaction(client, within, []), []);
    await client.query("COMMIT");
    assert.deepEqual([await orders(), await store.counts()], [1, { scheduled: 2 }]);
  });

  test("workers are told when it commits, and not before", async (t) => {
    const { remind, store, client } = await opened(t);
    const heard: unknown[] = [];
    let wake = () => {};
    atEnd(
      t,
      store.onChange((change) => {
        heard.push(change);
        wake();
      }),
    );
    const hears = async (count: number) => {
      while (heard.length < count) await new Promise<void>((resolve) => (wake = resolve));
    };
    await hears(1);
    await client.query("BEGIN");
    const { due } = await remind.callAfter("1h", [], { tx: client });
    await store.counts();
    assert.equal(heard.length, 1);
    await client.query("COMMIT");
    await hears(2);
    assert.deepEqual(heard[1], { dueMs: due.getTime(), queue: "celery" });
  });

  test("a namespace that nobody has used is made with it", async (t) => {
    const { url, client } = await opened(t);
    const namespace = "новый";
    await client.query("BEGIN");
    await putInTransaction(client, { url, namespace, maxPending: 0 }, [dueAt(FAR_MS)]);
    await client.query("COMMIT");
    const store = await openPostgresSchedule(url, { namespace });
    atEnd(t, () => store.close());
    assert.deepEqual(await store.counts(), { scheduled: 1 });
  });

  test("whatever an application has taught pg about types, answers are read as they are", async (t) => {
    const json = pg.types.getTypeParser(114);
    pg.types.setTypeParser(114, (text: string) => text);
    t.after(() => pg.types.setTypeParser(114, json));
    const { remind, store, client } = await opened(t);
    await client.query("BEGIN");
    const { id } = await remind.callAfter("1h", [], { tx: client });
    await client.query("COMMIT");
    assert.equal((await store.get({ id }))?.state, "scheduled");
  });

  test("what is no transaction, a database without the schedule, or another kind of schedule, is refused in one line", async (t) => {
    const { url, client, remind } = await opened(t);
    const pool = new pg.Pool({ connectionString: url });
    atEnd(t, () => pool.end());
    const invalid = { code: "ERR_INVALID_INPUT" };
    await assert.rejects(remind.callAfter("1h", [], { tx: pool as unknown as Transaction }), {
      ...invalid,
      message: /pool/,
    });
    await assert.rejects(remind.callAfter("1h", [], { tx: {} as Transaction }), {
      ...invalid,
      message: /query\(text, values\)/,
    });
    const root = Object.assign(() => undefined, { unsafe: async () => [], begin: () => undefined });
    await assert.rejects(remind.callAfter("1h", [], { tx: root }), { ...invalid, message: /sql\.begin/ });

    const elsewhere = new Lovage("shop", { broker: "memory://", schedule: `${url}_none` }, { env: {} });
    await client.query("BEGIN");
    await assert.rejects(elsewhere.schedule.callAfter("1h", elsewhere.signature("t"), { tx: client }), {
      code: "ERR_STORE_SCHEMA",
      message: /has no schedule in schema/,
    });
    await client.query("ROLLBACK");
    const sqlite = new Lovage("shop", { broker: "memory://" }, { env: {} });
    await assert.rejects(sqlite.schedule.callAfter("1h", sqlite.signature("t"), { tx: client }), {
      ...invalid,
      message: /tx needs a schedule in PostgreSQL.*memory/,
    });
  });

  test("a caller's serializable transaction that loses a race is told so by its own client, and adds nothing", async (t) => {
    const { remind, store, client } = await opened(t);
    await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
    await client.query("SELECT 1");
    await store.put([dueAt(FAR_MS, { key: "k" })]);
    await assert.rejects(remind.callAfter("1h", [], { key: "k", tx: client }), (error: { code?: string }) => {
      assert.match(error.code ?? "", /^(40001|23505)$/);
      return true;
    });
    await client.query("ROLLBACK");
    assert.deepEqual(await store.counts(), { scheduled: 1 });
  });

  test("from inside a task's process, which has no store open: in the task's own transaction", async (t) => {
    const { url, schema, store, orders } = await opened(t);
    const folder = await tempDir(t);
    const plain = new URL(url);
    plain.search = "";
    const env = {
      LOVAGE_BROKER_URL: `sqlite:${join(folder, "broker.db")}`,
      LOVAGE_SCHEDULE_URL: url,
      TX_APP_URL: plain.href,
      TX_APP_SCHEMA: schema,
    };
    const worker = startWorker(t, { app: APP, args: ["-c", "1", "-l", "info"], env });
    for (const commits of [false, true]) {
      const call = await runCli(t, ["-A", APP, "call", "shop.order", "-a", `[${commits}]`], { env });
      assert.equal(call.status, 0, call.stderr);
      await worker.waitForLine(new RegExp(`shop\\.order\\[${call.stdout.trim()}\\] succeeded`));
    }
    assert.equal((await store.get({ key: "order:true" }))?.state, "scheduled");
    assert.equal(await store.get({ key: "order:false" }), undefined);
    assert.equal(await orders(), 1);
    await worker.stop();
  });
});

async function shown(handle: Promise<{ readonly put: string; readonly id: string }>): Promise<string[]> {
  const { put, id } = await handle;
  return [put, id];
}
