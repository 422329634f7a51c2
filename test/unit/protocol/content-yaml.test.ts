/** YAML as PyYAML has it. `test/interop/contents.test.ts` asks PyYAML itself. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loadYaml } from "../../../src/protocol/content/yaml.ts";
import { dress } from "../../../src/protocol/content.ts";
import { TypedValue } from "../../../src/protocol/json.ts";
import { code } from "./coded.ts";
import { formatConformance } from "./format-suite.ts";
import { jsonMessage, readAs, thereAndBack } from "./formats.ts";

const yaml = await loadYaml();
const read = (text: string) => readAs(yaml, text);
const written = (json: string) => Buffer.from(dress(jsonMessage(json), yaml).body).toString();

describe("YAML", () => {
  formatConformance(yaml);

  test("of PyYAML is read: what it takes for a text, a truth, a number", () => {
    const cases: [string, unknown][] = [
      ["yes", true],
      ["Off", false],
      ["y", "y"],
      ["N", "N"],
      ["oN", "oN"],
      ["~", null],
      ["''", ""],
      ["'yes'", "yes"],
      ["0o14", "0o14"],
      ["014", 12],
      ["08", "08"],
      ["0x_1F", 31],
      ["-0b101", -5],
      ["1_000", 1_000],
      ["+7", 7],
      ["1:30", 90],
      ["-1:30:00", -5_400],
      ["9007199254740993", 9_007_199_254_740_993n],
      ["1e5", "1e5"],
      ["1.0e5", "1.0e5"],
      ["1.5e+5", 150_000],
      ["1.e-2", 0.01],
      [".5", 0.5],
      ["+.5", "+.5"],
      ["1:30.5", 90.5],
      ["-.inf", Number.NEGATIVE_INFINITY],
      [".NaN", Number.NaN],
      ["-0.0", -0],
      ["!!float 3", 3],
      ["!!float -3", -3],
      ["!!str 3", "3"],
      ["=", "="],
      ["{a: 1, a: 2}", { a: 2 }],
      ["{1: x, ~: y, on: z}", { 1: "x", null: "y", true: "z" }],
      ["{<<: {a: 1, b: 2}, b: 3}", { a: 1, b: 3 }],
      ["!!set {a, b}", ["a", "b"]],
      ["!!binary aGVq", new Uint8Array(Buffer.from("hej"))],
      ["&x [1]", [1]],
    ];
    for (const [text, value] of cases) assert.deepEqual(read(`[${text}]`), [value], text);
  });

  test("has moments and days, and keeps whether they say where they count from", () => {
    const cases: [string, unknown][] = [
      ["2026-11-26T08:00:00Z", new Date("2026-11-26T08:00:00Z")],
      ["2026-11-26 08:00:00.5 +02:00", new Date("2026-11-26T06:00:00.500Z")],
      ["2026-1-2 8:00:00 -5", new Date("2026-01-02T13:00:00Z")],
      ["2026-11-26 08:00:00", new TypedValue("datetime", "2026-11-26T08:00:00")],
      ["2026-11-26 08:00:00.123456Z", new TypedValue("datetime", "2026-11-26T08:00:00.123456+00:00")],
      ["2026-11-26", new TypedValue("date", "2026-11-26")],
      ["2026-1-2", "2026-1-2"],
      ["26:11", 1_571],
    ];
    for (const [text, value] of cases) assert.deepEqual(read(`[${text}]`), [value], text);
    const typed =
      '[{"__type__":"datetime","__value__":"2026-11-26T08:00:00"},{"__type__":"date","__value__":"2026-11-26"},{"__type__":"datetime","__value__":"2026-11-26T08:00:00.123456+00:00"}]';
    assert.doesNotMatch(written(typed), /["']/);
    assert.deepEqual(thereAndBack(yaml, typed), [
      new TypedValue("datetime", "2026-11-26T08:00:00"),
      new TypedValue("date", "2026-11-26"),
      new TypedValue("datetime", "2026-11-26T08:00:00.123456+00:00"),
    ]);
  });

  test("has no word for Python's other types: their text", () => {
    const typed =
      '[{"__type__":"decimal","__value__":"1.10"},{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}}]';
    assert.deepEqual(thereAndBack(yaml, typed), ["1.10", "12345678-1234-5678-1234-567812345678"]);
  });

  test("writes equal objects each, without an alias", () => {
    assert.doesNotMatch(written('[{"a":[1]},{"a":[1]}]'), /[&*]/);
  });

  test("with a tag of Python's, two documents, an end that does not come, or a key of a prototype, is refused", () => {
    for (const text of [
      "!!python/object/apply:os.system ['true']",
      "- !!python/tuple [1]",
      "!own {}",
      "- [",
      "- 1\n---\n- 2",
      "",
      "[2026-13-45]",
      `[${"9".repeat(5_000)}]`,
      "{__proto__: {a: 1}}",
      "&a [*a]",
      "[*nobody]",
    ]) {
      assert.throws(() => read(text), code("ERR_DECODE"), text.slice(0, 60));
    }
    assert.throws(() => read("[".repeat(100_000)), code("ERR_DECODE"));
  });

  test("that repeats by aliases is read, and a bomb of them is refused", () => {
    assert.deepEqual(read(`- &x {a: 1}\n${"- *x\n".repeat(1_000)}`), Array(1_001).fill({ a: 1 }));
    const name = (i: number) => String.fromCharCode(97 + i);
    const level = (i: number) => `- &${name(i)} [${`*${name(i - 1)},`.repeat(9)}]\n`;
    const bomb = `- &a [${"x,".repeat(50)}]\n${Array.from({ length: 12 }, (_, i) => level(i + 1)).join("")}`;
    assert.throws(() => read(bomb), code("ERR_DECODE", /too|more than/));
  });
});
