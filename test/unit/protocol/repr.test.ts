import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeBody, decodeTask } from "../../../src/protocol/decode.ts";
import { encodeBody } from "../../../src/protocol/encode.ts";
import { TypedValue } from "../../../src/protocol/json.ts";
import { pyRepr, pyTupleRepr } from "../../../src/protocol/repr.ts";
import { capturedMessages, vectors } from "./fixtures.ts";

const tuple = (...values: unknown[]) => ({ tuple: values });

/** The inputs of the vectors, which are written there as Python, in part cut short. */
const INPUTS: readonly unknown[] = [
  tuple(1, 2),
  [],
  {},
  "a",
  "it's",
  'x"y',
  "žluť",
  Buffer.from("raw"),
  null,
  true,
  undefined, // 1.0: a JavaScript number without a fraction is an int for Python
  1e100,
  Number.POSITIVE_INFINITY,
  -0,
  tuple(1),
  undefined, // a tuple within: JavaScript has none
  { a: { b: [1, 2, { c: "d" }] } },
  new Set([1, 2]),
  [1, 1, 1],
  "x".repeat(50),
  new TypedValue("datetime", "2026-01-02T03:04:05"),
  { k: "y".repeat(40) },
  "new\nline",
  "tab\t",
  "\u200b",
  "🐎",
  [[[[[1]]]]],
  new Map<unknown, unknown>([
    ["a", null],
    [2, "b"],
  ]),
  tuple("x".repeat(100)),
  tuple(...Array.from({ length: 100 }, (_, i) => i)),
  Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`key${i}`, i])),
  [Array.from({ length: 5 }, () => "a".repeat(10))],
  tuple("hello world"),
];

describe("pyRepr", () => {
  for (const [index, { python_repr_of_input, maxlen, saferepr }] of vectors.saferepr.entries()) {
    const input = INPUTS[index];
    if (input === undefined) continue;
    test(`shows ${python_repr_of_input} as Celery does${maxlen === undefined ? "" : ` in ${maxlen} characters`}`, () => {
      const shown =
        typeof input === "object" && input !== null && "tuple" in input
          ? pyTupleRepr(input.tuple as unknown[], maxlen)
          : pyRepr(input, maxlen);
      assert.equal(shown, saferepr);
    });
  }

  test("there is an input for each vector", () => {
    assert.equal(INPUTS.length, vectors.saferepr.length);
  });

  test("shows the arguments of every captured message as Celery did", () => {
    let seen = 0;
    for (const captured of [
      ...capturedMessages("basic"),
      ...capturedMessages("canvas"),
      ...capturedMessages("stamps"),
    ]) {
      const decoded = decodeTask(captured.wire);
      assert.ok(decoded.ok);
      const { args, kwargs } = decodeBody(decoded.message.body);
      // Tuples within arguments came as arrays: these two were written by Python's chunks and maps.
      if (["chunks", "starmap", "map"].includes(captured.scenario)) continue;
      assert.equal(pyTupleRepr(args), decoded.message.argsRepr, captured.scenario);
      assert.equal(pyRepr(kwargs), decoded.message.kwargsRepr, captured.scenario);
      seen++;
    }
    assert.ok(seen > 100);
  });

  test("shows a number as Python shows what it reads from our JSON", () => {
    const cases: [number | bigint, string][] = [
      [1, "1"],
      [1.5, "1.5"],
      [0.1, "0.1"],
      [-2.25, "-2.25"],
      [1e-4, "0.0001"],
      [1e-5, "1e-05"],
      [1.25e-7, "1.25e-07"],
      [1e16, "1e+16"],
      [123_456_789_012_345.6, "123456789012345.6"],
      [2 ** 53, "9007199254740992.0"],
      [1.5e300, "1.5e+300"],
      [-1e-10, "-1e-10"],
      [Number.NaN, "nan"],
      [Number.NEGATIVE_INFINITY, "-inf"],
      [10n ** 30n, `1${"0".repeat(30)}`],
    ];
    for (const [value, shown] of cases) assert.equal(pyRepr(value), shown);
  });

  test("shows moments as Python's datetime", () => {
    assert.equal(
      pyRepr(new Date("2030-01-02T03:04:05.678Z")),
      "datetime.datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc)",
    );
    assert.equal(
      pyRepr(new TypedValue("datetime", "2030-01-02T03:04:00+05:30")),
      "datetime.datetime(2030, 1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(seconds=19800)))",
    );
    assert.equal(
      pyRepr(new TypedValue("datetime", "2030-01-02T03:04:00.5-05:00")),
      "datetime.datetime(2030, 1, 2, 3, 4, 0, 500000, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=68400)))",
    );
    assert.equal(pyRepr(new TypedValue("date", "2030-01-02")), "datetime.date(2030, 1, 2)");
    assert.equal(pyRepr(new TypedValue("time", "03:04:05.678901")), "datetime.time(3, 4, 5, 678901)");
    assert.equal(pyRepr(new Date(Number.NaN)), "<invalid Date>");
  });

  test("stays near its length, whatever is shown, and never throws", () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true }),
        fc.integer({ min: 1, max: 200 }),
        (value, max) => {
          const shown = pyRepr(value, max);
          // One token may go over by itself, quotes and escapes included; then the brackets are closed.
          assert.ok(shown.length <= 3 * max + 120, `${shown.length} for ${max}: ${shown}`);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("shows what it can of what throws", () => {
    const bomb = {
      a: 1,
      get b() {
        throw new Error("no");
      },
    };
    assert.equal(pyRepr(bomb), "{'a': 1, 'b': <unrepresentable>}");
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    assert.equal(pyRepr([proxy]), "[<unrepresentable>]");
    assert.equal(
      pyRepr(() => 1),
      "<function>",
    );
    assert.equal(pyRepr(Symbol("x")), "<symbol>");
  });

  test("shows what contains itself", () => {
    const list: unknown[] = [1];
    list.push(list);
    assert.equal(pyRepr(list), "[1, <Recursion on list>]");
  });

  test("reads no more of a long list than it shows", () => {
    let read = 0;
    const long = new Proxy(new Array(1_000_000).fill(0), {
      get(target, key, receiver) {
        if (typeof key === "string" && /^\d+$/.test(key)) read++;
        return Reflect.get(target, key, receiver) as unknown;
      },
    });
    assert.match(pyTupleRepr(long), /, \.\.\.\)$/);
    assert.ok(read < 1_000, String(read));
  });

  test("does not cut a character in two", () => {
    assert.ok(pyRepr("🐎".repeat(40), 21).isWellFormed());
    assert.ok(encodeBody(["🐎"], {}).isWellFormed());
  });
});
