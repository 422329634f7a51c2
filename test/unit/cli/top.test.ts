import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type TopData, topJson, topLines } from "../../../src/cli/top.ts";
import { widthOf } from "../../../src/cli/width.ts";
import { CALLBACK_STATES, type Callback, type CallbackState } from "../../../src/schedule/callback.ts";
import type { Recurrence } from "../../../src/schedule/recurrence.ts";
import { message } from "../../../src/testing/schedule-fixtures.ts";

const NOW_MS = Date.UTC(2027, 2, 1, 9);

function callback(of: Partial<Callback>): Callback {
  return {
    id: "1-abc",
    taskId: "1-abc",
    state: "scheduled",
    dueMs: NOW_MS,
    misfire: "fire",
    graceMs: 0,
    onLost: "rerun",
    queue: "celery",
    tags: [],
    message: message(),
    attempts: 0,
    token: 0,
    createdMs: NOW_MS - 60_000,
    ...of,
  };
}

function recurrence(of: Partial<Recurrence>): Recurrence {
  return {
    id: "r-1-abc",
    state: "active",
    definition: {
      rule: { kind: "cron", cron: "0 9 * * 1-5", timezone: "Europe/Berlin" },
      misfire: { kind: "coalesce" },
      overlap: "allow",
      jitterMs: 0,
      call: { queue: "celery", tags: [], message: message(), onLost: "rerun" },
    },
    generation: 1,
    started: false,
    createdMs: NOW_MS,
    ...of,
  };
}

function data(of: Partial<TopData> = {}, counts: Partial<Record<CallbackState, number>> = {}): TopData {
  const none = Object.fromEntries(CALLBACK_STATES.map((state) => [state, 0])) as Record<CallbackState, number>;
  return {
    url: "sqlite:shop.db",
    nowMs: NOW_MS,
    next: [],
    running: [],
    recurrences: [],
    ...of,
    counts: { ...none, ...counts },
  };
}

const BUSY = data(
  {
    next: [
      callback({ id: "1-a", key: "order:42", dueMs: NOW_MS - 1_500 }),
      callback({
        id: "2-b",
        state: "waiting",
        dueMs: NOW_MS + 90_000,
        message: message({ body: '[["注文番号"], {}, {}]' }),
      }),
    ],
    running: [callback({ id: "3-c", state: "running", attempts: 2, dueMs: NOW_MS - 5_000, claimedMs: NOW_MS - 4_750 })],
    recurrences: [
      recurrence({ key: "daily", nextMs: NOW_MS + 3_600_000 }),
      recurrence({ id: "r-2-def", state: "paused" }),
    ],
  },
  { scheduled: 1_234, waiting: 1, running: 1, failed: 2 },
);

describe("a frame of the live view", () => {
  test("tells how many there are, what is next, what runs and how late it began, and what recurs", () => {
    assert.deepEqual(topLines(BUSY, NOW_MS, { columns: 100, hint: "q quits" }), [
      "schedule sqlite:shop.db  2027-03-01T09:00:00Z  q quits",
      "scheduled 1,234  waiting 1  running 1  failed 2",
      "",
      "next (2 of 1,235)",
      "due          at                        state      id   key       queue   call",
      "1.5 s ago    2027-03-01T08:59:58.500Z  scheduled  1-a  order:42  celery  demo.scream('foo')",
      "in 1 m 30 s  2027-03-01T09:01:30.000Z  waiting    2-b            celery  demo.scream('注文番号')",
      "",
      "running (1)",
      "for    late    attempt  id   key  call",
      "4.8 s  250 ms  2        3-c       demo.scream('foo')",
      "",
      "recurrences (2)",
      "next    id       key    rule                              task",
      "in 1 h  r-1-abc  daily  cron 0 9 * * 1-5 (Europe/Berlin)  demo.scream",
      "paused  r-2-def         cron 0 9 * * 1-5 (Europe/Berlin)  demo.scream",
    ]);
  });

  test("says so when there is nothing", () => {
    assert.deepEqual(topLines(data(), NOW_MS, { columns: 80 }).slice(1), [
      "scheduled 0  waiting 0  running 0",
      "",
      "next: none",
      "",
      "running: none",
      "",
      "recurrences: none",
    ]);
  });

  test("counts down between two reads, and keeps what it has when the store cannot be read", () => {
    const lines = topLines(BUSY, NOW_MS + 3_000, { columns: 80, trouble: "the disk is gone" });

    assert.equal(lines[2], "cannot be read: the disk is gone");
    assert.match(lines[6] ?? "", /^4\.5 s ago/);
  });

  test("fits any terminal: not a line more, not a column more, and what is next goes first", () => {
    const many = Array.from({ length: 200 }, (_, i) => callback({ id: `${i}-注文`, key: "注文".repeat(20) }));
    const full = data({ next: many, running: many, recurrences: Array.from({ length: 100 }, () => recurrence({})) });

    for (const rows of [1, 2, 3, 5, 8, 13, 24, 50, 120]) {
      for (const columns of [1, 20, 80, 200]) {
        const lines = topLines(full, NOW_MS, { columns, rows, hint: "q quits" });
        assert.ok(lines.length <= rows, `${lines.length} lines in ${rows}`);
        assert.deepEqual(
          lines.filter((line) => widthOf(line) > columns),
          [],
        );
      }
    }
    const lines = topLines(full, NOW_MS, { columns: 80, rows: 24 });
    assert.equal(lines.filter((line) => /^now /.test(line)).length, 9);
    assert.ok(lines.some((line) => /^running \(2/.test(line)));
  });

  test("is data for programs: ISO 8601 times, seconds, all of each record", () => {
    const json = JSON.parse(JSON.stringify(topJson(BUSY))) as Record<string, Record<string, unknown>[]>;

    assert.equal(json.schedule as unknown, "sqlite:shop.db");
    assert.deepEqual(
      json.next?.map(({ id, due }) => [id, due]),
      [
        ["1-a", "2027-03-01T08:59:58.500Z"],
        ["2-b", "2027-03-01T09:01:30.000Z"],
      ],
    );
    assert.equal(json.running?.[0]?.late, 0.25);
    assert.deepEqual(
      json.recurrences?.map(({ state, next }) => [state, next]),
      [
        ["active", "2027-03-01T10:00:00.000Z"],
        ["paused", null],
      ],
    );
  });
});
