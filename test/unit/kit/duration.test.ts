import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { countdownMs, type Duration, parseDurationMs, parseOffsetMs, showMs } from "../../../src/kit/duration.ts";

describe("parseDurationMs", () => {
  const good: [Duration, number][] = [
    [0, 0],
    [90, 90_000],
    [0.5, 500],
    [1.1, 1_100],
    [0.1 + 0.2, 300],
    [0.0011, 2],
    [1e-12, 1],
    ["90", 90_000],
    ["1.5", 1_500],
    ["1500ms", 1_500],
    ["1.2ms", 2],
    ["90s", 90_000],
    ["5m", 300_000],
    ["2h30m", 9_000_000],
    ["2h 30m", 9_000_000],
    [" 3d ", 259_200_000],
    ["1w", 604_800_000],
    ["1.5h", 5_400_000],
    ["0s", 0],
    ["PT5M", 300_000],
    ["P1DT2H", 93_600_000],
    ["P2W", 1_209_600_000],
    ["PT0.5S", 500],
    ["PT1,5H", 5_400_000],
    ["P0D", 0],
    [8_640_000_000_000, 8_640_000_000_000_000],
  ];
  for (const [value, ms] of good) {
    test(`takes ${JSON.stringify(value)} as ${ms} ms`, () => assert.equal(parseDurationMs(value, "countdown"), ms));
  }

  const bad: [unknown, RegExp][] = [
    [-1, /^timeLimit -1 must not be negative$/],
    [Number.NaN, /^timeLimit NaN must be a finite number of seconds$/],
    [Number.POSITIVE_INFINITY, /^timeLimit Infinity must be a finite number/],
    ["", /^timeLimit "" must be a duration: a number is seconds; a text carries units, such as "1500ms"/],
    ["-5m", /must be a duration/],
    ["5 minutes", /must be a duration/],
    ["5M", /must be a duration/],
    ["1h1h", /must be a duration/],
    ["1e3", /must be a duration/],
    ["5m!", /must be a duration/],
    ["ms", /must be a duration/],
    ["P", /must be a duration/],
    ["PT", /must be a duration/],
    ["P1DT", /must be a duration/],
    ["PT1.5H3M", /must be a duration/],
    ["P1W2D", /must be a duration/],
    ["P1M", /must not count years or months/],
    ["P1Y", /must not count years or months/],
    [null, /^timeLimit null must be a duration/],
    [undefined, /must be a duration/],
    [{ seconds: 1 }, /^timeLimit \(an object\) must be a duration/],
    [5n, /must be a duration/],
    ["9".repeat(500), /must be a finite number|is too long/],
    [1e14, /is too long: at most 100,000,000 days/],
  ];
  for (const [value, message] of bad) {
    test(`refuses ${typeof value === "bigint" ? "5n" : (JSON.stringify(value)?.slice(0, 40) ?? "undefined")} in one line that names it`, () => {
      assert.throws(
        () => parseDurationMs(value as Duration, "timeLimit"),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, "ERR_INVALID_INPUT");
          assert.match(error.message, message);
          assert.ok(!error.message.includes("\n") && error.message.length < 300);
          return true;
        },
      );
    });
  }

  test("never yields less than was asked, and less than a millisecond more", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), (seconds) => {
        const ms = parseDurationMs(seconds, "x");
        assert.ok(Number.isSafeInteger(ms));
        assert.ok(ms >= seconds * 1_000 - 1e-3 && ms < seconds * 1_000 + 1.001);
      }),
    );
  });
});

describe("parseOffsetMs", () => {
  test("takes a sign", () => {
    assert.equal(parseOffsetMs("+2h", "by"), 7_200_000);
    assert.equal(parseOffsetMs("-30m", "by"), -1_800_000);
    assert.equal(parseOffsetMs("45s", "by"), 45_000);
    assert.equal(parseOffsetMs(-1.5, "by"), -1_500);
    assert.ok(Object.is(parseOffsetMs("-0s", "by"), 0));
    assert.throws(() => parseOffsetMs("--5m", "by"), { code: "ERR_INVALID_INPUT" });
    assert.throws(() => parseOffsetMs(null as unknown as string, "by"), { code: "ERR_INVALID_INPUT" });
  });
});

describe("countdownMs", () => {
  test("takes a duration up to its limit", () => {
    assert.equal(countdownMs("2h30m"), 9_000_000);
    assert.equal(countdownMs(60, { maxMs: 60_000 }), 60_000);
  });

  test("refuses what is meant as a moment or as milliseconds", () => {
    for (const value of [1_000_000_000, 1_900_000_000_000, "1900000000000"]) {
      assert.throws(() => countdownMs(value), {
        code: "ERR_INVALID_INPUT",
        message: `countdown is in seconds; for a moment use eta (it was ${JSON.stringify(value)})`,
      });
    }
  });

  test("refuses more than maxCountdown, by default ten years", () => {
    assert.equal(countdownMs("3653d"), 3_653 * 86_400_000);
    assert.throws(() => countdownMs("3654d"), /countdown "3654d" is longer than maxCountdown \(3653 d\)/);
    assert.throws(() => countdownMs(3_600_000, { maxMs: 86_400_000 }), /longer than maxCountdown \(1 d\).*seconds/);
  });
});

test("showMs tells a length of time in two parts at most", () => {
  const shown: [number, string][] = [
    [0, "0 ms"],
    [999, "999 ms"],
    [1_500, "1.5 s"],
    [90_000, "1 m 30 s"],
    [9_000_000, "2 h 30 m"],
    [90_061_000, "1 d 1 h"],
    [-5_000, "-5 s"],
    [-90_000, "-1 m 30 s"],
    [Number.POSITIVE_INFINITY, "Infinity"],
  ];
  for (const [ms, text] of shown) assert.equal(showMs(ms), ms === -5_000 ? "-5 s" : text);
});
