/** What a hostile or broken producer may put into the headers: each is refused with its code, or taken, and nothing throws. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { decodeTask } from "../../../src/protocol/decode.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";
import { accepted, assertClean, BODY, outcome, v1, v2, wire } from "./crafted.ts";

afterEach(assertClean);

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
