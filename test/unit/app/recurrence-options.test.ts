/** What users say of something that recurs. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rrule } from "lovage/rrule";
import { policyOf, type RecurrencePolicy, type Recurs, recurringOf } from "../../../src/app/recurrence-options.ts";

const NOW = Date.UTC(2027, 0, 1, 12);
const given = (when: unknown, timezone?: string) =>
  recurringOf(when as Recurs, { nowMs: NOW, ...(timezone === undefined ? {} : { timezone }) });

describe("when it recurs", () => {
  test("is an interval: seconds, or a text with a unit, counted from now", () => {
    assert.deepEqual(given({ every: 10 }), { rule: { kind: "every", everyMs: 10_000, anchorMs: NOW } });
    assert.deepEqual(given({ every: "2h30m" }).rule, { kind: "every", everyMs: 9_000_000, anchorMs: NOW });
  });

  test("is an interval from a start, up to an end", () => {
    const startAt = "2027-02-01T09:00";
    assert.deepEqual(given({ every: "1d", startAt, until: new Date(NOW + 1e10), timezone: "Europe/Berlin" }), {
      rule: { kind: "every", everyMs: 86_400_000, anchorMs: Date.parse("2027-02-01T08:00:00Z") },
      fromMs: Date.parse("2027-02-01T08:00:00Z"),
      untilMs: NOW + 1e10,
    });
  });

  test("is a cron pattern, in its zone, else the app's, else UTC", () => {
    const cron = "0 9 * * MON-FRI";
    assert.deepEqual(given({ cron, timezone: "Europe/Berlin" }, "Asia/Tokyo").rule, {
      kind: "cron",
      cron,
      timezone: "Europe/Berlin",
    });
    assert.deepEqual(given({ cron }, "Asia/Tokyo").rule, { kind: "cron", cron, timezone: "Asia/Tokyo" });
    assert.deepEqual(given({ cron }), { rule: { kind: "cron", cron, timezone: "UTC" } });
  });

  test("is a rule of iCalendar, in the zone of its DTSTART, else as a pattern", () => {
    const RULE = "RRULE:FREQ=MONTHLY;BYDAY=-1FR";
    const berlin = `DTSTART;TZID=Europe/Berlin:20270101T090000\n${RULE}`;
    assert.deepEqual(given(rrule(berlin), "Asia/Tokyo"), {
      rule: { kind: "rrule", rrule: berlin, timezone: "Europe/Berlin" },
    });
    assert.equal(given(rrule(`DTSTART:20270101T090000\n${RULE}`), "Asia/Tokyo").rule.kind, "rrule");
    const local = `DTSTART:20270101T090000\r\n${RULE}\r\n`;
    assert.deepEqual(given(rrule(local, { timezone: "Asia/Kathmandu", until: new Date(NOW) })), {
      rule: { kind: "rrule", rrule: `DTSTART:20270101T090000\n${RULE}`, timezone: "Asia/Kathmandu" },
      untilMs: NOW,
    });
    assert.throws(() => rrule(5 as unknown as string), {
      code: "ERR_INVALID_INPUT",
      message: /must be a text, not number/,
    });
  });

  test("is refused by its name when it is something else", () => {
    const cases: [unknown, RegExp][] = [
      [
        undefined,
        /when it recurs must be \{ every \}, \{ cron \} or rrule\("…"\), not undefined: write \{ every: "10m" \}/,
      ],
      ["* * * * *", /must be \{ every \}/],
      [{}, /must have one of every, cron and rrule, not none of them/],
      [{ every: 5, cron: "* * * * *" }, /not every and cron of them/],
      [{ every: 5, timeZone: "UTC" }, /\{ every \} has no option "timeZone"; did you mean "timezone"\?/],
      [{ every: 5, tz: "UTC" }, /\{ every \} has no option "tz"/],
      [{ every: -5 }, /^every -5 must not be negative/],
      [{ every: "soon" }, /^every "soon" must be a duration/],
      [{ every: 5, startAt: "2027-02-01T09:00" }, /^startAt "2027-02-01T09:00" has no offset/],
      [{ every: 5, until: "tomorrow" }, /^until "tomorrow" /],
      [{ every: 5, startAt: new Date(NOW + 1), until: new Date(NOW) }, /^until is before startAt: give a later until/],
      [{ rrule: "FREQ=DAILY" }, /^rrule "FREQ=DAILY" has a line/],
    ];
    for (const [when, message] of cases) assert.throws(() => given(when), { code: "ERR_INVALID_INPUT", message });
  });
});

describe("the policy", () => {
  test("is by default one run for what was missed, beside the one before, without jitter", () => {
    assert.deepEqual(policyOf({}), { misfire: { kind: "coalesce" }, overlap: "allow", jitterMs: 0 });
  });

  test("is what was asked for", () => {
    const misfire = (policy: RecurrencePolicy) => policyOf(policy).misfire;
    assert.deepEqual(misfire({ misfire: "all" }), { kind: "all", limit: 100 });
    assert.deepEqual(misfire({ misfire: { all: 3 } }), { kind: "all", limit: 3 });
    assert.deepEqual(misfire({ misfire: "skip" }), { kind: "skip", graceMs: 0 });
    assert.deepEqual(misfire({ misfire: "skip", misfireGrace: "5m" }), { kind: "skip", graceMs: 300_000 });
    assert.deepEqual(policyOf({ overlap: "queue", jitter: 30 }), {
      misfire: { kind: "coalesce" },
      overlap: "queue",
      jitterMs: 30_000,
    });
  });

  test("is refused when it is none", () => {
    const cases: [object, RegExp][] = [
      [{ misfire: "fire" }, /^misfire must be "coalesce", "skip", "all" or \{ all: 1 … 100 \}, not "fire"/],
      [{ misfire: { all: 0 } }, /not \{"all":0\}/],
      [{ misfire: { all: 101 } }, /not \{"all":101\}/],
      [{ misfire: { all: "3" } }, /not \{"all":"3"\}/],
      [{ misfire: null }, /not null/],
      [{ misfireGrace: 5 }, /^misfireGrace goes with misfire "skip"/],
      [{ overlap: "wait" }, /^overlap must be "allow", "skip" or "queue", not "wait"/],
      [{ jitter: -1 }, /^jitter -1 must not be negative/],
    ];
    for (const [policy, message] of cases) {
      assert.throws(() => policyOf(policy as RecurrencePolicy), { code: "ERR_INVALID_INPUT", message });
    }
  });
});
