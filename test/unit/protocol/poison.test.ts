/** What a hostile or broken producer may send: each is refused with its code, or taken, and nothing throws. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import fc from "fast-check";
import { type Decoded, decodeBody, decodeTask } from "../../../src/protocol/decode.ts";
import type { TaskMessage, WireMessage } from "../../../src/protocol/message.ts";
import { capturedMessages } from "./fixtures.ts";

const BODY = "[[1],{},{}]";

function wire(headers: unknown, body: string | Uint8Array = BODY, properties = {}): WireMessage {
  return {
    body: typeof body === "string" ? Buffer.from(body) : body,
    properties: { contentType: "application/json", contentEncoding: "utf-8", ...properties },
    headers: headers as Record<string, unknown>,
  };
}

const v2 = (more: object, body: string | Uint8Array = BODY) => decodeTask(wire({ task: "t", id: "i", ...more }, body));
const v1 = (more: object) => decodeTask(wire({}, JSON.stringify({ task: "t", id: "i", args: [], ...more })));

function outcome(decoded: Decoded): string {
  if (decoded.ok) return "ok";
  assert.match(decoded.refusal.reason, /^[^\p{Cc}\p{Zl}\p{Zp}]{1,500}$/u, "one printable line");
  return decoded.refusal.code;
}

function accepted(decoded: Decoded): TaskMessage {
  assert.ok(decoded.ok, decoded.ok ? "" : decoded.refusal.reason);
  return decoded.message;
}

afterEach(() => {
  for (const name of ["x", "polluted", "prototype"])
    assert.equal(Reflect.get({}, name), undefined, "a prototype was changed");
});

describe("names and ids", () => {
  test("a task name is 1 to 255 printable characters of any script", () => {
    for (const good of [
      "proj.tasks.add",
      "тест.задача",
      "任务",
      "a b",
      "x:y-z",
      "__proto__",
      "constructor",
      "toString",
      "../../etc/passwd",
      "node:child_process",
      "file:///x",
      "a".repeat(255),
    ]) {
      assert.equal(accepted(v2({ task: good })).task, good);
      assert.equal(accepted(v1({ task: good })).task, good);
    }
    for (const bad of [
      "",
      "a".repeat(256),
      "a".repeat(10_000),
      "a\nb",
      "a\u0000",
      "a\u001b[31mb",
      "a\u202eb",
      "a\u2028b",
      "\ud800",
      1,
      null,
      {},
      [],
      true,
    ]) {
      assert.equal(outcome(v2({ task: bad })), "ERR_TASK_NAME", JSON.stringify(bad));
      assert.equal(outcome(v1({ task: bad })), "ERR_TASK_NAME", JSON.stringify(bad));
    }
  });

  test("an id is 1 to 255 bytes of printable text, or a number, which becomes its digits", () => {
    for (const [id, text] of [
      ["x", "x"],
      ["ünï-☃-id", "ünï-☃-id"],
      [0, "0"],
      [-5, "-5"],
      [1.5, "1.5"],
      ["ž".repeat(127), "ž".repeat(127)],
      [2 ** 53 - 1, "9007199254740991"],
    ] as const) {
      assert.equal(accepted(v2({ id })).id, text);
      assert.equal(accepted(v1({ id })).id, text);
    }
    for (const bad of [
      "",
      {},
      [],
      true,
      "x".repeat(256),
      "ž".repeat(128),
      "x".repeat(2_000_000 / 4),
      "a\nb",
      "\ud800",
    ]) {
      assert.equal(outcome(v2({ id: bad })), "ERR_TASK_ID", String(bad).slice(0, 20));
      assert.equal(outcome(v1({ id: bad })), "ERR_TASK_ID", String(bad).slice(0, 20));
    }
    assert.equal(outcome(v2({ id: null })), "ERR_NO_ID");
    assert.equal(outcome(v2({ id: undefined })), "ERR_NO_ID");
    assert.equal(outcome(v2({ id: Number.NaN })), "ERR_TASK_ID");
    assert.equal(outcome(v2({ id: 2 ** 53 })), "ERR_TASK_ID", "its last digits may be lost already");
    assert.equal(accepted(v2({ id: 2n ** 63n })).id, "9223372036854775808");
  });

  test("a large integer id of protocol 1 keeps all its digits", () => {
    const decoded = decodeTask(wire({}, '{"task": "t", "id": 12345678901234567890123, "args": []}'));
    assert.equal(accepted(decoded).id, "12345678901234567890123");
    const uuid = decodeTask(
      wire(
        {},
        '{"task":"t","args":[],"id":{"__type__":"uuid","__value__":{"hex":"22222222222242228222222222222222"}}}',
      ),
    );
    assert.equal(accepted(uuid).id, "22222222-2222-4222-8222-222222222222");
  });

  test("a refusal tells name and id when they can be shown, and only then", () => {
    const refused = v2({ id: "i", task: "t" }, "[");
    assert.ok(!refused.ok);
    assert.deepEqual([refused.refusal.task, refused.refusal.id], ["t", "i"]);
    const bad = v2({ id: "a\nb", task: "c\nd" });
    assert.ok(!bad.ok);
    assert.deepEqual([refused.refusal.celeryClass, "task" in bad.refusal, "id" in bad.refusal], ["a", false, false]);
  });
});

describe("headers", () => {
  test("that decide how a task runs must be right", () => {
    const cases: [object, string][] = [
      [{ retries: 3 }, "ok"],
      [{ retries: null }, "ok"],
      [{ retries: -1 }, "ERR_HEADERS"],
      [{ retries: 1.5 }, "ERR_HEADERS"],
      [{ retries: Number.POSITIVE_INFINITY }, "ERR_HEADERS"],
      [{ retries: 2 ** 31 }, "ERR_HEADERS"],
      [{ retries: "3" }, "ERR_HEADERS"],
      [{ timelimit: [30, 20] }, "ok"],
      [{ timelimit: [0, null] }, "ok"],
      [{ timelimit: [-1, null] }, "ERR_HEADERS"],
      [{ timelimit: [null, Number.NaN] }, "ERR_HEADERS"],
      [{ timelimit: [1e300, null] }, "ERR_HEADERS"],
      [{ timelimit: ["30", null] }, "ERR_HEADERS"],
      [{ timelimit: [1] }, "ERR_HEADERS"],
      [{ timelimit: 30 }, "ERR_HEADERS"],
      [{ group_index: 0 }, "ok"],
      [{ group_index: "0" }, "ERR_HEADERS"],
      [{ group: {} }, "ERR_HEADERS"],
    ];
    for (const [headers, expected] of cases) assert.equal(outcome(v2(headers)), expected, JSON.stringify(headers));
    assert.deepEqual(
      [accepted(v2({ timelimit: [30, 0.0005] })).hardLimitMs, accepted(v2({ timelimit: [30, 0.0005] })).softLimitMs],
      [30_000, 1],
    );
    assert.equal(accepted(v2({ timelimit: [0, null] })).hardLimitMs, undefined, "0 is no limit");
  });

  test("that are only shown are passed over when they are not right", () => {
    const message = accepted(
      v2({
        shadow: 1,
        origin: [],
        argsrepr: {},
        kwargsrepr: null,
        root_id: {},
        parent_id: 7,
        lang: "java",
        ignore_result: "yes",
      }),
    );
    assert.deepEqual(message, { task: "t", id: "i", body: BODY, retries: 0, parentId: "7" });
  });

  test("of stamps that are malformed are passed over", () => {
    assert.equal(accepted(v2({ stamps: [], stamped_headers: "x", replaced_task_nesting: -1 })).headers, undefined);
    assert.deepEqual(accepted(v2({ stamps: { a: 1 }, stamped_headers: ["a"], replaced_task_nesting: 2 })).headers, {
      stamps: { a: 1 },
      stamped_headers: ["a"],
      replaced_task_nesting: 2,
    });
  });

  test("of the application's own are kept as plain data, __proto__ dropped wherever it stands", () => {
    const headers = JSON.parse(
      '{"x-tenant":"acme","__proto__":{"x":1},"deep":{"__proto__":{"x":1},"a":[{"__proto__":null,"b":2}]}}',
    ) as object;
    const table = Object.assign(Object.create(null), { task: "t", id: "i" }) as Record<string, unknown>;
    for (const [name, value] of Object.entries(headers)) {
      Object.defineProperty(table, name, { value, enumerable: true, writable: true, configurable: true });
    }
    const message = accepted(decodeTask(wire(table)));
    assert.deepEqual(message.headers, { "x-tenant": "acme", deep: { a: [{ b: 2 }] } });
    assert.equal(Object.getPrototypeOf(message.headers), Object.prototype);
  });

  test("of any type become what JSON can hold", () => {
    const message = accepted(
      v2({
        bytes: Buffer.from("ž"),
        raw: new Uint8Array([0xff]),
        big: 2n ** 64n,
        small: 5n,
        when: new Date(0),
        fn: () => 1,
        none: undefined,
        nil: null,
        list: [1n, undefined],
      }),
    );
    assert.deepEqual(message.headers, {
      bytes: "ž",
      raw: { __type__: "base64", __value__: "/w==" },
      big: "18446744073709551616",
      small: 5,
      when: "1970-01-01T00:00:00+00:00",
      nil: null,
      list: [1, null],
    });
    assert.doesNotThrow(() => JSON.stringify(message));
  });

  test("past the limits are refused", () => {
    const many = Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`h${i}`, 1]));
    assert.equal(outcome(v2(many)), "ERR_HEADERS");
    assert.equal(outcome(v2({ long: "x".repeat(1_048_576) })), "ERR_HEADERS");
    assert.equal(outcome(v2({ long: new Array(1_048_576).fill("") })), "ERR_HEADERS");
    let deep: unknown = 1;
    for (let level = 0; level < 10_000; level++) deep = { deep };
    assert.equal(outcome(v2({ deep })), "ERR_HEADERS");
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    assert.equal(outcome(v2({ cycle })), "ERR_HEADERS");
  });

  test("that are no table make an unknown message; none at all are those of protocol 1", () => {
    for (const headers of [[], "x", 1]) assert.equal(outcome(decodeTask(wire(headers))), "ERR_PROTO");
    for (const headers of [null, undefined]) {
      assert.equal(accepted(decodeTask(wire(headers, '{"task":"t","id":"i"}'))).id, "i");
    }
  });

  test("that throw when they are read make a refusal", () => {
    const hostile = { get task() { throw new Error("gotcha\nsecond line"); } }; // biome-ignore format: one line is enough
    assert.equal(outcome(decodeTask(wire(hostile))), "ERR_DECODE");
    assert.equal(outcome(decodeTask(undefined as unknown as WireMessage)), "ERR_DECODE");
    assert.equal(outcome(decodeTask({} as WireMessage)), "ERR_DECODE");
  });

  test("priority is clamped, reply_to bounded, expiration left to the broker", () => {
    const properties = (more: object) => decodeTask(wire({ task: "t", id: "i" }, BODY, more));
    assert.equal(accepted(properties({ priority: 300 })).priority, 255);
    assert.equal(accepted(properties({ priority: -1 })).priority, 0);
    assert.equal(accepted(properties({ priority: "9" })).priority, undefined);
    assert.equal(accepted(properties({ replyTo: "x; rm -rf /" })).replyTo, "x; rm -rf /");
    assert.equal(outcome(properties({ replyTo: "x".repeat(256) })), "ERR_HEADERS");
    assert.equal(outcome(properties({ expiration: "soon" })), "ok");
    assert.equal(accepted(properties({ correlationId: "other" })).correlationId, "other");
    assert.equal(accepted(properties({ correlationId: "i" })).correlationId, undefined, "the id says it");
  });
});

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

describe("eta and expires", () => {
  for (const field of ["eta", "expires"] as const) {
    const refused = field === "eta" ? "ERR_ETA" : "ERR_EXPIRES";
    const key = field === "eta" ? "etaMs" : "expiresMs";

    test(`a malformed ${field} is refused in both protocols`, () => {
      for (const bad of [
        "not a date",
        12345,
        0,
        true,
        {},
        [],
        "99999-01-01T00:00:00Z",
        "-0001-01-01",
        "2026-02-30T00:00:00Z",
        "2026-13-01",
        2 ** 53,
        "1".repeat(100_000),
      ]) {
        assert.equal(outcome(v2({ [field]: bad })), refused, String(bad).slice(0, 30));
        assert.equal(outcome(v1({ [field]: bad })), refused, String(bad).slice(0, 30));
      }
    });

    test(`${field} is rounded up to the millisecond`, () => {
      assert.equal(
        accepted(v2({ [field]: "2030-01-02T03:04:05.678901+00:00" }))[key],
        Date.UTC(2030, 0, 2, 3, 4, 5, 679),
      );
      assert.equal(accepted(v1({ [field]: "2030-01-02T03:04:05.678000Z" }))[key], Date.UTC(2030, 0, 2, 3, 4, 5, 678));
    });

    test(`${field} without an offset is of the application's zone`, () => {
      const naive = wire({ task: "t", id: "i", [field]: "2030-07-02T03:04:05" });
      assert.equal(accepted(decodeTask(naive))[key], Date.UTC(2030, 6, 2, 3, 4, 5));
      assert.equal(accepted(decodeTask(naive, { timezone: "Europe/Prague" }))[key], Date.UTC(2030, 6, 2, 1, 4, 5));
    });

    test(`no ${field} is none`, () => {
      for (const none of [null, undefined, ""]) assert.equal(accepted(v2({ [field]: none }))[key], undefined);
    });
  }

  test("a typed datetime in a body of protocol 1 is a moment", () => {
    const typed = (value: string) => v1({ eta: { __type__: "datetime", __value__: value } });
    assert.equal(accepted(typed("2030-01-02T03:04:05Z")).etaMs, Date.UTC(2030, 0, 2, 3, 4, 5));
    assert.equal(accepted(typed("2030-01-02T03:04:05.000001Z")).etaMs, Date.UTC(2030, 0, 2, 3, 4, 5, 1));
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
