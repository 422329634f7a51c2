import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TaskMessage } from "../../../src/protocol/message.ts";
import { encodeResult } from "../../../src/protocol/result.ts";
import { taskResult } from "../../../src/protocol/task-result.ts";
import { fixture } from "./fixtures.ts";

type Stored = Readonly<Record<string, unknown>> & {
  readonly task_id: string;
  readonly status: string;
  readonly date_done: string | null;
};

const MESSAGE: TaskMessage = { task: "demo.add", id: "x", body: "[[1, 1.0, NaN], {}, {}]", retries: 0 };

/** The message that Celery's document speaks of. */
function messageOf(theirs: Stored): TaskMessage {
  const { task_id, name, args, kwargs, retries, parent_id, group_id, stamped_headers } = theirs;
  const stamps = Object.fromEntries(((stamped_headers ?? []) as string[]).map((each) => [each, theirs[each]]));
  return {
    id: task_id,
    task: String(name ?? "demo.add"),
    body: JSON.stringify([args ?? [], kwargs ?? {}, {}]),
    retries: Number(retries ?? 0),
    ...(parent_id === undefined ? {} : { parentId: String(parent_id) }),
    ...(group_id === undefined ? {} : { group: String(group_id) }),
    ...(stamped_headers === undefined ? {} : { headers: { stamped_headers, stamps } }),
  };
}

function ours(theirs: Stored, extended: boolean): unknown {
  const state = {
    status: theirs.status,
    result: JSON.stringify(theirs.result),
    traceback: theirs.traceback as string | null,
    children: theirs.children as [],
    nowMs: Date.parse(theirs.date_done ?? "2026-11-22T13:25:14Z"),
  };
  const place = { hostname: String(theirs.worker), queue: theirs.queue as string };
  const made = JSON.parse(encodeResult(taskResult(messageOf(theirs), state, extended ? place : undefined))) as Stored;
  // Ours ends with whole milliseconds.
  const rounded = theirs.date_done?.replace(/(\.\d{3})\d{3}/, "$1000") ?? null;
  return { ...made, date_done: made.date_done === rounded ? theirs.date_done : made.date_done };
}

describe("the document of a run", () => {
  test("is what Celery stores of the same message, for each of the captured ones", () => {
    let count = 0;
    for (const broker of ["rabbitmq", "redis"]) {
      const { results } = fixture<{ results: Record<string, { value: string | null }> }>(
        `results.redis.via_${broker}_broker.json`,
      );
      for (const [name, { value }] of Object.entries(results)) {
        if (value === null) continue;
        const theirs = JSON.parse(value) as Stored;
        assert.deepEqual(ours(theirs, false), theirs, name);
        count += 1;
      }
    }
    assert.ok(count > 70, String(count));
  });

  test("has the extended fields and stamps as Celery has them, in each state", () => {
    const { published } = fixture<{ published: { data_decoded: Stored }[] }>("results.redis.extended_and_started.json");
    for (const { data_decoded } of published) assert.deepEqual(ours(data_decoded, true), data_decoded);
    assert.ok(published.length > 5);
  });

  test("keeps arguments as the producer wrote them", () => {
    const body = '[ [12345678901234567890, 1.0, NaN, "a]\\",["] , {"k": [1e400, {}]} ,{"callbacks": null}]';
    const { args, kwargs } = taskResult({ ...MESSAGE, body }, { status: "SUCCESS", result: "1", nowMs: 0 }, PLACE);

    assert.deepEqual([args, kwargs], ['[12345678901234567890, 1.0, NaN, "a]\\",["]', '{"k": [1e400, {}]}']);
  });

  test("does without what it does not know", () => {
    const unknown = taskResult({ ...MESSAGE, body: "" }, { status: "FAILURE", result: "null", nowMs: 0 }, PLACE);
    const stamped = taskResult(
      { ...MESSAGE, headers: { stamped_headers: ["a", 7, "gone", "__proto__"], stamps: { a: 1, b: 2 } } },
      { status: "SUCCESS", result: "null", nowMs: 0 },
      { hostname: "w@h" },
    );

    assert.deepEqual(
      [unknown.args, unknown.kwargs, unknown.queue, unknown.stamps],
      [undefined, undefined, "q", undefined],
    );
    assert.deepEqual([stamped.stamps, "queue" in stamped], [{ a: 1 }, false]);
  });
});

const PLACE = { hostname: "w@h", queue: "q" };
