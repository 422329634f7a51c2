/** What is done to recurrences in random lives of a schedule. */
import fc from "fast-check";
import type { NewRecurrence, Plan } from "../../src/schedule/recurrence.ts";
import { definition, NO_MORE, occurrenceAt, planOf } from "../../src/testing/schedule-recurrence-fixtures.ts";
import type { SideBySide, Who } from "./schedule-side-by-side.ts";

export type Command = { readonly name: string; readonly run: (both: SideBySide) => Promise<void> };

export function command(name: string, run: Command["run"]): Command {
  return { name, run };
}

const KEYS = ["a", "b"];
const which = fc.nat(3);
const who: fc.Arbitrary<Who> = fc.oneof(
  which.map((each) => ({ which: each })),
  fc.constantFrom(...KEYS).map((key) => ({ key })),
);

const occurrence = fc.record({
  /** After the one before it. */
  stepMs: fc.constantFrom(1, 500, 1_000, 4_000),
  jitterMs: fc.constantFrom(0, 0, 700),
  misfire: fc.constantFrom("fire", "skip"),
  graceMs: fc.constantFrom(0, 1_500, 4_000),
  expiresInMs: fc.option(fc.constantFrom(800, 3_000), { nil: undefined, freq: 4 }),
});
/** Empty: there is no further one. */
const plan = fc.array(occurrence, { maxLength: 3 });
const startMs = fc.constantFrom(-3_000, -1_000, -1, 1_000);

const recurrence = fc.record({
  key: fc.option(fc.constantFrom(...KEYS), { nil: undefined, freq: 3 }),
  onConflict: fc.constantFrom("keep", "replace", "replace", "reject", undefined),
  fingerprint: fc.constantFrom("1", "2"),
  overlap: fc.constantFrom("allow", "skip", "skip", "queue", "queue", "queue"),
  onLost: fc.constantFrom("rerun", "fail"),
  queue: fc.constantFrom("q0", "q1"),
  tags: fc.subarray(["x", "y"]),
});

export const recurrenceCommands: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(recurrence, startMs, plan)
      .map(([of, inMs, all]) =>
        command(`put recurrence ${JSON.stringify([of, inMs, all])}`, (both) =>
          both.recurrences.put(newRecurrence(of, planFrom(both.nowMs + inMs, all))),
        ),
      ),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(which, fc.constantFrom("no", "no", "no", "generation", "nextMs"), plan)
      .map(([each, stale, all]) =>
        command(`advance ${JSON.stringify([each, stale, all])}`, (both) =>
          both.recurrences.advance(each, stale, (ms) => planFrom(ms, all)),
        ),
      ),
  },
  who.map((whom) => command(`pause ${JSON.stringify(whom)}`, (both) => both.recurrences.pause(whom))),
  {
    weight: 2,
    arbitrary: fc
      .tuple(who, fc.constantFrom(false, false, true), startMs, plan)
      .map(([whom, stale, inMs, all]) =>
        command(`resume ${JSON.stringify([whom, stale, inMs, all])}`, (both) =>
          both.recurrences.resume(whom, stale, planFrom(both.nowMs + inMs, all)),
        ),
      ),
  },
  fc
    .tuple(who, fc.boolean())
    .map(([whom, abort]) =>
      command(`cancel recurrence ${JSON.stringify([whom, abort])}`, (both) => both.recurrences.cancel(whom, abort)),
    ),
);

type ValueOf<A> = A extends fc.Arbitrary<infer T> ? T : never;

function planFrom(afterMs: number, all: ValueOf<typeof plan>): Plan {
  let nominalMs = afterMs;
  const occurrences = all.map(({ stepMs, jitterMs, misfire, graceMs, expiresInMs }) => {
    nominalMs += stepMs;
    const expires = expiresInMs === undefined ? {} : { expiresMs: nominalMs + expiresInMs };
    return occurrenceAt(nominalMs, { dueMs: nominalMs + jitterMs, misfire, graceMs, ...expires });
  });
  return occurrences.length === 0 ? NO_MORE : planOf(...occurrences);
}

function newRecurrence(of: ValueOf<typeof recurrence>, first: Plan): NewRecurrence {
  const { key, onConflict, fingerprint, overlap, onLost, queue, tags } = of;
  return {
    ...(key === undefined ? {} : { key }),
    ...(onConflict === undefined ? {} : { onConflict }),
    definition: definition({ overlap }, { onLost, queue, tags }),
    fingerprint,
    plan: first,
  };
}
