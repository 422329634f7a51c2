/** Cancels many, page by page; each page is one ask, which the store's own cancel answers for each callback. */
import { InvalidInputError } from "../kit/errors.ts";
import type { Ask } from "../pool/asks.ts";
import { type CancelCounts, NONE_CANCELLED } from "../schedule/cancel-page.ts";
import { checkNames, checkRunning } from "./option-names.ts";
import { OvertakenError } from "./schedule-errors.ts";
import { type CallbackFilter, narrows, refuseUndefined, whereOf } from "./schedule-find.ts";

export interface CancelAllOptions {
  /** Change nothing; answer what would be answered now. Default false. */
  readonly dryRun?: boolean;
  /** "abort": those that run are asked to end; their answer is still "running". */
  readonly running?: "abort";
  /** Meant for all that has not ended: a filter that leaves nothing out is refused without it. */
  readonly everything?: boolean;
  /** Called after each page with the counts so far. */
  readonly onProgress?: (counts: CancelCounts) => void;
}

const OPTION_NAMES = [
  "dryRun",
  "running",
  "everything",
  "onProgress",
] as const satisfies readonly (keyof CancelAllOptions)[];

/** So many rows that were added after it began are passed over; then somebody adds them faster than they can be read. */
const MAX_PASSED = 1_000_000;

/** @param maxPassed for tests */
export async function cancelAll(
  ask: Ask,
  filter: CallbackFilter,
  options: CancelAllOptions,
  maxPassed = MAX_PASSED,
): Promise<CancelCounts> {
  checkNames(options, OPTION_NAMES, "cancelAll");
  const { dryRun = false, running, everything = false, onProgress } = options;
  checkRunning(running, "cancelAll");
  refuseUndefined(filter, "cancelAll");
  refuseTheUnclear(filter, everything);
  const query = await whereOf(filter, ask, "cancelAll");
  const request = { abort: running === "abort", dryRun };
  let counts = NONE_CANCELLED;
  let page = await ask("schedule.cancelPage", { query, ...request });
  for (let passed = 0; ; ) {
    counts = sumOf(counts, page.counts);
    passed += page.passed;
    onProgress?.(counts);
    const { next: cursor, addedUntilMs } = page;
    if (cursor === undefined) return counts;
    if (passed > maxPassed) {
      throw new OvertakenError(
        `cancelAll met ${passed} callbacks that were added after it began, and is not at the end: give dueBefore, or call it again`,
      );
    }
    page = await ask("schedule.cancelPage", { query: { ...query, cursor }, addedUntilMs, ...request });
  }
}

function refuseTheUnclear(filter: CallbackFilter, everything: boolean): void {
  const narrow = narrows(filter);
  if (everything && narrow) {
    throw new InvalidInputError("cancelAll was given a filter and everything: true; give the one that is meant");
  }
  if (everything || narrow) return;
  throw new InvalidInputError(
    "cancelAll was given a filter that leaves nothing out; give one, such as { tags } or { task }, or say { everything: true }",
  );
}

function sumOf(a: CancelCounts, b: CancelCounts): CancelCounts {
  return {
    cancelled: a.cancelled + b.cancelled,
    stopped: a.stopped + b.stopped,
    running: a.running + b.running,
    finished: a.finished + b.finished,
    unknown: a.unknown + b.unknown,
  };
}
