/** Every life of a recurrence with two workers, as far as a few faults lead; and the same done wrong, which must be found out. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type OccurrenceOptions, occurrenceModel } from "./occurrence-model.ts";
import { explore } from "./search.ts";

const HONEST: OccurrenceOptions = { workers: 2, last: 3, faults: { crashes: 1, lapses: 1 } };

describe("the life of what recurs", () => {
  test("is one row for each nominal time, never two that run, and an end for each", (t) => {
    const found = explore(occurrenceModel(HONEST));

    t.diagnostic(`${found.states} states, ${found.steps} steps`);
    assert.deepEqual(found.finding, undefined);
    const seen = new Set(found.seen.flatMap(({ rows }) => rows.map(({ state }) => state)));
    for (const state of ["succeeded", "skipped", "waiting"] as const)
      assert.ok(seen.has(state), `none was ever ${state}`);
    assert.ok(
      found.seen.some(({ next, rows }) => next === null && rows.length < HONEST.last),
      "no nominal time was ever left to a newer one",
    );
  });

  for (const [wrong, what] of [
    ["blind advance", /has two rows/],
    ["advance in two steps", /has two rows/],
    ["overlap unseen", /run at once/],
    ["overlap seen of running ones only", /run at once/],
    ["settle checks the state only", /an old token ended a newer run/],
  ] as const) {
    test(`is found out when it is wrong: ${wrong}`, (t) => {
      const { finding } = explore(occurrenceModel({ ...HONEST, wrong }));
      assert.ok(finding, "nothing wrong was found in it");
      t.diagnostic(`${finding.what}: ${finding.trace.join(" > ")}`);
      assert.match(finding.what, what);
    });
  }
});
