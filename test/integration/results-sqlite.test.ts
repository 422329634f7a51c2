import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { ResultDocument } from "../../src/protocol/result.ts";
import { openSqliteResults, type SqliteResults } from "../../src/results/sqlite.ts";
import { atEnd } from "../support/cleanup.ts";
import { startNode } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const PROCESS = join(import.meta.dirname, "../support/apps/results-process.ts");
const HANG = { timeout: 120_000 };

const documentOf = (task_id: string, status: string, result: string): ResultDocument => ({
  task_id,
  status,
  result,
  traceback: null,
  children: null,
  date_done: null,
});

async function open(t: TestContext): Promise<{ readonly path: string; readonly results: SqliteResults }> {
  const path = join(await tempDir(t), "results.db");
  const results = await openSqliteResults(path);
  atEnd(t, () => results.close());
  return { path, results };
}

function storeElsewhere(t: TestContext, path: string, mode: string, documents: readonly ResultDocument[]) {
  const input = documents.map((document) => `${JSON.stringify(document)}\n`).join("");
  return startNode(t, PROCESS, { args: [path, mode], input });
}

test("a thousand watches are told what another process stores, a megabyte too", HANG, async (t) => {
  const { path, results } = await open(t);
  const ids = Array.from({ length: 1_000 }, () => `žluť-🐎-${randomUUID()}`);
  const large = JSON.stringify("ž".repeat(500_000));
  const told = Promise.withResolvers<void>();
  const heard = new Map<string, string[]>();
  for (const id of ids) {
    await results.watch(id, ({ task_id, status, result }) => {
      const expected = task_id === ids[0] ? large : "1";
      heard.set(task_id, [...(heard.get(task_id) ?? []), result === expected ? status : "another's"]);
      if (heard.size === ids.length) told.resolve();
    });
  }

  const documents = ids.map((id, i) => documentOf(id, "SUCCESS", i === 0 ? large : "1"));
  const other = storeElsewhere(t, path, "together", documents);
  await told.promise;

  assert.deepEqual(await other.ended, { status: 0, signal: null });
  for (const id of ids) assert.deepEqual(heard.get(id), ["SUCCESS"]);
});

test("of two processes that store at once, the first SUCCESS stands for both", HANG, async (t) => {
  const { path, results } = await open(t);
  const ids = Array.from({ length: 500 }, () => randomUUID());
  const [firstId = ""] = ids;
  const begun = Promise.withResolvers<void>();
  await results.watch(firstId, () => begun.resolve());
  const theirs = ids.map((id) => documentOf(id, "SUCCESS", '"theirs"'));
  const other = storeElsewhere(t, path, "one-by-one", theirs);
  await begun.promise;

  // From the end: somewhere we meet.
  for (const id of ids.toReversed()) await results.store(documentOf(id, "SUCCESS", '"ours"'), 0);
  const first = await Promise.all(ids.map((id) => results.get(id)));
  assert.deepEqual(await other.ended, { status: 0, signal: null });
  await Promise.all(ids.map((id) => results.store(documentOf(id, "FAILURE", '"late"'), 0)));

  const last = await Promise.all(ids.map((id) => results.get(id)));
  assert.deepEqual(last, first);
  assert.equal(last[0]?.result, '"theirs"');
  for (const document of last) assert.equal(document?.status, "SUCCESS");
});

test("what was stored is there after kill -9 of who stored it, and can be changed by others", HANG, async (t) => {
  const { path, results } = await open(t);
  const ids = Array.from({ length: 100 }, () => randomUUID());
  const [firstId = ""] = ids;
  const theirs = ids.map((id) => documentOf(id, "STARTED", "1"));
  const other = storeElsewhere(t, path, "stay", theirs);
  await other.waitForLine(/^stored 100$/);

  await other.kill9();
  for (const id of ids) assert.equal((await results.get(id))?.status, "STARTED");
  const heard: string[] = [];
  const watch = await results.watch(firstId, ({ status }) => void heard.push(status));
  await results.store(documentOf(firstId, "FAILURE", "2"), 0);

  assert.deepEqual(heard, ["STARTED", "FAILURE"]);
  watch.stop();
});
