/** What a hostile or broken producer may put into the body: each is refused with its code, or taken, and nothing throws. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import fc from "fast-check";
import { decodeBody, decodeTask } from "../../../src/protocol/decode.ts";
import { accepted, assertClean, BODY, outcome, v1, v2, wire } from "./crafted.ts";
import { capturedMessages } from "./fixtures.ts";

afterEach(assertClean);

describe("bodies", () => {
  for (const [what, body, expected] of [
    ["nothing", "", "ERR_BODY_SHAPE"],
    ["text", "hello", "ERR_DECODE"],
    ["a number", "1", "ERR_BODY_SHAPE"],
    ["null", "null", "ERR_BODY_SHAPE"],
    ["an object without args", '{"kwargs": {}}', "ERR_BODY_SHAPE"],
    ["trailing bytes", `${BODY}x`, "ERR_DECODE"],
    ["two documents", `${BODY}\n${BODY}`, "ERR_DECODE"],
    ["two elements", "[[],{}]", "ERR_BODY_SHAPE"],
    ["four elements", "[[],{},{},{}]", "ERR_BODY_SHAPE"],
    ["args that are an object", "[{},{},{}]", "ERR_BODY_SHAPE"],
    ["args that are text", '["ab",{},{}]', "ERR_BODY_SHAPE"],
    ["args that are bytes", '[{"__type__":"bytes","__value__":"ab"},{},{}]', "ERR_BODY_SHAPE"],
    ["kwargs that are a list", "[[],[],{}]", "ERR_BODY_SHAPE"],
    ["kwargs that are a date", '[[],{"__type__":"date","__value__":"2030-01-01"},{}]', "ERR_BODY_SHAPE"],
    ["embed of text", '[[],{},"x"]', "ERR_BODY_SHAPE"],
    ["callbacks that are none", '[[],{},{"callbacks":[1]}]', "ERR_CANVAS"],
    ["a chain of 10,000", `[[],{},{"chain":[${'{"task":"t"},'.repeat(9_999)}{"task":"t"}]}]`, "ERR_CANVAS"],
    ["depth 100,000", `[${"[".repeat(100_000)}`, "ERR_DEPTH"],
    ["a million keys", `[[],{${Array.from({ length: 1_000_000 }, (_, i) => `"${i}":0`).join()}},{}]`, "ERR_SIZE"],
    ["__proto__ in kwargs", '[[],{"__proto__":{"x":1}},{}]', "ERR_PROTO_KEY"],
    ["constructor.prototype in args", '[[{"constructor":{"prototype":{"x":1}}}],{},{}]', "ERR_PROTO_KEY"],
    ["an unknown typed value", '[[{"__type__":"nope","__value__":1}],{},{}]', "ERR_TYPED_VALUE"],
    ["UTF-16", Buffer.from("\ufeff[[],{},{}]", "utf16le"), "ERR_DECODE"],
    ["two byte order marks", "\ufeff\ufeff[[],{},{}]", "ERR_DECODE"],
    [
      "a lone surrogate, NUL, NaN, a big integer, equal keys",
      '[["\\ud800","\\u0000",NaN,90071992547409930],{"a":1,"a":2},{}]',
      "ok",
    ],
    ["embed null", "[[],{},null]", "ok"],
  ] as [string, string | Uint8Array, string][]) {
    test(`of ${what}: ${expected}`, () => {
      assert.equal(outcome(v2({}, body)), expected);
    });
  }

  test("over 16 MiB are refused, just under it taken", () => {
    assert.equal(outcome(v2({}, Buffer.alloc(40 * 1024 * 1024, 0x20))), "ERR_SIZE");
    const text = `[["${"x".repeat(16 * 1024 * 1024 - BODY.length - 1)}"],{},{}]`;
    assert.equal(Buffer.byteLength(text), 16 * 1024 * 1024);
    const message = accepted(v2({}, text));
    assert.equal(decodeBody(message.body).args.length, 1);
    const parts = JSON.stringify({ task: "t", id: "i", args: ["x".repeat(16 * 1024 * 1024 - 100)] });
    const v1message = accepted(decodeTask(wire({}, parts)));
    assert.equal(decodeBody(v1message.body).args.length, 1, "what was taken is read again, whatever was put around it");
  });

  test("with a byte order mark are taken without it", () => {
    assert.equal(accepted(v2({}, `\ufeff${BODY}`)).body, BODY);
  });

  test("of protocol 1 keep their arguments letter by letter", () => {
    const text =
      '{"task": "t", "id": 1, "args": [1.0, 1E2, 12345678901234567890, NaN, "\\u017e"], "kwargs": {"a": -0.0 }, "callbacks": [{"task": "t", "args": [2.0]}]}';
    const { body } = accepted(decodeTask(wire({}, text)));
    assert.equal(
      body,
      '[[1.0, 1E2, 12345678901234567890, NaN, "\\u017e"],{"a": -0.0 },{"callbacks":[{"task": "t", "args": [2.0]}],"errbacks":null,"chord":null,"chain":null}]',
    );
  });

  test("of protocol 1 may lack args and kwargs, but not have them wrong", () => {
    assert.deepEqual(decodeBody(accepted(decodeTask(wire({}, '{"task":"t","id":"i"}'))).body).args, []);
    for (const bad of [{ args: null }, { args: "foo" }, { args: {} }, { kwargs: null }, { kwargs: [] }]) {
      assert.equal(outcome(v1(bad)), "ERR_BODY_SHAPE", JSON.stringify(bad));
    }
    assert.equal(outcome(v1({ callbacks: ["x"] })), "ERR_CANVAS");
  });

  test("of a hybrid: the headers win over the body, and nothing of the body is a header", () => {
    const body = JSON.stringify({
      task: "other",
      id: "other",
      args: [1],
      retries: 5,
      eta: "2030-01-01T00:00:00Z",
      group: "g",
      taskset: "g",
      group_index: 3,
      custom: 1,
      ignore_result: true,
      chain: [1],
    });
    const message = accepted(v2({ retries: 1, "x-tenant": "acme" }, body));
    assert.deepEqual(
      { ...message, body: "" },
      {
        task: "t",
        id: "i",
        body: "",
        retries: 1,
        etaMs: Date.UTC(2030, 0, 1),
        group: "g",
        groupIndex: 3,
        headers: { "x-tenant": "acme" },
      },
    );
    assert.equal(decodeBody(message.body).embed.chain, null, "protocol 1 has no chain");
    assert.equal(accepted(decodeTask(wire({}, '{"task":"t","id":"i","taskset":"old"}'))).group, "old");
  });
});

describe("whatever comes", () => {
  test("bytes, headers and properties of any kind give a message or a refusal", () => {
    const anything = fc.anything({ withBigInt: true, withDate: true, withTypedArray: true, withNullPrototype: true });
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.json().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(
        bodies,
        fc.dictionary(
          fc.oneof(
            fc.constantFrom("task", "id", "eta", "expires", "retries", "timelimit", "group", "stamps", "compression"),
            fc.string(),
          ),
          anything,
        ),
        fc.record({
          contentType: fc.oneof(fc.constant("application/json"), fc.string()),
          contentEncoding: fc.constantFrom("utf-8", "binary", "x"),
        }),
        (body, headers, properties) => {
          outcome(decodeTask({ body, headers, properties }));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("a captured message with any byte changed gives a message or a refusal, and what is taken can be read", () => {
    const golden = [
      ...capturedMessages("basic"),
      ...capturedMessages("v1"),
      ...capturedMessages("encoding"),
      ...capturedMessages("canvas"),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...golden),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(),
        ({ wire: original }, changes, cut) => {
          const body = Buffer.from(original.body);
          for (const [at, byte] of changes) body[at % body.length] = byte;
          const decoded = decodeTask({ ...original, body: cut % 5 === 0 ? body.subarray(0, cut % body.length) : body });
          outcome(decoded);
          if (decoded.ok) decodeBody(decoded.message.body);
        },
      ),
      { numRuns: 3_000 },
    );
  });
});
