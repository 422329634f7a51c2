/**
 * Waiting for another process to leave the file's lock. SQLite's own back-off sleeps up to 100 ms at a time: with two busy
 * writers single commits waited 330 to 630 ms. Steps of ours are short, and their number is bounded by a deadline.
 */
import type { Clock } from "../kit/clock.ts";

const FIRST_STEP_MS = 0.2;
const LONGEST_STEP_MS = 4;
const cell = new Int32Array(new SharedArrayBuffer(4));

const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;

/** The primary result code of what SQLite threw; undefined when it was something else. */
export function sqliteCode(thrown: unknown): number | undefined {
  const code = sqliteCodeExtended(thrown);
  return code === undefined ? undefined : code & 0xff;
}

/** The extended result code, such as 1034 for a failed fsync. */
export function sqliteCodeExtended(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !("errcode" in thrown)) return undefined;
  return typeof thrown.errcode === "number" ? thrown.errcode : undefined;
}

/** Block this thread. Only for the thread of a file, which has nothing else to do. */
export function sleepMs(ms: number): void {
  Atomics.wait(cell, 0, 0, ms);
}

/**
 * What `attempt` answers, tried again while the file is locked, until `maxMs` have passed.
 * @throws whatever `attempt` threw last
 */
export function untilUnlocked<T>(clock: Pick<Clock, "monoMs">, maxMs: number, attempt: () => T): T {
  let stepMs = FIRST_STEP_MS;
  let untilMs: number | undefined;
  for (;;) {
    try {
      return attempt();
    } catch (thrown) {
      const code = sqliteCode(thrown);
      if (code !== SQLITE_BUSY && code !== SQLITE_LOCKED) throw thrown;
      const nowMs = clock.monoMs();
      untilMs ??= nowMs + maxMs;
      if (nowMs >= untilMs) throw thrown;
    }
    sleepMs(stepMs);
    stepMs = Math.min(stepMs * 1.5, LONGEST_STEP_MS);
  }
}
