/** The store's speed rests on every query finding its rows by an index: here that is read off SQLite's own plans. */
import assert from "node:assert/strict";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { test } from "node:test";
import { DEFAULT_LIMITS } from "../../../src/schedule/limits.ts";
import { newSalt } from "../../../src/schedule/salt.ts";
import { idOfRecurrence, parseRecurrenceId } from "../../../src/schedule/stores/sqlite/recurrence-rows.ts";
import { idOf, parseId, putTupleOf } from "../../../src/schedule/stores/sqlite/rows.ts";
import { tables } from "../../../src/schedule/stores/sqlite/tables.ts";
import { tables as owners } from "../../../src/sqlite/owners-tables.ts";
import type { Db } from "../../../src/sqlite/tables.ts";
import { dueAt, message } from "../../../src/testing/schedule-fixtures.ts";
import { definition, planOf } from "../../../src/testing/schedule-recurrence-fixtures.ts";

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
  const claimAll = (queues: string[] | null = null, nowMs = 5) =>
    ops.claimDue.run(db, { ns, owner: "me", queues, limit: 10, leaseMs: 10, limits }, nowMs);
  const recur = () => {
    const plan = (...all: number[]) => ({ ...planOf(...all), salts: all });
    const definitionOf = (overlap: "skip" | "queue") => JSON.stringify(definition({ overlap }, { tags: ["a"] }));
    const put = {
      ns,
      salt: 7,
      key: "k",
      onConflict: "replace",
      fingerprint: "1",
      plan: plan(100, 101),
      limits,
    } as const;
    ops.putRecurrence.run(db, { ...put, definition: definitionOf("skip") }, 0);
    assert.equal(claimAll(null, 101).claimed.length, 1);
    ops.putRecurrence.run(db, { ...put, fingerprint: "2", definition: definitionOf("queue") }, 101);
    assert.equal(claimAll(null, 101).claimed.length, 0);
    const [held] = ops.list.run(db, { ns, query: { limit: 1, states: ["scheduled"] }, after: null, limit: 1 }, 0).rows;
    ops.recoverLost.run(db, { ns, limit: 10, limits: { ...limits, lostLimit: 1 } }, 1_000);
    assert.equal(claimAll(null, 1_000).claimed[0]?.[0], held?.[0]);
    ops.release.run(db, { ns, claims: [[held?.[0] ?? 0, held?.[1] ?? 0, 1, "r-1-7"]], limits }, 1_000);
    const target = [1, 7] as const;
    ops.advance.run(db, { ns, target, from: { generation: 2, nextMs: 101 }, plan: plan(200), limits }, 1_000);
    ops.dueRecurrences.run(db, { ns, limit: 5 }, 1_000);
    ops.listRecurrences.run(db, { ns, states: [0, 1], after: 0, limit: 5 }, 0);
    ops.pause.run(db, { ns, target, limits }, 1_000);
    ops.resume.run(db, { ns, target, generation: 2, plan: plan(2_000), limits }, 1_000);
    claimAll(null, 2_000);
    assert.equal(ops.cancelRecurrence.run(db, { ns, target: ["k"], abort: true, limits }, 2_000).answer, "running");
    ops.getRecurrence.run(db, { ns, target: ["k"] }, 0);
  };

  ops.upcoming.run(db, { ns, queues: null }, 0);
  ops.get.run(db, { ns, target: [1, 5] }, 0);
  ops.get.run(db, { ns, target: ["none"] }, 0);
  ops.reschedule.run(db, { ns, target: [3, 5], dueMs: 3, lastMs: 10 }, 0);
  assert.equal(claimAll().claimed.length, 4);
  ops.renew.run(db, { ns, claims: [[1, 5, 1, null]], leaseMs: 1 }, 0);
  ops.takeAborts.run(db, { ns, owner: "me" }, 0);
  ops.settle.run(db, { ns, claim: [1, 5, 1, null], end: ["succeeded"], limits }, 0);
  ops.settle.run(db, { ns, claim: [2, 5, 2, null], end: ["crashed", "x"], limits }, 0);
  ops.settle.run(db, { ns, claim: [3, 5, 2, null], end: ["retry", 9, "t", 1, null, "b"], limits }, 0);
  ops.release.run(db, { ns, claims: [[4, 5, 1, null]], limits }, 0);
  claimAll();
  ops.unswept.run(db, { ns, queues: null }, 1_000);
  ops.unswept.run(db, { ns, queues: ["a"] }, 1_000);
  ops.recoverLost.run(db, { ns, limit: 10, limits }, 1_000);
  ops.cancel.run(db, { ns, target: ["k"], abort: true, limits }, 0);
  ops.cancel.run(db, { ns, target: [4, 5], abort: true, limits }, 0);
  ops.revoke.run(db, { ns, taskId: "t", untilMs: 10, abort: true, limits }, 0);
  ops.revoked.run(db, { ns, taskIds: ["t"] }, 0);
  recur();
  ops.serve.run(db, { ns, owner: "mail", queues: ["mail"] }, 0);
  claimAll([]);
  ops.serve.run(db, { ns, owner: "any", queues: null }, 0);
  claimAll([]);
  ops.serveNone.run(db, { ns, owner: "any" }, 0);
  for (const query of [
    { limit: 5 },
    { limit: 5, tags: ["a"] },
    { limit: 5, keyPrefix: "k" },
    { limit: 5, recurrence: "r-1-7" },
  ]) {
    ops.list.run(db, { ns, query, after: null, limit: 5 }, 0);
  }
  ops.counts.run(db, { ns }, 0);
  assert.ok(ops.forget.run(db, { ns, limit: 10 }, limits.keepKeyedMs * 2) > 0);
  tables.group?.flush(db);
  close();

  assert.ok(plans.size > 80, `only ${plans.size} queries were seen`);
  for (const [query, plan] of plans) {
    const steps = plan
      .split(" | ")
      .filter(
        (step) =>
          !/^(CORRELATED )?SCALAR SUBQUERY|^LIST SUBQUERY|^CO-ROUTINE|^SCAN \(subquery|^SCAN json_each |^SCAN pragma_index_info |^CREATE BLOOM FILTER/.test(
            step,
          ),
      );
    for (const step of steps) assert.match(step, /^$|^SEARCH .* USING /, `${query}\n${plan}`);
  }
});

test("an id has one spelling, and what is none is told from it", () => {
  for (const [n, salt] of [
    [1, 0],
    [35, 36],
    [2 ** 51, newSalt()],
    [1, 2 ** 47 - 1],
    [27, 1],
    [27 * 36 + 27, 1],
  ] as const) {
    assert.deepEqual(parseId(idOf(n, salt)), [n, salt]);
    assert.doesNotMatch(idOf(n, salt), /^r-/, "so begins the id of a recurrence");
    const id = idOfRecurrence({ n, salt });
    assert.match(id, /^r-/);
    assert.deepEqual(parseRecurrenceId(id), [n, salt]);
    assert.equal(parseId(id), undefined);
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
    "r-1",
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
