/** What a worker says of a task is in Celery's words, so that what greps a fleet's logs finds ours too: against logs that were captured. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Outcome, TaskFailure } from "../../../src/pool/pool.ts";
import { fixtureText } from "../protocol/fixtures.ts";
import { rig } from "./request-rig.ts";

const error: TaskFailure = {
  exception: { exc_type: "ValueError", exc_message: ["boom", 42], exc_module: "builtins" },
  text: "ValueError('boom', 42)",
  traceback: null,
};

const ENDS: readonly Outcome[] = [
  { kind: "succeeded", result: "5" },
  { kind: "failed", error, expected: false },
  { kind: "failed", error, expected: true },
  { kind: "ignored" },
  { kind: "rejected", requeue: false, reason: "no thanks" },
  { kind: "retry", etaMs: 0, body: "[[], {}, {}]", retries: 1, error },
  { kind: "timed-out", limitMs: 1_000 },
];

/** The line without what differs from task to task; undefined: it is not of a task. */
function wordsOf(line: string): string | undefined {
  const [, text] = /(?:^|\] )((?:Task \S+\[\S+\]|Discarding revoked task:|Hard time limit) .*)$/.exec(line) ?? [];
  return text
    ?.replace(/[\w.]+\[[^\]]+\]/, "TASK")
    .replace(/(succeeded in) [\d.e-]+s: .*/, "$1 SECONDS: RESULT")
    .replace(/(raised (?:un)?expected): .*/, "$1: ERROR")
    .replace(/(Retry in) \d+s.*/, "$1 SECONDS")
    .replace(/(requeue=\w+): .*/, "$1: REASON")
    .replace(/\(\d+s\)/, "(SECONDS)");
}

async function ourWords(): Promise<Set<string>> {
  const words = new Set<string>();
  const keep = (lines: readonly string[]) => {
    for (const line of lines) words.add(wordsOf(line.trimEnd()) ?? "");
  };
  for (const outcome of ENDS) {
    const world = rig();
    world.deliver();
    await world.end(outcome);
    keep(world.log);
  }
  const revoked = rig();
  revoked.revokedIds.add("id-1");
  revoked.deliver();
  await revoked.settled();
  keep(revoked.log);
  return words;
}

for (const broker of ["rabbitmq", "redis"]) {
  describe(`a worker's log, beside Celery's on ${broker}`, () => {
    test("has a line in the same words for whatever becomes of a task", async () => {
      const lines = fixtureText(`worker_log.${broker}.txt`).split("\n");
      // By stamp: ours names no header.
      const theirs = new Set(lines.filter((line) => !line.includes("by header")).map(wordsOf));
      theirs.delete(undefined);
      const ours = await ourWords();
      assert.ok(theirs.size >= 8, [...theirs].join());
      assert.deepEqual(
        [...theirs].filter((line) => !ours.has(line ?? "")),
        [],
      );
    });
  });
}
