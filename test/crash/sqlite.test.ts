/** Crashes on the embedded file: workers killed at random instants, all at once, stopped past their lease, and a disk that is full. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { skipOrFail } from "../support/needed.ts";
import { smallCrash } from "./small.ts";
import { whyNoSmallDisk } from "./small-disk.ts";

const noDisk = whyNoSmallDisk();
const skip = noDisk === undefined ? false : skipOrFail(noDisk).skip;

describe("the embedded file keeps its promises", () => {
  test("while workers are killed, one at a time and all at once, and one stands still for longer than its lease", async (t) => {
    await smallCrash(t, "sqlite", [
      ["kill", 3, 500],
      ["all", 1, 500],
      ["stop", 1, 500],
    ]);
  });

  test("while its disk is full", { skip }, async (t) => {
    const { figures } = await smallCrash(t, "sqlite", [["disk", 2, 800]], {
      pending: 400,
      spreadS: 5,
      onSmallDisk: true,
    });
    assert.ok(figures.refused > 0, "the disk was never full when something was scheduled");
  });
});
