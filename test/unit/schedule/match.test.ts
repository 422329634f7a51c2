import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { globOf } from "../../../src/schedule/match.ts";

test("a star stands for any characters, none and many, and nothing else is special", () => {
  const yes: [string, string][] = [
    ["*", ""],
    ["a*", "a"],
    ["*a", "ba"],
    ["a*c", "abbc"],
    ["a*b*c", "aXbYbZc"],
    ["**", "x"],
    ["[a-z]?", "[a-z]?"],
    ["shop.*", "shop.close"],
    ["*é*", "café au lait"],
  ];
  const no: [string, string][] = [
    ["", "a"],
    ["a*a", "a"],
    ["ab*ba", "aba"],
    ["a*b*c", "acb"],
    ["shop.*", "shopXclose"],
    ["[a-z]", "b"],
    ["a?", "ab"],
    ["*ab*ab*", "xaby"],
  ];
  for (const [pattern, text] of yes) assert.ok(globOf(pattern)(text), `${pattern} is ${text}`);
  for (const [pattern, text] of no) assert.ok(!globOf(pattern)(text), `${pattern} is not ${text}`);
});

test("it matches what a regular expression matches", () => {
  const piece = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 6 });
  const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 8 });
  fc.assert(
    fc.property(piece, text, (pattern, value) => {
      const expected = new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(value);
      assert.equal(globOf(pattern)(value), expected);
    }),
    { seed: 7, numRuns: 2_000 },
  );
});

test("a pattern made to be slow is not", { timeout: 10_000 }, () => {
  const text = "a".repeat(20_000);
  for (const end of ["b", "b*"]) assert.equal(globOf(`${"*a".repeat(500)}*${end}`)(text), false);
});
