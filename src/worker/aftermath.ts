/**
 * What follows a run, in its order (PROTOCOL 6.1, 6.2): links and the next step of a chain are sent, the result is stored, then errbacks are
 * sent. The same for messages and callbacks; what the broker or the schedule is told comes after it, from who asked.
 */
import type { RegisteredTask } from "../app/task-options.ts";
import type { Outcome, TaskFailure } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";
import { failureOfEnding } from "./failures.ts";
import type { Followers } from "./followers.ts";
import type { Success } from "./past.ts";
import type { Recorder } from "./record.ts";

export class Aftermath {
  readonly #recorder: Recorder;
  readonly #followers: Followers;

  constructor(recorder: Recorder, followers: Followers) {
    this.#recorder = recorder;
    this.#followers = followers;
  }

  /** Whether anything may have to be sent before or after its result is stored. */
  sends(message: TaskMessage): boolean {
    return this.#followers.has(message);
  }

  /**
   * Resolves with the outcome as it is now known: a success whose links could not be sent is a failure, as in Celery. What is stored without
   * anything to send before it is asked for in this turn: a file that keeps results and schedule takes both in one commit.
   */
  ended(message: TaskMessage, task: RegisteredTask | undefined, outcome: Outcome, runtimeMs: number): Promise<Outcome> {
    if (!this.#followers.has(message)) {
      return this.#recorder.ended(message, task, outcome, runtimeMs).then(() => outcome);
    }
    return this.#endedWithFollowers(message, task, outcome, runtimeMs);
  }

  /** It failed without a run that could say so. */
  async failed(message: TaskMessage, task: RegisteredTask | undefined, failure: TaskFailure): Promise<void> {
    await this.#recorder.failed(message, task, failure);
    if (this.#followers.has(message)) await this.#followers.onFailure(message, failure);
  }

  /** It had succeeded before its message was delivered again: what should have followed then, and did not, is sent now. */
  async resumed(message: TaskMessage, before: Success): Promise<void> {
    if (before === null || (before.children?.length ?? 0) > 0 || !this.#followers.has(message)) return;
    await this.#followers.onSuccess(message, { kind: "succeeded", result: before.result });
  }

  async #endedWithFollowers(
    message: TaskMessage,
    task: RegisteredTask | undefined,
    outcome: Outcome,
    runtimeMs: number,
  ): Promise<Outcome> {
    const known = outcome.kind === "succeeded" ? await this.#followers.onSuccess(message, outcome) : outcome;
    await this.#recorder.ended(message, task, known, runtimeMs);
    const failure = failureOfEnding(known);
    if (failure !== undefined) await this.#followers.onFailure(message, failure);
    return known;
  }
}
