/**
 * Random lives of a schedule: each command is done to the store and to the model (`schedule-side-by-side.ts`). What differs is shrunk by
 * fast-check to the shortest such life.
 */
import fc from "fast-check";
import type { NewCallback, RunEnd } from "../../src/schedule/callback.ts";
import { message } from "../../src/testing/schedule-fixtures.ts";
import { type Command, command, recurrenceCommands } from "./schedule-commands-recur.ts";
import { type SideBySide, TASK_IDS, type Who } from "./schedule-side-by-side.ts";

const KEYS = ["a", "b"];
/** What lives, from the beginning; nobody else claims. */
export const OWNERS = ["alice", "bob"];

const index = fc.nat(7);
const owner = fc.constantFrom(...OWNERS);
/** Callbacks are of q0 and q1, and occurrences too. */
const queues = fc.constantFrom<readonly string[] | undefined>(undefined, undefined, [], ["q0"], ["q1", "q2"]);
const who: fc.Arbitrary<Who> = fc.oneof(
  index.map((which) => ({ which })),
  fc.constantFrom(...KEYS).map((key) => ({ key })),
);
const leaseMs = fc.constantFrom(1_000, 20_000);
const spanMs = fc.constantFrom(-5_000, 0, 1, 1_000, 5_000);

/** Times are from now on, as the command finds it. */
const callback = fc.record({
  key: fc.option(fc.constantFrom(...KEYS), { nil: undefined }),
  onConflict: fc.constantFrom("keep", "replace", "reject"),
  taskId: fc.option(fc.constantFrom(...TASK_IDS), { nil: undefined, freq: 3 }),
  retries: fc.nat(1),
  dueInMs: spanMs,
  expiresInMs: fc.option(fc.constantFrom(0, 1_000, 6_000), { nil: undefined, freq: 3 }),
  misfire: fc.constantFrom("fire", "skip"),
  graceMs: fc.constantFrom(0, 2_000),
  onLost: fc.constantFrom("rerun", "fail"),
  tags: fc.subarray(["x", "y"]),
});

const end = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ kind: "succeeded" } as const) },
  fc.constant({ kind: "failed", reason: "no" } as const),
  fc.constant({ kind: "stopped", reason: "asked" } as const),
  { weight: 2, arbitrary: fc.constant({ kind: "crashed", reason: "SIGKILL" } as const) },
  fc.constant({ kind: "lost", reason: "a cold stop" } as const),
  { weight: 2, arbitrary: spanMs.map((inMs) => ({ kind: "retry", inMs }) as const) },
);

export const commands: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .array(callback, { minLength: 1, maxLength: 3 })
      .map((list) =>
        command(`put ${JSON.stringify(list)}`, (both) => both.put(list.map((each) => newCallback(each, both.nowMs)))),
      ),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(who, fc.boolean())
      .map(([whom, abort]) => command(`cancel ${JSON.stringify([whom, abort])}`, (both) => both.cancel(whom, abort))),
  },
  fc
    .tuple(who, spanMs, fc.boolean())
    .map(([whom, ms, by]) =>
      command(`reschedule ${JSON.stringify([whom, ms, by])}`, (both) =>
        both.reschedule(whom, by ? { byMs: ms } : { dueMs: both.nowMs + ms }),
      ),
    ),
  {
    weight: 6,
    arbitrary: fc
      .tuple(owner, queues, fc.nat(3), leaseMs)
      .map(([by, from, limit, ms]) =>
        command(`claim ${by} ${from ?? "all"} ${limit} ${ms}`, (both) => both.claim(by, from, limit, ms)),
      ),
  },
  fc.tuple(owner, queues).map(([by, of]) => command(`enlist ${by} ${of ?? "all"}`, (both) => both.enlist(by, of))),
  { weight: 8, arbitrary: recurrenceCommands },
  {
    weight: 5,
    arbitrary: fc
      .tuple(index, end)
      .map(([which, how]) =>
        command(`settle ${which} ${JSON.stringify(how)}`, (both) => both.settle(which, runEnd(how, both.nowMs))),
      ),
  },
  fc
    .tuple(fc.array(index, { maxLength: 3 }), leaseMs)
    .map(([which, ms]) => command(`renew ${which} ${ms}`, (both) => both.renew(which, ms))),
  fc.array(index, { maxLength: 3 }).map((which) => command(`release ${which}`, (both) => both.release(which))),
  { weight: 2, arbitrary: fc.constant(command("sweep", (both) => both.sweep())) },
  owner.map((by) => command(`takeAborts ${by}`, (both) => both.takeAborts(by))),
  fc
    .tuple(fc.option(fc.constantFrom(...TASK_IDS), { nil: undefined }), index, fc.constantFrom(0, 10_000), fc.boolean())
    .map(([taskId, which, ms, abort]) =>
      command(`revoke ${taskId ?? `own ${which}`} ${ms} ${abort}`, (both) =>
        both.revoke(taskId ?? both.idOf(which), ms, abort),
      ),
    ),
  owner.map((by) => command(`die ${by}`, (both) => both.die(by))),
  {
    weight: 4,
    arbitrary: fc
      .constantFrom(1, 999, 1_000, 5_000, 20_000, 60_000)
      .map((ms) => command(`advance ${ms}`, (both) => both.advance(ms))),
  },
  fc.constantFrom(1, 1_000, 60_000).map((ms) => command(`stepBack ${ms}`, async (both) => both.stepBack(ms))),
  fc.constant(command("reopen", (both) => both.reopen())),
);

/** Do one life. */
export async function live(both: SideBySide, life: readonly Command[]): Promise<void> {
  for (const [i, each] of life.entries()) {
    try {
      await each.run(both);
      await both.compare();
    } catch (error) {
      const story = life.slice(0, i + 1).map(({ name }, step) => `${step}. ${name}`);
      throw new Error(`after\n${story.join("\n")}\n${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
}

function newCallback(of: typeof callback extends fc.Arbitrary<infer T> ? T : never, nowMs: number): NewCallback {
  const { key, taskId, onConflict, retries, dueInMs, expiresInMs, misfire, graceMs, onLost, tags } = of;
  return {
    ...(key === undefined ? {} : { key, onConflict }),
    ...(taskId === undefined ? {} : { taskId }),
    ...(expiresInMs === undefined ? {} : { expiresMs: nowMs + expiresInMs }),
    dueMs: nowMs + dueInMs,
    misfire,
    graceMs,
    onLost,
    tags,
    queue: `q${retries}`,
    message: message({ retries, body: `[${dueInMs}]` }),
  };
}

function runEnd(how: typeof end extends fc.Arbitrary<infer T> ? T : never, nowMs: number): RunEnd {
  if (how.kind !== "retry") return how;
  return { kind: "retry", reason: "again", dueMs: nowMs + how.inMs, message: message({ retries: 9, body: "[9]" }) };
}
