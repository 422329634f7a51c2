import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeJson, encodeJson } from "../../../src/protocol/json.ts";
import type { JsonLimits } from "../../../src/protocol/limits.ts";
import { code } from "./coded.ts";

/** Limits that are met with small texts. */
const SMALL: JsonLimits = { maxBytes: 1_000, maxDepth: 4, maxKeys: 3, maxKeysInAll: 5 };

describe("encodeJson", () => {
  const roundTrip = (value: unknown) => decodeJson(encodeJson(value));

  test("gives back what it was given: text, numbers, big integers, NaN, the infinities", () => {
    const leaf = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.double(),
      fc.integer(),
      fc.bigInt().filter((it) => !Number.isSafeInteger(Number(it))),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 8 }),
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        leaf,
        fc.array(tie("tree"), { maxLength: 5 }),
        fc.dictionary(fc.string(), tie("tree"), { maxKeys: 5, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        let text: string;
        try {
          text = encodeJson(value);
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, "ERR_ENCODE");
          assert.match((error as Error).message, /__proto__|prototype|__type__/);
          return;
        }
        assert.deepEqual(decodeJson(text), value);
      }),
      { numRuns: 500 },
    );
  });

  test("a number stays a number and a bigint an integer, on both sides", () => {
    assert.equal(
      encodeJson([1, 1.5, -0, 2 ** 53, 1e21, 1e300, 1e-7]),
      "[1,1.5,-0.0,9007199254740992.0,1e+21,1e+300,1e-7]",
    );
    assert.equal(encodeJson([5n, 2n ** 70n, -(2n ** 53n)]), "[5,1180591620717411303424,-9007199254740992]");
    assert.equal(
      encodeJson([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]),
      "[NaN,Infinity,-Infinity]",
    );
    assert.ok(Object.is((roundTrip([-0]) as number[])[0], -0));
    assert.equal(roundTrip(2 ** 60), 2 ** 60);
    assert.throws(() => encodeJson(10n ** 4_300n), code("ERR_ENCODE", /4300 digits/));
    assert.equal(roundTrip(10n ** 4_299n), 10n ** 4_299n);
  });

  test("does as JSON.stringify does with undefined, holes, toJSON, boxed values and instances", () => {
    class Point {
      x = 1;
      y = undefined;
      #hidden = 2;
      sum() {
        return this.#hidden;
      }
    }
    const sparse = new Array(3).fill(1, 0, 1);
    for (const value of [
      undefined,
      null,
      { a: undefined, b: [undefined], c: null },
      sparse,
      new Point(),
      Object.create({ inherited: 1 }),
      Object.assign(Object.create(null), { a: 1 }),
      new URL("https://example.org/x"),
      [Object(1), Object("s"), Object(false)],
      { [Symbol("hidden")]: 1, shown: 2 },
      { toJSON: (key: string) => `key ${key}` },
      { a: { toJSON: (key: string) => ({ key, toJSON: 5 }) } },
      [{ toJSON: () => undefined }],
    ]) {
      assert.deepEqual(decodeJson(encodeJson(value)), JSON.parse(JSON.stringify(value) ?? "null"));
    }
  });

  test("what a toJSON gives is asked no second time", () => {
    let asked = 0;
    const endless = {
      toJSON: () => {
        asked++;
        return endless;
      },
    };
    assert.throws(() => encodeJson(endless), code("ERR_ENCODE"));
    assert.equal(asked, 1);
  });

  for (const [what, value, message] of [
    ["a function", [1, { customer: () => 1 }], /^args\[1\]\.customer is a function; JSON has none$/],
    ["a symbol", [Symbol("x")], /^args\[0\] is a symbol/],
    ["a Map", { a: [new Map()] }, /^args\.a\[0\] is a Map; send Object\.fromEntries/],
    ["a Set", [new Set()], /^args\[0\] is a Set; send \[\.\.\.set\]/],
    ["an Error", [new RangeError("x")], /is an Error; send its message/],
    ["a Promise", [Promise.resolve(1)], /is a Promise; await it first/],
    ["a RegExp", [/x/], /is a RegExp/],
    ["an ArrayBuffer", [new ArrayBuffer(1)], /is an ArrayBuffer; send new Uint8Array/],
    ["a Float64Array", [new Float64Array(1)], /is a Float64Array/],
    ["an invalid Date", { when: new Date(Number.NaN) }, /^args\.when is an invalid Date/],
    ["a Date that Python has not", [new Date(8.64e15)], /year 275760/],
    ["a key of an odd name", { "a b": { '"': () => 1 } }, /^args\["a b"\]\["""\] is a function/],
    ["an own __proto__", [JSON.parse('{"__proto__": 1}')], /^args\[0\] has the key "__proto__"/],
    ["constructor.prototype", [{ constructor: { prototype: 1 } }], /^args\[0\] has the keys "constructor"/],
    ["a typed value that is none", [{ __type__: "money", __value__: 1 }], /^args\[0\] has just the keys "__type__"/],
    [
      "a throwing toJSON",
      [
        {
          toJSON: () => {
            throw new Error("no\nway");
          },
        },
      ],
      /^args\[0\] cannot be read: "no\\nway"$/,
    ],
    [
      "a throwing getter",
      {
        a: {
          get b() {
            throw null;
          },
        },
      },
      /^args\.a\.b cannot be read/,
    ],
    [
      "a toJSON that throws what cannot be shown",
      [
        {
          toJSON: () => {
            throw {
              toString: () => {
                throw 1;
              },
            };
          },
        },
      ],
      /cannot be read/,
    ],
  ] as [string, unknown, RegExp][]) {
    test(`refuses ${what}, and says where it is`, () => {
      assert.throws(() => encodeJson(value, "args"), code("ERR_ENCODE", message));
    });
  }

  test("refuses a revoked proxy", () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    assert.throws(() => encodeJson([proxy], "args"), code("ERR_ENCODE", /^args\[0\] cannot be read/));
  });

  test("refuses what contains itself, and takes one object in two places", () => {
    const cycle: Record<string, unknown> = { a: [] };
    (cycle.a as unknown[]).push(cycle);
    assert.throws(() => encodeJson(cycle, "kwargs"), code("ERR_ENCODE", /^kwargs\.a\[0\] is cyclic/));
    const shared = { x: 1 };
    assert.equal(encodeJson([shared, shared]), '[{"x":1},{"x":1}]');
  });

  test("refuses what its own reader would refuse: too deep, too many keys, too large", () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    assert.throws(() => encodeJson(deep, "args"), code("ERR_ENCODE", /nested more than 64 deep/));
    assert.throws(
      () => encodeJson({ a: 1, b: 2, c: 3, d: 4 }, "kwargs", SMALL),
      code("ERR_ENCODE", /^kwargs has 4 keys; the limit is 3/),
    );
    assert.throws(
      () =>
        encodeJson(
          [
            { a: 1, b: 2 },
            { a: 1, b: 2 },
            { a: 1, b: 2 },
          ],
          "args",
          SMALL,
        ),
      code("ERR_ENCODE", /5 keys in all/),
    );
    assert.throws(() => encodeJson("x".repeat(1_001), "args", SMALL), code("ERR_ENCODE", /more than 1000 bytes/));
    assert.throws(
      () => encodeJson(["ž".repeat(600)], "args", SMALL),
      code("ERR_ENCODE", /more than 1000 bytes/),
      "bytes, not characters",
    );
    const wide = { toJSON: (): unknown => [wide2, wide2] };
    const wide2 = { toJSON: (): unknown => [wide, wide] };
    assert.throws(() => encodeJson(wide), code("ERR_ENCODE"), "an endless tree ends");
  });

  test("writes a million elements", () => {
    const long = Array.from({ length: 1_000_000 }, (_, i) => i);
    assert.equal(encodeJson(long), JSON.stringify(long));
    assert.equal((decodeJson(encodeJson(long)) as unknown[]).length, 1_000_000);
  });
});
