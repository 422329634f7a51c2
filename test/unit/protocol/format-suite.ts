/** What every format must do, as tests: what goes in comes out, and no bytes make reading throw anything but a refusal. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ContentFormat } from "../../../src/protocol/content/format.ts";
import { dress } from "../../../src/protocol/content.ts";
import { decodeTask } from "../../../src/protocol/decode.ts";
import { decodeJson } from "../../../src/protocol/json.ts";
import { acceptOnly, jsonMessage, thereAndBack } from "./formats.ts";

export function formatConformance(format: ContentFormat): void {
  test("comes out as it went in", () => {
    const text =
      '[["žluť 🐎", 1, -1, 1.5, true, null, 9007199254740993, "yes", "012", "2026-11-26", "", "a: b\\n- c", "=", "<<", "1e5", "~", "y", 1e21, 1e-7], {"k": {"deep": [[]]}}, {}]';
    const dressed = dress(jsonMessage(text), format);
    assert.equal(dressed.properties.contentType, format.contentType);
    assert.equal(dressed.properties.contentEncoding, format.contentEncoding);
    assert.deepEqual(thereAndBack(format, text), decodeJson(text));
  });

  test("any JSON comes out as it went in", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4, noUnicodeString: false }), (value) => {
        // Typed values have tests of their own; so have integers of more than 64 bits, which one format has not.
        fc.pre(!/__|\d{19}|e\+/.test(JSON.stringify(value)));
        const text = JSON.stringify([value]);
        assert.deepEqual(thereAndBack(format, text), decodeJson(text));
      }),
      { numRuns: 300 },
    );
  });

  test("no bytes make reading throw anything but a refusal", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        const message = { body, properties: { contentType: format.contentType }, headers: { task: "t", id: "1" } };
        assert.equal(typeof decodeTask(message, { accept: acceptOnly(format) }).ok, "boolean");
      }),
      { numRuns: 2_000 },
    );
  });
}
