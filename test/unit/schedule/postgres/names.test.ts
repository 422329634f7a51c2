import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { beginningOf, channelOf, indexed, newSalt, quoted } from "../../../../src/schedule/stores/postgres/names.ts";

const MAX_ENTRY_BYTES = 2_704;

describe("names in PostgreSQL's indexes", () => {
  test("are themselves, or short; and two that differ differ there", () => {
    assert.equal(indexed("order:42:reminder"), "order:42:reminder");
    assert.equal(indexed("x".repeat(1_000)), "x".repeat(1_000));
    const long = "請".repeat(1_024);
    assert.ok(Buffer.byteLength(indexed(long)) < MAX_ENTRY_BYTES / 2);
    assert.notEqual(indexed(long), indexed(`${long.slice(1)}求`));
    // A text that looks like a cut one is not taken for it.
    assert.notEqual(indexed(indexed(long)), indexed(long));
  });

  test("begin as what they stand for, and are whole characters", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 1_500 }), (text) => {
        const short = indexed(text);
        assert.ok(short.isWellFormed());
        assert.ok(short.startsWith(beginningOf(text)));
        assert.ok(text.startsWith(beginningOf(text)));
      }),
    );
    const emoji = `${"x".repeat(127)}\u{1f600}${"y".repeat(2_000)}`;
    assert.equal(beginningOf(emoji), "x".repeat(127));
  });

  test("salts are 47 bits, and no two alike; names are quoted; channels fit", () => {
    const salts = Array.from({ length: 2_000 }, newSalt);
    assert.equal(new Set(salts).size, salts.length);
    assert.ok(salts.every((salt) => Number.isSafeInteger(salt) && salt >= 0 && salt < 2 ** 47));
    assert.ok(salts.some((salt) => salt > 2 ** 46));
    assert.equal(quoted('a"b'), '"a""b"');
    assert.ok(`${channelOf("x".repeat(63))}2147483647`.length < 64);
    assert.notEqual(channelOf("a"), channelOf("b"));
  });
});
