/** MessagePack as msgpack-python has it. `test/interop/contents.test.ts` asks that itself. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { MSGPACK_FORMAT } from "../../../src/protocol/content/msgpack.ts";
import { toMsgpack } from "../../../src/protocol/content/msgpack-writer.ts";
import { dress } from "../../../src/protocol/content.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/limits.ts";
import { code } from "./coded.ts";
import { formatConformance } from "./format-suite.ts";
import { jsonMessage, readAs, thereAndBack } from "./formats.ts";

const msgpack = MSGPACK_FORMAT;
const read = (bytes: readonly number[] | Uint8Array) => readAs(msgpack, Uint8Array.from(bytes));

describe("MessagePack", () => {
  formatConformance(msgpack);

  test("with an extension, a key that is no text, or an end that does not come, is refused", () => {
    const extension = [0xd4, 0x07, 0x01];
    for (const bytes of [
      extension,
      [0x81, 0xc0, 0x01],
      [0x92, 0x01],
      [0xdd, 0xff, 0xff, 0xff, 0xff],
      [0xc1],
      [1, 1],
      [],
    ]) {
      assert.throws(() => read(bytes), code("ERR_DECODE"), String(bytes));
    }
    assert.throws(() => read(new Uint8Array(100_000).fill(0x91)), code("ERR_DEPTH"));
  });

  test("that announces more than it has is refused before room is made for it", () => {
    const before = process.memoryUsage().rss;
    // Each header announces a million elements, in the one before it.
    const headers = Array.from({ length: 60 }, () => [0xdd, 0x00, 0x0f, 0x42, 0x40]).flat();
    const bytes = Uint8Array.from([...headers, ...new Array(1_000_000).fill(0xc0)]);
    assert.throws(() => read(bytes), code("ERR_DECODE", /ends before/));
    assert.ok(process.memoryUsage().rss - before < 200 * 1024 * 1024);
  });

  test("is read as msgpack-python writes it", () => {
    const cases: [string, unknown][] = [
      ["7f", 127],
      ["cc80", 128],
      ["cd0100", 256],
      ["ce00010000", 65_536],
      ["cfffffffffffffffff", 2n ** 64n - 1n],
      ["e0", -32],
      ["d0df", -33],
      ["d1ff7f", -129],
      ["d2ffff7fff", -32_769],
      ["d38000000000000000", -(2n ** 63n)],
      ["ca3fc00000", 1.5],
      ["cb3ff0000000000000", 1],
      ["cb8000000000000000", -0],
      ["cb7ff0000000000000", Number.POSITIVE_INFINITY],
      ["a3e282ac", "€"],
      ["d901e9".replace("e9", "41"), "A"],
      ["c40200ff", new Uint8Array([0, 255])],
      ["dc0001c0", [null]],
      ["dd00000001c2", [false]],
      ["de0001a161c3", { a: true }],
      ["82a16101a16102", { a: 2 }],
      ["d6ff65535c00", new Date(0x65535c00 * 1_000)],
      ["d7ff7735940065535c00", new Date(0x65535c00 * 1_000 + 500)],
      ["c70cff1dcd6500ffffffffffffffff", new Date(-500)],
    ];
    for (const [hex, value] of cases) assert.deepEqual(read(Buffer.from(hex, "hex")), value, hex);
  });

  test("keeps a float a float for Python, and a text its byte order mark", () => {
    assert.equal(msgpack.toJsonText(Buffer.from("91cb3ff0000000000000", "hex"), DEFAULT_LIMITS), "[1.0]");
    const text = `\ufeff${"x".repeat(1_000)}`;
    assert.deepEqual(thereAndBack(msgpack, JSON.stringify([text])), [text]);
  });

  test("is written in the shortest form, whatever the size", () => {
    const sizes = [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536];
    for (const size of sizes) {
      const table = Object.fromEntries(Array.from({ length: Math.min(size, 300) }, (_, i) => [`k${i}`, i]));
      for (const value of ["x".repeat(size), "€".repeat(size), new Array(size).fill(1), table]) {
        assert.deepEqual(read(toMsgpack(value)), value, `${typeof value} of ${size}`);
      }
      const bytes = new Uint8Array(size).fill(0xff);
      assert.deepEqual(read(toMsgpack(bytes)), size === 0 ? new Uint8Array() : bytes);
    }
    for (const [value, hex] of [
      [127, "7f"],
      [128, "cc80"],
      [256, "cd0100"],
      [2 ** 32, "cf0000000100000000"],
      [-33, "d0df"],
      [-129, "d1ff7f"],
      [-(2 ** 31) - 1, "d3ffffffff7fffffff"],
      [1.5, "cb3ff8000000000000"],
      [new Date(-500), "c70cff1dcd6500ffffffffffffffff"],
    ] as const) {
      assert.equal(Buffer.from(toMsgpack(value)).toString("hex"), hex);
    }
  });

  test("has no word for an integer of more than 64 bits, or for half a character", () => {
    for (const json of ["[18446744073709551616]", "[-9223372036854775809]", '["\\ud800"]', '{"\\ud800":1}']) {
      assert.throws(() => dress(jsonMessage(json), msgpack), code("ERR_INVALID_INPUT"), json);
    }
  });

  test("cut short, or with more behind it, is refused", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const bytes = toMsgpack([value]);
        for (const cut of [1, 2, 5]) assert.throws(() => read(bytes.subarray(0, -cut)), code("ERR_DECODE"));
        assert.throws(() => read(Uint8Array.from([...bytes, 0])), code("ERR_DECODE", /1 bytes follow/));
      }),
    );
  });
});
