/**
 * A process of its own on an embedded schedule, for the tests beside it. Arguments: what to do, the file, and the rest as JSON.
 * It says each thing that happened as one line of JSON on its standard output.
 */
import { spawn } from "node:child_process";
import { writeSync } from "node:fs";
import { openSqliteSchedule } from "../../src/schedule/stores/sqlite.ts";
import { dueAt } from "../../src/testing/schedule-fixtures.ts";
import { planOf, recurring } from "../../src/testing/schedule-recurrence-fixtures.ts";

const HOUR_MS = 3_600_000;
const [what = "", path = "", rest = "{}"] = process.argv.slice(2);
const options = JSON.parse(rest) as {
  from?: number;
  count?: number;
  keys?: number;
  durability?: "strict" | "process";
  patient?: boolean;
  queues?: string[];
};

/** At once, whatever comes next; the reader may be slow, and its pipe full for a moment. */
function say(value: unknown): void {
  for (;;) {
    try {
      writeSync(1, `${JSON.stringify(value)}\n`);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

const DEEDS: Record<string, () => Promise<void>> = {
  /** Put callbacks one by one, four at a time, under keys that others use too; say each that was acknowledged. */
  async write() {
    const store = await openSqliteSchedule(path, { durability: options.durability ?? "process" });
    say("open");
    const { from = 0, count = 100, keys = count } = options;
    let next = from;
    const lane = async () => {
      while (next < from + count) {
        const key = `key:${next % keys}`;
        next += 1;
        const [answer] = await store.put([dueAt(Date.now() + HOUR_MS, { key })]);
        say({ key, put: answer?.put, id: answer !== undefined && "id" in answer ? answer.id : null });
      }
    };
    await Promise.all([lane(), lane(), lane(), lane()]);
    await store.close();
  },

  /** Put one, and never see the answer: this thread stands still while the file's thread commits. */
  async deaf() {
    const store = await openSqliteSchedule(path);
    void store.put([dueAt(Date.now() + HOUR_MS, { key: "deaf" })]);
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
  },

  /** Claim what is due for an hour, with a child that works for it, and stay. */
  async own() {
    const store = await openSqliteSchedule(path);
    const orphan = spawn("sleep", ["3600"], { stdio: "ignore" });
    await store.enlist({ id: `owner-${process.pid}` }, [orphan.pid as number]);
    const { claims } = await store.claimDue({ id: `owner-${process.pid}` }, 10, HOUR_MS);
    say({ claimed: claims.map(({ callback }) => callback.id), orphan: orphan.pid });
    setInterval(() => undefined, HOUR_MS);
  },

  /** Announce the queues that it serves, and stay. */
  async serve() {
    const store = await openSqliteSchedule(path);
    await store.enlist({ id: `owner-${process.pid}`, queues: options.queues ?? [] }, []);
    say("serves");
    setInterval(() => undefined, HOUR_MS);
  },

  /** Declare the recurrence that others declare too, and advance it with them, second by second, `count` times. */
  async recur() {
    const store = await openSqliteSchedule(path, { durability: "process" });
    const { recurrences } = store;
    const { from = 0, count = 100 } = options;
    const { id, generation } = await recurrences.put(recurring(planOf(from), { key: "shared" }));
    say({ id });
    const untilMs = from + count * 1_000;
    for (let next = from; next < untilMs; ) {
      const answer = await recurrences.advance(id, { generation, nextMs: next }, planOf(next + 1_000));
      say({ next, answer: answer.answer });
      next = answer.answer === "changed" ? next + 1_000 : ((await recurrences.get({ id }))?.nextMs ?? untilMs);
    }
    await store.close();
  },

  /** Ask, and leave at once. */
  async leave() {
    const store = await openSqliteSchedule(path);
    for (let i = 0; i < 50; i++) void store.put([dueAt(i, { key: `left:${i}` })]);
    process.exit(0);
  },

  /** Leave a store open, with somebody who listens, and nothing to do. */
  async idle() {
    const store = await openSqliteSchedule(path);
    store.onChange(() => undefined);
    await store.put([dueAt(1)]);
    say("done");
  },

  /** Put until told otherwise by an error; say what was acknowledged, and each error's code. */
  async stubborn() {
    const store = await openSqliteSchedule(path, { durability: "strict" }).catch((error) => {
      say({ unopened: error.code });
      process.exit(0);
    });
    say("open");
    for (let i = 0; i < (options.count ?? 30); i++) {
      try {
        await store.put([dueAt(i, { key: `s:${i}` })]);
        say({ acknowledged: `s:${i}` });
      } catch (error) {
        say({ refused: `s:${i}`, code: (error as { code?: string }).code });
        if (options.patient === true) await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    process.exit(0);
  },
};

await DEEDS[what]?.();
