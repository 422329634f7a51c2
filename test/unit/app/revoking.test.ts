/** What waits in the schedule and is revoked never runs, by id and by stamp, and who waits for its result is told, wherever results go. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Revoking } from "../../../src/app/revoking.ts";
import { openMemoryResults } from "../../../src/results/memory.ts";
import { openMemorySchedule } from "../../../src/schedule/stores/memory.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { dueAt, message } from "../../../src/testing/schedule-fixtures.ts";
import { fixture } from "../protocol/fixtures.ts";

const HOUR_MS = 3_600_000;

test("a revoke of what waits stores REVOKED, with the address that its message gave; one of what nobody knows stores nothing", async () => {
  const clock = new FakeClock();
  const store = openMemorySchedule({ clock });
  const results = await openMemoryResults("memory://revoking", { clock });
  const stored: unknown[][] = [];
  results.store = async (...args) => {
    stored.push(args);
  };
  const revoking = new Revoking({
    store: async () => store,
    results: async () => results,
    resultExpiresMs: HOUR_MS,
    clock,
  });
  const parked = message({ replyTo: "client", correlationId: "c-1", group: "g-1" });
  await store.put([dueAt(clock.wallMs() + HOUR_MS, { taskId: "t-1", message: parked })]);

  const untilMs = clock.wallMs() + HOUR_MS;
  assert.equal((await revoking.revoke("t-1", untilMs, false)).answer, "cancelled");
  assert.equal((await revoking.revoke("nobody's", untilMs, false)).answer, "unknown");

  const [[document, expiresMs, address], ...more] = stored as [[Record<string, unknown>, number, unknown]];
  assert.deepEqual([document.task_id, document.status, document.group_id], ["t-1", "REVOKED", "g-1"]);
  const { result_written_by_revoke_of_unknown_id: theirs } =
    fixture<Record<string, { result: unknown }>>("cli_and_misc.json");
  assert.deepEqual(JSON.parse(String(document.result)), theirs?.result, "in Celery's words");
  assert.equal(expiresMs, HOUR_MS);
  assert.deepEqual(address, { replyTo: "client", correlationId: "c-1" });
  assert.deepEqual(more, []);
  await results.close();
  await store.close();
});

test("a revoke by stamp cancels what waits however far ahead it is due, on every page, and what is put meanwhile; and outlasts its tombstone", async () => {
  const clock = new FakeClock();
  const store = openMemorySchedule({ clock });
  const revoking = new Revoking({ store: async () => store, results: undefined, resultExpiresMs: HOUR_MS, clock });
  const stamped = (customer: unknown) => message({ headers: { stamps: { customer }, stamped_headers: ["customer"] } });
  const farMs = clock.wallMs() + 1_000 * HOUR_MS;
  const callback = (i: number) =>
    dueAt(farMs + i, { taskId: `t-${i}`, message: i % 2 === 0 ? stamped(["7", "8"]) : stamped("9") });
  const callbacks = Array.from({ length: 2_500 }, (_, i) => callback(i));
  await store.put(callbacks);

  const answers = await revoking.revokeStamp("customer", "8", clock.wallMs() + 1_000, false);
  assert.equal(answers.length, 1_250);
  assert.ok(answers.every(({ answer }) => answer === "cancelled"));
  const late = [callback(5_000), callback(5_001)];
  const put = await revoking.refuseStamped(late, await store.put(late));
  assert.deepEqual(
    put.map((each) => each.put),
    ["revoked", "added"],
  );

  await clock.advance(2_000);
  assert.equal((await revoking.refuseStamped([callback(6_000)], await store.put([callback(6_000)])))[0]?.put, "added");
  assert.deepEqual(await store.counts(), { scheduled: 1_252, cancelled: 1_251 });
  await store.close();
});
