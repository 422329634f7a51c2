import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeJson } from "../../../src/protocol/json.ts";
import { decodeResult, encodeResult, pythonTimestamp, type ResultDocument } from "../../../src/protocol/result.ts";
import { code } from "./coded.ts";
import { fixture } from "./fixtures.ts";

interface Stored {
  readonly value: string | null;
}

const stored = [
  "results.redis.via_rabbitmq_broker.json",
  "results.redis.via_redis_broker.json",
  "release-5.6.3/results.redis.via_rabbitmq_broker.json",
].flatMap((file) => {
  const { results } = fixture<{ results: Record<string, Stored> }>(file);
  return Object.entries(results).flatMap(([name, { value }]) =>
    value === null ? [] : [{ name: `${name} (${file})`, value }],
  );
});

const DOCUMENT: ResultDocument = {
  task_id: "x",
  status: "SUCCESS",
  result: "5",
  traceback: null,
  children: [],
  date_done: "2026-11-22T13:25:14.727000+00:00",
};

describe("result documents", () => {
  test("are captured in some number", () => {
    assert.ok(stored.length > 110, String(stored.length));
  });

  for (const { name, value } of stored) {
    test(`of ${name} read and write as Celery stored them`, () => {
      const document = decodeResult(value);
      const theirs = JSON.parse(value) as Record<string, unknown>;
      assert.deepEqual({ ...document, result: JSON.parse(document.result) as unknown }, theirs);
      assert.ok(value.includes(document.result), "the result is as it was written");
      assert.deepEqual(JSON.parse(encodeResult(document)), theirs);
      assert.deepEqual(decodeResult(encodeResult(document)), document);
    });
  }

  test("that are told on Redis' channels are the stored ones", () => {
    const { messages } = fixture<{ messages: { channel: string; data: string }[] }>("results.redis.pubsub.json");
    assert.ok(messages.length > 30);
    for (const { channel, data } of messages) {
      const document = decodeResult(data);
      assert.equal(channel, `celery-task-meta-${document.task_id}`);
      assert.deepEqual(JSON.parse(encodeResult(document)), JSON.parse(data));
    }
  });

  test("with the extended fields and stamps are read whole, and written as Celery stores them", () => {
    const { published } = fixture<{ published: { data_decoded: Record<string, unknown> }[] }>(
      "results.redis.extended_and_started.json",
    );
    assert.ok(published.length > 5);
    for (const { data_decoded } of published) {
      const document = decodeResult(JSON.stringify(data_decoded));
      const { stamped_headers, tenant, ...theirs } = data_decoded;
      const { stamps, ...rest } = document;
      const parsed = (text: string | undefined) => JSON.parse(text ?? "null") as unknown;
      assert.deepEqual(
        { ...rest, result: parsed(document.result), args: parsed(document.args), kwargs: parsed(document.kwargs) },
        theirs,
      );
      assert.deepEqual(stamps, stamped_headers === undefined ? undefined : { tenant });
      assert.deepEqual(JSON.parse(encodeResult(document)), data_decoded);
      assert.deepEqual(decodeResult(encodeResult(document)), document);
    }
  });

  test("over rpc are read, those of the releases with their five fields too", () => {
    const { task_id, status, result, traceback, children } = DOCUMENT;
    const short = decodeResult(
      `{"task_id": "${task_id}", "status": "${status}", "result": ${result}, "traceback": null, "children": []}`,
    );
    assert.deepEqual(short, { task_id, status, result, traceback, children, date_done: null });
  });

  test("keep a result that a number would change", () => {
    const text = '{"status": "SUCCESS", "result": [12345678901234567890, NaN, 1.0], "task_id": "x"}';
    assert.equal(decodeResult(text).result, "[12345678901234567890, NaN, 1.0]");
    assert.ok(encodeResult(decodeResult(text)).includes('"result": [12345678901234567890, NaN, 1.0]'));
  });

  test("begin with their status, so that Redis finds it without reading the rest", () => {
    assert.match(encodeResult({ ...DOCUMENT, name: "n" }), /^\{"status": "SUCCESS", /);
  });

  test("do not let a stamp hide a field", () => {
    const text = encodeResult({ ...DOCUMENT, stamps: { status: "FAILURE", tenant: ["a", 1] } });
    assert.deepEqual(decodeJson(text), {
      ...DOCUMENT,
      result: 5,
      stamped_headers: ["status", "tenant"],
      tenant: ["a", 1],
    });
    assert.deepEqual(decodeResult(text), { ...DOCUMENT, stamps: { tenant: ["a", 1] } });
  });

  test("may be larger, and name more children, than a message may hold", () => {
    const children = Array.from({ length: 600_000 }, (_, i) => [[`${i}`, null], null]);
    const result = JSON.stringify("x".repeat(17 * 1024 * 1024));
    const read = decodeResult(encodeResult({ ...DOCUMENT, result, children }));
    assert.equal(read.children?.length, children.length);
    assert.ok(read.result === result);
  });

  test("are one JSON object with everything in it", () => {
    const text = encodeResult({
      ...DOCUMENT,
      group_id: "g",
      parent_id: "p",
      name: "n",
      worker: "w",
      retries: 1,
      queue: "q",
      args: "[1]",
      kwargs: "{}",
    });
    assert.deepEqual(decodeJson(text), {
      ...DOCUMENT,
      result: 5,
      group_id: "g",
      parent_id: "p",
      name: "n",
      worker: "w",
      retries: 1,
      queue: "q",
      args: [1],
      kwargs: {},
    });
  });

  for (const [what, text, expected] of [
    ["not JSON", "pickle", "ERR_DECODE"],
    ["no object", "[]", "ERR_BODY_SHAPE"],
    ["without a task id", '{"status": "SUCCESS", "result": 1}', "ERR_BODY_SHAPE"],
    ["with a status that is no text", '{"status": 1, "result": 1, "task_id": "x"}', "ERR_BODY_SHAPE"],
    ["with children that are no list", '{"status": "S", "children": {}, "task_id": "x"}', "ERR_BODY_SHAPE"],
    ["with a traceback that is no text", '{"status": "S", "traceback": 5, "task_id": "x"}', "ERR_BODY_SHAPE"],
    ["with __proto__", '{"status": "S", "__proto__": {"task_id": "x"}}', "ERR_PROTO_KEY"],
  ] as [string, string, string][]) {
    test(`that are ${what} are refused`, () => {
      assert.throws(() => decodeResult(text), code(expected));
    });
  }

  test("hold the moment as Python writes it", () => {
    assert.equal(pythonTimestamp(Date.UTC(2026, 10, 22, 13, 25, 14, 727)), "2026-11-22T13:25:14.727000+00:00");
    const typed = decodeResult(
      '{"status": "S", "task_id": "x", "date_done": {"__type__": "datetime", "__value__": "2026-11-22T13:25:14Z"}}',
    );
    assert.equal(typed.date_done, "2026-11-22T13:25:14+00:00");
  });
});
