import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Moment, parseMomentMs, zonedMs } from "../../../src/kit/moment.ts";

function iso(moment: Moment, timezone?: string): string {
  return new Date(parseMomentMs(moment, timezone === undefined ? {} : { timezone })).toISOString();
}

describe("parseMomentMs", () => {
  test("takes a Date, text with an offset, and Temporal moments, rounded up", () => {
    assert.equal(iso(new Date("2030-01-02T03:04:05.678Z")), "2030-01-02T03:04:05.678Z");
    assert.equal(iso("2027-03-01T09:00+01:00"), "2027-03-01T08:00:00.000Z");
    assert.equal(iso(" 2027-03-01T09:00Z "), "2027-03-01T09:00:00.000Z");
    assert.equal(parseMomentMs({ epochNanoseconds: 1_500_000_000_000_000_001n }), 1_500_000_000_001);
    assert.equal(parseMomentMs({ epochNanoseconds: 1_500_000_000_000_000_000n }), 1_500_000_000_000);
    assert.equal(parseMomentMs({ epochNanoseconds: -1n }), 0);
  });

  test("takes a local time with its zone, and an offset in the text wins over the zone", () => {
    assert.equal(iso("2027-03-01T09:00", "Europe/Berlin"), "2027-03-01T08:00:00.000Z");
    assert.equal(iso("2027-07-01T09:00", "Europe/Berlin"), "2027-07-01T07:00:00.000Z");
    assert.equal(iso("2027-03-01", "America/New_York"), "2027-03-01T05:00:00.000Z");
    assert.equal(iso("2027-03-01T09:00", "Asia/Kathmandu"), "2027-03-01T03:15:00.000Z");
    assert.equal(iso("2027-03-01T09:00", "UTC"), "2027-03-01T09:00:00.000Z");
    assert.equal(iso("2027-03-01T09:00Z", "Europe/Berlin"), "2027-03-01T09:00:00.000Z");
  });

  test("takes a Temporal.PlainDateTime with a zone", () => {
    const plain = { [Symbol.toStringTag]: "Temporal.PlainDateTime", toString: () => "2027-03-01T09:00:00" };
    assert.equal(iso(plain as unknown as Moment, "Europe/Berlin"), "2027-03-01T08:00:00.000Z");
    assert.throws(() => iso(plain as unknown as Moment), /has no offset/);
  });

  test("refuses a local time without a zone, and says how to give one", () => {
    assert.throws(() => parseMomentMs("2027-03-01T09:00"), {
      code: "ERR_INVALID_INPUT",
      message:
        'eta "2027-03-01T09:00" has no offset, so it is no moment: write "Z" or an offset such as "+01:00" behind it, or give timezone: "Europe/Berlin"',
    });
  });

  const wrong: [unknown, RegExp][] = [
    [new Date(Number.NaN), /^dueBefore is an invalid Date: no moment/],
    [
      "2030-02-30T00:00Z",
      /^dueBefore "2030-02-30T00:00Z" has no day 30: that month has 28: use ISO 8601 with an offset/,
    ],
    ["tomorrow", /^dueBefore "tomorrow" is not ISO 8601/],
    ["", /^dueBefore "" is empty/],
    [
      1_900_000_000_000,
      /^dueBefore must be a moment.*it was 1900000000000; for a time from now use countdown, in seconds$/,
    ],
    [null, /must be a moment.*it was null$/],
    [undefined, /it was undefined$/],
    [{}, /it was an object$/],
    [{ epochNanoseconds: 10n ** 30n }, /no moment that a Date can hold/],
  ];
  for (const [value, message] of wrong) {
    test(`refuses ${value instanceof Date ? "an invalid Date" : typeof value === "object" && value !== null ? "an object of another kind" : JSON.stringify(value)} (${message.source.slice(0, 24)})`, () => {
      assert.throws(() => parseMomentMs(value as Moment, { what: "dueBefore" }), {
        code: "ERR_INVALID_INPUT",
        message,
      });
    });
  }

  test("refuses an unknown zone", () => {
    for (const timezone of ["Europe/Berln", "", "Mars/Olympus"]) {
      assert.throws(() => parseMomentMs("2027-03-01T09:00", { timezone }), {
        code: "ERR_INVALID_INPUT",
        message: `timezone ${JSON.stringify(timezone)} is unknown: use an IANA name such as "Europe/Berlin" or "UTC"`,
      });
    }
  });
});

describe("a local time at a change of the clocks", () => {
  test("in the gap becomes the first moment after it", () => {
    assert.equal(iso("2027-03-28T02:30", "Europe/Berlin"), "2027-03-28T01:00:00.000Z");
    assert.equal(iso("2027-03-28T02:00", "Europe/Berlin"), "2027-03-28T01:00:00.000Z");
    assert.equal(iso("2027-03-28T03:00", "Europe/Berlin"), "2027-03-28T01:00:00.000Z");
    assert.equal(iso("2027-03-28T01:59:59.999", "Europe/Berlin"), "2027-03-28T00:59:59.999Z");
    assert.equal(iso("2027-03-14T02:15", "America/New_York"), "2027-03-14T07:00:00.000Z");
    assert.equal(iso("2027-10-03T02:15", "Australia/Lord_Howe"), "2027-10-02T15:30:00.000Z"); // half an hour
    assert.equal(iso("2011-12-30T12:00", "Pacific/Apia"), "2011-12-30T10:00:00.000Z"); // a whole day
  });

  test("that comes twice is the earlier", () => {
    assert.equal(iso("2027-10-31T02:30", "Europe/Berlin"), "2027-10-31T00:30:00.000Z");
    assert.equal(iso("2027-10-31T03:00", "Europe/Berlin"), "2027-10-31T02:00:00.000Z");
    assert.equal(iso("2027-11-07T01:30", "America/New_York"), "2027-11-07T05:30:00.000Z");
    assert.equal(iso("2027-04-04T01:45", "Australia/Lord_Howe"), "2027-04-03T14:45:00.000Z");
  });

  test("far from any change is that of its offset, every hour of a year", () => {
    for (const timezone of [
      "Europe/Berlin",
      "America/St_Johns",
      "Asia/Kolkata",
      "Pacific/Kiritimati",
      "Africa/Casablanca",
    ]) {
      const format = new Intl.DateTimeFormat("sv-SE", { timeZone: timezone, dateStyle: "short", timeStyle: "medium" });
      for (let ms = Date.UTC(2027, 0, 1); ms < Date.UTC(2028, 0, 1); ms += 11 * 3_600_000) {
        const shown = format.format(ms).replace(" ", "T");
        const back = zonedMs(Date.parse(`${shown}Z`), timezone);
        assert.ok(back === ms || back === ms - 3_600_000, `${timezone} ${shown}`); // the earlier of the two
        assert.equal(format.format(back).replace(" ", "T"), shown);
      }
    }
  });
});
