import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isoFromMs, parseIso8601 } from "../../../src/kit/iso8601.ts";

/** What Celery 5.6's parser makes of these texts, captured from it. */
const seen: { input: string; parsed: string | { error: string } | null }[] = JSON.parse(
  readFileSync(new URL("../../fixtures/vectors.json", import.meta.url), "utf8"),
).iso8601_for_eta_and_expires;

/** A text of Python's `isoformat`, read by other means: the engine's, with the digits behind the millisecond apart. */
function fromPython(text: string): { ms: number; hasOffset: boolean } {
  const hasOffset = /[+-]\d\d:\d\d$/.test(text);
  const finer = /\.\d{3}(\d{3})/.exec(text)?.[1] ?? "000";
  const ms = Date.parse(text.replace(/(\.\d{3})\d{3}/, "$1") + (hasOffset ? "" : "Z"));
  return { ms: finer === "000" ? ms : ms + 1, hasOffset };
}

describe("parseIso8601 takes what Celery takes", () => {
  for (const { input, parsed: python } of seen) {
    test(`${JSON.stringify(input)} is ${typeof python === "string" ? python : "refused"}`, () => {
      const parsed = parseIso8601(input);
      if (typeof python === "string") assert.deepEqual(parsed, fromPython(python));
      else assert.ok("problem" in parsed);
    });
  }

  test("all twenty captured texts", () => assert.equal(seen.length, 20));
});

describe("parseIso8601", () => {
  const more: [string, string][] = [
    ["2030-01-02T03:04:05.678000Z", "2030-01-02T03:04:05.678Z"],
    ["2030-01-02T03:04:05.678001Z", "2030-01-02T03:04:05.679Z"],
    ["2030-01-02T03:04:05.6780009Z", "2030-01-02T03:04:05.679Z"],
    ["2030-01-02T03:04:59.9999Z", "2030-01-02T03:05:00.000Z"],
    ["2030-12-31T23:59:59.999999999Z", "2031-01-01T00:00:00.000Z"],
    ["2030-01-02t03:04:05z", "2030-01-02T03:04:05.000Z"],
    ["2030-01-02T03Z", "2030-01-02T03:00:00.000Z"],
    ["20300102T0304Z", "2030-01-02T03:04:00.000Z"],
    ["2030-01-02T0304Z", "2030-01-02T03:04:00.000Z"],
    ["2030-01-02T03:04:05-08:00", "2030-01-02T11:04:05.000Z"],
    ["2030-W01-1T12:00Z", "2029-12-31T12:00:00.000Z"],
    ["2030W011T12:00Z", "2029-12-31T12:00:00.000Z"],
    ["2030-W01", "2029-12-31T00:00:00.000Z"],
    ["2026-W53-7", "2027-01-03T00:00:00.000Z"],
    ["2030-365T00:00Z", "2030-12-31T00:00:00.000Z"],
    ["2028366", "2028-12-31T00:00:00.000Z"],
    ["2028-02-29", "2028-02-29T00:00:00.000Z"],
    ["0001-01-01", "0001-01-01T00:00:00.000Z"],
    ["0099-03-04", "0099-03-04T00:00:00.000Z"],
    ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"],
  ];
  for (const [text, iso] of more) {
    test(`reads ${text} as ${iso}`, () => {
      const parsed = parseIso8601(text);
      assert.ok(!("problem" in parsed), JSON.stringify(parsed));
      assert.equal(new Date(parsed.ms).toISOString(), iso);
    });
  }

  const wrong: [string, RegExp][] = [
    ["2030-02-30", /^has no day 30: that month has 28$/],
    ["2030-02-29T00:00Z", /that month has 28/],
    ["2030-00-01", /^has no month 0$/],
    ["2030-04-31", /that month has 30/],
    ["2030-01-00", /no day 0/],
    ["0000-01-01", /no year 0/],
    ["2030-W53-1", /no week 53/],
    ["2030-W00-1", /no week 0/],
    ["2030-W01-8", /no day 8 of a week/],
    ["2030-W011", /mixes/],
    ["2030-366", /no day 366 of that year/],
    ["2030-000", /no day 0 of that year/],
    ["2030-01T03:04Z", /has a time but no day/],
    ["2030T03:04Z", /has a time but no day/],
    ["2030-W01T03:04Z", /has a time but no day/],
    ["203001", /date that is not ISO 8601/],
    ["2030-01-02T25:00Z", /no hour 25/],
    ["2030-01-02T24:00:01Z", /no hour 24/],
    ["2030-01-02T23:60Z", /no minute 60/],
    ["2030-01-02T23:59:60Z", /no second 60/],
    ["2030-01-02T03:0405Z", /time that is not ISO 8601/],
    ["2030-01-02T3:04Z", /time that is not ISO 8601/],
    ["2030-01-02T", /time that is not ISO 8601/],
    ["2030-01-02TZ", /time that is not ISO 8601/],
    ["2030-01-02T03:04:05.Z", /time that is not ISO 8601/],
    ["2030-01-02T03:04.5Z", /time that is not ISO 8601/],
    ["2030-01-02T03:04:05+24:00", /no such offset as \+24:00/],
    ["2030-01-02T03:04:05+01:60", /no such offset/],
    ["2030-01-02T03:04:05 UTC", /is not|time that/],
    ["2030-01-02\n", /is not ISO 8601/],
    ["+002030-01-02T00:00:00Z", /is not ISO 8601/],
    ["1900000000", /is not ISO 8601|date that is not/],
    ["２０３０-01-02", /is not ISO 8601/],
    ["2030-01-02T03:04:05Z".padEnd(100, "0"), /too long/],
  ];
  for (const [text, problem] of wrong) {
    test(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      const parsed = parseIso8601(text);
      assert.ok("problem" in parsed, JSON.stringify(parsed));
      assert.match(parsed.problem, problem);
    });
  }

  test("never throws, and answers a moment or a problem, for any text", () => {
    const unit = fc.constantFrom(..."0123456789-:TWZ+., \n\u0660é");
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 30 }), (text) => {
        const parsed = parseIso8601(text);
        assert.ok("problem" in parsed ? parsed.problem.length > 0 : Number.isSafeInteger(parsed.ms));
      }),
      { numRuns: 2_000 },
    );
  });

  test("reads back what isoFromMs writes, and what the engine writes", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("0001-01-01T00:00:00Z"), max: new Date("9999-12-31"), noInvalidDate: true }),
        (date) => {
          assert.deepEqual(parseIso8601(isoFromMs(date.getTime())), { ms: date.getTime(), hasOffset: true });
          assert.deepEqual(parseIso8601(date.toISOString()), { ms: date.getTime(), hasOffset: true });
        },
      ),
    );
  });
});

test("isoFromMs writes a moment as Python does", () => {
  assert.equal(isoFromMs(Date.UTC(2030, 0, 2, 3, 4, 5, 678)), "2030-01-02T03:04:05.678000+00:00");
  assert.equal(isoFromMs(Date.UTC(2030, 0, 2, 3, 4, 5, 7)), "2030-01-02T03:04:05.007000+00:00");
  assert.equal(isoFromMs(Date.UTC(2030, 0, 2, 3, 4, 5)), "2030-01-02T03:04:05+00:00");
  assert.equal(isoFromMs(0), "1970-01-01T00:00:00+00:00");
});
