import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type TestContext, test } from "node:test";
import { ResultWatches } from "../../../src/app/result-watches.ts";
import type { ResultDocument } from "../../../src/protocol/result.ts";
import type { ResultBackend } from "../../../src/results/backend.ts";
import { openMemoryResults } from "../../../src/results/memory.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const documentOf = (task_id: string, status: string, result = "1"): ResultDocument => ({
  task_id,
  status,
  result,
  traceback: null,
  children: null,
  date_done: null,
});

async function world(t: TestContext) {
  const clock = new FakeClock();
  const backend = await openMemoryResults(`memory://${randomUUID()}`, { clock });
  t.after(() => backend.close());
  let stopped = 0;
  /** Counts who stops watching. */
  const results: Pick<ResultBackend, "watch"> = {
    watch: async (taskId, onChange) => {
      const watch = await backend.watch(taskId, onChange);
      return {
        stop: () => {
          stopped += 1;
          watch.stop();
        },
      };
    },
  };
  const watches = new ResultWatches(async () => results as ResultBackend, clock);
  const store = (id: string, status: string, result?: string) => backend.store(documentOf(id, status, result), 0);
  return { clock, watches, store, stopped: () => stopped };
}

const states = (documents: readonly ResultDocument[] | null) =>
  documents?.map(({ task_id, status }) => `${task_id} ${status}`);

test("a watch tells what stands, then what came since, and of an end nothing more", async (t) => {
  const { watches, store, stopped } = await world(t);
  await store("a", "STARTED");
  const watch = await watches.open({ taskIds: ["a", "b", "a"], endsOnly: false });

  assert.deepEqual(states(await watches.changes(watch, 1_000)), ["a STARTED"]);
  await store("b", "PROGRESS");
  await store("a", "SUCCESS");
  await store("a", "FAILURE");
  assert.deepEqual(states(await watches.changes(watch, 1_000)), ["b PROGRESS", "a SUCCESS"]);
  assert.equal(stopped(), 1);
  const next = watches.changes(watch, 1_000);
  await store("b", "REVOKED");
  assert.deepEqual(states(await next), ["b REVOKED"]);
  watches.close(watch);
  assert.equal(await watches.changes(watch, 1_000), null);
  assert.deepEqual([stopped(), watches.size], [2, 0]);
});

test("with endsOnly the ends alone are told", async (t) => {
  const { watches, store } = await world(t);
  const watch = await watches.open({ taskIds: ["a", "b"], endsOnly: true });
  const next = watches.changes(watch, 1_000);
  for (const state of ["STARTED", "PROGRESS", "RETRY", "SUCCESS"]) await store("a", state);

  assert.deepEqual(states(await next), ["a SUCCESS"]);
});

test("a question has its time; a watch that nobody asks for a minute is given up", async (t) => {
  const { clock, watches, stopped } = await world(t);
  const watch = await watches.open({ taskIds: ["a"], endsOnly: false });
  const next = watches.changes(watch, 50_000);
  await clock.advance(50_001);
  assert.deepEqual(await next, []);
  await clock.advance(59_000);
  assert.equal(watches.size, 1);
  await clock.advance(1_001);
  assert.deepEqual([watches.size, stopped()], [0, 1]);
  assert.equal(await watches.changes(watch, 1), null);
});

test("of states that nobody takes the oldest go, ends never; an answer is no larger than a channel carries", async (t) => {
  const { watches, store } = await world(t);
  const watch = await watches.open({ taskIds: ["a", "b", "c"], endsOnly: false });
  await store("b", "SUCCESS");
  for (let i = 0; i < 1_500; i += 1) await store("a", "PROGRESS", String(i));

  const told = (await watches.changes(watch, 1_000)) ?? [];
  assert.deepEqual([told.length, told[0]?.task_id, told[1]?.result, told.at(-1)?.result], [1_001, "b", "500", "1499"]);

  const large = JSON.stringify("x".repeat(3 * 1024 * 1024));
  await store("a", "SUCCESS", large);
  await store("c", "SUCCESS", large);
  assert.deepEqual(states(await watches.changes(watch, 1_000)), ["a SUCCESS"]);
  assert.deepEqual(states(await watches.changes(watch, 1_000)), ["c SUCCESS"]);
});

test("what goes wrong with a watch is told after what came before it", async (t) => {
  const clock = new FakeClock();
  let hear: (document: ResultDocument) => void = () => undefined;
  const backend: Pick<ResultBackend, "watch"> = {
    watch: async (taskId, onChange) => {
      if (taskId === "bad") throw new Error("away");
      hear = onChange;
      return { stop: () => undefined };
    },
  };
  const watches = new ResultWatches(async () => backend as ResultBackend, clock);
  t.after(() => watches.closeAll());
  const watch = await watches.open({ taskIds: ["good", "bad"], endsOnly: false });
  hear(documentOf("good", "STARTED"));

  assert.deepEqual(states(await watches.changes(watch, 1_000)), ["good STARTED"]);
  await assert.rejects(watches.changes(watch, 1_000), /away/);
  assert.equal(watches.size, 0);
  await assert.rejects(watches.wait("bad", 1_000), /away/);
});

test("a wait that is over before its backend answers is over, and leaves no watch behind", async () => {
  const clock = new FakeClock();
  const opening = Promise.withResolvers<{ stop(): void }>();
  let stopped = 0;
  const backend: Pick<ResultBackend, "watch"> = { watch: () => opening.promise };
  const watches = new ResultWatches(async () => backend as ResultBackend, clock);

  const waiting = watches.wait("a", 2_000);
  await clock.advance(2_001);
  assert.equal(await waiting, null);
  opening.resolve({
    stop: () => {
      stopped += 1;
    },
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(stopped, 1);
});
