import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { InvalidInputError } from "../../../src/kit/errors.ts";
import { errorText, MAX_FIELD_CHARS, plainOf, printable, textOf } from "../../../src/kit/printable.ts";

describe("printable", () => {
  test("leaves ordinary text of any language as it is", () => {
    const text = 'Zażółć gęślą jaźń, 日本語 🚀 عربي "quoted" \\ C:\\x';
    assert.equal(printable(text), text);
  });

  test("shows what could forge, hide or move text", () => {
    assert.equal(printable("a\nb\r\tc\u001b[31md\u0000\u0085"), "a\\nb\\r\\tc\\u{1b}[31md\\u{0}\\u{85}");
    assert.equal(
      printable("user\u202Eexe.txt\u2066\u200b\ufeff\u2028"),
      "user\\u{202e}exe.txt\\u{2066}\\u{200b}\\u{feff}\\u{2028}",
    );
    assert.equal(printable("half \ud800 pair"), "half \\u{d800} pair");
    assert.equal(printable("tag \u{e0041}"), "tag \\u{e0041}");
  });

  test("keeps a long text to its limit and says how long it was", () => {
    const shown = printable("é".repeat(5_000));
    assert.equal(shown.length, MAX_FIELD_CHARS);
    assert.match(shown, /… \(5000 characters\)$/);
  });

  test("does not cut a character in two", () => {
    for (const lead of ["", "x"]) assert.ok(printable(lead + "🚀".repeat(2_000)).isWellFormed());
  });

  test("does not show half a password where a very long text is cut", () => {
    const text = `${"x ".repeat(32_750)}amqp://user:CaNaRy${"7".repeat(100)}@host`;
    assert.ok(!printable(text, 1_000_000).includes("CaNaRy"));
  });

  test("never yields anything but one visible line", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const shown = printable(text);
        assert.equal(/[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(shown), false);
        assert.ok(shown.length <= MAX_FIELD_CHARS);
      }),
      { numRuns: 500 },
    );
  });
});

describe("plainOf and textOf", () => {
  test("write values as JSON would, and what JSON cannot write as text", () => {
    assert.equal(textOf({ a: [1, true, null], b: "x" }), '{"a":[1,true,null],"b":"x"}');
    assert.deepEqual(plainOf([1n, Number.NaN, undefined, Symbol("s")]), ["1", "NaN", "undefined", "Symbol(s)"]);
    assert.equal(textOf(new Date(0)), "1970-01-01T00:00:00.000Z");
    assert.equal(textOf(new Uint8Array(3)), "[3 bytes]");
    assert.equal(textOf(new Map([["a", 1]])), '[["a",1]]');
  });

  test("mask what stands under the name of a secret, and passwords in URLs, at any depth", () => {
    const text = textOf({ a: { password: "CaNaRy", url: "redis://:CaNaRy@h", headers: { Authorization: "CaNaRy" } } });
    assert.equal(text, '{"a":{"password":"**","url":"redis://:**@h","headers":{"Authorization":"**"}}}');
    assert.equal(textOf(new URL("amqp://u:CaNaRy@h/")), "amqp://u:**@h/");
  });

  test("bound breadth and depth", () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    assert.equal(textOf(loop), '{"self":{"self":{"self":{"self":"{…}"}}}}');
    assert.match(textOf(Array.from({ length: 1_000_000 }, () => 0)), /"… 999950 more"\]$/);
    const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i]));
    assert.match(textOf(wide), /"…":"more"\}$/);
    assert.ok(textOf(Array.from({ length: 50 }, () => "y".repeat(1_000))).length <= MAX_FIELD_CHARS);
  });

  test("survive values that throw when looked at", () => {
    const hostile = {
      get boom() {
        throw new Error("no");
      },
    };
    assert.equal(textOf(hostile), "[cannot be shown]");
    assert.equal(textOf(new Proxy({}, { ownKeys: () => assert.fail() })), "[cannot be shown]");
  });

  test("know no prototype", () => {
    assert.equal(textOf(JSON.parse('{"__proto__":1,"constructor":2}')), '{"__proto__":1,"constructor":2}');
  });
});

describe("errorText", () => {
  test("gives message, code and causes, without a stack", () => {
    const refused = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:5672"), { code: "ECONNREFUSED" });
    const error = new InvalidInputError("no broker at amqp://u:pw@h", { cause: refused });
    assert.equal(
      errorText(error),
      "no broker at amqp://u:**@h (ERR_INVALID_INPUT), caused by: connect ECONNREFUSED 127.0.0.1:5672",
    );
  });

  test("names every address of an aggregate that has no message", () => {
    const error = new AggregateError([new Error("refused ::1"), new Error("refused 127.0.0.1")]);
    assert.equal(errorText(error), "refused ::1, refused 127.0.0.1");
  });

  test("says once what a wrapper repeats, and survives a loop of causes", () => {
    const inner = new Error("disk full");
    assert.equal(errorText(new Error("cannot save: disk full", { cause: inner })), "cannot save: disk full");
    const loop = new Error("a");
    loop.cause = new Error("b", { cause: loop });
    assert.equal(errorText(loop), "a, caused by: b");
  });

  test("takes anything that was thrown", () => {
    assert.equal(errorText("text\n2"), "text\\n2");
    assert.equal(errorText(undefined), "undefined");
    assert.equal(errorText(null), "null");
    assert.equal(errorText({ toString: () => assert.fail() }), "a value that cannot be printed was thrown");
  });
});
