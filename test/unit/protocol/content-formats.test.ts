/** YAML, MessagePack and compression: what goes in comes out, what Python writes is read, and nothing that comes makes reading throw anything but a refusal. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as zlib from "node:zlib";
import { Encoder, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { dress, jsonTextOf, loadFormats, payloadOf } from "../../../src/protocol/content.ts";
import { decodeTask } from "../../../src/protocol/decode.ts";
import { decodeJson } from "../../../src/protocol/json.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";
import { code } from "./coded.ts";

const accept = await loadFormats(["json", "yaml", "msgpack"]);
const TYPES = { yaml: "application/x-yaml", msgpack: "application/x-msgpack" } as const;

const wire = (text: string): WireMessage => ({
  body: Buffer.from(text),
  properties: { contentType: "application/json", contentEncoding: "utf-8" },
  headers: Object.assign(Object.create(null), { task: "t", id: "1" }),
});
const read = (dressed: WireMessage) =>
  decodeJson(jsonTextOf(payloadOf(dressed), dressed.properties.contentType, accept));
const readBytes = (type: string, bytes: Uint8Array | string) =>
  decodeJson(jsonTextOf(Buffer.from(bytes), type, accept));

describe("a body in YAML or MessagePack", () => {
  for (const serializer of ["yaml", "msgpack"] as const) {
    test(`comes out of ${serializer} as it went in`, () => {
      const text =
        '[["žluť 🐎", 1, -1, 1.5, true, null, 9007199254740993, "yes", "012", "2026-11-26", "", "a: b\\n- c"], {"k": {"deep": [[]]}}, {}]';
      const dressed = dress(wire(text), { serializer });
      assert.equal(dressed.properties.contentType, TYPES[serializer]);
      assert.equal(dressed.properties.contentEncoding, serializer === "yaml" ? "utf-8" : "binary");
      assert.deepEqual(read(dressed), decodeJson(text));
    });

    test(`any JSON comes out of ${serializer} as it went in`, () => {
      fc.assert(
        fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
          // Typed values, and integers of more than 64 bits, have tests of their own.
          fc.pre(!/__|\d{19}|e\+/.test(JSON.stringify(value)));
          const text = JSON.stringify([value]);
          assert.deepEqual(read(dress(wire(text), { serializer })), decodeJson(text));
        }),
        { numRuns: 300 },
      );
    });

    test(`no bytes make reading ${serializer} throw anything but a refusal`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
          const decoded = decodeTask(
            { body: bytes, properties: { contentType: TYPES[serializer] }, headers: { task: "t", id: "1" } },
            { accept },
          );
          assert.equal(typeof decoded.ok, "boolean");
        }),
        { numRuns: 2_000 },
      );
    });
  }

  test("is refused where the app does not accept it", () => {
    assert.throws(() => jsonTextOf(Buffer.from("- 1"), TYPES.yaml), code("ERR_CONTENT_TYPE"));
  });
});

describe("YAML", () => {
  test("of PyYAML is read: its 1.1 words, moments and bytes", () => {
    assert.deepEqual(readBytes(TYPES.yaml, "- - yes\n  - 0o14\n  - 014\n  - 1_000\n  - ~\n  - 'yes'\n- {}\n- null\n"), [
      [true, "0o14", 12, 1000, null, "yes"],
      {},
      null,
    ]);
    assert.deepEqual(readBytes(TYPES.yaml, "- 2026-11-26T08:00:00Z\n"), [new Date("2026-11-26T08:00:00Z")]);
    assert.deepEqual(readBytes(TYPES.yaml, "- !!binary |\n  aGVq\n"), [new Uint8Array(Buffer.from("hej"))]);
  });

  test("with a tag of Python's, or an alias bomb, is refused", () => {
    for (const text of ["!!python/object/apply:os.system ['true']", "- !!python/tuple [1]", "!own {}", "- ["]) {
      assert.throws(() => readBytes(TYPES.yaml, text), code("ERR_DECODE"), text);
    }
    const bomb = `a: &a [${"x,".repeat(50)}]\n${Array.from({ length: 12 }, (_, i) => `${String.fromCharCode(98 + i)}: &${String.fromCharCode(98 + i)} [${`*${String.fromCharCode(97 + i)},`.repeat(9)}]`).join("\n")}\n`;
    assert.throws(() => readBytes(TYPES.yaml, bomb), code("ERR_DECODE"));
  });
});

describe("MessagePack", () => {
  test("with an extension, a key that is no text, or an end that does not come, is refused", () => {
    const extension = new Uint8Array([0xd4, 0x07, 0x01]);
    for (const bytes of [extension, [0x81, 0xc0, 0x01], [0x92, 0x01], [0xdd, 0xff, 0xff, 0xff, 0xff], []]) {
      assert.throws(() => readBytes(TYPES.msgpack, Uint8Array.from(bytes)), code("ERR_DECODE"), String(bytes));
    }
    const deep = new Uint8Array(100_000).fill(0x91);
    assert.throws(() => readBytes(TYPES.msgpack, deep), { code: /^ERR_D/ });
  });

  test("keeps 64-bit integers, bytes and moments", () => {
    const bytes = encode([2n ** 63n - 1n, new Uint8Array([0, 255]), new Date(1_700_000_000_000)], {
      useBigInt64: true,
    });
    assert.deepEqual(readBytes(TYPES.msgpack, bytes), [
      2n ** 63n - 1n,
      new Uint8Array([0, 255]),
      new Date(1_700_000_000_000),
    ]);
    assert.ok(new Encoder());
  });

  test("has no word for an integer of more than 64 bits", () => {
    assert.throws(() => dress(wire("[18446744073709551616]"), { serializer: "msgpack" }), code("ERR_INVALID_INPUT"));
  });
});

describe("compression", () => {
  for (const [name, type] of [
    ["zlib", "application/x-gzip"],
    ["gzip", "application/x-gzip"],
    ["brotli", "application/x-brotli"],
    ["zstd", "application/zstd"],
  ] as const) {
    test(`${name} is written and read, and a bomb of it is refused`, () => {
      const dressed = dress(wire('["žluť"]'), { serializer: "json", compression: name });
      assert.equal(dressed.headers.compression, type);
      assert.equal(dressed.properties.contentType, "application/json");
      assert.deepEqual(read(dressed), ["žluť"]);
      const bomb = dress(wire(`["${"a".repeat(20_000_000)}"]`), { serializer: "json", compression: name });
      assert.throws(() => payloadOf(bomb), code("ERR_SIZE"));
      assert.throws(() => payloadOf({ ...dressed, body: dressed.body.subarray(0, 5) }), code("ERR_COMPRESSION"));
      assert.throws(() => payloadOf({ ...dressed, body: zlib.gzipSync("[]") }), code("ERR_COMPRESSION"));
    });
  }

  test("of another name is refused, both ways", () => {
    assert.throws(
      () => dress(wire("[]"), { serializer: "json", compression: "bzip2" }),
      code("ERR_INVALID_INPUT", /"zlib"/),
    );
    assert.throws(
      () => payloadOf({ ...wire("[]"), headers: { compression: "application/x-bz2" } }),
      code("ERR_COMPRESSION"),
    );
  });
});
