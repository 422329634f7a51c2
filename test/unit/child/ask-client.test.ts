import assert from "node:assert/strict";
import { test } from "node:test";
import { AskClient, type AskClientOptions } from "../../../src/child/ask-client.ts";
import type { Clock } from "../../../src/kit/clock.ts";
import { ContractError } from "../../../src/kit/errors.ts";
import type { NewCallback } from "../../../src/schedule/callback.ts";
import type { NewRecurrence } from "../../../src/schedule/recurrence.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

function newClient(options: Partial<AskClientOptions> = {}) {
  const clock = new FakeClock();
  const sent: { ask: number; op: string; params: unknown }[] = [];
  const client = new AskClient({ clock, send: (each) => sent.push(each), deadlineMs: 1_000, ...options });
  return { client, clock, sent };
}

const callback = (key?: string): NewCallback => ({
  ...(key === undefined ? {} : { key }),
  dueMs: 1,
  queue: "q",
  message: { task: "t", body: "[[], {}, {}]", retries: 0 },
});
const target = { id: "x" };

test("each answer goes to the ask that it belongs to, whatever the order", async () => {
  const { client, sent } = newClient();
  const asks = ["a", "b", "c"].map((taskId) => client.ask("result.get", { taskId }));
  for (const { ask } of sent.toReversed()) client.answer(ask, `answer ${ask}` as never);
  assert.deepEqual(await Promise.all(asks), ["answer 1", "answer 2", "answer 3"]);
  client.answer(1, "twice");
  client.answer(99, "never asked");
});

test("a refusal rejects with the worker's error", async () => {
  const { client } = newClient();
  const asking = client.ask("schedule.get", { target });
  client.refuse(1, { family: "contract", code: "ERR_X", name: "XError", message: "no", fields: { id: "x" } });
  await assert.rejects(asking, (error) => {
    assert.ok(error instanceof ContractError);
    assert.deepEqual(
      [error.code, error.name, error.message, (error as unknown as { id: string }).id],
      ["ERR_X", "XError", "no", "x"],
    );
    return true;
  });
});

test("of a change without an answer it is said that it may have been made, with the key to repeat it by", async () => {
  const { client, clock } = newClient();
  const put = assert.rejects(client.ask("schedule.put", { callbacks: [callback("order-7")] }), {
    code: "ERR_OUTCOME_UNKNOWN",
    key: "order-7",
  });
  const recurs = assert.rejects(client.ask("recurrence.put", { recurrence: { key: "daily" } as NewRecurrence }), {
    code: "ERR_OUTCOME_UNKNOWN",
    key: "daily",
  });
  const two = assert.rejects(client.ask("schedule.put", { callbacks: [callback("a"), callback("b")] }), {
    code: "ERR_OUTCOME_UNKNOWN",
    key: undefined,
  });
  const read = assert.rejects(client.ask("schedule.get", { target }), {
    code: "ERR_TIMEOUT",
    message: "the worker did not answer schedule.get within 1 s",
  });
  await clock.advance(1_000);
  await Promise.all([put, recurs, two, read]);
  client.answer(1, []); // too late, and harmless
  assert.equal(clock.pending, 0);
});

test("waiting for a result has its own time, and the deadline on top", async () => {
  const { client, clock } = newClient();
  const waiting = client.ask("result.wait", { taskId: "x", timeoutMs: 20_000 });
  const late = assert.rejects(waiting, { code: "ERR_TIMEOUT" });
  await clock.advance(20_999);
  assert.equal(clock.pending, 1);
  await clock.advance(1);
  await late;
});

test("an answer that was in the pipe when a busy task let go counts, though the deadline has passed", async () => {
  let ring: () => void = () => undefined;
  const clock: Clock = {
    wallMs: () => 0,
    monoMs: () => 0,
    timeout(fn) {
      ring = fn;
      return { cancel: () => undefined };
    },
  };
  const { client } = newClient({ clock });
  const asking = client.ask("result.get", { taskId: "x" });
  ring(); // timers run first; then, in the same turn, the pipe is read
  client.answer(1, null);
  assert.equal(await asking, null);
});

test("beyond the window asks wait their turn, those for results apart", async () => {
  const { client, sent } = newClient({ window: 2 });
  const asks = [1, 2, 3, 4].map((i) => client.ask("result.get", { taskId: `t${i}` }));
  void client.ask("result.wait", { taskId: "w", timeoutMs: 1 });
  assert.deepEqual(
    sent.map(({ op }) => op),
    ["result.get", "result.get", "result.wait"],
  );
  client.answer(1, null);
  client.answer(2, null);
  assert.deepEqual(
    sent.slice(3).map(({ params }) => (params as { taskId: string }).taskId),
    ["t3", "t4"],
  );
  client.answer(4, null);
  client.answer(5, null);
  await Promise.all(asks);
});

test("what cannot be sent is refused, and takes no room in the window", async () => {
  let broken = true;
  const { client, sent } = newClient({
    window: 1,
    send: (each) => {
      if (broken) throw new RangeError("too large");
      sent.push(each);
    },
  });
  await assert.rejects(client.ask("result.get", { taskId: "x" }), { message: "too large" });
  broken = false;
  const asking = client.ask("result.get", { taskId: "x" });
  client.answer(2, null);
  assert.equal(await asking, null);
  assert.equal(sent.length, 1);
});

test("when the channel is lost, changes on their way are unknown, all else is closed, later asks too", async () => {
  const { client, clock } = newClient({ window: 2 });
  const cancel = assert.rejects(client.ask("schedule.cancel", { target, abort: false }), {
    code: "ERR_OUTCOME_UNKNOWN",
  });
  const get = assert.rejects(client.ask("schedule.get", { target }), { code: "ERR_CLOSED" });
  const queued = assert.rejects(client.ask("schedule.put", { callbacks: [callback()] }), { code: "ERR_CLOSED" });
  client.close("the worker is gone");
  await Promise.all([cancel, get, queued]);
  await assert.rejects(client.ask("schedule.get", { target }), { code: "ERR_CLOSED", message: "the worker is gone" });
  assert.equal(clock.pending, 0);
});
