/**
 * Runs a claimed callback: in this worker's pool when it knows the task and serves its queue, else as an ordinary message
 * to the task's queue, where another worker (Python's, say) takes it.
 */

import { toFailure } from "../app/failure.ts";
import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Ask } from "../pool/asks.ts";
import type { Outcome, Pool, Run } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Callback, Claim, ParkedMessage, RunEnd } from "../schedule/callback.ts";
import type { Ended } from "../schedule/store.ts";
import type { Aftermath } from "./aftermath.ts";
import { failureOfEnding, workerLost } from "./failures.ts";
import { type NextRuns, nextRunOf, type RetryOutcome } from "./next-run.ts";
import { isWorkersOwn } from "./own-ends.ts";
import { type Recorder, shown } from "./record.ts";
import { ABORT_GRACE_MS } from "./remote-control.ts";
import type { Revoked } from "./revoked.ts";
import type { Strategies } from "./strategy.ts";
import type { TaskEvents } from "./task-events.ts";

export interface FireOptions {
  readonly pool: Pool;
  readonly recorder: Recorder;
  readonly aftermath: Aftermath;
  readonly nextRuns: NextRuns;
  readonly events: TaskEvents;
  readonly revoked: Revoked;
  readonly strategies: Strategies;
  readonly ask: Ask;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostname: string;
  readonly queues: ReadonlySet<string>;
  /** Whether the task's rate lets it start now; if so it has its token. */
  readonly takeToken: (task: string) => boolean;
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
    const { revoked, recorder, events } = this.#options;
    const stamped = await revoked.stamped(message).catch(() => undefined);
    if (stamped !== false) begun();
    // It cannot be known now: not to be started then.
    if (stamped === undefined) return "release";
    if (stamped) {
      await recorder.revoked(message, strategy.task, "revoked");
      events.tell("revoked", message, "revoked");
      return { kind: "stopped", reason: "revoked by a stamp" };
    }
    // What a broker brought (an eta, a retry) is held to its task's rate, as in Celery: it waits with the messages of its queue.
    if (callback.taskId !== callback.id && !this.#options.takeToken(message.task)) {
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
        // The queue that it waited for; what was claimed more often than it was asked for may have run.
        deliveryInfo: {
          exchange: "",
          routingKey: callback.queue,
          priority: message.priority ?? null,
          redelivered: claim.attempt > message.retries + 1,
        },
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
    // One that a broker brought was received when it was parked.
    if (callback.taskId === callback.id || message.retries > 0) events.tell("received", message);
    void run.accepted.then((pid) => {
      if (pid !== undefined) events.tell("started", message, pid);
    });
    // By its id the schedule ends it; by a stamp that is revoked, this does.
    const stopListening = revoked.running(message, () => run.abort("terminated", ABORT_GRACE_MS));
    try {
      const outcome = await run.outcome;
      return await this.#conclude(claim, message, outcome, clock.monoMs() - startedMs);
    } finally {
      stopListening();
      this.#runs.delete(name);
    }
  }

  /** Ask the run of this claim to end. */
  abort(id: string, token: number, reason: string, graceMs: number): void {
    this.#runs.get(runName(id, token))?.abort(reason, graceMs);
  }

  /** End those of the runs in progress that are meant; answers their task ids. */
  end(isMeant: (message: TaskMessage) => boolean, reason: string, graceMs: number, signal: NodeJS.Signals): string[] {
    const meant = [...this.#runs.values()].filter((run) => isMeant(run.job.message));
    for (const run of meant) run.abort(reason, graceMs, signal);
    return meant.map((run) => run.job.message.id);
  }

  abortAll(reason: string, graceMs: number): void {
    for (const run of this.#runs.values()) run.abort(reason, graceMs);
  }

  /** What ended without a run of ours: tell who waits for its result. */
  async ended({ callback, state }: Ended): Promise<void> {
    const { recorder, aftermath, events, strategies, log } = this.#options;
    const message = messageOfCallback(callback);
    const task = strategies.get(message.task)?.task;
    if (state === "waiting") log.warn(`Callback ${shown(message)} was lost by its worker and will run again`);
    else if (state === "expired") {
      await recorder.revoked(message, task, "expired");
      events.tell("revoked", message, "expired");
    } else if (state === "skipped")
      log.warn(`Callback ${shown(message)} was skipped: ${callback.reason ?? "too late"}`);
    else {
      log.error(`Callback ${shown(message)} ended as ${state}: ${callback.reason ?? "its process was lost"}`);
      const failure = workerLost(callback.reason ?? "its process was lost");
      await aftermath.failed(message, task, failure);
      events.tell("failed", message, failure);
    }
  }

  async #conclude(
    claim: Claim,
    message: TaskMessage,
    outcome: Outcome,
    runtimeMs: number,
  ): Promise<RunEnd | "release"> {
    const { events } = this.#options;
    // What becomes of it is the store's to say (onLost, crashLimit); the result follows in `settled`.
    if (outcome.kind === "crashed") return outcome.started ? { kind: "crashed", reason: outcome.reason } : "release";
    if (outcome.kind === "aborted" && isWorkersOwn(outcome.reason)) {
      events.tell("cancelled", message);
      return { kind: "lost", reason: "its worker was stopped cold while it ran" };
    }
    const known = await this.#recorded(message, outcome, runtimeMs);
    switch (known.kind) {
      case "retry":
        return this.#retry(claim, message, known, runtimeMs);
      case "rejected": {
        const { reason } = known;
        if (!known.requeue) return { kind: "failed", reason: `rejected: ${reason}` };
        return { kind: "retry", dueMs: this.#options.clock.wallMs(), message: claim.callback.message, reason };
      }
      case "aborted":
        return { kind: "stopped", reason: known.reason };
      case "timed-out":
        return { kind: "failed", reason: `hard time limit of ${known.limitMs / 1_000} s exceeded` };
      case "failed":
      case "crashed":
        return { kind: "failed", reason: failureOfEnding(known)?.text ?? known.kind };
      case "succeeded":
      case "ignored":
        return { kind: "succeeded" };
    }
  }

  /** Store how it ended, and tell it. Resolves with the outcome as it is now known. */
  async #recorded(message: TaskMessage, outcome: Outcome, runtimeMs: number): Promise<Outcome> {
    const { aftermath, strategies, oneFile } = this.#options;
    const task = strategies.get(message.task)?.task;
    const recording = aftermath.ended(message, task, outcome, runtimeMs).then((known) => {
      this.#tell(message, known, runtimeMs);
      return known;
    });
    return oneFile && !aftermath.sends(message) ? outcome : recording;
  }

  #tell(message: TaskMessage, outcome: Outcome, runtimeMs: number): void {
    const { events } = this.#options;
    if (outcome.kind === "succeeded") events.tell("succeeded", message, outcome.result, runtimeMs);
    else if (outcome.kind === "aborted") events.tell("revoked", message, "terminated");
    else if (outcome.kind === "retry") events.tell("retried", message, outcome.error);
    const failure = failureOfEnding(outcome);
    if (failure !== undefined) events.tell("failed", message, failure);
    if (outcome.kind === "rejected") events.tell("rejected", message, outcome.requeue);
  }

  /** The same callback again; or, where it goes elsewhere or may start only so long, another one, or a message. */
  async #retry(
    claim: Claim,
    message: TaskMessage,
    outcome: RetryOutcome,
    runtimeMs: number,
  ): Promise<RunEnd | "release"> {
    const { nextRuns, strategies, log } = this.#options;
    const { queue } = claim.callback;
    if (nextRuns.staysWith(outcome, queue) && outcome.changes?.expiresMs === undefined) {
      const { id: _id, etaMs: _eta, expiresMs: _expires, ...next } = nextRunOf(message, outcome);
      return { kind: "retry", dueMs: outcome.etaMs, message: next, reason: outcome.error.text };
    }
    try {
      await nextRuns.send(message, outcome, queue, strategies.get(message.task)?.policy.acksLate ?? false);
      return { kind: "succeeded" };
    } catch (error) {
      log.error(`The next run of callback ${shown(message)} could not be sent`, { error });
      return this.#conclude(claim, message, { kind: "failed", error: toFailure(error), expected: false }, runtimeMs);
    }
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
