/** Failures that no handler threw, under the names that Celery has for them, so that a Python client catches what it knows. Pure. */
import type { Ending, TaskFailure } from "../pool/pool.ts";

/** Of a run that ended as a failure: what is stored, and told. Undefined: it did not. */
export function failureOfEnding(ending: Ending): TaskFailure | undefined {
  switch (ending.kind) {
    case "failed":
      return ending.error;
    case "crashed":
      return workerLost(ending.reason);
    case "timed-out":
      return celeryFailure("TimeLimitExceeded", [ending.limitMs / 1_000], "billiard.exceptions");
    case "rejected":
      return ending.requeue ? undefined : celeryFailure("Reject", [ending.reason, false], "celery.exceptions");
    default:
      return undefined;
  }
}

export function workerLost(reason: string): TaskFailure {
  return celeryFailure("WorkerLostError", [reason], "billiard.exceptions");
}

export function notRegistered(task: string): TaskFailure {
  return celeryFailure("NotRegistered", [task], "celery.exceptions");
}

/** @param how the message of Celery's exception: "revoked", "expired", "terminated" */
export function taskRevoked(how: string): TaskFailure {
  return celeryFailure("TaskRevokedError", [how], "celery.exceptions");
}

/** The worker gave the run up, and the broker gives its message to somebody: what Celery stores as RETRY. */
export function cancelledRun(why: string): TaskFailure {
  return celeryFailure("Retry", [why], "celery.exceptions");
}

function celeryFailure(type: string, args: readonly unknown[], module: string): TaskFailure {
  return {
    exception: { exc_type: type, exc_message: args, exc_module: module },
    text: `${type}(${args.map((each) => JSON.stringify(each)).join(", ")})`,
    traceback: null,
  };
}
