/** Rules of iCalendar, by the clocks of their zones. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { preview } from "../../../../src/schedule/recurrence/preview.ts";
import { parseRruleText } from "../../../../src/schedule/recurrence/rrule-text.ts";
import { type Evaluator, evaluatorNow, evaluatorOf } from "../../../../src/schedule/recurrence/rule.ts";
import { CHANGES } from "./cron-reference.ts";

const DAY_MS = 86_400_000;
const seed = Number(process.env.LOVAGE_TEST_SEED ?? Date.now() % 2 ** 31);
const BERLIN = "DTSTART;TZID=Europe/Berlin:20200101T023000\nRRULE:";

async function evaluator(rrule: string, given?: string): Promise<Evaluator> {
  const { text, timezone } = parseRruleText(rrule, { given });
  return evaluatorOf({ rule: { kind: "rrule", rrule: text, timezone } });
}

async function next(rrule: string, from: string, count: number): Promise<string[]> {
  return preview(await evaluator(rrule), Date.parse(from), count).map(({ text, moved }) => text + (moved ? " *" : ""));
}

describe("a rule of iCalendar", () => {
  const table: [string, string, string, string[]][] = [
    [
      "of days runs once at the first moment after a gap",
      `${BERLIN}FREQ=DAILY`,
      "2027-03-27T12:00Z",
      ["2027-03-28T03:00:00+02:00 *", "2027-03-29T02:30:00+02:00"],
    ],
    [
      "of days runs once in an overlap",
      `${BERLIN}FREQ=DAILY`,
      "2027-10-30T12:00Z",
      ["2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"],
    ],
    [
      "of hours with BYHOUR is one of fixed times",
      `${BERLIN}FREQ=HOURLY;BYHOUR=2`,
      "2027-10-30T12:00Z",
      ["2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"],
    ],
    [
      "of hours follows real time where one comes twice",
      `${BERLIN}FREQ=HOURLY;BYMINUTE=0,30`,
      "2027-10-30T23:40Z",
      [
        "2027-10-31T02:00:00+02:00",
        "2027-10-31T02:30:00+02:00",
        "2027-10-31T02:00:00+01:00",
        "2027-10-31T02:30:00+01:00",
      ],
    ],
    [
      "of several hours counts the time that passes",
      `${BERLIN}FREQ=HOURLY;INTERVAL=5`,
      "2027-10-30T20:00Z",
      ["2027-10-30T22:30:00+02:00", "2027-10-31T02:30:00+01:00", "2027-10-31T07:30:00+01:00"],
    ],
    [
      "takes the last Friday of each month",
      `${BERLIN}FREQ=MONTHLY;BYDAY=-1FR`,
      "2027-01-01T00:00Z",
      [
        "2027-01-29T02:30:00+01:00",
        "2027-02-26T02:30:00+01:00",
        "2027-03-26T02:30:00+01:00",
        "2027-04-30T02:30:00+02:00",
      ],
    ],
    [
      "counts every other week from its DTSTART",
      `${BERLIN}FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;WKST=SU`,
      "2027-03-27T00:00Z",
      ["2027-03-29T02:30:00+02:00", "2027-04-02T02:30:00+02:00", "2027-04-12T02:30:00+02:00"],
    ],
    [
      "ends with UNTIL, which is in UTC and counts",
      `${BERLIN}FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20271126T013000Z`,
      "2027-10-01T00:00Z",
      ["2027-10-29T02:30:00+02:00", "2027-11-26T02:30:00+01:00"],
    ],
    [
      "ends the second before",
      `${BERLIN}FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20271126T012959Z`,
      "2027-10-01T00:00Z",
      ["2027-10-29T02:30:00+02:00"],
    ],
    [
      "ends with the last day when UNTIL is a day",
      `${BERLIN}FREQ=DAILY;UNTIL=20271102`,
      "2027-11-01T12:00Z",
      ["2027-11-02T02:30:00+01:00"],
    ],
    [
      "ends after COUNT",
      "DTSTART:20270101T090000Z\nRRULE:FREQ=DAILY;COUNT=2",
      "2026-01-01T00:00Z",
      ["2027-01-01T09:00:00+00:00", "2027-01-02T09:00:00+00:00"],
    ],
    [
      "leaves out what EXDATE names, and has what RDATE adds, each in a zone of its own",
      `${BERLIN}FREQ=WEEKLY;BYDAY=FR\nEXDATE;TZID=America/New_York:20271007T203000\nRDATE:20271009T010000Z`,
      "2027-10-02T00:00Z",
      ["2027-10-09T03:00:00+02:00", "2027-10-15T02:30:00+02:00"],
    ],
    [
      "may be folded, and in small letters",
      "dtstart;tzid=Europe/Berlin:20270101T090000\r\nrrule:freq=month\r\n ly;byday=-1fr\r\n",
      "2027-01-01T00:00Z",
      ["2027-01-29T09:00:00+01:00"],
    ],
    [
      "has DTSTART as an occurrence only if the rule names it",
      "DTSTART:20270101T090000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO",
      "2026-01-01T00:00Z",
      ["2027-01-04T09:00:00+00:00"],
    ],
  ];
  for (const [what, rrule, from, times] of table) {
    test(what, async () => {
      const ends = /UNTIL|COUNT/.test(rrule);
      assert.deepEqual(await next(rrule, from, times.length + (ends ? 1 : 0)), times);
    });
  }

  test("goes by the zone of its DTSTART, else by the one given beside it, else by UTC", async () => {
    const zoneOf = (dtstart: string, given?: string) =>
      parseRruleText(`DTSTART${dtstart}\nRRULE:FREQ=DAILY`, { given, fallback: "Asia/Kathmandu" }).timezone;
    assert.equal(zoneOf(";TZID=Europe/Berlin:20270101T090000"), "Europe/Berlin");
    assert.equal(zoneOf(';TZID="Europe/Berlin":20270101T090000', "Europe/Berlin"), "Europe/Berlin");
    assert.equal(zoneOf(":20270101T090000Z"), "UTC");
    assert.equal(zoneOf(":20270101T090000", "Europe/Berlin"), "Europe/Berlin");
    assert.equal(zoneOf(":20270101T090000"), "Asia/Kathmandu");
    assert.equal(zoneOf(";VALUE=DATE:20270101"), "Asia/Kathmandu");
    assert.throws(
      () => zoneOf(";TZID=Europe/Berlin:20270101T090000", "UTC"),
      /is in "Europe\/Berlin" by its DTSTART, and timezone is "UTC": give one of them/,
    );
  });

  test("is worked out alike after decades: the work is not that of the time since DTSTART", async () => {
    // rrule.js takes seconds for one of these, each time.
    assert.deepEqual(
      await next("DTSTART:19700101T000007Z\nRRULE:FREQ=SECONDLY;INTERVAL=7", "2070-01-01T00:00:00Z", 2),
      ["2070-01-01T00:00:06+00:00", "2070-01-01T00:00:13+00:00"],
    );
  });
});

describe("a rule that nobody can mean", () => {
  const START = "DTSTART:20270101T090000Z\n";
  const table: [string, RegExp][] = [
    ["", /has 0 DTSTART: give one, such as "DTSTART;TZID=/],
    ["FREQ=DAILY", /has a line "FREQ=DAILY": use DTSTART:…, RRULE:…/],
    ["RRULE:FREQ=DAILY", /has 0 DTSTART/],
    [START, /has 0 RRULE: give one/],
    [`${START}RRULE:FREQ=DAILY\nRRULE:FREQ=DAILY`, /has 2 RRULE/],
    [`${START}RRULE:FREQ=FORTNIGHTLY`, /has FREQ="FORTNIGHTLY": use YEARLY, MONTHLY/],
    [`${START}RRULE:INTERVAL=2`, /has no FREQ/],
    [`${START}RRULE:FREQ=DAILY;INTERVAL=0`, /has INTERVAL="0": use 1 … 999999/],
    [`${START}RRULE:FREQ=DAILY;COUNT=1001`, /has COUNT="1001": use 1 … 1000; for an end further away use UNTIL/],
    [`${START}RRULE:FREQ=DAILY;COUNT=2;UNTIL=20280101`, /has both COUNT and UNTIL/],
    [`${START}RRULE:FREQ=DAILY;FREQ=DAILY`, /has FREQ twice/],
    [`${START}RRULE:FREQ=DAILY;BYHUOR=3`, /has a part "BYHUOR=3" that is not of RFC 5545; did you mean "BYHOUR"\?/],
    [`${START}RRULE:FREQ=DAILY;BYHOUR=24`, /has BYHOUR="24": use 0 … 23/],
    [`${START}RRULE:FREQ=DAILY;__proto__=1`, /has a part "__PROTO__=1"/],
    [`${START}RRULE:FREQ=MONTHLY;BYMONTHDAY=32`, /has BYMONTHDAY="32": use 1 … 31/],
    [`${START}RRULE:FREQ=WEEKLY;BYDAY=2MO`, /is no rule: BYDAY with numeric value/],
    [`${START}RRULE:FREQ=DAILY;UNTIL=20271301`, /has UNTIL "20271301": use a date and time/],
    [`${START}RRULE:FREQ=DAILY;UNTIL=20200101T000000Z`, /names no time/],
    [`${START}RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30`, /names no time/],
    [`${START}RRULE:FREQ=SECONDLY;INTERVAL=60;BYSECOND=30`, /names no time/],
    [`${START}RRULE:FREQ=YEARLY;BYDAY=MO;BYSETPOS=366`, /names no time/],
    [`${START}RRULE:FREQ=DAILY;COUNT=1000;BYMONTH=2;BYMONTHDAY=29`, /not as many as its COUNT/],
    [`${START}RRULE:FREQ=DAILY;BYHOUR=1,2,3,4,5;BYMINUTE=1,2,3,4,5`, /has 25 times a day, more than 24/],
    ["DTSTART:20270231T090000Z\nRRULE:FREQ=DAILY", /has DTSTART "20270231T090000Z": use a date and time/],
    ["DTSTART;TZID=Mars/Olympus:20270101T090000\nRRULE:FREQ=DAILY", /timezone "Mars\/Olympus" is unknown/],
    [`${START}RRULE:FREQ=DAILY\n${"EXDATE:20270101T090000Z\n".repeat(700)}`, /is longer than 16384 characters/],
    [`${START}RRULE:FREQ=DAILY;BYDAY=M\u{1f600}`, /has BYDAY=/],
  ];
  for (const [rrule, message] of table) {
    test(`is refused: ${JSON.stringify(rrule.slice(0, 70))}`, async () => {
      await assert.rejects(evaluator(rrule), { code: "ERR_INVALID_INPUT", message });
    });
  }
});

/** Rules that cron patterns can say, too. */
const alike = fc
  .record({
    minutes: fc.uniqueArray(fc.integer({ min: 0, max: 59 }), { minLength: 1, maxLength: 3 }),
    hours: fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 23 }), { minLength: 1, maxLength: 4 })),
    days: fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 6 })),
    months: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 3, maxLength: 11 })),
  })
  .map(({ minutes, hours, days, months }) => ({
    cron: `${minutes.join()} ${hours?.join() ?? "*"} * ${months?.join() ?? "*"} ${days?.join() ?? "*"}`,
    parts: [
      hours === null ? "FREQ=HOURLY" : `FREQ=DAILY;BYHOUR=${hours.join()}`,
      `BYMINUTE=${minutes.join()}`,
      ...(days === null ? [] : [`BYDAY=${days.map((day) => ["SU", "MO", "TU", "WE", "TH", "FR", "SA"][day]).join()}`]),
      ...(months === null ? [] : [`BYMONTH=${months.join()}`]),
    ].join(";"),
  }));

test("a rule and a cron pattern that say the same come at the same moments, in both directions, around all changes of clocks", async () => {
  await fc.assert(
    fc.asyncProperty(alike, fc.constantFrom(...CHANGES), async ({ cron, parts }, [zone, day]) => {
      const byRule = await evaluator(`DTSTART;TZID=${zone}:19900101T000000\nRRULE:${parts}`);
      const byCron = evaluatorNow({ rule: { kind: "cron", cron, timezone: zone } });
      const fromMs = Date.parse(`${day}T00:00Z`) - DAY_MS;
      for (let [ms, count] = [fromMs, 0]; count < 12; count++) {
        const following = byCron.nextAfter(ms) ?? Number.NaN;
        assert.equal(byRule.nextAfter(ms), following, `${parts} in ${zone} after ${new Date(ms).toISOString()}`);
        assert.equal(byRule.newestUpTo(following), following);
        assert.equal(byRule.newestUpTo(following - 1), byCron.newestUpTo(following - 1), `${parts} in ${zone}`);
        ms = following;
      }
    }),
    { seed, numRuns: 100 },
  );
});

test("the newest is found behind a gap of months, however often it recurs within them", async () => {
  for (const [freq, last] of [
    ["HOURLY", "2027-01-31T23:00:00Z"],
    ["MINUTELY", "2027-01-31T23:59:00Z"],
    ["SECONDLY", "2027-01-31T23:59:59Z"],
    ["HOURLY;INTERVAL=7", "2027-01-31T19:00:00Z"],
  ] as const) {
    const rule = await evaluator(`DTSTART:20260101T000000Z\nRRULE:FREQ=${freq};BYMONTH=1`);
    for (const asked of ["2027-02-01T00:00:00Z", "2027-06-01T00:00:00.5Z", "2027-12-31T23:59:59.999Z", last]) {
      assert.equal(rule.newestUpTo(Date.parse(asked)), Date.parse(last), `${freq} up to ${asked}`);
    }
    assert.equal(rule.newestUpTo(Date.parse("2025-12-31T00:00Z")), undefined);
  }
});

const counted = fc.record({
  freq: fc.constantFrom("HOURLY", "MINUTELY", "SECONDLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"),
  interval: fc.integer({ min: 2, max: 100 }),
  byday: fc.option(fc.uniqueArray(fc.constantFrom("MO", "WE", "SA", "SU"), { minLength: 1 })),
});

test("any rule has next(t) > t, and the newest up to next(t) is next(t)", async () => {
  await fc.assert(
    fc.asyncProperty(counted, fc.constantFrom(...CHANGES), fc.nat(3 * DAY_MS), async (given, [zone, day], offset) => {
      const byday = given.byday === null ? "" : `;BYDAY=${given.byday.join()}`;
      let rule: Evaluator;
      try {
        rule = await evaluator(
          `DTSTART;TZID=${zone}:19900106T013000\nRRULE:FREQ=${given.freq};INTERVAL=${given.interval}${byday}`,
        );
      } catch (error) {
        // A Saturday and each 98th day after it are no Mondays, nor is what comes each 84 hours after it.
        const { freq, interval } = given;
        const leavesDaysOut =
          freq === "DAILY" ? interval % 7 === 0 : freq === "HOURLY" && [42, 56, 84].includes(interval);
        assert.ok(leavesDaysOut, String(error));
        return;
      }
      let t = Date.parse(`${day}T00:00Z`) - DAY_MS + offset;
      for (let i = 0; i < 8; i++) {
        const following = rule.nextAfter(t);
        if (following === undefined) return;
        assert.ok(following > t);
        assert.equal(rule.newestUpTo(following), following, `${JSON.stringify(given)} in ${zone} at ${following}`);
        const before = rule.newestUpTo(following - 1);
        assert.ok(before === undefined || before <= t, `${JSON.stringify(given)} in ${zone}: ${before} after ${t}`);
        t = following;
      }
    }),
    { seed, numRuns: 200 },
  );
});
