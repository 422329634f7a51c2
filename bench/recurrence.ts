/**
 * What it costs to work out when something recurs: the next time and the newest, of patterns that people use and of those that nobody should; and
 * a plan after a year of downtime. Each rate is the median of `BENCH_ROUNDS` rounds, after one to warm up.
 *
 *     node --conditions=lovage-source bench/recurrence.ts
 */
import { CronDate, CronPattern } from "croner";
import { nextPlan } from "../src/schedule/recurrence/plan.ts";
import { type Evaluator, evaluatorOf } from "../src/schedule/recurrence/rule.ts";
import type { Definition, Recurrence, Rule } from "../src/schedule/recurrence.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const FROM_MS = Date.UTC(2027, 2, 1);
const DAY_MS = 86_400_000;
const BERLIN = "Europe/Berlin";

const cron = (pattern: string, timezone = BERLIN): Rule => ({ kind: "cron", cron: pattern, timezone });
const ical = (parts: string): Rule => ({
  kind: "rrule",
  rrule: `DTSTART;TZID=${BERLIN}:20200101T023000\nRRULE:${parts}`,
  timezone: BERLIN,
});

const rules: readonly Rule[] = [
  { kind: "every", everyMs: 10_000, anchorMs: 0 },
  cron("* * * * *", "UTC"),
  cron("* * * * *"),
  cron("*/10 * * * * *"),
  cron("0 9 * * MON-FRI"),
  cron("30 2 L * *"),
  cron("0 0 29 2 *"),
  cron("0 0 29 2 +MON"),
  cron("0 * 29 2 +MON"),
  ical("FREQ=DAILY"),
  ical("FREQ=MINUTELY;INTERVAL=15"),
  ical("FREQ=MONTHLY;BYDAY=-1FR"),
  ical("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29"),
];

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

/** Microseconds of one step of a walk of `steps`, wherever it ends: rare ones begin again. */
function walk(step: (ms: number) => number | undefined, steps: number): number {
  const rounds = Array.from({ length: ROUNDS + 1 }, () => {
    let ms = FROM_MS;
    const startMs = performance.now();
    for (let i = 0; i < steps; i++) ms = step(ms) ?? FROM_MS;
    return ((performance.now() - startMs) * 1_000) / steps;
  });
  return median(rounds.slice(1));
}

function nameOf(rule: Rule): string {
  if (rule.kind === "every") return `every ${rule.everyMs / 1_000} s`;
  return rule.kind === "cron" ? `\`${rule.cron}\` ${rule.timezone}` : (rule.rrule.split("\n")[1] ?? "");
}

/** What croner itself takes, with its own zone arithmetic. */
function cronerStep(rule: Rule): ((ms: number) => number | undefined) | undefined {
  if (rule.kind !== "cron") return undefined;
  const pattern = new CronPattern(rule.cron, rule.timezone, { mode: "5-or-6-parts" });
  return (ms) => {
    const date = new CronDate(new Date(ms), rule.timezone).increment(pattern, { domAndDow: false }, true);
    return date?.getTime();
  };
}

console.log(`Node ${process.version}, median of ${ROUNDS}\n`);
console.log("| Rule | next, µs | newest, µs | croner's next, µs |\n|---|---:|---:|---:|");
for (const rule of rules) {
  const evaluator: Evaluator = await evaluatorOf({ rule });
  const steps = rule.kind === "rrule" ? 300 : 20_000;
  const croner = cronerStep(rule);
  const cells = [
    walk((ms) => evaluator.nextAfter(ms), steps),
    walk((ms) => evaluator.newestUpTo(ms - 1), steps),
    ...(croner === undefined ? [] : [walk(croner, 500)]),
  ];
  console.log(`| ${nameOf(rule)} | ${cells.map((cell) => cell.toFixed(2)).join(" | ")} |`);
}

console.log("\n| Never comes, or costs as much as it may | first look, ms | |\n|---|---:|---|");
const dear: readonly Rule[] = [
  cron("* * * * * *", "Africa/Casablanca"),
  cron("0 0 30 2 *"),
  cron("0 0 31 2,4,6,9,11 *"),
  cron("0 0 1 1 +MON#5"),
  cron("0 0 * * +1#5,2#5,3#5"),
  ical("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"),
  ical("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"),
  ical("FREQ=SECONDLY;INTERVAL=60;BYSECOND=30"),
  ical("FREQ=YEARLY;BYDAY=MO;BYSETPOS=366"),
  ical(`FREQ=DAILY;BYSETPOS=366;BYHOUR=${[...Array(24).keys()].join()}`),
  ical(`FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=${[...Array(24).keys()].join()}`),
  ical("FREQ=DAILY;COUNT=1000"),
];
for (const rule of dear) {
  const startMs = performance.now();
  const answer = await evaluatorOf({ rule }).then(
    (evaluator) => evaluator.nextAfter(FROM_MS) !== undefined && "comes",
    () => "refused",
  );
  console.log(`| ${nameOf(rule).slice(0, 70)} | ${(performance.now() - startMs).toFixed(2)} | ${answer} |`);
}

console.log("\n| A plan after a year of downtime, per minute | ms |\n|---|---:|");
const perMinute = await evaluatorOf({ rule: cron("* * * * *") });
for (const misfire of [{ kind: "coalesce" }, { kind: "all", limit: 100 }, { kind: "skip", graceMs: 0 }] as const) {
  const definition: Definition = {
    rule: cron("* * * * *"),
    misfire,
    overlap: "allow",
    jitterMs: 10_000,
    call: { queue: "celery", tags: [], message: { task: "t", body: "[[], {}, {}]", retries: 0 }, onLost: "rerun" },
  };
  const recurrence: Recurrence = {
    id: "r-1",
    key: "k",
    state: "active",
    definition,
    generation: 1,
    nextMs: FROM_MS - 365 * DAY_MS,
    started: true,
    createdMs: 0,
  };
  const times = Array.from({ length: 50 }, () => {
    const startMs = performance.now();
    nextPlan(recurrence, perMinute, FROM_MS);
    return performance.now() - startMs;
  });
  console.log(
    `| ${misfire.kind}, jitter 10 s | ${times[0]?.toFixed(3)} the first time, ${median(times).toFixed(3)} then |`,
  );
}
