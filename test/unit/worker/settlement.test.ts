/** Celery's table of ends (PROTOCOL 6.3) under the settings of 6.4, row by row. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readConfig, type SettingsInput } from "../../../src/app/config.ts";
import type { TaskOptions } from "../../../src/app/task-options.ts";
import { type Ending, POOL_STOPPED } from "../../../src/pool/pool.ts";
import { COLD_STOP, CONNECTION_LOST } from "../../../src/worker/own-ends.ts";
import { ackPolicyOf, type Settlement, settlementOf } from "../../../src/worker/settlement.ts";

const error = { exception: { exc_type: "E", exc_message: [], exc_module: null }, text: "E()", traceback: null };
const ENDS = {
  succeeded: { kind: "succeeded", result: "1" },
  failed: { kind: "failed", error, expected: false },
  retry: { kind: "retry", etaMs: 0, body: "[]", retries: 1, error },
  ignored: { kind: "ignored" },
  rejected: { kind: "rejected", requeue: false, reason: "no" },
  "rejected, requeue": { kind: "rejected", requeue: true, reason: "no" },
  crashed: { kind: "crashed", reason: "signal 9", started: true },
  "timed-out": { kind: "timed-out", limitMs: 1_000 },
  "aborted on request": { kind: "aborted", reason: "terminated" },
  "cold stop": { kind: "aborted", reason: COLD_STOP },
  "pool stopped": { kind: "aborted", reason: POOL_STOPPED },
  "connection lost": { kind: "aborted", reason: CONNECTION_LOST },
} as const satisfies Record<string, Ending>;

/** What is so under Celery's defaults; the rows below say what a setting changes. */
const DEFAULTS: Readonly<Record<keyof typeof ENDS, Settlement>> = {
  succeeded: "ack",
  failed: "ack",
  retry: "ack",
  ignored: "ack",
  rejected: "reject",
  "rejected, requeue": "requeue",
  crashed: "ack",
  "timed-out": "ack",
  "aborted on request": "ack",
  "cold stop": "requeue",
  "pool stopped": "requeue",
  "connection lost": "requeue",
};

const ROWS: readonly [what: string, SettingsInput, TaskOptions, Partial<Record<keyof typeof ENDS, Settlement>>][] = [
  ["by default", {}, {}, {}],
  ["acksOnFailure false", {}, { acksOnFailure: false }, { failed: "reject", crashed: "reject" }],
  ["acksOnTimeout false", {}, { acksOnTimeout: false }, { "timed-out": "requeue" }],
  [
    "acksOnFailureOrTimeout false",
    {},
    { acksOnFailureOrTimeout: false },
    { failed: "reject", crashed: "reject", "timed-out": "requeue" },
  ],
  ["the app's task_acks_on_failure", { task_acks_on_failure: false }, {}, { failed: "reject", crashed: "reject" }],
  ["the app's task_acks_on_timeout", { task_acks_on_timeout: false }, {}, { "timed-out": "requeue" }],
  [
    "the app's combined one, of which the task takes one back",
    { taskAcksOnFailureOrTimeout: false },
    { acksOnFailure: true },
    { "timed-out": "requeue" },
  ],
  [
    "the app's narrower one stands over the task's combined one, as in Celery",
    { taskAcksOnFailure: true },
    { acksOnFailureOrTimeout: false },
    { "timed-out": "requeue" },
  ],
  ["rejectOnWorkerLost", {}, { rejectOnWorkerLost: true }, { crashed: "requeue" }],
  ["the app's rejectOnWorkerLost", { taskRejectOnWorkerLost: true }, {}, { crashed: "requeue" }],
  [
    "rejectOnWorkerLost stands over acksOnFailure",
    { taskRejectOnWorkerLost: true },
    { acksOnFailure: false },
    { crashed: "requeue", failed: "reject" },
  ],
];

describe("a late-acknowledged message is settled by how its run ended", () => {
  for (const [what, settings, options, changed] of ROWS) {
    test(what, () => {
      const policy = ackPolicyOf(options, readConfig(settings, {}));
      for (const [name, ending] of Object.entries(ENDS) as [keyof typeof ENDS, Ending][]) {
        assert.equal(settlementOf(ending, policy), changed[name] ?? DEFAULTS[name], name);
      }
    });
  }

  test("acksLate is the task's, else the app's", () => {
    const late = readConfig({ task_acks_late: true }, {});
    assert.equal(ackPolicyOf({}, readConfig({}, {})).acksLate, false);
    assert.equal(ackPolicyOf({}, late).acksLate, true);
    assert.equal(ackPolicyOf({ acksLate: false }, late).acksLate, false);
  });
});
