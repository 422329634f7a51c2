/**
 * Taking tasks back for good: by id, or by a stamp that they carry. What is written in the schedule counts, for every worker on it, also for one
 * that is not up yet; that workers of Python are told too is `control.ts`'s.
 */
import type { Clock } from "../kit/clock.ts";
import { encodeJson } from "../protocol/json.ts";
import { taskResult } from "../protocol/task-result.ts";
import type { ResultBackend } from "../results/backend.ts";
import type { CancelAnswer } from "../schedule/callback.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import { endingOf, stampEnding, stampTombstone } from "./tombstones.ts";

export interface RevokingOptions {
  readonly store: () => Promise<ScheduleStore>;
  /** Undefined: results are not kept, or are sent to who asked for the task. */
  readonly results: (() => Promise<ResultBackend>) | undefined;
  readonly resultExpiresMs: number;
  readonly clock: Clock;
}

/** This process has revoked: known here at once. `ending`: what runs is to be ended. */
export type RevokedListener = (tombstone: string, ending: string | undefined) => void;

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
    if (answer.answer === "cancelled") await this.#store(taskId);
    return answer;
  }

  async revokeStamp(header: string, value: string, untilMs: number, abort: boolean): Promise<void> {
    const store = await this.#options.store();
    const ending = abort ? stampEnding(header, value) : undefined;
    if (ending !== undefined) await store.revoke(ending, untilMs);
    const tombstone = stampTombstone(header, value);
    await store.revoke(tombstone, untilMs);
    this.#onRevoked(tombstone, ending);
  }

  /** It will never run, and nobody else will say so to who waits for it. */
  async #store(taskId: string): Promise<void> {
    const { results, resultExpiresMs, clock } = this.#options;
    if (results === undefined) return;
    const exception = { exc_type: "TaskRevokedError", exc_message: ["revoked"], exc_module: "celery.exceptions" };
    const message = { id: taskId, task: "", body: "", retries: 0 };
    const state = { status: "REVOKED", result: encodeJson(exception), nowMs: clock.wallMs() } as const;
    await (await results()).store(taskResult(message, state), resultExpiresMs);
  }
}
