/** Protocol 1 out, against what Celery's client sent with `task_protocol = 1`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeTask } from "../../../src/protocol/decode.ts";
import { newTaskMessage } from "../../../src/protocol/encode.ts";
import { encodeTaskV1 } from "../../../src/protocol/encode-v1.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";
import { capturedMessages } from "./fixtures.ts";

type Body = Readonly<Record<string, unknown>>;

function bodyOf(wire: WireMessage): Body {
  return JSON.parse(Buffer.from(wire.body).toString()) as Body;
}

/** Milliseconds are what we keep of a moment. */
function moment(value: unknown): unknown {
  return typeof value === "string" ? Math.ceil(Date.parse(value.replace(/(\.\d{3})\d+/, "$1")) / 10) : value;
}

const jsonMessages = capturedMessages("v1").filter(
  ({ wire }) => wire.properties.contentType === "application/json" && wire.headers.compression === undefined,
);

describe("protocol 1, as Celery's client sends it", () => {
  assert.ok(jsonMessages.length > 20);
  for (const { broker, scenario, wire } of jsonMessages) {
    test(`${broker}: ${scenario}`, () => {
      const decoded = decodeTask(wire, { timezone: "UTC" });
      assert.ok(decoded.ok, JSON.stringify(decoded));
      const theirs = bodyOf(wire);
      const again = encodeTaskV1(decoded.message);
      const ours = bodyOf(again);

      assert.deepEqual(Object.keys(ours).toSorted(), Object.keys({ group_index: null, ...theirs }).toSorted());
      for (const [name, value] of Object.entries(theirs)) {
        if (name === "eta" || name === "expires")
          assert.equal(Math.abs(Number(moment(ours[name]) ?? 0) - Number(moment(value) ?? 0)) <= 1, true, name);
        // Celery's own worker loses it on receipt, and so do we.
        else if (name !== "group_index") assert.deepEqual(ours[name], value, name);
      }
      assert.deepEqual({ ...again.headers }, { ...wire.headers });
      assert.equal(again.properties.correlationId, wire.properties.correlationId);
    });
  }

  test("leaves the text of arguments as it was: 1.0 stays a float, a big integer its digits", () => {
    const message = {
      ...newTaskMessage({ task: "t", id: "i" }),
      body: '[[1.0, 12345678901234567890, NaN, "]{,"], {"a": [1.50]}, null]',
    };
    const text = Buffer.from(encodeTaskV1(message).body).toString();
    assert.match(text, /"args": \[1\.0, 12345678901234567890, NaN, "\]\{,"\], "kwargs": \{"a": \[1\.50\]\}/);
  });

  test("carries callbacks and the caller's headers, and no header of Celery's", () => {
    const link = { task: "next", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    const message = newTaskMessage({
      task: "t",
      id: "i",
      args: ["ä"],
      hardLimitMs: 10_000,
      softLimitMs: 500,
      headers: { mine: 1 },
      embed: { callbacks: [link], errbacks: null, chain: null, chord: null } as never,
    });
    const wire = encodeTaskV1(message, Date.now());
    assert.deepEqual({ ...wire.headers }, { mine: 1 });
    assert.deepEqual(bodyOf(wire).callbacks, [link]);
    assert.deepEqual(bodyOf(wire).timelimit, [10, 0.5]);
    const back = decodeTask(wire, { timezone: "UTC" });
    assert.equal(back.ok && back.message.id, "i");
  });

  test("leaves a chain to protocol 2, where there is a place for it", () => {
    const next = { task: "next", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    const wire = encodeTaskV1(
      newTaskMessage({
        task: "t",
        id: "i",
        embed: { callbacks: null, errbacks: null, chain: [next], chord: null } as never,
      }),
    );
    assert.equal(wire.headers.task, "t");
    assert.deepEqual((bodyOf(wire) as unknown as unknown[])[2], {
      callbacks: null,
      errbacks: null,
      chain: [next],
      chord: null,
    });
  });
});
