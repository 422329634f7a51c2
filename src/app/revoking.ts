/**
 * Taking tasks back for good: by id, or by a stamp that they carry. What is written in the schedule counts, for every worker on it, also for one
 * that is not up yet; that workers of Python are told too is `control.ts`'s.
 */
import type { Clock } from "../kit/clock.ts";
import { encodeJson } from "../protocol/json.ts";
import { taskResult } from "../protocol/task-result.ts";
import { addressOf, type ResultBackend } from "../results/backend.ts";
import type { CancelAnswer, NewCallback, ParkedMessage, PutAnswer } from "../schedule/callback.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import { endingOf, stampEnding, stampsOf, stampTombstone } from "./tombstones.ts";

export interface RevokingOptions {
  readonly store: () => Promise<ScheduleStore>;
  /** Undefined: nobody is told of results. */
  readonly results: (() => Promise<ResultBackend>) | undefined;
  readonly resultExpiresMs: number;
  readonly clock: Clock;
}

/** This process has revoked: known here at once. `ending`: what runs is to be ended. */
export type RevokedListener = (tombstone: string, ending: string | undefined) => void;

const WAITING = ["scheduled", "waiting"] as const;
/** As many as a store lists at once. */
const PAGE = 1_000;

export class Revoking {
  readonly #options: RevokingOptions;
  #onRevoked: RevokedListener = () => undefined;

  constructor(options: RevokingOptions) {
    this.#options = options;
  }

  listen(listener: RevokedListener): void {
    this.#onRevoked = listener;
  }

  async revoke(taskId: string, untilMs: number, abort: boolean): Promise<CancelAnswer> {
    const store = await this.#options.store();
    // The id last: who learns of it learns of the other as well.
    const ending = abort ? endingOf(taskId) : undefined;
    if (ending !== undefined) await store.revoke(ending, untilMs);
    const answer = await store.revoke(taskId, untilMs, { abort });
    this.#onRevoked(taskId, ending);
    if (answer.answer === "cancelled") await this.#tell(taskId, (await store.get({ id: answer.id }))?.message);
    return answer;
  }

  /**
   * What is on its way is discarded until `untilMs`; what waits in the schedule is cancelled now, however far ahead it is due: it must not
   * outlast the tombstone. The schedule is walked for that, in time proportional to what waits.
   */
  async revokeStamp(header: string, value: string, untilMs: number, abort: boolean): Promise<CancelAnswer[]> {
    const store = await this.#options.store();
    const ending = abort ? stampEnding(header, value) : undefined;
    if (ending !== undefined) await store.revoke(ending, untilMs);
    const tombstone = stampTombstone(header, value);
    await store.revoke(tombstone, untilMs);
    this.#onRevoked(tombstone, ending);
    return this.#cancelStamped(store, ([name, each]) => name === header && each === value);
  }

  /** Take back what was put while a stamp of its was being revoked: the walk may have been past its place. Answers what now stands. */
  async refuseStamped(callbacks: readonly NewCallback[], answers: PutAnswer[]): Promise<PutAnswer[]> {
    if (!callbacks.some(({ message }) => message.headers?.stamps !== undefined)) return answers;
    return Promise.all(
      answers.map(async (answer, i) => {
        const message = callbacks[i]?.message;
        if (message === undefined || (answer.put !== "added" && answer.put !== "replaced")) return answer;
        const tombstones = stampsOf(message.headers).map(([header, value]) => stampTombstone(header, value));
        if (tombstones.length === 0) return answer;
        const store = await this.#options.store();
        if ((await store.revoked(tombstones)).size === 0) return answer;
        const { answer: word } = await store.cancel({ id: answer.id });
        return word === "cancelled" || word === "stopped" ? { put: "revoked" } : answer;
      }),
    );
  }

  async #cancelStamped(store: ScheduleStore, isMeant: (stamp: [string, string]) => boolean): Promise<CancelAnswer[]> {
    const answers: CancelAnswer[] = [];
    let cursor: string | undefined;
    do {
      const page = await store.list({ states: WAITING, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
      const meant = page.callbacks.filter(({ message }) => stampsOf(message.headers).some(isMeant));
      const cancelled = await Promise.all(meant.map(({ id }) => store.cancel({ id })));
      answers.push(...cancelled);
      for (const [i, { taskId, message }] of meant.entries()) {
        if (cancelled[i]?.answer === "cancelled") await this.#tell(taskId, message);
      }
      cursor = page.next;
    } while (cursor !== undefined);
    return answers;
  }

  /** It will never run, and nobody else will say so to who waits for it. */
  async #tell(taskId: string, parked: ParkedMessage | undefined): Promise<void> {
    const { results, resultExpiresMs, clock } = this.#options;
    if (results === undefined) return;
    const exception = { exc_type: "TaskRevokedError", exc_message: ["revoked"], exc_module: "celery.exceptions" };
    const message = { task: "", body: "", retries: 0, ...parked, id: taskId };
    const state = { status: "REVOKED", result: encodeJson(exception), nowMs: clock.wallMs() } as const;
    await (await results()).store(taskResult(message, state), resultExpiresMs, addressOf(message));
  }
}
