import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { quoted } from "../../../src/protocol/refusal.ts";

test("every code of the wire has its row in docs/errors.md", () => {
  const source = readFileSync(new URL("../../../src/protocol/refusal.ts", import.meta.url), "utf8");
  const docs = readFileSync(new URL("../../../docs/errors.md", import.meta.url), "utf8");
  const codes = new Set(source.match(/ERR_[A-Z_]+/g));
  assert.ok(codes.size > 15);
  for (const code of codes) assert.match(docs, new RegExp(`^\\| ${code} \\| contract \\|`, "m"));
});

test("values in messages are cut, escaped and on one line", () => {
  assert.equal(quoted("a\nb\u202e\u001b[31m"), '"a\\nb\\u{202e}\\u{1b}[31m"');
  assert.ok(quoted("x".repeat(10_000)).length < 120);
  assert.equal(quoted(null), "null");
  assert.equal(quoted([1, 2]), "an array of 2");
  assert.equal(quoted({}), "an object");
  assert.equal(quoted(10n ** 500n).length < 120, true);
  assert.equal(quoted(Number.NaN), "NaN");
  assert.equal(
    quoted(() => 1),
    "a function",
  );
  assert.equal(quoted(Symbol("x")), "a symbol");
});
