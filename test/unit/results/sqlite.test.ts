import assert from "node:assert/strict";
import { test } from "node:test";
import type { ResultDocument } from "../../../src/protocol/result.ts";
import { SqliteResults } from "../../../src/results/sqlite.ts";
import type { SqliteFile } from "../../../src/sqlite/file.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

interface Asked {
  readonly op: string;
  readonly params: { readonly taskIds?: readonly string[] };
}

/** A file that answers what the test puts into it, and counts who listens. */
class FakeFile {
  readonly path = "/fake.db";
  readonly durability = "strict";
  readonly asked: Asked[] = [];
  readonly listeners = new Set<() => void>();
  /** Number and result text by task id, as another process would have committed them. */
  readonly rows = new Map<string, readonly [n: number, result: string]>();
  failure: Error | undefined;
  /** While set, answers wait for it. */
  gate: Promise<void> | undefined;

  use() {
    return { call: (op: string, params: unknown) => this.#call(op, params) };
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  notice(): void {
    for (const listener of this.listeners) listener();
  }

  async close(): Promise<void> {}

  async #call(op: string, params: unknown): Promise<unknown> {
    this.asked.push({ op, params: params as Asked["params"] });
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
    if (op === "get") return this.#row(params as string, 0) ?? null;
    const { taskIds, seen } = params as { taskIds: readonly string[]; seen: readonly number[] };
    const rows = taskIds.flatMap((taskId, index) => {
      const row = this.#row(taskId, seen[index] ?? 0);
      return row === undefined ? [] : [[index, row]];
    });
    return { rows, whole: true, upTo: 0 };
  }

  #row(taskId: string, seen: number) {
    const row = this.rows.get(taskId);
    if (row === undefined || row[0] <= seen) return undefined;
    const rest = { task_id: taskId, status: "SUCCESS", traceback: null, children: null, date_done: null };
    return [row[0], JSON.stringify(rest), row[1], null, null];
  }
}

function setUp() {
  const file = new FakeFile();
  const clock = new FakeClock();
  const warnings: string[] = [];
  const log = { warn: (message: string) => void warnings.push(message) };
  const results = new SqliteResults(file as unknown as SqliteFile, { clock, log });
  const heard: string[] = [];
  const hear = ({ task_id, result }: ResultDocument) => void heard.push(`${task_id} ${result}`);
  return { file, clock, warnings, results, heard, hear };
}

/** Let promises settle. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test("a notice is one question for all that is watched, and nobody listens or asks while nothing is", async () => {
  const { file, clock, results, heard, hear } = setUp();
  assert.equal(file.listeners.size, 0);
  const watches = await Promise.all(["a", "b", "c"].map((id) => results.watch(id, hear)));
  assert.equal(file.listeners.size, 1);
  file.asked.length = 0;
  file.rows.set("b", [7, "1"]);

  file.notice();
  await settled();

  assert.deepEqual(
    file.asked.map(({ op, params }) => [op, params.taskIds]),
    [["changes", ["a", "b", "c"]]],
  );
  assert.deepEqual(heard, ["b 1"]);
  file.notice();
  await settled();
  assert.deepEqual(heard, ["b 1"], "a change is told once");

  for (const watch of watches) watch.stop();
  file.asked.length = 0;
  assert.deepEqual([file.listeners.size, clock.pending], [0, 0]);
  await clock.advance(10_000);
  assert.deepEqual(file.asked, []);
  await results.close();
});

test("a change whose notice is lost is told within a second", async () => {
  const { file, clock, results, heard, hear } = setUp();
  const watch = await results.watch("a", hear);
  file.rows.set("a", [1, "1"]);

  await clock.advance(999);
  assert.deepEqual(heard, []);
  await clock.advance(1);

  assert.deepEqual(heard, ["a 1"]);
  watch.stop();
  await results.close();
});

test("notices that come while one is answered are answered by one more question", async () => {
  const { file, results, heard, hear } = setUp();
  const watch = await results.watch("a", hear);
  const gate = Promise.withResolvers<void>();
  file.gate = gate.promise;
  file.asked.length = 0;
  file.notice();
  for (let i = 0; i < 100; i++) file.notice();
  file.rows.set("a", [1, "1"]);

  file.gate = undefined;
  gate.resolve();
  await settled();

  assert.equal(file.asked.length, 2);
  assert.deepEqual(heard, ["a 1"]);
  watch.stop();
  await results.close();
});

test("what cannot be read is said once, tried again, and told when it can be", async () => {
  const { file, clock, warnings, results, heard, hear } = setUp();
  const watch = await results.watch("a", hear);
  file.rows.set("a", [1, "1"]);
  file.failure = new Error("locked");

  await clock.advance(3_000);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /locked/);
  file.failure = undefined;
  await clock.advance(1_000);

  assert.deepEqual(heard, ["a 1"]);
  file.failure = new Error("locked again");
  await clock.advance(1_000);
  assert.equal(warnings.length, 2);
  watch.stop();
  await results.close();
});

test("a watch whose first read fails is refused and leaves nothing behind", async () => {
  const { file, clock, results, hear } = setUp();
  file.failure = new Error("locked");

  await assert.rejects(results.watch("a", hear), /locked/);

  assert.deepEqual([file.listeners.size, clock.pending], [0, 0]);
  await results.close();
});

test("a watch that is closed away while it is first read is told nothing", async () => {
  const { file, clock, results, heard, hear } = setUp();
  file.rows.set("a", [1, "1"]);
  const gate = Promise.withResolvers<void>();
  file.gate = gate.promise;
  const watching = results.watch("a", hear);
  const closing = results.close();
  gate.resolve();

  (await watching).stop();
  await closing;

  assert.deepEqual([heard, file.listeners.size, clock.pending], [[], 0, 0]);
});
