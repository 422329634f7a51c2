/** Cron patterns by the clocks of their zones. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { preview } from "../../../../src/schedule/recurrence/preview.ts";
import { type Evaluator, evaluatorNow } from "../../../../src/schedule/recurrence/rule.ts";
import { CHANGES, MINUTE_MS, occurrencesOf, patterns, readingsOf } from "./cron-reference.ts";

const DAY_MS = 86_400_000;
const seed = Number(process.env.LOVAGE_TEST_SEED ?? Date.now() % 2 ** 31);

function cron(pattern: string, timezone = "UTC"): Evaluator {
  return evaluatorNow({ rule: { kind: "cron", cron: pattern, timezone } });
}

/** The next ones as a person reads them; `*` marks one that a gap has moved. */
function next(pattern: string, timezone: string, from: string, count: number): string[] {
  return preview(cron(pattern, timezone), Date.parse(from), count).map(({ text, moved }) => text + (moved ? " *" : ""));
}

describe("a pattern of fixed times", () => {
  const table: [string, string, string, string, string[]][] = [
    [
      "runs once at the first moment after a gap that swallows it",
      "30 2 * * *",
      "Europe/Berlin",
      "2027-03-27T12:00Z",
      ["2027-03-28T03:00:00+02:00 *", "2027-03-29T02:30:00+02:00"],
    ],
    [
      "runs once for all that one gap swallows",
      "*/15 2 * * *",
      "Europe/Berlin",
      "2027-03-28T00:00Z",
      ["2027-03-28T03:00:00+02:00 *", "2027-03-29T02:00:00+02:00"],
    ],
    [
      "runs once where it is moved onto another of its times, and calls that one not moved",
      "0 2,3 * * *",
      "Europe/Berlin",
      "2027-03-28T00:00Z",
      ["2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"],
    ],
    [
      "runs once in an overlap, in the first pass",
      "30 2 * * *",
      "Europe/Berlin",
      "2027-10-30T12:00Z",
      ["2027-10-31T02:30:00+02:00", "2027-11-01T02:30:00+01:00"],
    ],
    [
      "asked in the second pass of an overlap, goes on after it",
      "30 2 * * *",
      "Europe/Berlin",
      "2027-10-31T01:10:00Z",
      ["2027-11-01T02:30:00+01:00"],
    ],
    [
      "runs once where the clocks are changed at midnight",
      "0 0 * * *",
      "America/Sao_Paulo",
      "2018-11-03T12:00Z",
      ["2018-11-04T01:00:00-02:00 *", "2018-11-05T00:00:00-02:00"],
    ],
    [
      "runs once in an hour before midnight that comes twice",
      "30 23 * * *",
      "America/Sao_Paulo",
      "2018-02-17T12:00Z",
      ["2018-02-17T23:30:00-02:00", "2018-02-18T23:30:00-03:00"],
    ],
    [
      "runs after half an hour that is left out",
      "15 2 * * *",
      "Australia/Lord_Howe",
      "2027-10-02T12:00Z",
      ["2027-10-03T02:30:00+11:00 *", "2027-10-04T02:15:00+11:00"],
    ],
    [
      "runs for a day that never was when the next one begins",
      "0 12 * * *",
      "Pacific/Apia",
      "2011-12-29T00:00Z",
      ["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00 *", "2011-12-31T12:00:00+14:00"],
    ],
    [
      "has hours of a range, and a step in one, as fixed times",
      "30 1-5/1 * * *",
      "Europe/Berlin",
      "2027-03-28T00:00Z",
      ["2027-03-28T01:30:00+01:00", "2027-03-28T03:00:00+02:00 *", "2027-03-28T03:30:00+02:00"],
    ],
    ["goes by seconds, too", "15,45 30 2 * * *", "UTC", "2027-01-01T02:30:15Z", ["2027-01-01T02:30:45+00:00"]],
  ];
  for (const [what, pattern, zone, from, times] of table) {
    test(`${what}: ${pattern} in ${zone}`, () => {
      assert.deepEqual(next(pattern, zone, from, times.length), times);
    });
  }
});

describe("a pattern with a star for its hours", () => {
  const table: [string, string, string, string, string[]][] = [
    [
      "has 23 hours where one is left out",
      "30 * * * *",
      "Europe/Berlin",
      "2027-03-28T00:00Z",
      ["2027-03-28T01:30:00+01:00", "2027-03-28T03:30:00+02:00", "2027-03-28T04:30:00+02:00"],
    ],
    [
      "has 25 hours where one comes twice",
      "30 * * * *",
      "Europe/Berlin",
      "2027-10-30T23:00Z",
      [
        "2027-10-31T01:30:00+02:00",
        "2027-10-31T02:30:00+02:00",
        "2027-10-31T02:30:00+01:00",
        "2027-10-31T03:30:00+01:00",
      ],
    ],
    [
      "asked in the second pass of an overlap, goes on in it",
      "*/15 * * * *",
      "Europe/Berlin",
      "2027-10-31T01:20:00Z",
      ["2027-10-31T02:30:00+01:00", "2027-10-31T02:45:00+01:00", "2027-10-31T03:00:00+01:00"],
    ],
    [
      "with steps of hours, too",
      "0 */2 * * *",
      "Europe/Berlin",
      "2027-10-30T22:30Z",
      ["2027-10-31T02:00:00+02:00", "2027-10-31T02:00:00+01:00", "2027-10-31T04:00:00+01:00"],
    ],
    [
      "is one of all 24 hours, however they are written",
      "0 0-23 * * *",
      "Europe/Berlin",
      "2027-10-30T23:30Z",
      ["2027-10-31T02:00:00+02:00", "2027-10-31T02:00:00+01:00"],
    ],
    [
      "keeps the second pass of a last hour of its day",
      "30 * 17 2 *",
      "America/Sao_Paulo",
      "2018-02-18T01:40:00Z",
      ["2018-02-17T23:30:00-03:00", "2019-02-17T00:30:00-03:00"],
    ],
    [
      "follows half an hour that comes twice",
      "*/15 * * * *",
      "Australia/Lord_Howe",
      "2027-04-03T14:40:00Z",
      [
        "2027-04-04T01:45:00+11:00",
        "2027-04-04T01:30:00+10:30",
        "2027-04-04T01:45:00+10:30",
        "2027-04-04T02:00:00+10:30",
      ],
    ],
    [
      "looks for dates that are years away",
      "0 * 29 2 *",
      "Europe/Berlin",
      "2096-03-01T00:00Z",
      ["2104-02-29T00:00:00+01:00", "2104-02-29T01:00:00+01:00"],
    ],
  ];
  for (const [what, pattern, zone, from, times] of table) {
    test(`${what}: ${pattern} in ${zone}`, () => {
      assert.deepEqual(next(pattern, zone, from, times.length), times);
    });
  }

  test("comes each real hour of a year: 8,760 times", () => {
    const hourly = cron("@hourly", "Europe/Berlin");
    let [ms, count] = [Date.UTC(2027, 0, 1) - 1, 0];
    for (;;) {
      const following = hourly.nextAfter(ms) ?? Number.NaN;
      if (following >= Date.UTC(2028, 0, 1)) break;
      assert.equal(following % 3_600_000, 0);
      [ms, count] = [following, count + 1];
    }
    assert.equal(count, 8_760);
  });
});

test("the newest of a pattern is found in the first pass, where nothing of it is in the second: years before it is not looked", () => {
  const newest = (pattern: string, zone: string, at: string) =>
    new Date(cron(pattern, zone).newestUpTo(Date.parse(at)) ?? 0).toISOString();
  // 01:00 -> 00:00, on the only day of the pattern.
  assert.equal(newest("45 * 1 11 *", "America/Havana", "2026-11-01T05:10:00Z"), "2026-11-01T04:45:00.000Z");
  assert.equal(newest("45 0 1 11 *", "America/Havana", "2026-11-01T05:10:00Z"), "2026-11-01T04:45:00.000Z");
  assert.equal(newest("45 0 1 11 *", "America/Havana", "2026-11-01T04:10:00Z"), "2025-11-01T04:45:00.000Z");
});

describe("a date that is rare", () => {
  for (const [pattern, times] of [
    ["0 0 29 2 *", ["2028-02-29T00:00:00+00:00", "2032-02-29T00:00:00+00:00"]],
    ["0 0 29 2 +MON", ["2044-02-29T00:00:00+00:00", "2072-02-29T00:00:00+00:00", "2112-02-29T00:00:00+00:00"]],
    ["0 0 31 2,4,6,9,11,12 *", ["2026-12-31T00:00:00+00:00", "2027-12-31T00:00:00+00:00"]],
  ] as const) {
    test(`is found in both directions: ${pattern}`, () => {
      const evaluator = cron(pattern);
      assert.deepEqual(next(pattern, "UTC", "2026-06-01T00:00Z", times.length), times);
      for (const [i, text] of times.entries()) {
        const at = Date.parse(text);
        assert.equal(evaluator.newestUpTo(at), at);
        if (i > 0) assert.equal(evaluator.newestUpTo(at - 1), Date.parse(times[i - 1] ?? ""));
      }
    });
  }
});

describe("any pattern", () => {
  test("comes when a look at every minute says so, in both directions, in all zones around their changes", () => {
    let seen = 0;
    fc.assert(
      fc.property(patterns, fc.constantFrom(...CHANGES), (pattern, [zone, day]) => {
        let evaluator: Evaluator;
        try {
          evaluator = cron(pattern.text, zone);
        } catch (error) {
          assert.match(String(error), /never comes/);
          const anyDay = Array.from({ length: 41 * 366 }, (_, i) => new Date(Date.UTC(2026, 0, 1 + i)));
          assert.ok(
            !anyDay.some((date) => pattern.date(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate())),
            `${pattern.text} does come`,
          );
          return;
        }
        // A day before the change, of which only the past is used; the change; and a day after it.
        const fromMs = Date.parse(`${day}T00:00Z`) - 2 * DAY_MS;
        const readings = readingsOf(zone, fromMs);
        const endMs = fromMs + readings.length * MINUTE_MS;
        const expected = occurrencesOf(pattern, fromMs, readings);
        seen += expected.length;

        const forwards: number[] = [];
        for (let ms = evaluator.nextAfter(fromMs + DAY_MS - 1); ms !== undefined && ms < endMs; ) {
          assert.ok(forwards.length <= expected.length, `${pattern.text} in ${zone} comes too often`);
          forwards.push(ms);
          ms = evaluator.nextAfter(ms);
        }
        assert.deepEqual(
          forwards,
          expected,
          `${pattern.text} in ${zone} forwards from ${new Date(fromMs).toISOString()}`,
        );

        const backwards: number[] = [];
        for (let ms = evaluator.newestUpTo(endMs - 1); ms !== undefined && ms >= fromMs + DAY_MS; ) {
          assert.ok(backwards.length <= expected.length, `${pattern.text} in ${zone} comes too often`);
          backwards.push(ms);
          ms = evaluator.newestUpTo(ms - 1);
        }
        assert.deepEqual(backwards.reverse(), expected, `${pattern.text} in ${zone} backwards`);

        // And asked at any time between, in the second pass of an overlap, say.
        for (let ms = fromMs + DAY_MS + 29_999; ms < endMs; ms += 13 * MINUTE_MS) {
          const [before, after] = [expected.findLast((each) => each <= ms), expected.find((each) => each > ms)];
          const at = `${pattern.text} in ${zone} at ${new Date(ms).toISOString()}`;
          if (before !== undefined) assert.equal(evaluator.newestUpTo(ms), before, at);
          if (after !== undefined) assert.equal(evaluator.nextAfter(ms), after, at);
        }
      }),
      { seed, numRuns: 400 },
    );
    assert.ok(seen > 2_000, `the patterns came ${seen} times`);
  });

  test("has next(t) > t, and the newest up to next(t) is next(t): at any moment, to the millisecond", () => {
    fc.assert(
      fc.property(
        patterns,
        fc.constantFrom(...CHANGES),
        fc.array(fc.integer({ min: -2 * DAY_MS, max: 2 * DAY_MS }), { minLength: 10, maxLength: 10 }),
        (pattern, [zone, day], offsets) => {
          let evaluator: Evaluator;
          try {
            evaluator = cron(pattern.text, zone);
          } catch {
            return;
          }
          for (const offset of offsets) {
            const t = Date.parse(`${day}T00:00Z`) + offset;
            const following = evaluator.nextAfter(t);
            if (following === undefined) continue;
            assert.ok(following > t, `${pattern.text} in ${zone} after ${t}: ${following}`);
            assert.equal(evaluator.newestUpTo(following), following);
            const before = evaluator.newestUpTo(following - 1);
            assert.ok(before === undefined || before <= t, `${pattern.text} in ${zone}: ${before} lies between`);
            if (before !== undefined) assert.equal(evaluator.nextAfter(before), following);
          }
        },
      ),
      { seed, numRuns: 400 },
    );
  });
});

test("a pattern comes in no year before 1970, and in none of five digits", () => {
  const daily = cron("@daily");
  assert.equal(daily.nextAfter(-1e15), 0);
  assert.equal(daily.newestUpTo(-1), undefined);
  assert.equal(daily.nextAfter(Date.UTC(9999, 11, 31)), undefined);
  assert.equal(daily.nextAfter(Number.POSITIVE_INFINITY), undefined);
  assert.equal(daily.newestUpTo(Number.POSITIVE_INFINITY), Date.UTC(9999, 11, 31));
  assert.equal(daily.nextAfter(Number.NaN), undefined);
});
