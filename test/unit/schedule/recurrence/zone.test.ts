/** The clocks of zones: offsets, changes, and readings that belong to no moment or to two. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { zonedText } from "../../../../src/schedule/recurrence/preview.ts";
import { Zone, zoneOf } from "../../../../src/schedule/recurrence/zone.ts";
import { CHANGES, readingsOf } from "./cron-reference.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const seed = Number(process.env.LOVAGE_TEST_SEED ?? Date.now() % 2 ** 31);

test("every zone of the machine has the offsets that Intl says, on each day of some years", () => {
  let compared = 0;
  for (const name of Intl.supportedValuesOf("timeZone")) {
    const zone = new Zone(name);
    const format = new Intl.DateTimeFormat("en-US", { timeZone: name, timeZoneName: "longOffset" });
    // Of the past, years in which some zones were changed by more than their summer time; and one to come.
    for (const year of [1996, 2011, 2027]) {
      for (let ms = Date.UTC(year, 0, 1, 11); ms < Date.UTC(year + 1, 0, 1); ms += DAY_MS) {
        const text =
          format
            .format(ms)
            .replace(/^.*GMT/, "")
            .replace("\u2212", "-") || "+00:00";
        assert.equal(zonedText(ms, name).slice(19), text, `${name} at ${new Date(ms).toISOString()}`);
        compared += 1;
      }
      assert.equal(zone.offsetMs(Date.UTC(year, 6, 1)), zoneOf(name).offsetMs(Date.UTC(year, 6, 1)));
    }
  }
  assert.ok(compared > 400 * 3 * 365);
});

test("stretches follow on each other without a gap, and change on the very millisecond", () => {
  const zone = new Zone("Europe/Berlin");
  const summer = Date.parse("2027-03-28T01:00:00Z");
  assert.equal(zone.offsetMs(summer - 1), HOUR_MS);
  assert.equal(zone.offsetMs(summer), 2 * HOUR_MS);
  assert.equal(zone.stretchAt(summer).fromMs, summer);
  let stretch = zone.stretchAt(Date.UTC(2020, 0, 1));
  for (let i = 0; i < 50; i++) {
    const following = zone.stretchAt(stretch.toMs);
    assert.equal(following.fromMs, stretch.toMs);
    assert.equal(zone.stretchAt(stretch.toMs - 1), stretch);
    stretch = following;
  }
});

test("the first moment of a reading is the first whose reading is so late, around every change", () => {
  for (const [name, day] of CHANGES) {
    const zone = new Zone(name);
    const fromMs = Date.parse(`${day}T00:00Z`) - 2 * DAY_MS;
    const readings = readingsOf(name, fromMs);
    fc.assert(
      fc.property(fc.integer({ min: DAY_MS, max: 3 * DAY_MS }), (offset) => {
        const reading = (readings[0] ?? 0) + Math.floor(offset / 60_000) * 60_000;
        const index = readings.findIndex((each) => each >= reading);
        const { ms, inGap } = zone.firstAt(reading);
        assert.equal(ms, fromMs + index * 60_000, `${new Date(reading).toISOString()} in ${name}`);
        assert.equal(inGap, readings[index] !== reading);
      }),
      { seed, numRuns: 50 },
    );
  }
});

test("the latest reading up to a moment does not go back where the clocks do", () => {
  for (const [name, day] of CHANGES) {
    const zone = new Zone(name);
    const fromMs = Date.parse(`${day}T00:00Z`) - 2 * DAY_MS;
    let latest = Number.NEGATIVE_INFINITY;
    for (const [i, reading] of readingsOf(name, fromMs).entries()) {
      const ms = fromMs + i * 60_000;
      if (i < 1_440) continue;
      const told = zone.latestReadingMs(ms);
      assert.ok(told >= latest && told >= reading);
      assert.ok(
        told === reading || told === zone.latestReadingMs(ms - 1),
        `at ${new Date(ms).toISOString()} in ${name}`,
      );
      latest = told;
    }
  }
});

test("a zone that is none is refused by its name, and a long one in short", () => {
  for (const name of ["", "Mars/Olympus", "Europe/Berlin ", "\u{1f600}", "x".repeat(10_000)]) {
    assert.throws(() => zoneOf(name), {
      code: "ERR_INVALID_INPUT",
      message: /^timezone ".{0,60}" is unknown: use an IANA/,
    });
  }
});
