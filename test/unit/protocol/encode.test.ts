import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeBody, decodeTask } from "../../../src/protocol/decode.ts";
import { encodeBody, encodeTask, newTaskMessage } from "../../../src/protocol/encode.ts";
import type { TaskMessage } from "../../../src/protocol/message.ts";
import { code } from "./coded.ts";
import { fixture } from "./fixtures.ts";

const CALL = { task: "proj.add", id: "11111111-1111-4111-8111-111111111111" };

describe("newTaskMessage", () => {
  test("makes the message that Celery's client makes of the same call", () => {
    const message = newTaskMessage({ ...CALL, args: [2, 3], kwargs: { x: "it's" }, origin: "gen1@h" });
    assert.deepEqual(message, {
      ...CALL,
      body: '[[2,3],{"x":"it\'s"},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]',
      retries: 0,
      rootId: CALL.id,
      argsRepr: "(2, 3)",
      kwargsRepr: "{'x': 'it\\'s'}",
      origin: "gen1@h",
    });
  });

  test("takes a call without arguments", () => {
    const message = newTaskMessage(CALL);
    assert.deepEqual(decodeBody(message.body), {
      args: [],
      kwargs: {},
      embed: { callbacks: null, errbacks: null, chain: null, chord: null },
    });
    assert.deepEqual([message.argsRepr, message.kwargsRepr], ["()", "{}"]);
  });

  for (const [what, call, expected, message] of [
    ["an empty name", { task: "" }, "ERR_INVALID_INPUT", /^the task name "" is empty$/],
    ["a name of two lines", { task: "a\nb" }, "ERR_INVALID_INPUT", /^the task name "a\\nb" has characters/],
    ["an id that is too long", { id: "ž".repeat(128) }, "ERR_INVALID_INPUT", /is longer than 255 bytes$/],
    ["an id that is a number", { id: 5 }, "ERR_INVALID_INPUT", /^the task id 5 is not text$/],
    ["args that are no array", { args: "foo" }, "ERR_INVALID_INPUT", /^args is "foo"; give an array$/],
    ["kwargs that are an array", { kwargs: [] }, "ERR_INVALID_INPUT", /^kwargs is an array of 0; give an object$/],
    ["a header of Celery's", { headers: { retries: 5 } }, "ERR_INVALID_INPUT", /^headers has "retries"/],
    [
      "an argument that cannot be sent",
      { args: [1, { customer: () => 1 }] },
      "ERR_ENCODE",
      /^args\[1\]\.customer is a function/,
    ],
    ["a keyword argument that cannot be sent", { kwargs: { m: new Map() } }, "ERR_ENCODE", /^kwargs\.m is a Map/],
  ] as [string, object, string, RegExp][]) {
    test(`refuses ${what}`, () => {
      assert.throws(() => newTaskMessage({ ...CALL, ...call }), code(expected, message));
    });
  }
});

describe("encodeTask", () => {
  test("writes every header of protocol 2, nulls included, as Celery's own table has them", () => {
    const { headers: theirs } = fixture<{ headers: Record<string, unknown> }>("amqp_header_table_wire.json");
    const { headers } = encodeTask(newTaskMessage(CALL));
    assert.deepEqual(Object.keys(headers).toSorted(), Object.keys(theirs).toSorted());
    assert.deepEqual(
      { ...headers },
      {
        lang: "js",
        task: CALL.task,
        id: CALL.id,
        shadow: null,
        eta: null,
        expires: null,
        group: null,
        group_index: null,
        retries: 0,
        timelimit: [null, null],
        root_id: CALL.id,
        parent_id: null,
        argsrepr: "()",
        kwargsrepr: "{}",
        origin: null,
        ignore_result: false,
        replaced_task_nesting: 0,
        stamped_headers: null,
        stamps: {},
      },
    );
  });

  test("writes the properties of protocol 2", () => {
    assert.deepEqual(encodeTask(newTaskMessage(CALL)).properties, {
      contentType: "application/json",
      contentEncoding: "utf-8",
      deliveryMode: 2,
      priority: 0,
      correlationId: CALL.id,
      replyTo: "",
    });
    const { properties } = encodeTask(newTaskMessage({ ...CALL, replyTo: "q", correlationId: "c", priority: 9 }));
    assert.deepEqual([properties.replyTo, properties.correlationId, properties.priority], ["q", "c", 9]);
  });

  test("writes moments in UTC and limits in seconds, the hard one first", () => {
    const { headers } = encodeTask({
      ...newTaskMessage(CALL),
      etaMs: Date.UTC(2030, 0, 2, 3, 4, 5, 678),
      expiresMs: Date.UTC(2030, 0, 2, 3, 4, 5),
      hardLimitMs: 30_000,
      softLimitMs: 500,
    });
    assert.equal(headers.eta, "2030-01-02T03:04:05.678000+00:00");
    assert.equal(headers.expires, "2030-01-02T03:04:05+00:00");
    assert.deepEqual(headers.timelimit, [30, 0.5]);
  });

  test("tells the broker how long the message still lives, when it is told the time", () => {
    const message = { ...newTaskMessage(CALL), expiresMs: 120_000 };
    assert.equal(encodeTask(message, 0).properties.expiration, "120000");
    assert.equal(encodeTask(message, 130_000).properties.expiration, "0", "it has died already");
    assert.equal(encodeTask(message).properties.expiration, undefined);
    const years = (count: number) =>
      encodeTask({ ...message, expiresMs: count * 365 * 86_400_000 }, 0).properties.expiration;
    assert.equal(years(10), "315360000000");
    assert.equal(years(11), undefined, "RabbitMQ would close the channel");
  });

  test("sends the application's headers on, but not those that a broker wrote, nor those that fields hold", () => {
    const message: TaskMessage = {
      ...newTaskMessage({ ...CALL, headers: { "x-tenant": "acme", stamps: { a: 1 }, stamped_headers: ["a"] } }),
    };
    const received = {
      ...message,
      headers: { ...message.headers, "x-death": [{}], "x-first-death-queue": "q", "x-delivery-count": 3, retries: 99 },
    };
    const { headers } = encodeTask(received);
    assert.deepEqual([headers["x-tenant"], headers.stamps, headers.stamped_headers], ["acme", { a: 1 }, ["a"]]);
    assert.equal(headers.retries, 0);
    assert.ok(Object.keys(headers).every((name) => !name.startsWith("x-d") && !name.startsWith("x-f")));
    assert.deepEqual(encodeTask(message).headers, headers, "nothing of one message is left in the next");
  });

  test("what goes out comes in again", () => {
    const id = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
      .filter((text) => /^[\p{L}\p{N}]+$/u.test(text));
    const ms = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
    const message = fc.record(
      {
        task: id,
        id,
        args: fc.array(fc.jsonValue()),
        kwargs: fc.dictionary(id, fc.jsonValue(), { noNullPrototype: true }),
        retries: fc.nat(100),
        etaMs: ms,
        expiresMs: ms,
        hardLimitMs: fc.integer({ min: 1, max: 1e9 }),
        softLimitMs: fc.integer({ min: 1, max: 1e9 }),
        rootId: id,
        parentId: id,
        group: id,
        groupIndex: fc.nat(1_000),
        shadow: id,
        ignoreResult: fc.boolean(),
        replyTo: id,
        priority: fc.nat(255),
        origin: id,
        headers: fc.dictionary(
          fc.string({ minLength: 1 }).map((name) => `x-${name}`),
          fc.jsonValue(),
          { minKeys: 1, noNullPrototype: true },
        ),
      },
      { requiredKeys: ["task", "id"] },
    );
    fc.assert(
      fc.property(message, (call) => {
        fc.pre(!JSON.stringify(call).includes("__proto__"));
        const sent = newTaskMessage(call);
        const decoded = decodeTask(encodeTask(sent, 0));
        assert.ok(decoded.ok, decoded.ok ? "" : decoded.refusal.reason);
        // What the wire always carries stands in the message that came, also where the sender left it open.
        assert.deepEqual(decoded.message, { ignoreResult: false, priority: 0, ...sent });
        const { args = [], kwargs = {} } = call;
        assert.equal(
          encodeBody(args, kwargs),
          encodeBody(decodeBody(decoded.message.body).args, decodeBody(decoded.message.body).kwargs),
        );
      }),
    );
  });
});
