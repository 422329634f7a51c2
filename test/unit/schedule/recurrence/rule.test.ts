/** Rules as a whole: intervals, bounds, and what is loaded for them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import { preview } from "../../../../src/schedule/recurrence/preview.ts";
import { evaluatorNow, evaluatorOf } from "../../../../src/schedule/recurrence/rule.ts";

const seed = Number(process.env.LOVAGE_TEST_SEED ?? Date.now() % 2 ** 31);
const every = (everyMs: number, anchorMs: number) => ({ kind: "every", everyMs, anchorMs }) as const;

test("an interval comes at its anchor and so often after it, in both directions, at any distance", () => {
  const moment = fc.integer({ min: 0, max: 250_000_000_000_000 });
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 3_000_000_000_000 }), moment, moment, (everyMs, anchorMs, t) => {
      const evaluator = evaluatorNow({ rule: every(everyMs, anchorMs) });
      const next = evaluator.nextAfter(t);
      if (next === undefined) return;
      assert.ok(next > t && next >= anchorMs && (next - anchorMs) % everyMs === 0);
      assert.ok(next - t <= everyMs || next === anchorMs);
      assert.equal(evaluator.newestUpTo(next), next);
      const before = evaluator.newestUpTo(next - 1);
      assert.equal(before, next === anchorMs ? undefined : next - everyMs);
    }),
    { seed, numRuns: 1_000 },
  );
});

test("an interval that is too short, or none, is refused", () => {
  for (const everyMs of [99, 0, -1_000, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
    assert.throws(() => evaluatorNow({ rule: every(everyMs, 0) }), {
      code: "ERR_INVALID_INPUT",
      message: /^every must be at least 100 ms, in whole milliseconds, not .* ms/,
    });
  }
  assert.throws(() => evaluatorNow({ rule: every(1_000, 1e18) }), /counted from a moment before the year 10000/);
  assert.equal(evaluatorNow({ rule: every(100, 0) }).nextAfter(0), 100);
});

test("bounds take part: both are occurrences when the rule names them", () => {
  const bounded = evaluatorNow({ rule: every(1_000, 0), fromMs: 5_000, untilMs: 8_000 });
  assert.deepEqual(
    [0, 4_999, 5_000, 7_999, 8_000, 1e9].map((ms) => bounded.nextAfter(ms)),
    [5_000, 5_000, 6_000, 8_000, undefined, undefined],
  );
  assert.deepEqual(
    [0, 4_999, 5_000, 5_999, 8_001, 1e9].map((ms) => bounded.newestUpTo(ms)),
    [undefined, undefined, 5_000, 5_000, 8_000, 8_000],
  );
  const never = evaluatorNow({ rule: every(1_000, 0), fromMs: 8_001, untilMs: 8_999 });
  assert.equal(never.nextAfter(0), undefined);
  assert.equal(never.newestUpTo(1e9), undefined);
});

test("a preview has times with the offset of the zone, marks what a gap moved, and ends where the rule does", async () => {
  const rule = { kind: "cron", cron: "30 2 * * *", timezone: "Europe/Berlin" } as const;
  const berlin = await evaluatorOf({ rule, untilMs: Date.parse("2027-03-29T12:00:00Z") });
  assert.deepEqual(preview(berlin, Date.parse("2027-03-27T00:00:00Z"), 10), [
    { nominalMs: Date.parse("2027-03-27T01:30:00Z"), text: "2027-03-27T02:30:00+01:00", moved: false },
    { nominalMs: Date.parse("2027-03-28T01:00:00Z"), text: "2027-03-28T03:00:00+02:00", moved: true },
    { nominalMs: Date.parse("2027-03-29T00:30:00Z"), text: "2027-03-29T02:30:00+02:00", moved: false },
  ]);
  const [half] = preview(evaluatorNow({ rule: every(1_500, 0) }), 0, 1);
  assert.equal(half?.text, "1970-01-01T00:00:01.500+00:00");
  const monrovia = evaluatorNow({ rule: { kind: "cron", cron: "@daily", timezone: "Africa/Monrovia" } });
  assert.equal(preview(monrovia, Date.UTC(1971, 0, 1), 1)[0]?.text, "1971-01-01T00:00:00-00:44:30");
  for (const count of [0, 1_001, 1.5, Number.NaN]) {
    assert.throws(() => preview(berlin, 0, count), { code: "ERR_INVALID_INPUT", message: /1 … 1000 times/ });
  }
});

test("without the package rrule-temporal a rule of iCalendar says what to install, and the others need it not", () => {
  const source = new URL("../../../../src/schedule/recurrence/rule.ts", import.meta.url).href;
  const program = `
    import { registerHooks } from "node:module";
    registerHooks({ resolve(specifier, context, next) {
      if (specifier !== "rrule-temporal") return next(specifier, context);
      throw Object.assign(new Error("Cannot find package 'rrule-temporal'"), { code: "ERR_MODULE_NOT_FOUND" });
    } });
    const { evaluatorOf } = await import(${JSON.stringify(source)});
    const cron = await evaluatorOf({ rule: { kind: "cron", cron: "@daily", timezone: "UTC" } });
    console.log(cron.nextAfter(0));
    const rrule = "DTSTART:20270101T090000Z\\nRRULE:FREQ=DAILY";
    await evaluatorOf({ rule: { kind: "rrule", rrule, timezone: "UTC" } }).catch((e) => console.log(e.code, e.message));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
  });

  assert.equal(stderr, "");
  assert.match(stdout, /^86400000\nERR_MISSING_PEER .*lovage\/rrule.*npm install rrule-temporal/);
});
