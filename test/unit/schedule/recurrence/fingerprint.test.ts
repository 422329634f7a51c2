/** Whether two definitions ask for the same, and where in its jitter an occurrence falls. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fingerprint } from "../../../../src/schedule/recurrence/fingerprint.ts";
import { jitterOf } from "../../../../src/schedule/recurrence/jitter.ts";
import type { Definition } from "../../../../src/schedule/recurrence.ts";

const asked: Definition = {
  rule: { kind: "every", everyMs: 10_000, anchorMs: 1_000 },
  misfire: { kind: "coalesce" },
  overlap: "allow",
  jitterMs: 0,
  call: {
    queue: "celery",
    tags: ["a", "b"],
    message: {
      task: "shop.report",
      body: '[[1], {"x": "ü"}, {}]',
      retries: 0,
      origin: "gen1@one",
      rootId: "r",
      priority: 3,
    },
    onLost: "rerun",
  },
};
const { call } = asked;
const { message } = call;

test("a definition has the same fingerprint in another process, at another time, and after a trip through a store", () => {
  const again: Definition[] = [
    JSON.parse(JSON.stringify(asked)) as Definition,
    Object.fromEntries(Object.entries(asked).reverse()) as unknown as Definition,
    { ...asked, rule: { kind: "every", everyMs: 10_000, anchorMs: 999_999 } },
    { ...asked, call: { ...call, tags: ["b", "a", "a"] } },
    { ...asked, call: { ...call, message: { ...message, origin: "gen2@two", rootId: "s", parentId: "p" } } },
    { ...asked, call: { ...call, message: { ...message, replyTo: "q", correlationId: "c" } } },
  ];
  for (const each of again) assert.equal(fingerprint(each), fingerprint(asked));
  // Workers of different versions share a schedule: the very same text, for ever.
  assert.equal(fingerprint(asked), "b0fe59a1d4f487603ea93c97696fb9d2");
});

test("each thing that can be asked for is part of it", () => {
  const others: Definition[] = [
    asked,
    { ...asked, rule: { kind: "every", everyMs: 10_001, anchorMs: 1_000 } },
    { ...asked, rule: { kind: "cron", cron: "* * * * *", timezone: "UTC" } },
    { ...asked, rule: { kind: "cron", cron: "* * * * *", timezone: "Europe/Berlin" } },
    { ...asked, rule: { kind: "rrule", rrule: "* * * * *", timezone: "UTC" } },
    { ...asked, fromMs: 1 },
    { ...asked, untilMs: 1 },
    { ...asked, misfire: { kind: "all", limit: 1 } },
    { ...asked, misfire: { kind: "all", limit: 2 } },
    { ...asked, misfire: { kind: "skip", graceMs: 2 } },
    { ...asked, overlap: "skip" },
    { ...asked, jitterMs: 1 },
    { ...asked, call: { ...call, queue: "mail" } },
    { ...asked, call: { ...call, tags: ["a"] } },
    { ...asked, call: { ...call, onLost: "fail" } },
    { ...asked, call: { ...call, expiresAfterMs: 1 } },
    { ...asked, call: { ...call, message: { ...message, task: "shop.other" } } },
    { ...asked, call: { ...call, message: { ...message, body: "[[2], {}, {}]" } } },
    { ...asked, call: { ...call, message: { ...message, priority: 4 } } },
    { ...asked, call: { ...call, message: { ...message, hardLimitMs: 1 } } },
    { ...asked, call: { ...call, message: { ...message, softLimitMs: 1 } } },
    { ...asked, call: { ...call, message: { ...message, ignoreResult: true } } },
    { ...asked, call: { ...call, message: { ...message, headers: { x: { y: 1 } } } } },
    { ...asked, call: { ...call, message: { ...message, headers: { x: { y: 2 } } } } },
  ];
  assert.equal(new Set(others.map(fingerprint)).size, others.length);
});

test("names of objects are in order at any depth, lists as they are", () => {
  const withHeaders = (headers: Record<string, unknown>) =>
    fingerprint({ ...asked, call: { ...call, message: { ...message, headers } } });
  assert.equal(withHeaders({ a: { b: 1, c: 2 }, d: 3 }), withHeaders({ d: 3, a: { c: 2, b: 1 } }));
  assert.notEqual(withHeaders({ a: [1, 2] }), withHeaders({ a: [2, 1] }));
});

test("jitter is spread evenly, from 0 to all of its room, for one recurrence and over many", () => {
  const [bins, count] = [20, 40_000];
  for (const draw of [
    (i: number) => jitterOf("daily-report", 1_800_000_000_000 + i * 60_000, 999),
    (i: number) => jitterOf(`order:${i}`, 1_800_000_000_000, 999),
  ]) {
    const counts = new Array<number>(bins).fill(0);
    for (let i = 0; i < count; i++) {
      const value = draw(i);
      assert.ok(Number.isInteger(value) && value >= 0 && value <= 999);
      const bin = Math.floor(value / 50);
      counts[bin] = (counts[bin] ?? 0) + 1;
    }
    const mean = count / bins;
    const chiSquared = counts.reduce((sum, each) => sum + (each - mean) ** 2 / mean, 0);
    // 19 degrees of freedom: more than 43.8 has a chance of one in a thousand; the draws are the same each time.
    assert.ok(chiSquared < 43.8, `chi squared ${chiSquared}`);
  }
});

test("jitter is the same each time, and stays within any room", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.integer({ min: 0, max: 2e14 }),
      fc.integer({ min: 0, max: 4e11 }),
      (identity, ms, room) => {
        const value = jitterOf(identity, ms, room);
        assert.ok(Number.isInteger(value) && value >= 0 && value <= room);
        assert.equal(jitterOf(identity, ms, room), value);
      },
    ),
  );
  assert.equal(jitterOf("a", 1, 0), 0);
  assert.equal(jitterOf("a", 1, -5), 0);
});
