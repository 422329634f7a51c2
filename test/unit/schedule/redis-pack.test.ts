import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Packer, pack, unpack } from "../../../src/schedule/stores/redis/pack.ts";

describe("the MessagePack of scripts", () => {
  test("gives back what it was given, whatever that is", () => {
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.double({ noNaN: true }).filter((each) => !Object.is(each, -0)),
        fc.string({ unit: "binary" }),
        fc.array(tie("value")),
      ),
    }));
    fc.assert(fc.property(value, (each) => assert.deepEqual(unpack(pack(each as never)), each)));
  });

  test("keeps numbers, texts and lists at the edges of their sizes", () => {
    const numbers = [0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
    for (const number of [...numbers, ...numbers.map((each) => -each || 0), -32, -33, 1.5]) {
      assert.equal(unpack(pack(number)), number);
    }
    for (const length of [0, 31, 32, 255, 256, 65_535, 65_536, 1_000_000]) {
      assert.equal(unpack(pack("ß".repeat(length))), "ß".repeat(length));
    }
    for (const length of [0, 15, 16, 65_535, 65_536])
      assert.deepEqual(unpack(pack(new Array(length).fill(1))), new Array(length).fill(1));
  });

  test("reads what cmsgpack writes: the shorter forms, and nil", () => {
    for (const [bytes, value] of [
      [[0xcc, 200], 200],
      [[0xcd, 1, 0], 256],
      [[0xcf, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0x00], 1_700_000_000_000],
      [[0xd0, 0x80], -128],
      [[0xd1, 0xff, 0x00], -256],
      [[0xd2, 0xff, 0xff, 0, 0], -65_536],
      [[0xe0], -32],
      [[0xca, 0x3f, 0xc0, 0, 0], 1.5],
      [[0xc0], null],
      [
        [0x92, 0xc2, 0xc3],
        [false, true],
      ],
    ] as const) {
      assert.deepEqual(unpack(Buffer.from(bytes)), value);
    }
  });

  test("a value may be kept packed inside a text", () => {
    const packer = new Packer();
    packer.list(2);
    packer.nested(() => packer.value(["a".repeat(100), 7]));
    packer.value("behind");
    const bytes = packer.take();
    const inner = pack(["a".repeat(100), 7]);
    assert.deepEqual(bytes.subarray(6, 6 + inner.length), inner);
    assert.deepEqual((unpack(bytes) as unknown[])[1], "behind");
  });

  test("what is cut off, or none of ours, is refused", () => {
    for (const bytes of [[], [0xd9, 5, 97], [0x92, 1], [0xce, 0], [0x81, 1, 1], [0xc1]]) {
      assert.throws(() => unpack(Buffer.from(bytes)), RangeError);
    }
  });
});
