/** The judge is judged: histories that are wrong in one way each, made by hand, to which it must object by name, and good ones that it must pass. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { allHold, judge } from "./checker.ts";
import { figuresOf } from "./figures.ts";
import type { CancelCall, Fault, History, Row, ScheduleCall } from "./history.ts";
import { LedgerWriter, type RunLine, readLedger } from "./ledger.ts";
import { unmatched } from "./matching.ts";
import { entryOf, pageOf } from "./report.ts";

const DUE_MS = 1_000_000;

function scheduled(name: string, of: Partial<ScheduleCall> = {}): ScheduleCall {
  const answer = {
    invokedMs: DUE_MS - 900,
    invokedMonoMs: 100,
    answeredMs: DUE_MS - 890,
    outcome: "ok",
    put: "added",
  } as const;
  return { op: "schedule", name, id: `id-${name}`, dueMs: DUE_MS, ...answer, ...of };
}

function cancelled(name: string, answer: CancelCall["answer"], of: Partial<CancelCall> = {}): CancelCall {
  const asked = { invokedMs: DUE_MS - 3, invokedMonoMs: 997, answeredMs: DUE_MS - 1, outcome: "ok" } as const;
  return {
    op: "cancel",
    name,
    id: `id-${name}`,
    dueMs: DUE_MS,
    ...asked,
    ...(answer === undefined ? {} : { answer }),
    ...of,
  };
}

function unnamed({ id: _id, ...call }: CancelCall): CancelCall {
  return call;
}

function run(what: RunLine["what"], name: string, of: Partial<RunLine> = {}): RunLine {
  const wallMs = DUE_MS + (what === "start" ? 2 : 12);
  return { what, id: `id-${name}`, token: 1, attempt: 1, wallMs, monoMs: 1, pid: 10, name, ...of };
}

function row(name: string, state: Row["state"], of: Partial<Row> = {}): Row {
  const attempts = state === "cancelled" || state === "expired" || state === "skipped" ? 0 : 1;
  return { id: `id-${name}`, key: name, state, attempts, token: attempts, dueMs: DUE_MS, ...of };
}

const kill: Fault = { what: "kill", who: "worker 1", wallMs: DUE_MS + 5, pids: [9, 10], standing: 1, mayRepeat: 1 };

/** Five callbacks: one that ran, one that was killed and ran again, one cancelled, one stopped between its runs, one whose fate the client does not know. */
const good: History = {
  calls: [
    scheduled("ran"),
    scheduled("again"),
    scheduled("taken-back"),
    scheduled("stopped"),
    cancelled("taken-back", "cancelled"),
    cancelled("stopped", "stopped", { invokedMs: DUE_MS + 20, answeredMs: DUE_MS + 22 }),
    { ...scheduled("perhaps"), outcome: "unknown" },
    { ...scheduled("refused"), outcome: "fail", code: "ERR_BACKPRESSURE" },
  ],
  runs: [
    run("start", "ran"),
    run("end", "ran"),
    run("start", "again"),
    run("start", "again", { token: 2, attempt: 2, wallMs: DUE_MS + 55, pid: 11 }),
    run("end", "again", { token: 2, attempt: 2, wallMs: DUE_MS + 65, pid: 11 }),
    run("start", "stopped"),
    run("start", "perhaps"),
    run("end", "perhaps"),
  ],
  faults: [kill],
  dump: [
    row("ran", "succeeded"),
    row("again", "succeeded", { attempts: 2, token: 2, dueMs: DUE_MS + 50 }),
    row("taken-back", "cancelled"),
    row("stopped", "stopped", { dueMs: DUE_MS + 15 }),
    row("perhaps", "succeeded"),
  ],
  counts: { succeeded: 3, cancelled: 1, stopped: 1 },
  clockOffsetMs: 0,
  settleMs: 100,
  recurring: [{ name: "tick", nominalMs: [], withinMs: 50 }],
  orphans: [],
};

function without<Each>(list: readonly Each[], is: (each: Each) => boolean): Each[] {
  const rest = list.filter((each) => !is(each));
  assert.equal(rest.length, list.length - 1, "the bad history must differ in one thing");
  return rest;
}

function instead<Each>(list: readonly Each[], is: (each: Each) => boolean, of: Partial<Each>): Each[] {
  assert.equal(list.filter(is).length, 1, "the bad history must differ in one thing");
  return list.map((each) => (is(each) ? { ...each, ...of } : each));
}

const isRow = (name: string) => (each: Row) => each.key === name;
const isCall = (op: string, name: string) => (each: { op: string; name: string }) =>
  each.op === op && each.name === name;

/** Name of each bad history, which verdict must object, and with what words. */
const bad: readonly (readonly [name: string, verdict: string, words: RegExp, history: Partial<History>])[] = [
  [
    "an acknowledged callback is not in the store",
    "V1",
    /again \(id-again\) was acknowledged, and the store has no row/,
    { dump: without(good.dump, isRow("again")) },
  ],
  [
    "an acknowledged callback never started, whatever the store says",
    "V1",
    /ran \(id-ran\) is succeeded, and its handler never started/,
    { runs: good.runs.filter(({ name }) => name !== "ran") },
  ],
  [
    "an acknowledged callback is still waiting at the end",
    "V1",
    /ran \(id-ran\) was acknowledged, and is scheduled/,
    { dump: instead(good.dump, isRow("ran"), { state: "scheduled", attempts: 0 }) },
  ],
  [
    "an acknowledged callback is given up as dead",
    "V1",
    /again \(id-again\) was acknowledged, and is dead/,
    { dump: instead(good.dump, isRow("again"), { state: "dead" }) },
  ],
  [
    "a callback is cancelled, and nobody asked for that",
    "V1",
    /taken-back \(id-taken-back\) is cancelled, and nobody cancelled it/,
    { calls: without(good.calls, isCall("cancel", "taken-back")) },
  ],
  [
    "a start is one millisecond early",
    "V2",
    /ran \(id-ran\) started 1 ms before it was due/,
    { runs: instead(good.runs, (each) => each.what === "start" && each.name === "ran", { wallMs: DUE_MS - 1 }) },
  ],
  [
    "a start is early by the store's clock, which is behind",
    "V2",
    /started 8 ms before it was due/,
    { clockOffsetMs: -10 },
  ],
  [
    "cancelled was answered, and it started before",
    "V3",
    /taken-back \(id-taken-back\) was answered with cancelled, and started 1 times/,
    { runs: [run("start", "taken-back", { wallMs: DUE_MS - 2 }), ...good.runs] },
  ],
  [
    "cancelled was answered, and it starts after",
    "V3",
    /was answered with cancelled, and started 1 times/,
    { runs: [...good.runs, run("start", "taken-back", { wallMs: DUE_MS + 60_000 })] },
  ],
  [
    "cancelled was answered by its key, its id being unknown, and it starts",
    "V3",
    /perhaps \(id-perhaps\) was answered with cancelled, and started 1 times/,
    { calls: [...good.calls, unnamed(cancelled("perhaps", "cancelled"))] },
  ],
  [
    "stopped was answered, and it starts again",
    "V3",
    /stopped \(id-stopped\) was answered with stopped, and started after that/,
    { runs: [...good.runs, run("start", "stopped", { token: 2, wallMs: DUE_MS + 23 })] },
  ],
  [
    "a refused callback is in the store",
    "V4",
    /refused was refused, and the store has it/,
    { dump: [...good.dump, row("refused", "cancelled")] },
  ],
  [
    "a refused callback starts",
    "V4",
    /refused was refused, and started/,
    { runs: [...good.runs, run("start", "refused")] },
  ],
  [
    "one token starts twice",
    "V5",
    /id-ran started twice under one token/,
    { runs: [...good.runs, run("start", "ran", { wallMs: DUE_MS + 3 })] },
  ],
  [
    "a start has no claim (no claim write)",
    "V5",
    /id-ran started 2 times, with 1 claims/,
    { runs: [...good.runs, run("start", "ran", { token: 2 })] },
  ],
  [
    "a start has a token that the store never gave",
    "V5",
    /id-ran started under a token that its row, at 1, never had/,
    { runs: instead(good.runs, (each) => each.what === "start" && each.name === "ran", { token: 7 }) },
  ],
  [
    "one that asks to run again runs once more than that",
    "V5",
    /2 starts were repeated, and the faults allow 1/,
    {
      calls: instead(good.calls, isCall("schedule", "again") as never, { again: true } as never),
      runs: [...good.runs, ...[3, 4].map((token) => run("start", "again", { token, wallMs: DUE_MS + 70 }))],
      dump: instead(good.dump, isRow("again"), { token: 4, attempts: 4 }),
    },
  ],
  ["more is repeated than the faults allow", "V5", /1 starts were repeated, and the faults allow 0/, { faults: [] }],
  [
    "an old run's end overwrote the newer one (settle checks the state only)",
    "V6",
    /again \(id-again\) is succeeded under token 2, and no handler came to its end under it/,
    { runs: instead(good.runs, (each) => each.what === "end" && each.name === "again", { token: 1 }) },
  ],
  [
    "cancelled was answered, and the store says stopped (cancel says cancelled after an expiry)",
    "V6",
    /cancel of stopped answered cancelled, and it is stopped/,
    { calls: instead(good.calls, isCall("cancel", "stopped") as never, { answer: "cancelled" } as never) },
  ],
  [
    "a callback that was cancelled ended otherwise after that",
    "V6",
    /cancel of taken-back answered cancelled, and it is succeeded/,
    { dump: instead(good.dump, isRow("taken-back"), { state: "succeeded", attempts: 1, token: 1 }) },
  ],
  [
    "two rows have one id",
    "V6",
    /1 rows of the store have the id of another/,
    { dump: [...good.dump, row("ran", "succeeded")] },
  ],
  [
    "running was answered for one that was never claimed",
    "V6",
    /answered running, and it was never claimed/,
    { calls: instead(good.calls, isCall("cancel", "taken-back") as never, { answer: "running" } as never) },
  ],
  [
    "a client was told the id of another callback",
    "V6",
    /ran was acknowledged as id-again, which is the callback of again/,
    { calls: instead(good.calls, isCall("schedule", "ran") as never, { id: "id-again" } as never) },
  ],
  [
    "a nominal time was missed",
    "V7",
    /tick did not start for/,
    { recurring: [{ name: "tick", nominalMs: [DUE_MS], withinMs: 50 }] },
  ],
  [
    "a nominal time was met twice",
    "V7",
    /tick started at .* for no nominal time/,
    { runs: [...good.runs, ...[1, 2].map((token) => run("start", "tick", { id: `id-tick-${token}` }))] },
  ],
  [
    "the schedule is not quiet in time after the last fault",
    "V8",
    /ran \(id-ran\) started 196 ms after it was due and the last fault was over/,
    { runs: instead(good.runs, (each) => each.what === "start" && each.name === "ran", { wallMs: DUE_MS + 201 }) },
  ],
  [
    "the store counts what it has not",
    "V9",
    /the store counts 3 succeeded, and has 2/,
    { dump: without(good.dump, isRow("perhaps")) },
  ],
  [
    "the store has a callback that nobody asked for",
    "V9",
    /the key ghost, which nobody asked for/,
    { dump: [...good.dump, row("ghost", "cancelled")], counts: { ...good.counts, cancelled: 2 } },
  ],
  [
    "something starts of which the store knows nothing",
    "V9",
    /perhaps \(id-lost\) started, and the store has no row of it/,
    { runs: [...good.runs, run("start", "perhaps", { id: "id-lost" })] },
  ],
  [
    "a worker ends by itself",
    "V11",
    /worker 1 ended by itself/,
    {
      faults: [
        { ...kill, what: "exit" },
        { ...kill, what: "server-kill", wallMs: kill.wallMs + 1 },
      ],
    },
  ],
  ["a process is left over", "V10", /pid 77/, { orphans: ["pid 77: node main.ts"] }],
];

describe("the checker", () => {
  test("passes a good history", () => {
    assert.deepEqual(
      judge(good).filter(({ broken }) => broken.length > 0),
      [],
    );
    assert.ok(allHold(judge(good)));
  });

  test("passes one in which a worker could not start while its store was away", () => {
    const away: Fault = { what: "server-kill", who: "redis", wallMs: kill.wallMs - 10_000, pids: [], mayRepeat: 0 };
    assert.ok(allHold(judge({ ...good, faults: [away, { ...kill, what: "exit" }] })));
  });

  test("passes one in which a callback asked to run again, and did", () => {
    const calls = instead(good.calls, isCall("schedule", "again") as never, { again: true } as never);
    assert.ok(allHold(judge({ ...good, calls, faults: [] })));
  });

  test("passes one in which a callback was cancelled by its key, its id being unknown", () => {
    const calls = instead(good.calls, isCall("cancel", "taken-back") as never, { id: undefined } as never);
    assert.ok(allHold(judge({ ...good, calls })));
  });

  test("passes one in which nothing happened, and one in which what is unknown did not happen", () => {
    const nothing = { ...good, calls: [], runs: [], faults: [], dump: [], counts: {} };
    const unhappened = {
      ...good,
      runs: good.runs.filter(({ name }) => name !== "perhaps"),
      dump: without(good.dump, isRow("perhaps")),
      counts: { ...good.counts, succeeded: 2 },
    };
    for (const history of [nothing, unhappened]) assert.ok(allHold(judge(history)), JSON.stringify(judge(history)));
  });

  for (const [name, verdict, words, difference] of bad) {
    test(`objects (${verdict}): ${name}`, () => {
      const broken = judge({ ...good, ...difference }).filter((each) => each.broken.length > 0);
      const told = broken.find((each) => each.name === verdict);
      assert.ok(told, `it objects by ${broken.map((each) => each.name).join(", ") || "nothing"}`);
      assert.match(told.broken.join("\n"), words);
    });
  }

  test("has a bad history for each of its verdicts", () => {
    const covered = new Set(bad.map(([, verdict]) => verdict));
    assert.deepEqual(
      judge(good).filter(({ name }) => !covered.has(name)),
      [],
    );
  });
});

describe("matching of starts to nominal times", () => {
  test("leaves nothing over when each has its own, in whatever order they overlap", () => {
    assert.deepEqual(unmatched([0, 10, 20], [15, 16, 29], 15), { missed: [], extra: [] });
  });

  test("names a nominal time that nobody came for, and a start that came for none", () => {
    assert.deepEqual(unmatched([0, 100, 200], [5, 205, 206], 50), { missed: [100], extra: [206] });
    assert.deepEqual(unmatched([100], [99], 50), { missed: [100], extra: [99] });
    assert.deepEqual(unmatched([], [], 1), { missed: [], extra: [] });
  });
});

describe("the ledger", () => {
  test("gives back what was put down, but for a line that a kill cut off", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "lovage-ledger-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const writer = new LedgerWriter(folder);
    for (const what of ["start", "end"] as const)
      writer.note(what, { id: "a-1", token: 3, attempt: 2, name: "Zähler 7" });
    writer.close();
    assert.deepEqual(
      readLedger(folder).map(({ what, id, token, attempt, pid, name }) => [what, id, token, attempt, pid, name]),
      ["start", "end"].map((what) => [what, "a-1", 3, 2, process.pid, "Zähler 7"]),
    );

    const [file = ""] = [`${process.pid}-${Math.round(performance.timeOrigin)}.runs`];
    truncateSync(join(folder, file), readFileSync(join(folder, file)).length - 4);
    assert.deepEqual(
      readLedger(folder).map(({ what }) => what),
      ["start"],
    );
    writeFileSync(join(folder, "other.runs"), "nonsense\n");
    assert.throws(() => readLedger(folder), /other\.runs has a line that is none of a run/);
  });
});

describe("the figures", () => {
  test("are counted from the history", () => {
    const figures = figuresOf(good);
    const { acknowledged, refused, unknown, started, repeated, bound, cancels, answers, raced, racedAnswers } = figures;
    assert.deepEqual([acknowledged, refused, unknown, started, repeated, bound], [4, 1, 1, 4, 1, 1]);
    assert.deepEqual(answers, { cancelled: 1, stopped: 1 });
    assert.deepEqual([cancels, raced, racedAnswers], [2, 1, { cancelled: 1 }]);
    assert.deepEqual(figures.recovery, { count: 1, p50: 50, p99: 50, max: 50 });
    assert.deepEqual(figures.undisturbed, figures.recovery);
    const further: Fault = { ...kill, wallMs: kill.wallMs + 20, pids: [8] };
    for (const faults of [[{ ...kill, standing: 0 }], [kill, further]]) {
      assert.equal(figuresOf({ ...good, faults }).undisturbed.count, 0);
    }
    assert.deepEqual(figures.lateness, { count: 4, p50: 2, p99: 2, max: 2 });
    assert.equal(figures.overlapped, 0);
  });
});

describe("the page of the figures", () => {
  const about = {
    what: "kill",
    note: "SQLite, strict",
    times: 1,
    pending: 5,
    workers: 2,
    concurrency: 2,
    leaseMs: 2_000,
    seconds: 1,
    idlePercent: 50,
    commit: "0123abc",
    machine: "2 virtual cores, Node v24.0.0",
  };

  test("adds up what was found, and hides nothing that is broken", () => {
    const bad = { ...good, dump: without(good.dump, isRow("again")) };
    const entries = [
      entryOf({ ...about, store: "sqlite", seed: 7 }, figuresOf(good), judge(good)),
      entryOf({ ...about, store: "redis", seed: 8 }, figuresOf(bad), judge(bad)),
    ];
    const page = pageOf(entries);

    assert.match(page, /2 faults, 8 callbacks acknowledged, 8 started,\n2 cancels issued/);
    assert.match(page, /Acknowledged and lost: 1\./);
    assert.match(
      page,
      /\| kill \| sqlite \| 1 \| 4 \| 1 \| 0 \| 0 \| 1 \| 0 \| 1 \/ 1 \| 50 \/ 50 \/ 50 \(1\) \| 50 \/ 50 \/ 50 \(1\) \| 2 \/ 2 \| 7 \|/,
    );
    assert.equal(pageOf(entries.toReversed()), page, "the order in which they were made makes no difference");
  });
});
