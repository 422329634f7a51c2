import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeJson, encodeJson, jsonMembers } from "../../../src/protocol/json.ts";
import { DEFAULT_LIMITS, type JsonLimits } from "../../../src/protocol/limits.ts";
import { code } from "./coded.ts";

/** Limits that are met with small texts. */
const SMALL: JsonLimits = { maxBytes: 1_000, maxDepth: 4, maxKeys: 3, maxKeysInAll: 5 };

/** What `JSON.parse` made of integers that it cannot hold. */
function inexact(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(inexact);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, inexact(member)]));
}

/** A text that `JSON.parse` is not asked for: the reader of our own must give the same. */
const slowly = (text: string) => decodeJson(`[${text}, NaN]`);

describe("decodeJson on standard JSON", () => {
  test("gives what JSON.parse gives, by the scan and by the reader alike", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6, stringUnit: "binary" }), (text) => {
        fc.pre(!/__proto__/.test(text));
        const expected: unknown = JSON.parse(text);
        assert.deepEqual(inexact(decodeJson(text)), expected);
        assert.deepEqual(inexact(slowly(text)), [expected, Number.NaN]);
      }),
    );
  });

  test("gives back every tree of values that JSON holds", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        fc.pre(!JSON.stringify(value).includes("__proto__"));
        assert.deepEqual(
          inexact(decodeJson(JSON.stringify(value, undefined, "\t"))),
          JSON.parse(JSON.stringify(value)),
        );
      }),
    );
  });

  test("accepts no text that JSON.parse refuses, but for NaN and the infinities", () => {
    const pieces = fc.constantFrom(
      "[",
      "]",
      "{",
      "}",
      ",",
      ":",
      '"',
      '"a"',
      "1",
      "-",
      "0",
      ".5",
      "e1",
      "true",
      "nul",
      "\\",
      " ",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join("");
        let expected: unknown;
        let refused = false;
        try {
          expected = JSON.parse(text);
        } catch {
          refused = true;
        }
        if (refused) assert.throws(() => decodeJson(text), code("ERR_DECODE"));
        else assert.deepEqual(decodeJson(text), expected);
      }),
      { numRuns: 2_000 },
    );
  });

  test("throws nothing but coded one-line errors, whatever the text", () => {
    const likely = fc
      .array(fc.constantFrom(...'[]{}",:0123456789.-+eENaIfitytruls\\/ \n"'), { maxLength: 60 })
      .map((it) => it.join(""));
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), likely), (text) => {
        try {
          decodeJson(text);
        } catch (error) {
          assert.match(String((error as { code?: unknown }).code), /^ERR_(DECODE|SIZE|DEPTH|PROTO_KEY|TYPED_VALUE)$/);
          assert.doesNotMatch((error as Error).message, /\n/);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("takes the last of two equal keys", () => {
    assert.deepEqual(decodeJson('{"a": 1, "b": 2, "a": 3}'), { a: 3, b: 2 });
    assert.deepEqual(decodeJson('{"a": NaN, "a": 3}'), { a: 3 });
  });

  test("keeps lone surrogates and NUL", () => {
    assert.equal(decodeJson('"\\ud800"'), "\ud800");
    assert.equal(decodeJson('"a\\u0000b"'), "a\u0000b");
    assert.deepEqual(slowly('"\\udfff\\u0000"'), ["\udfff\u0000", Number.NaN]);
    assert.equal(decodeJson(encodeJson("\ud800x\udc00")), "\ud800x\udc00");
  });

  test("says where it is wrong", () => {
    assert.throws(() => decodeJson(""), code("ERR_DECODE", /the end \(character 1\)/));
    assert.throws(() => decodeJson("[1, }"), code("ERR_DECODE", /character 5, before "}"/));
    assert.throws(() => decodeJson('{"a" 1}'), code("ERR_DECODE", /":" was expected at character 6/));
    assert.throws(() => decodeJson("{a: 1}"), code("ERR_DECODE", /a key in double quotes was expected at character 2/));
    assert.throws(() => decodeJson("[1] [2]"), code("ERR_DECODE", /the end of the text was expected at character 5/));
    assert.throws(() => decodeJson('["abc'), code("ERR_DECODE", /a string is not ended at character 2/));
    assert.throws(() => decodeJson('"\\x"'), code("ERR_DECODE", /bad escape/));
    assert.throws(() => decodeJson('"a\nb"'), code("ERR_DECODE", /control character/));
    assert.throws(() => decodeJson("\ufeff[]"), code("ERR_DECODE"), "a byte order mark belongs to bytes, not to text");
  });
});

describe("decodeJson on what Python adds", () => {
  test("reads NaN and the infinities, nested and signed", () => {
    assert.deepEqual(decodeJson('[NaN, Infinity, {"a": -Infinity}]'), [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      { a: Number.NEGATIVE_INFINITY },
    ]);
    for (const text of ["-NaN", "Infinit", "+Infinity", "nan", "[Infinity1]"]) {
      assert.throws(() => decodeJson(text), code("ERR_DECODE"), text);
    }
  });

  test("reads an integer past 2^53 exactly, and everything with a point or an exponent as a number", () => {
    assert.equal(decodeJson("9007199254740991"), 9_007_199_254_740_991);
    assert.equal(decodeJson("9007199254740992"), 9_007_199_254_740_992n);
    assert.equal(decodeJson("-1180591620717411303424"), -1_180_591_620_717_411_303_424n);
    assert.deepEqual(decodeJson('{"a": [9007199254740993]}'), { a: [9_007_199_254_740_993n] });
    assert.equal(decodeJson("1e3"), 1_000);
    assert.equal(decodeJson("1.0"), 1);
    assert.equal(decodeJson("1e300"), 1e300);
    assert.equal(decodeJson("0.1000000000000000055511151231257827"), 0.1);
    assert.equal(decodeJson("12345678901234567890.5"), Number("12345678901234567890.5"));
    assert.equal(decodeJson("1e999"), Number.POSITIVE_INFINITY, "as Python reads it");
  });

  test("refuses an integer that Python would not read either, before it costs anything", () => {
    assert.equal(typeof decodeJson("9".repeat(4_300)), "bigint");
    assert.throws(() => decodeJson("9".repeat(4_301)), code("ERR_SIZE", /4300 digits/));
    assert.throws(() => decodeJson(`[-${"9".repeat(1_000_000)}]`), code("ERR_SIZE"));
  });
});

describe("decodeJson at its limits", () => {
  test("refuses a text that is too long", () => {
    assert.equal(decodeJson(`"${"x".repeat(998)}"`, SMALL), "x".repeat(998));
    assert.throws(
      () => decodeJson(`"${"x".repeat(999)}"`, SMALL),
      code("ERR_SIZE", /1001 characters; the limit is 1000/),
    );
  });

  test("refuses nesting past the limit, and 100,000 levels without overflowing the stack", () => {
    assert.deepEqual(decodeJson("[[[[]]]]", SMALL), [[[[]]]]);
    assert.throws(() => decodeJson("[[[[[]]]]]", SMALL), code("ERR_DEPTH", /more than 4 deep at character 5/));
    assert.doesNotThrow(() => decodeJson("[".repeat(64) + "]".repeat(64)));
    assert.throws(() => decodeJson("[".repeat(100_000)), code("ERR_DEPTH"));
    assert.throws(() => decodeJson('{"a":'.repeat(100_000)), code("ERR_DEPTH"));
    assert.throws(
      () => decodeJson(`["]]]]", ${"[".repeat(100)}`),
      code("ERR_DEPTH"),
      "brackets in strings do not count",
    );
    // A string that is no string for the scan: the reader counts for itself.
    assert.throws(() => decodeJson(`NaN"${"[".repeat(100_000)}`), code("ERR_DECODE"));
  });

  test("refuses objects with too many keys, one or all", () => {
    assert.deepEqual(decodeJson('[{"a":1,"b":2,"c":3},{"d":4,"e":5}]', SMALL), [
      { a: 1, b: 2, c: 3 },
      { d: 4, e: 5 },
    ]);
    assert.throws(() => decodeJson('{"a":1,"b":2,"c":3,"d":4}', SMALL), code("ERR_SIZE", /more than 3 keys/));
    assert.throws(
      () => decodeJson('[{"a":1,"b":2,"c":3},{"d":4,"e":5,"f":6}]', SMALL),
      code("ERR_SIZE", /5 keys in all/),
    );
    const many = Array.from({ length: DEFAULT_LIMITS.maxKeys + 1 }, (_, i) => `"k${i}":0`).join();
    assert.throws(() => decodeJson(`{${many}}`), code("ERR_SIZE"));
  });

  test("counts the keys of an object whose members are objects", () => {
    assert.throws(
      () => decodeJson('{"a":{"x":1},"b":{"x":1},"c":1,"d":1}', { ...SMALL, maxKeysInAll: 99 }),
      code("ERR_SIZE"),
    );
    assert.doesNotThrow(() => decodeJson('{"a":{"x":1,"y":1},"b":{"x":1},"c":1}', { ...SMALL, maxKeysInAll: 99 }));
  });
});

describe("decodeJson and prototypes", () => {
  test("refuses __proto__ at any depth, also when it is spelt with escapes", () => {
    for (const text of [
      '{"__proto__": {"x": 1}}',
      '[{"a": {"__proto__": null}}]',
      '{"\\u005f\\u005fproto__": {"x": 1}}',
      '{"__pr\\u006fto__": {"x": 1}}',
    ]) {
      assert.throws(() => decodeJson(text), code("ERR_PROTO_KEY", /__proto__/), text);
    }
    assert.equal(Reflect.get({}, "x"), undefined);
  });

  test("refuses constructor.prototype, and leaves constructor alone as data", () => {
    assert.throws(() => decodeJson('{"constructor": {"prototype": {"x": 1}}}'), code("ERR_PROTO_KEY"));
    assert.throws(() => decodeJson('{"\\u0063onstructor": {"prototype": 1}}'), code("ERR_PROTO_KEY"));
    assert.deepEqual(decodeJson('{"constructor": "Ferrari", "prototype": 1}'), {
      constructor: "Ferrari",
      prototype: 1,
    });
    assert.equal(decodeJson('"__proto__"'), "__proto__", "a value is no key");
  });

  test("gives objects whose keys are their own, whatever they are called", () => {
    const value = decodeJson('{"toString": 1, "hasOwnProperty": 2, "valueOf": NaN}') as object;
    assert.deepEqual(Object.keys(value), ["toString", "hasOwnProperty", "valueOf"]);
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
  });
});

describe("jsonMembers", () => {
  test("cuts out each member as it was written", () => {
    const text = ' { "a" : [1.0, {"x": "]}\\""}] , "b\\u0063":  1e3 ,"d":"," , "e":{}, "f": null, "a": 2 } ';
    assert.deepEqual(
      [...jsonMembers(text)],
      [
        ["a", "2"],
        ["bc", "1e3"],
        ["d", '","'],
        ["e", "{}"],
        ["f", "null"],
      ],
    );
    assert.deepEqual([...jsonMembers("{}")], []);
  });

  test("cuts any object into the texts of its values", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue(), { noNullPrototype: true }),
        fc.constantFrom(undefined, 1),
        (object, indent) => {
          const members = jsonMembers(JSON.stringify(object, undefined, indent));
          assert.deepEqual(
            new Map([...members].map(([key, raw]) => [key, JSON.parse(raw)])),
            new Map(Object.entries(JSON.parse(JSON.stringify(object)))),
          );
        },
      ),
    );
  });
});
