import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { globToRegExp, isGlob } from "../../../src/kit/glob.ts";

/** Each as Python 3.11's `re.match(fnmatch.translate(glob), name)` answered. */
const CASES: readonly (readonly [glob: string, name: string, matches: boolean])[] = [
  ["feed.*", "feed.import", true],
  ["feed.*", "feed.", true],
  ["feed.*", "feed", false],
  ["feed.*", "a.feed.import", false],
  ["*.import", "feed.import", true],
  ["*.import", "feed.import.x", false],
  ["*", "", true],
  ["*", "a\nb", true],
  ["a**b", "axxb", true],
  ["a?c*", "abc", true],
  ["a?c*", "ac", false],
  ["a?c*", "a🎉c", true],
  ["[ab]*", "bx", true],
  ["[ab]*", "cx", false],
  ["[!ab]*", "cx", true],
  ["[!ab]*", "ax", false],
  ["[]a]*", "]x", true],
  ["[!]a]*", "]x", false],
  ["[a-c]*", "bx", true],
  ["[a-c]*", "dx", false],
  ["[c-a]*", "bx", false],
  ["[!c-a]*", "bx", true],
  ["[a-]*", "-x", true],
  ["[^a]*", "^x", true],
  ["[^a]*", "bx", false],
  ["[a*", "[abc", true],
  ["[a*", "abc", false],
  ["a\\*", "a\\b", true],
  ["a.b*", "axb", false],
  ["A*", "abc", false],
  ["(a|b)*", "(a|b)c", true],
  ["(a|b)*", "ac", false],
  ["zwölf.*", "zwölf.x", true],
];

describe("a glob of Celery's routes", () => {
  for (const [glob, name, matches] of CASES) {
    test(`${JSON.stringify(glob)} ${matches ? "fits" : "does not fit"} ${JSON.stringify(name)}`, () => {
      assert.equal(globToRegExp(glob).test(name), matches);
    });
  }

  test("is told from a plain name by a star alone, as Celery tells it", () => {
    assert.equal(isGlob("feed.*"), true);
    assert.equal(isGlob("feed.?"), false);
    assert.equal(isGlob("feed.[ab]"), false);
  });

  test("with many stars does not take for ever on a long name that does not fit", () => {
    const glob = `${"a*".repeat(5)}*****b`;
    assert.equal(globToRegExp(glob).test("a".repeat(120)), false);
  });
});
