/** A task's failure: what is stored, one line for logs, and the stack. What Celery throws as well is stored under Celery's name. */
import type { TaskFailure } from "../pool/pool.ts";
import { exceptionOf } from "../protocol/exception.ts";
import { EncodeError } from "../protocol/refusal.ts";
import { pyRepr } from "../protocol/repr.ts";
import { MaxRetriesExceededError, Retry } from "./retry.ts";
import { TaskRevokedError } from "./task-error.ts";
import { SoftTimeLimitExceeded } from "./task-outcomes.ts";

/** A failure that no handler threw, such as arguments that do not fit. */
export function failureOf(type: string, module: string | null, message: string): TaskFailure {
  return {
    exception: { exc_type: type, exc_message: [message], exc_module: module },
    text: `${type}(${pyRepr(message)})`.replace(/[\r\n]+/g, " "),
    traceback: null,
  };
}

/** Where our own files are: what called the handler says nothing about what went wrong in it. */
const OWN = new URL("..", import.meta.url).href;
const CALLERS = [
  `${OWN}app/run-task.`,
  `${OWN}app/context.`,
  `${OWN}child/`,
  "node:internal/async_local_storage/",
  "node:internal/process/task_queues",
];

/** Never throws, whatever was thrown. */
export function toFailure(thrown: unknown): TaskFailure {
  const { exception, text, traceback } = exceptionOf(thrown);
  const failure = {
    exception: { ...exception, exc_message: exception.exc_message.map(plain) },
    text,
    traceback: traceback === null ? null : usersFrames(traceback),
  };
  const known = celeryName(thrown);
  if (known === undefined) return failure;
  const [exc_type, exc_module] = known;
  // Celery's own soft limit carries no argument.
  const exc_message = exc_type === "SoftTimeLimitExceeded" ? [] : failure.exception.exc_message;
  if (thrown instanceof TaskRevokedError) {
    return { ...failure, exception: { exc_type, exc_message: [thrown.how], exc_module } };
  }
  return { ...failure, exception: { exc_type, exc_message, exc_module } };
}

/** So that a Python client that waits for the result gets the class that it knows. */
function celeryName(thrown: unknown): readonly [string, string] | undefined {
  try {
    if (thrown instanceof SoftTimeLimitExceeded) return ["SoftTimeLimitExceeded", "billiard.exceptions"];
    if (thrown instanceof MaxRetriesExceededError) return ["MaxRetriesExceededError", "celery.exceptions"];
    if (thrown instanceof Retry) return ["Retry", "celery.exceptions"];
    if (thrown instanceof TaskRevokedError) return ["TaskRevokedError", "celery.exceptions"];
    if (thrown instanceof EncodeError) return ["EncodeError", "kombu.exceptions"];
  } catch {
    // A proxy that throws at every look is none of them.
  }
  return undefined;
}

/** The failure crosses a channel as plain JSON: what that cannot carry is shown. */
function plain(argument: unknown): unknown {
  if (typeof argument === "string") return argument;
  if (typeof argument === "number" && !Number.isFinite(argument)) return pyRepr(argument);
  try {
    return JSON.parse(JSON.stringify(argument)) as unknown;
  } catch {
    return pyRepr(argument);
  }
}

function usersFrames(traceback: string): string {
  const lines = traceback.split("\n");
  return lines.filter((line) => !/^\s+at /.test(line) || !CALLERS.some((each) => line.includes(each))).join("\n");
}
