import assert from "node:assert/strict";
import { constants } from "node:os";
import { test } from "node:test";
import { signalOf } from "../../../src/kit/signals.ts";

test("a signal is meant by its name, with or without SIG, in either case, or by its number", () => {
  for (const given of ["SIGTERM", "TERM", "sigterm", "term", constants.signals.SIGTERM]) {
    assert.equal(signalOf(given), "SIGTERM", String(given));
  }
});

test("what no signal of this machine is, is none", () => {
  for (const given of [
    "SIGFOO",
    "SIG",
    "",
    "constructor",
    "__proto__",
    0,
    -9,
    1.5,
    4_711,
    Number.NaN,
    null,
    undefined,
    {},
  ]) {
    assert.equal(signalOf(given), undefined, String(given));
  }
});
