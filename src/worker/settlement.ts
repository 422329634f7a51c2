/**
 * What becomes of a message at its broker after a run: Celery's table (PROTOCOL 6.3, 6.4) as a function. Pure.
 *
 * It is asked of late acknowledgement only: a message that was acknowledged before its run is the broker's no more.
 */
import type { Config } from "../app/config.ts";
import type { TaskOptions } from "../app/task-options.ts";
import type { Ending } from "../pool/pool.ts";
import { isWorkersOwn } from "./own-ends.ts";

/** When a task's messages are acknowledged, and after which ends they are not. */
export interface AckPolicy {
  /** After the run, not before it. */
  readonly acksLate: boolean;
  /** False: one that failed is rejected. */
  readonly acksOnFailure: boolean;
  /** False: one that ran into its hard limit goes back to its queue. */
  readonly acksOnTimeout: boolean;
  /** True: one whose process died goes back to its queue. */
  readonly rejectOnWorkerLost: boolean;
}

/** "reject" is never again: in quarantine first, so that nothing is dropped, then to the dead letters where the queue has any. */
export type Settlement = "ack" | "reject" | "requeue";

/** The task's options over the app's settings. Of failure and timeout each the narrower one counts, wherever it stands, as in Celery. */
export function ackPolicyOf(options: TaskOptions, config: Config): AckPolicy {
  const either = options.acksOnFailureOrTimeout ?? config.taskAcksOnFailureOrTimeout;
  return {
    acksLate: options.acksLate ?? config.taskAcksLate,
    acksOnFailure: options.acksOnFailure ?? config.taskAcksOnFailure ?? either,
    acksOnTimeout: options.acksOnTimeout ?? config.taskAcksOnTimeout ?? either,
    rejectOnWorkerLost: options.rejectOnWorkerLost ?? config.taskRejectOnWorkerLost,
  };
}

export function settlementOf(ending: Ending, policy: AckPolicy): Settlement {
  switch (ending.kind) {
    case "failed":
      return policy.acksOnFailure ? "ack" : "reject";
    case "crashed":
      if (policy.rejectOnWorkerLost) return "requeue";
      return policy.acksOnFailure ? "ack" : "reject";
    case "timed-out":
      return policy.acksOnTimeout ? "ack" : "requeue";
    case "rejected":
      return ending.requeue ? "requeue" : "reject";
    case "aborted":
      // A late acknowledgement says that the work was not done: the message is for another worker.
      return isWorkersOwn(ending.reason) ? "requeue" : "ack";
    case "succeeded":
    case "ignored":
    case "retry":
      return "ack";
  }
}

/** It goes back because a run of it ended badly, as the next one may: who counts these can stop a message that ends every process. */
export function isLoss(ending: Ending): boolean {
  return ending.kind === "crashed" || ending.kind === "timed-out";
}
