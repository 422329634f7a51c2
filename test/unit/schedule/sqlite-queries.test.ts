/** The store's speed rests on every query finding its rows by an index: here that is read off SQLite's own plans. */
import assert from "node:assert/strict";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { test } from "node:test";
import { DEFAULT_LIMITS } from "../../../src/schedule/limits.ts";
import { idOf, parseId, putTupleOf } from "../../../src/schedule/stores/sqlite/rows.ts";
import { newSalt } from "../../../src/schedule/stores/sqlite/salt.ts";
import { tables } from "../../../src/schedule/stores/sqlite/tables.ts";
import { tables as owners } from "../../../src/sqlite/owners-tables.ts";
import type { Db } from "../../../src/sqlite/tables.ts";
import { dueAt, message } from "../../../src/testing/schedule-fixtures.ts";

/** A database in memory that notes the plan of every query. */
function planning() {
  const db = new DatabaseSync(":memory:");
  for (const script of [...owners.migrations, ...tables.migrations]) db.exec(script);
  const plans = new Map<string, string>();
  const prepare = (text: string, arrays: boolean): StatementSync => {
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${text}`).all();
    plans.set(text, plan.map(({ detail }) => detail).join(" | "));
    const statement = db.prepare(text);
    if (arrays) statement.setReturnArrays(true);
    return statement;
  };
  const own: Db = { sql: (text) => prepare(text, false), rows: (text) => prepare(text, true) };
  return { db: own, plans, close: () => db.close() };
}

test("every query of the schedule finds its rows by an index, and sorts none of them", () => {
  const { db, plans, close } = planning();
  const limits = DEFAULT_LIMITS;
  const { ops } = tables;
  const ns = ops.open.run(db, "x", 0);
  const put = (of: object) => ops.put.run(db, { ns, maxPending: 100, callbacks: [putTupleOf(dueAt(0, of), 5)] }, 0);
  for (const each of [{}, { key: "k" }, { key: "k", onConflict: "replace" }, { taskId: "t", tags: ["a"] }]) put(each);
  put({ message: message({ body: "x".repeat(5_000) }) });
  const claimAll = () => ops.claimDue.run(db, { ns, owner: "me", limit: 10, leaseMs: 10, limits }, 5);

  ops.nextDue.run(db, { ns }, 0);
  ops.get.run(db, { ns, target: [1, 5] }, 0);
  ops.get.run(db, { ns, target: ["none"] }, 0);
  ops.reschedule.run(db, { ns, target: [3, 5], dueMs: 3, lastMs: 10 }, 0);
  assert.equal(claimAll().claimed.length, 4);
  ops.renew.run(db, { ns, claims: [[1, 5, 1]], leaseMs: 1 }, 0);
  ops.takeAborts.run(db, { ns, owner: "me" }, 0);
  ops.settle.run(db, { ns, claim: [1, 5, 1], end: ["succeeded"], limits }, 0);
  ops.settle.run(db, { ns, claim: [2, 5, 2], end: ["crashed", "x"], limits }, 0);
  ops.settle.run(db, { ns, claim: [3, 5, 2], end: ["retry", 9, "t", 1, null, "b"], limits }, 0);
  ops.release.run(db, { ns, claims: [[4, 5, 1]], limits }, 0);
  claimAll();
  ops.unswept.run(db, { ns }, 1_000);
  ops.recoverLost.run(db, { ns, limit: 10, limits }, 1_000);
  ops.cancel.run(db, { ns, target: ["k"], abort: true, limits }, 0);
  ops.cancel.run(db, { ns, target: [4, 5], abort: true, limits }, 0);
  ops.revoke.run(db, { ns, taskId: "t", untilMs: 10, abort: true, limits }, 0);
  ops.revoked.run(db, { ns, taskIds: ["t"] }, 0);
  for (const query of [{ limit: 5 }, { limit: 5, tags: ["a"] }, { limit: 5, keyPrefix: "k" }]) {
    ops.list.run(db, { ns, query, after: null, limit: 5 }, 0);
  }
  ops.counts.run(db, { ns }, 0);
  assert.ok(ops.forget.run(db, { ns, limit: 10 }, limits.keepKeyedMs * 2) > 0);
  tables.group?.flush(db);
  close();

  assert.ok(plans.size > 50, `only ${plans.size} queries were seen`);
  for (const [query, plan] of plans) {
    const steps = plan
      .split(" | ")
      .filter((step) => !/^(CORRELATED )?SCALAR SUBQUERY|^LIST SUBQUERY|^CO-ROUTINE|^SCAN \(subquery/.test(step));
    for (const step of steps) assert.match(step, /^$|^SEARCH .* USING /, `${query}\n${plan}`);
  }
});

test("an id has one spelling, and what is none is told from it", () => {
  for (const [n, salt] of [
    [1, 0],
    [35, 36],
    [2 ** 51, newSalt()],
    [1, 2 ** 47 - 1],
  ] as const) {
    assert.deepEqual(parseId(idOf(n, salt)), [n, salt]);
  }
  for (const wrong of [
    "",
    "-",
    "1",
    "1-",
    "-1",
    "01-1",
    "1-01",
    "A-1",
    "1-1-1",
    " 1-1",
    "1-1\n",
    "zzzzzzzzzzz-1",
    "1.0-1",
  ]) {
    assert.equal(parseId(wrong), undefined, JSON.stringify(wrong));
  }
});

test("salts differ, and SQLite keeps each in six bytes", () => {
  const salts = Array.from({ length: 5_000 }, newSalt);
  assert.equal(new Set(salts).size, salts.length);
  assert.ok(salts.every((salt) => Number.isSafeInteger(salt) && salt >= 0 && salt < 2 ** 47));
  assert.ok(
    salts.some((salt) => salt >= 2 ** 46),
    "the highest bit is used",
  );
});
