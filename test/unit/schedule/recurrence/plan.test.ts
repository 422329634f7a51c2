/** What comes next of a recurrence: in time, and after a downtime. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { firstPlan, MAX_CATCH_UP, nextPlan, resumePlan } from "../../../../src/schedule/recurrence/plan.ts";
import { type Evaluator, evaluatorNow, type Recurring } from "../../../../src/schedule/recurrence/rule.ts";
import type {
  Definition,
  NewOccurrence,
  Plan,
  Recurrence,
  RecurringMisfire,
} from "../../../../src/schedule/recurrence.ts";
import { fateWhenDue } from "../../../../src/schedule/rules.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** A full minute. */
const NOW = Date.UTC(2027, 0, 1, 12);
const seed = Number(process.env.LOVAGE_TEST_SEED ?? Date.now() % 2 ** 31);

type CronOrEvery = Recurring & { readonly rule: Exclude<Recurring["rule"], { kind: "rrule" }> };

const everyMinute: CronOrEvery = { rule: { kind: "cron", cron: "* * * * *", timezone: "UTC" } };
const hourly: CronOrEvery = { rule: { kind: "every", everyMs: HOUR, anchorMs: NOW } };

function definition(
  recurring: Recurring,
  more: Partial<Definition> = {},
  call: Partial<Definition["call"]> = {},
): Definition {
  return {
    ...recurring,
    misfire: { kind: "coalesce" },
    overlap: "allow",
    jitterMs: 0,
    ...more,
    call: {
      queue: "celery",
      tags: [],
      message: { task: "shop.report", body: "[[], {}, {}]", retries: 0 },
      onLost: "rerun",
      ...call,
    },
  };
}

function recurrence(of: Definition, nextMs: number, key?: string): Recurrence {
  return {
    id: "r-1",
    ...(key === undefined ? {} : { key }),
    state: "active",
    definition: of,
    generation: 1,
    nextMs,
    started: false,
    createdMs: 0,
  };
}

function skip(graceMs: number): RecurringMisfire {
  return { kind: "skip", graceMs };
}

/** Counts how often a rule is evaluated. */
function counted(recurring: CronOrEvery): { evaluator: Evaluator; count: () => number } {
  const inner = evaluatorNow(recurring);
  let calls = 0;
  const evaluator: Evaluator = {
    ...inner,
    nextAfter: (ms) => {
      calls += 1;
      return inner.nextAfter(ms);
    },
    newestUpTo: (ms) => {
      calls += 1;
      return inner.newestUpTo(ms);
    },
  };
  return { evaluator, count: () => calls };
}

const nominals = (plan: Plan) => plan.occurrences.map((each) => each.nominalMs);

/** Whether the row would run when it is claimed then. */
function runs(row: NewOccurrence, nowMs: number): boolean {
  const { nominalMs, dueMs, expiresMs = null, misfire, graceMs } = row;
  return fateWhenDue({ attempts: 0, nominalMs, dueMs, expiresMs, misfire, graceMs }, nowMs) === undefined;
}

describe("the first plan", () => {
  const first = (of: Definition, nowMs = NOW, key?: string) =>
    firstPlan(of, evaluatorNow(of as CronOrEvery), nowMs, key);

  test("has the first occurrence later than now", () => {
    const plan = first(definition(everyMinute));
    assert.deepEqual(plan, {
      nextMs: NOW + MINUTE,
      occurrences: [{ nominalMs: NOW + MINUTE, dueMs: NOW + MINUTE, misfire: "skip", graceMs: MINUTE - 1 }],
    });
  });

  test("of an interval is one interval from when it was declared", () => {
    assert.deepEqual(nominals(first(definition(hourly))), [NOW + HOUR]);
  });

  test("begins with the start that was asked for, and makes up for nothing where that has passed", () => {
    const startMs = NOW + 10 * MINUTE;
    const from = { rule: { kind: "every", everyMs: HOUR, anchorMs: startMs }, fromMs: startMs } as const;
    assert.deepEqual(nominals(first(definition(from))), [startMs]);
    assert.deepEqual(nominals(first(definition(from), startMs + 5 * HOUR + 1)), [startMs + 6 * HOUR]);
  });

  test("says when an occurrence must have started, counted from its nominal time", () => {
    const plan = first(definition(hourly, { jitterMs: 1_000 }, { expiresAfterMs: 5_000 }));
    assert.equal(plan.occurrences[0]?.expiresMs, NOW + HOUR + 5_000);
  });

  test("refuses what has no occurrence to come, and says why", () => {
    const cases: [Definition, RegExp][] = [
      [
        definition({ ...everyMinute, untilMs: NOW - 1 }),
        /^cron "\* \* \* \* \*" in UTC has no occurrence after 2027-01-01T12:00:00\.000Z and up to its until, 2027-01-01T11:59:59\.999Z: give a later until, or none$/,
      ],
      [
        definition({ ...hourly, fromMs: NOW + 2 * HOUR - 1, untilMs: NOW + 2 * HOUR - 1 }),
        /^every 1 h has no occurrence after 2027-01-01T13:59:59\.998Z and up to its until/,
      ],
      [
        definition({ rule: { kind: "every", everyMs: HOUR, anchorMs: NOW }, fromMs: Date.UTC(9999, 11, 31, 23, 30) }),
        /^every 1 h has no occurrence after 9999-12-31T23:29:59\.999Z: there is nothing left to call$/,
      ],
    ];
    for (const [of, message] of cases) {
      assert.throws(() => first(of), { code: "ERR_INVALID_INPUT", message });
    }
  });

  test("refuses a policy that is none", () => {
    const cases: [Definition, RegExp][] = [
      [
        definition(hourly, { misfire: { kind: "all", limit: 0 } }),
        /misfire all must be a whole number from 1 to 100, not 0/,
      ],
      [definition(hourly, { misfire: { kind: "all", limit: 101 } }), /not 101/],
      [definition(hourly, { misfire: skip(-1) }), /misfireGrace must be a whole number of milliseconds/],
      [definition(hourly, { jitterMs: 0.5 }), /jitter must be a whole number/],
      [
        definition(hourly, { jitterMs: 60_000 }, { expiresAfterMs: 60_000 }),
        /expires \(1 m\) must be longer than jitter \(1 m\)/,
      ],
    ];
    for (const [of, message] of cases) assert.throws(() => first(of), { code: "ERR_INVALID_INPUT", message });
  });
});

describe("the next plan, in time,", () => {
  const next = (of: Definition, nextMs: number, nowMs: number) =>
    nextPlan(recurrence(of, nextMs), evaluatorNow(of as CronOrEvery), nowMs);

  test("has the following occurrence alone, under every policy", () => {
    for (const misfire of [{ kind: "coalesce" }, { kind: "all", limit: 5 }, skip(0), skip(DAY)] as const) {
      assert.deepEqual(nominals(next(definition(everyMinute, { misfire }), NOW, NOW + 5)), [NOW + MINUTE]);
      assert.deepEqual(nominals(next(definition(everyMinute, { misfire }), NOW, NOW)), [NOW + MINUTE]);
    }
  });

  test("has the following one also where the clock is behind, for what is in the schedule is not put again", () => {
    assert.deepEqual(nominals(next(definition(everyMinute), NOW, NOW - DAY)), [NOW + MINUTE]);
  });

  test("ends after the last", () => {
    const of = definition({ ...everyMinute, untilMs: NOW + MINUTE });
    const last = next(of, NOW, NOW);
    assert.deepEqual(last.occurrences, [{ nominalMs: NOW + MINUTE, dueMs: NOW + MINUTE, misfire: "fire", graceMs: 0 }]);
    assert.deepEqual(next(of, NOW + MINUTE, NOW + MINUTE), { nextMs: null, occurrences: [] });
  });

  test("is none for a recurrence that is not active", () => {
    const paused: Recurrence = { ...recurrence(definition(everyMinute), NOW), state: "paused" };
    const { nextMs: _, ...rest } = paused;
    assert.throws(
      () => nextPlan(rest, evaluatorNow(everyMinute), NOW),
      /recurrence r-1 is not active: resume it first/,
    );
  });
});

describe("after a downtime", () => {
  /** The one of an hour ago is in the schedule; it is half a minute past the minute now. */
  const since = NOW - HOUR;
  const late = NOW + MINUTE / 2;
  const after = (misfire: RecurringMisfire, more: Partial<CronOrEvery> = {}) => {
    const of = definition({ ...everyMinute, ...more }, { misfire });
    return nextPlan(recurrence(of, since), evaluatorNow({ ...everyMinute, ...more }), late);
  };
  const inSchedule = (misfire: RecurringMisfire) => {
    const of = definition(everyMinute, { misfire });
    return firstPlan(of, evaluatorNow(everyMinute), since - 1).occurrences[0] as NewOccurrence;
  };

  test("coalesce has the newest that was missed, due at once, and the next", () => {
    const plan = after({ kind: "coalesce" });
    assert.deepEqual(plan, {
      nextMs: NOW + MINUTE,
      occurrences: [
        { nominalMs: NOW, dueMs: NOW, misfire: "skip", graceMs: MINUTE - 1 },
        { nominalMs: NOW + MINUTE, dueMs: NOW + MINUTE, misfire: "skip", graceMs: MINUTE - 1 },
      ],
    });
    assert.equal(
      runs(inSchedule({ kind: "coalesce" }), late),
      false,
      "the one in the schedule is skipped by its own rule",
    );
    assert.equal(runs(plan.occurrences[0] as NewOccurrence, late), true);
  });

  test("coalesce runs the one in the schedule, however late, when no newer one has come", () => {
    const row = inSchedule({ kind: "coalesce" });
    assert.equal(runs(row, since + MINUTE - 1), true);
    assert.equal(runs(row, since + MINUTE + 1_000), false);
  });

  test("all has the newest of them up to the limit, of which the one in the schedule is one", () => {
    assert.deepEqual(nominals(after({ kind: "all", limit: 3 })), [NOW - 2 * MINUTE, NOW - MINUTE, NOW, NOW + MINUTE]);
    assert.equal(runs(inSchedule({ kind: "all", limit: 3 }), late), false);
    // 61 have come with the one in the schedule.
    assert.equal(nominals(after({ kind: "all", limit: 61 })).length, 60 + 1);
    assert.equal(runs(inSchedule({ kind: "all", limit: 61 }), late), true);
    assert.equal(nominals(after({ kind: "all", limit: 60 })).length, 60 + 1);
    assert.equal(runs(inSchedule({ kind: "all", limit: 60 }), late), false);
  });

  test("skip has the next one, and of those that were missed what is still within its grace", () => {
    assert.deepEqual(nominals(after(skip(0))), [NOW + MINUTE]);
    assert.deepEqual(nominals(after(skip(2 * MINUTE))), [NOW - MINUTE, NOW, NOW + MINUTE]);
    assert.equal(runs(inSchedule(skip(2 * MINUTE)), late), false);
    assert.deepEqual(after(skip(DAY)).occurrences.length, 60 + 1);
  });

  test("skip loses nothing that came within the second in which it was not looked", () => {
    const often: CronOrEvery = { rule: { kind: "every", everyMs: 200, anchorMs: NOW } };
    const of = definition(often, { misfire: skip(0) });
    const plan = nextPlan(recurrence(of, NOW), evaluatorNow(often), NOW + 700);
    assert.deepEqual(nominals(plan), [NOW + 200, NOW + 400, NOW + 600, NOW + 800]);
  });

  test("what was missed before the end is made up for, and then it ends", () => {
    const plan = after({ kind: "coalesce" }, { untilMs: NOW - 1 });
    assert.deepEqual(plan, {
      nextMs: NOW - MINUTE,
      occurrences: [{ nominalMs: NOW - MINUTE, dueMs: NOW - MINUTE, misfire: "fire", graceMs: 0 }],
    });
    const of = definition({ ...everyMinute, untilMs: NOW - 1 });
    const ended = nextPlan(recurrence(of, NOW - MINUTE), evaluatorNow({ ...everyMinute, untilMs: NOW - 1 }), late);
    assert.deepEqual(ended, { nextMs: null, occurrences: [] });
  });

  test("of a year, per minute or per 100 ms, the work is that of the limit", () => {
    for (const recurring of [everyMinute, { rule: { kind: "every", everyMs: 100, anchorMs: 0 } }] as CronOrEvery[]) {
      for (const [misfire, most] of [
        [{ kind: "coalesce" }, 6],
        [{ kind: "all", limit: 1 }, 6],
        [{ kind: "all", limit: 10 }, 35],
        [{ kind: "all", limit: MAX_CATCH_UP }, 3 * MAX_CATCH_UP + 5],
        [skip(0), 20],
        [skip(400 * DAY), MAX_CATCH_UP + 5],
      ] as const) {
        const { evaluator, count } = counted(recurring);
        const of = definition(recurring, { misfire });
        const plan = nextPlan(recurrence(of, NOW - 365 * DAY), evaluator, NOW);
        assert.ok(count() <= most, `${JSON.stringify(misfire)}: ${count()} evaluations`);
        assert.ok(plan.occurrences.length <= MAX_CATCH_UP + 1);
      }
    }
  });

  test("with jitter the work is that of the limit, too", () => {
    const { evaluator, count } = counted(everyMinute);
    const of = definition(everyMinute, { misfire: { kind: "all", limit: 50 }, jitterMs: 20_000 });
    nextPlan(recurrence(of, NOW - 365 * DAY), evaluator, NOW);
    assert.ok(count() <= 50 * 6 + 10, `${count()} evaluations`);
  });

  test("after a pause goes on with the next one", () => {
    const of = definition(everyMinute, { misfire: { kind: "all", limit: 10 } });
    const { nextMs: _, ...paused } = recurrence(of, since);
    assert.deepEqual(nominals(resumePlan({ ...paused, state: "paused" }, evaluatorNow(everyMinute), late)), [
      NOW + MINUTE,
    ]);
    const ended = definition({ ...everyMinute, untilMs: NOW });
    const plan = resumePlan({ ...paused, definition: ended }, evaluatorNow({ ...everyMinute, untilMs: NOW }), late);
    assert.deepEqual(plan, { nextMs: null, occurrences: [] });
  });
});

describe("jitter", () => {
  test("that an occurrence still waits for makes it no missed one: the one before it is made up for", () => {
    const of = definition(hourly, { jitterMs: 59 * MINUTE });
    const now = NOW + 10 * HOUR + 1;
    const { occurrences } = nextPlan(recurrence(of, NOW, "k"), evaluatorNow(hourly), now);
    const [missed, waits, following] = occurrences as [NewOccurrence, NewOccurrence, NewOccurrence];
    assert.deepEqual(
      occurrences.map(({ nominalMs }) => nominalMs - NOW),
      [9 * HOUR, 10 * HOUR, 11 * HOUR],
    );
    assert.ok(waits.dueMs > now && runs(missed, now) && following.dueMs > now);
  });

  test("makes an occurrence due up to so much later, alike for whoever works it out, and otherwise for another key", () => {
    const of = definition(hourly, { jitterMs: 30 * MINUTE });
    const due = (key?: string) => firstPlan(of, evaluatorNow(hourly), NOW, key).occurrences[0]?.dueMs ?? 0;
    assert.ok(due("a") >= NOW + HOUR && due("a") <= NOW + HOUR + 30 * MINUTE);
    assert.equal(due("a"), due("a"));
    assert.notEqual(due("a"), due("b"));
    assert.notEqual(due(), due("a"));
    // Workers of different versions share a schedule: the very same moment, for ever.
    assert.equal(due("daily-report"), 1_798_809_902_120);
  });

  test("that is longer than the interval ends before the next occurrence: they keep their order", () => {
    const of = definition(everyMinute, { jitterMs: 90 * DAY, misfire: { kind: "all", limit: 100 } });
    const { occurrences } = nextPlan(recurrence(of, NOW - 100 * MINUTE, "k"), evaluatorNow(everyMinute), NOW);
    assert.equal(occurrences.length, 101);
    for (const { nominalMs, dueMs } of occurrences) assert.ok(dueMs >= nominalMs && dueMs < nominalMs + MINUTE);
    assert.ok(new Set(occurrences.map(({ nominalMs, dueMs }) => dueMs - nominalMs)).size > 90);
  });

  test("counts for when an occurrence is stale: not before the newer one is due, too", () => {
    const of = definition(everyMinute, { jitterMs: 20_000 });
    const { occurrences } = nextPlan(recurrence(of, NOW - 5 * MINUTE, "k"), evaluatorNow(everyMinute), NOW);
    const [older, newer] = occurrences as [NewOccurrence, NewOccurrence];
    assert.equal(older.dueMs + older.graceMs + 1, newer.dueMs);
  });
});

const policies: fc.Arbitrary<RecurringMisfire> = fc.oneof(
  fc.constant<RecurringMisfire>({ kind: "coalesce" }),
  fc.integer({ min: 1, max: 5 }).map<RecurringMisfire>((limit) => ({ kind: "all", limit })),
  fc.integer({ min: 0, max: 3 * HOUR }).map<RecurringMisfire>(skip),
);

test("any life of a recurrence: what runs is what its policy says, each nominal time once, in order", () => {
  fc.assert(
    fc.property(
      policies,
      fc.constantFrom("*/7 * * * *", "0 * * * *", "30 2 * * *", "15,45 9-17 * * 1-5"),
      fc.array(fc.oneof(fc.nat(20 * MINUTE), fc.nat(9 * DAY)), { minLength: 1, maxLength: 15 }),
      fc.constantFrom(0, 5_000, 10 * HOUR),
      (misfire, cron, waits, jitterMs) => {
        const recurring: CronOrEvery = { rule: { kind: "cron", cron, timezone: "Europe/Berlin" } };
        const evaluator = evaluatorNow(recurring);
        const of = definition(recurring, { misfire, jitterMs });
        let now = Date.parse("2027-03-20T12:00:00Z");
        let plan = firstPlan(of, evaluator, now, "k");
        let waiting = [...plan.occurrences];
        const put: number[] = nominals(plan);
        for (const wait of waits) {
          // The workers come back, advance what has come, and claim what is due.
          now += wait;
          while (plan.nextMs !== null && plan.nextMs <= now) {
            const before = plan.nextMs;
            plan = nextPlan(recurrence(of, before, "k"), evaluator, now);
            assert.ok(plan.nextMs !== null && plan.nextMs > before, "it goes on");
            assert.ok(plan.occurrences.every((each) => each.nominalMs > before));
            waiting.push(...plan.occurrences);
            put.push(...nominals(plan));
          }
          const due = waiting.filter((row) => row.dueMs <= now);
          waiting = waiting.filter((row) => row.dueMs > now);
          const run = due.filter((row) => runs(row, now));
          if (misfire.kind === "skip") {
            for (const row of run) assert.ok(now - row.dueMs <= misfire.graceMs + 1_000);
            continue;
          }
          const limit = misfire.kind === "all" ? misfire.limit : 1;
          // One that a newer one has made stale within the last second may run all the same.
          const sure = run.filter((row) => now - row.dueMs > 1_000);
          assert.ok(sure.length <= limit + 1, `${run.length} ran`);
          assert.ok(run.length >= Math.min(limit, due.length), `${run.length} of ${due.length} ran`);
          const newest = due.slice(-Math.min(limit, due.length));
          for (const row of newest) assert.ok(run.includes(row), "the newest run");
        }
        assert.deepEqual(
          put,
          [...new Set(put)].toSorted((a, b) => a - b),
        );
      },
    ),
    { seed, numRuns: 300 },
  );
});
