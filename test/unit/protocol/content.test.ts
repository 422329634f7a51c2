import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { deflateSync, gzipSync } from "node:zlib";
import { JSON_FORMAT } from "../../../src/protocol/content/json.ts";
import { ContentFormats, dress, jsonTextOf, payloadOf } from "../../../src/protocol/content.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/limits.ts";
import { code } from "./coded.ts";
import { jsonMessage } from "./formats.ts";

const packed = (body: Uint8Array, compression: unknown = "application/x-gzip") => ({
  body,
  properties: { contentType: "application/json", contentEncoding: "utf-8" },
  headers: { compression },
});
const encoded = (contentEncoding: string) => ({
  body: Buffer.from("[]"),
  properties: { contentEncoding },
  headers: {},
});

describe("the accept list", () => {
  test("takes names and MIME types", async () => {
    const types = async (...names: string[]) => [...(await new ContentFormats().accept(names)).keys()];
    assert.deepEqual(await types("json"), ["application/json"]);
    assert.deepEqual(await types("application/json", "json"), ["application/json"]);
    assert.deepEqual(await types("yaml", "msgpack"), ["application/x-yaml", "application/x-msgpack"]);
    assert.deepEqual(await types(), []);
  });

  test("refuses what is not known, and says of pickle why it never will be", async () => {
    const formats = new ContentFormats();
    await assert.rejects(
      formats.accept(["json", "xml"]),
      code("ERR_INVALID_INPUT", /content "xml" is not known here: use "json", "yaml" or "msgpack"/),
    );
    for (const pickle of ["pickle", "application/x-python-serialize"]) {
      await assert.rejects(formats.load(pickle), code("ERR_INVALID_INPUT", /runs code of the sender/));
    }
    for (const odd of ["__proto__", "constructor", ""]) {
      await assert.rejects(formats.load(odd), code("ERR_INVALID_INPUT"));
    }
  });
});

describe("content types", () => {
  const bytes = Buffer.from("[]");

  test("are compared letter by letter, without parameters, as Celery compares them", () => {
    assert.equal(jsonTextOf(bytes, "application/json"), "[]");
    for (const refused of [
      "application/json; charset=utf-8",
      "APPLICATION/JSON",
      "text/plain",
      "application/data",
      "__proto__",
      "x".repeat(1_000_000),
    ]) {
      assert.throws(() => jsonTextOf(bytes, refused), code("ERR_CONTENT_TYPE", /^.{1,200}$/));
    }
  });

  test("that are missing are refused", () => {
    assert.throws(() => jsonTextOf(bytes, undefined), code("ERR_CONTENT_TYPE", /there is no content type/));
    assert.throws(() => jsonTextOf(bytes, ""), code("ERR_CONTENT_TYPE"));
  });

  test("that are known but not accepted are refused", () => {
    assert.throws(() => jsonTextOf(bytes, "application/json", new Map()), code("ERR_CONTENT_TYPE"));
  });
});

describe("text", () => {
  const json = (bytes: Uint8Array) => jsonTextOf(bytes, "application/json");

  test("is UTF-8, and one byte order mark is passed over", () => {
    assert.equal(json(Buffer.from('["ž🐎"]')), '["ž🐎"]');
    assert.equal(json(Buffer.from("\ufeff[]")), "[]");
    assert.equal(json(Buffer.from("\ufeff\ufeff[]")), "\ufeff[]", "the second is the reader's to refuse");
    assert.equal(json(Buffer.alloc(0)), "");
    assert.equal(json(Buffer.from("xx[]xx").subarray(2, 4)), "[]", "a view of a larger buffer");
    assert.equal(json(new Uint8Array([0x5b, 0x5d])), "[]");
  });

  test("that is no UTF-8 is refused: UTF-16, UTF-32, latin-1, a cut or a surrogate sequence", () => {
    const cases = [
      Buffer.from("\ufeff[1]", "utf16le"),
      Buffer.from([0x00, 0x00, 0xfe, 0xff, 0, 0, 0, 0x5b]),
      Buffer.from('["é"]', "latin1"),
      Buffer.from('["ž"]').subarray(0, 3),
      Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]),
      Buffer.from([0x22, 0xc0, 0xaf, 0x22]),
    ];
    for (const bytes of cases) assert.throws(() => json(bytes), code("ERR_DECODE", /not UTF-8/));
  });

  test("of an encoding that is not known is refused", () => {
    for (const known of ["utf-8", "UTF-8", "utf8", "binary", "us-ascii", ""]) {
      assert.doesNotThrow(() => payloadOf(encoded(known)), known);
    }
    for (const unknown of ["utf-16", "latin-1", "gzip", "__proto__"]) {
      assert.throws(() => payloadOf(encoded(unknown)), code("ERR_CONTENT_ENCODING"), unknown);
    }
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
      const dressed = dress(jsonMessage('["žluť"]'), JSON_FORMAT, name);
      assert.equal(dressed.headers.compression, type);
      assert.equal(dressed.properties.contentType, "application/json");
      assert.equal(Buffer.from(payloadOf(dressed)).toString(), '["žluť"]');
      const bomb = dress(jsonMessage(`["${"a".repeat(20_000_000)}"]`), JSON_FORMAT, name);
      assert.throws(() => payloadOf(bomb), code("ERR_SIZE"));
      assert.throws(() => payloadOf({ ...dressed, body: dressed.body.subarray(0, 5) }), code("ERR_COMPRESSION"));
      assert.throws(() => payloadOf({ ...dressed, body: gzipSync("[]") }), code("ERR_COMPRESSION"));
    });
  }

  test("of another name is not written", () => {
    assert.throws(() => dress(jsonMessage("[]"), JSON_FORMAT, "bzip2"), code("ERR_INVALID_INPUT", /"zlib"/));
  });

  const text = Buffer.from(JSON.stringify([["hello ".repeat(1_000)], {}, {}]));

  test("is zlib data under each of its names; a gzip stream is not", () => {
    for (const name of ["application/x-gzip", "gzip", "zlib"]) {
      assert.deepEqual(Buffer.from(payloadOf(packed(deflateSync(text), name))), text);
      assert.throws(() => payloadOf(packed(gzipSync(text), name)), code("ERR_COMPRESSION", /not zlib data/));
    }
  });

  test("that is said to be none is none", () => {
    for (const headers of [{}, { compression: null }, { compression: "" }]) {
      assert.equal(payloadOf({ ...packed(text), headers }), text);
    }
  });

  test("that is unknown, or no text, is refused", () => {
    for (const unknown of [
      "application/x-bz2",
      "application/x-lzma",
      "__proto__",
      "toString",
      1,
      {},
      ["zlib"],
      "x".repeat(100_000),
    ]) {
      assert.throws(() => payloadOf(packed(text, unknown)), code("ERR_COMPRESSION", /^.{1,200}$/));
    }
  });

  test("that is cut short or not compressed at all is refused", () => {
    const whole = deflateSync(text);
    assert.throws(() => payloadOf(packed(whole.subarray(0, whole.length - 5))), code("ERR_COMPRESSION"));
    assert.throws(() => payloadOf(packed(text)), code("ERR_COMPRESSION"));
    assert.throws(() => payloadOf(packed(Buffer.alloc(0))), code("ERR_COMPRESSION"));
  });

  test("that would give more than the limit is refused without being undone", () => {
    const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024));
    assert.ok(bomb.byteLength < 100_000);
    assert.throws(() => payloadOf(packed(bomb)), code("ERR_SIZE", /decompresses to more than/));
  });

  test("by more than a hundred times is refused past one mebibyte, and not before", () => {
    const small = deflateSync(Buffer.alloc(1024 * 1024, 0x20));
    assert.ok(small.byteLength < 10_000);
    assert.equal(payloadOf(packed(small)).byteLength, 1024 * 1024);
    assert.throws(() => payloadOf(packed(deflateSync(Buffer.alloc(2 * 1024 * 1024, 0x20)))), code("ERR_SIZE"));
  });
});

test("a body past the limit is refused before anything is done with it", () => {
  const wire = packed(Buffer.alloc(DEFAULT_LIMITS.maxBytes + 1), null);
  assert.throws(() => payloadOf(wire), code("ERR_SIZE", /16777217 bytes; the limit is 16777216/));
});
