import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cutTo, padTo, widthOf } from "../../../src/cli/width.ts";

describe("the width of a text", () => {
  test("is what a terminal takes for it", () => {
    for (const [text, width] of [
      ["", 0],
      ["shop.remind", 11],
      ["注文", 4],
      ["한국어", 6],
      ["ｆｕｌｌ", 8],
      ["e\u0301t\u0301", 2],
      ["👩‍👩‍👧 ok", 5],
      ["…", 1],
      ["Ж→", 2],
    ] as const) {
      assert.equal(widthOf(text), width, JSON.stringify(text));
    }
  });

  test("is kept to when it is cut, and no sign is halved", () => {
    assert.equal(cutTo("shop.remind", 11), "shop.remind");
    assert.equal(cutTo("shop.remind", 5), "shop…");
    assert.equal(cutTo("注文番号", 6), "注文…");
    assert.equal(cutTo("注文番号", 5), "注文…");
    assert.equal(cutTo("👩‍👩‍👧👩‍👩‍👧", 3), "👩‍👩‍👧…");
    assert.equal(cutTo("anything", 1), "…");
    assert.equal(cutTo("anything", 0), "");
  });

  test("is filled up with spaces", () => {
    assert.equal(padTo("注文", 6), "注文  ");
    assert.equal(padTo("longer", 3), "longer");
  });
});
