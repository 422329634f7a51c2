/**
 * Runs a claimed callback: in this worker's pool when it knows the task and serves its queue, else as an ordinary message
 * to the task's queue, where another worker (Python's, say) takes it.
 */

import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Ask } from "../pool/asks.ts";
import { type Outcome, POOL_STOPPED, type Pool, type Run } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Callback, Claim, ParkedMessage, RunEnd } from "../schedule/callback.ts";
import type { Ended } from "../schedule/store.ts";
import { type Recorder, shown } from "./record.ts";
import type { Strategies } from "./strategy.ts";

export interface FireOptions {
  readonly pool: Pool;
  readonly recorder: Recorder;
  readonly strategies: Strategies;
  readonly ask: Ask;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostname: string;
  readonly queues: ReadonlySet<string>;
  /**
   * Results are kept in the schedule's own file. Then a result and the end of its run go as one: the file takes them in the
   * order they were asked, in one commit or in two, so that no end is on disk without its result. Else the result goes first.
   */
  readonly oneFile: boolean;
}

/** A message that could not be forwarded is tried again after this, and so on until the broker is back. */
const FORWARD_RETRY_MS = 5_000;

export class Firing {
  readonly #options: FireOptions;
  /** Runs in progress, by callback and token. */
  readonly #runs = new Map<string, Run>();

  constructor(options: FireOptions) {
    this.#options = options;
  }

  get active(): number {
    return this.#runs.size;
  }

  /**
   * Run the claim. Resolves with how it ended, or "release" when it never began.
   * @param lateMs how long after its due time, by the store's clock
   * @param begun called once the slot that was set aside is the pool's, or is not needed
   */
  async fire(claim: Claim, lateMs: number, begun: () => void): Promise<RunEnd | "release"> {
    const { strategies, queues, log, clock } = this.#options;
    const { callback } = claim;
    const message = messageOfCallback(callback);
    const strategy = strategies.get(callback.message.task);
    this.#options.recorder.cameFrom(message, callback.queue);
    if (strategy === undefined || !queues.has(callback.queue)) {
      begun();
      return this.#forward(callback, message);
    }
    log.info(`Callback ${shown(message)} is due, started ${lateMs} ms after ${new Date(callback.dueMs).toISOString()}`);
    const startedMs = clock.monoMs();
    let run: Run;
    try {
      run = this.#options.pool.submit({
        message: strategy.withLimits(message),
        hostname: this.#options.hostname,
        ...this.#options.recorder.jobOptions(message, strategy.task),
        fence: { id: callback.id, attempt: claim.attempt, token: claim.token },
      });
    } catch (error) {
      log.error(`Callback ${shown(message)} could not be started; it is given back`, { error });
      return "release";
    } finally {
      begun();
    }
    const name = runName(callback.id, claim.token);
    this.#runs.set(name, run);
    try {
      const outcome = await run.outcome;
      return await this.#conclude(claim, message, outcome, clock.monoMs() - startedMs);
    } finally {
      this.#runs.delete(name);
    }
  }

  /** Ask the run of this claim to end. */
  abort(id: string, token: number, reason: string, graceMs: number): void {
    this.#runs.get(runName(id, token))?.abort(reason, graceMs);
  }

  abortAll(reason: string, graceMs: number): void {
    for (const run of this.#runs.values()) run.abort(reason, graceMs);
  }

  /** What ended without a run of ours: tell who waits for its result. */
  async ended({ callback, state }: Ended): Promise<void> {
    const { recorder, strategies, log } = this.#options;
    const message = messageOfCallback(callback);
    const task = strategies.get(message.task)?.task;
    if (state === "waiting") log.warn(`Callback ${shown(message)} was lost by its worker and will run again`);
    else if (state === "expired") await recorder.revoked(message, task, "expired");
    else if (state === "skipped") log.warn(`Callback ${shown(message)} was skipped: ${callback.reason ?? "too late"}`);
    else {
      log.error(`Callback ${shown(message)} ended as ${state}: ${callback.reason ?? "its process was lost"}`);
      await recorder.lost(message, task, callback.reason ?? "its process was lost");
    }
  }

  async #conclude(
    claim: Claim,
    message: TaskMessage,
    outcome: Outcome,
    runtimeMs: number,
  ): Promise<RunEnd | "release"> {
    const { recorder, strategies, clock } = this.#options;
    const task = strategies.get(message.task)?.task;
    switch (outcome.kind) {
      case "crashed":
        // What becomes of it is the store's to say (onLost, crashLimit); the result follows in `settled`.
        return outcome.started ? { kind: "crashed", reason: outcome.reason } : "release";
      case "succeeded":
      case "ignored":
        await this.#recorded(recorder.ended(message, task, outcome, runtimeMs));
        return { kind: "succeeded" };
      case "failed":
        await this.#recorded(recorder.ended(message, task, outcome, runtimeMs));
        return { kind: "failed", reason: outcome.error.text };
      case "timed-out":
        await this.#recorded(recorder.ended(message, task, outcome, runtimeMs));
        return { kind: "failed", reason: `hard time limit of ${outcome.limitMs / 1_000} s exceeded` };
      case "rejected":
        await this.#recorded(recorder.ended(message, task, outcome, runtimeMs));
        return outcome.requeue
          ? { kind: "retry", dueMs: clock.wallMs(), message: claim.callback.message, reason: outcome.reason }
          : { kind: "failed", reason: `rejected: ${outcome.reason}` };
      case "retry":
        await this.#recorded(recorder.ended(message, task, outcome, runtimeMs));
        return {
          kind: "retry",
          dueMs: outcome.etaMs,
          message: { ...claim.callback.message, retries: outcome.retries, body: outcome.body },
          reason: outcome.error.text,
        };
      case "aborted":
        if (outcome.reason === COLD_STOP) return { kind: "lost", reason: "its worker was stopped cold while it ran" };
        await this.#recorded(recorder.ended(message, task, outcome, runtimeMs));
        return { kind: "stopped", reason: outcome.reason };
    }
  }

  /** A recorder never rejects. */
  #recorded(recording: Promise<void>): Promise<void> | undefined {
    return this.#options.oneFile ? undefined : recording;
  }

  /** How the store settled a run of ours: a crash may have ended it. */
  async settled(callback: Callback, end: RunEnd): Promise<void> {
    if ((end.kind !== "crashed" && end.kind !== "lost") || callback.state === "waiting") return;
    await this.ended({ callback, state: callback.state === "dead" ? "dead" : "failed" });
  }

  async #forward(callback: Callback, message: TaskMessage): Promise<RunEnd> {
    const { ask, clock, log } = this.#options;
    try {
      // To that queue and no other: of a topic exchange others may hear by the same key, and would run it too.
      const { queue } = callback;
      // Nobody here waits for its result: one that named nobody goes on so.
      await ask("publish", {
        message: { ...message, replyTo: message.replyTo ?? "" },
        to: { queue, exchange: "", routingKey: queue },
      });
      log.info(`Callback ${shown(message)} is due: sent to queue ${callback.queue}`);
      return { kind: "succeeded" };
    } catch (error) {
      log.error(`Callback ${shown(message)} could not be sent to queue ${callback.queue}; it is tried again`, {
        error,
      });
      return {
        kind: "retry",
        dueMs: clock.wallMs() + FORWARD_RETRY_MS,
        message: callback.message,
        reason: `could not be sent to queue ${callback.queue}: ${messageOf(error)}`,
      };
    }
  }
}

/** Why a cold stop ends a run; told apart from a request to abort it. */
export const COLD_STOP = "cold stop";

/** The worker ended the run for its own sake: nobody asked that this one not be done. */
export function isWorkersOwn(reason: string): boolean {
  return reason === COLD_STOP || reason === POOL_STOPPED;
}

function runName(id: string, token: number): string {
  return `${id}/${token}`;
}

export function messageOfCallback(callback: Callback): TaskMessage {
  const parked: ParkedMessage = callback.message;
  return {
    ...parked,
    id: callback.taskId,
    ...(callback.expiresMs === undefined ? {} : { expiresMs: callback.expiresMs }),
  };
}
