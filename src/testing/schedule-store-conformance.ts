/**
 * What every schedule store must do, as tests. A backend's own test file calls this, and adds what only it can do.
 *
 * Time is the test's: nothing here sleeps. After each operation of a test, whatever it was, the invariants are checked
 * (`schedule-invariants.ts`).
 */
import { afterEach, describe } from "node:test";
import { testCancelling } from "./schedule-conformance-cancel.ts";
import { testClaiming } from "./schedule-conformance-claim.ts";
import { testListing } from "./schedule-conformance-list.ts";
import { testLosing } from "./schedule-conformance-lose.ts";
import { testOverlapping } from "./schedule-conformance-overlap.ts";
import { testPutting } from "./schedule-conformance-put.ts";
import { testQueues } from "./schedule-conformance-queues.ts";
import { testRecurring } from "./schedule-conformance-recur.ts";
import { testEndingRecurrences } from "./schedule-conformance-recur-ends.ts";
import type { Opened, OpenSchedule, ScheduleUnderTest } from "./schedule-fixtures.ts";
import { ScheduleInvariants, watched } from "./schedule-invariants.ts";

export type { OpenSchedule, ScheduleUnderTest } from "./schedule-fixtures.ts";

/** A test that hangs is ended; no test depends on it. */
const HANG = { timeout: 110_000 };

/** @param open a store with nothing in it, and its clock; called for each test anew */
export function scheduleStoreConformance(name: string, open: OpenSchedule): void {
  describe(`${name} is a schedule store`, HANG, () => {
    const toClose: ScheduleUnderTest[] = [];
    afterEach(async () => {
      await Promise.all(toClose.splice(0).map((under) => under.close()));
    });
    const opened: Opened = async (options) => {
      const under = await open(options);
      toClose.push(under);
      // One memory for all who look: what one promised, the other must keep.
      const invariants = new ScheduleInvariants();
      return {
        clock: under.clock,
        unwatched: under.store,
        store: watched(under.store, invariants),
        other: async () => watched(await under.other(), invariants),
        close: () => under.close(),
      };
    };
    describe("put", () => testPutting(opened));
    describe("cancel, reschedule, revoke", () => testCancelling(opened));
    describe("claim, settle", () => testClaiming(opened));
    describe("lose, sweep", () => testLosing(opened));
    describe("list", () => testListing(opened));
    describe("queues of owners", () => testQueues(opened));
    describe("recurrences", () => testRecurring(opened));
    describe("ends of recurrences", () => testEndingRecurrences(opened));
    describe("overlap", () => testOverlapping(opened));
  });
}
