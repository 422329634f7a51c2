/**
 * One page of cancelling many. Each callback is cancelled by the store's own `cancel`, so each answer is as truthful as that of one that
 * was cancelled by itself. Whoever wants all of them asks page by page, each time with the `next` of the page before.
 *
 * It comes to an end while others go on adding: the walk only goes forward in due order, and one that was added after it began is
 * passed over, which costs a look and no change. A page is short, so that nothing else waits long for the store.
 */
import type { Callback, CancelAnswer } from "./callback.ts";
import { answerOfCancel } from "./rules.ts";
import type { ListQuery, ScheduleStore } from "./store.ts";

/** As many as are cancelled at once. */
export const CANCEL_PAGE = 200;
/** As many as are looked at at once when nothing is changed. */
export const DRY_PAGE = 1_000;

export interface CancelPageRequest {
  readonly query: Omit<ListQuery, "limit">;
  /** What was added later, by the store's clock, is passed over. Absent: now; the answer says when that was. */
  readonly addedUntilMs?: number;
  /** Ask those that run to end. */
  readonly abort: boolean;
  /** Only say what would be answered. */
  readonly dryRun: boolean;
}

/** How many were answered so. */
export type CancelCounts = Readonly<Record<CancelAnswer["answer"], number>>;

export interface CancelPageAnswer {
  readonly counts: CancelCounts;
  /** How many were added after it began. */
  readonly passed: number;
  readonly addedUntilMs: number;
  /** Absent on the last page. */
  readonly next?: string;
}

export const NONE_CANCELLED: CancelCounts = { cancelled: 0, stopped: 0, running: 0, finished: 0, unknown: 0 };

/**
 * @param onAnswer told what became of each, unless it is a dry run
 * @throws what the first cancel that failed threw, once all of the page have ended. To begin again does no harm.
 */
export async function cancelPage(
  store: Pick<ScheduleStore, "list" | "cancel" | "nowMs">,
  { query, abort, dryRun, addedUntilMs }: CancelPageRequest,
  onAnswer: (answer: CancelAnswer) => void = () => undefined,
): Promise<CancelPageAnswer> {
  const untilMs = addedUntilMs ?? (await store.nowMs());
  const page = await store.list({ ...query, limit: dryRun ? DRY_PAGE : CANCEL_PAGE });
  const meant = page.callbacks.filter(({ createdMs }) => createdMs <= untilMs);
  const answers = dryRun ? meant.map(wouldBe) : await cancelAll(store, meant, abort, onAnswer);
  const counts = { ...NONE_CANCELLED };
  for (const { answer } of answers) counts[answer] += 1;
  return {
    counts,
    passed: page.callbacks.length - meant.length,
    addedUntilMs: untilMs,
    ...(page.next === undefined ? {} : { next: page.next }),
  };
}

function wouldBe({ id, state }: Callback): CancelAnswer {
  return answerOfCancel(id, state);
}

async function cancelAll(
  store: Pick<ScheduleStore, "cancel">,
  callbacks: readonly Callback[],
  abort: boolean,
  onAnswer: (answer: CancelAnswer) => void,
): Promise<CancelAnswer[]> {
  const settled = await Promise.allSettled(callbacks.map(({ id }) => store.cancel({ id }, { abort })));
  const answers: CancelAnswer[] = [];
  for (const each of settled) {
    if (each.status === "rejected") continue;
    answers.push(each.value);
    onAnswer(each.value);
  }
  const failed = settled.find((each) => each.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return answers;
}
