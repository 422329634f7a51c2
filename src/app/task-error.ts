/** How a task that did not succeed is thrown to who waits for it: as data, whoever ran it (PROTOCOL 10.3). */
import { LostError } from "../kit/errors.ts";
import { textOf } from "../kit/printable.ts";
import { decodeJson, isPlain } from "../protocol/json.ts";
import type { ExceptionDocument, ResultDocument } from "../protocol/result.ts";

/** The task failed. What it threw, as data: its class is named, never rebuilt. */
export class TaskError extends LostError {
  readonly code = "ERR_TASK_FAILED";
  readonly taskId: string;
  /** Class name of what was thrown, such as "ValueError"; of a class within another "Outer.Inner". */
  readonly excType: string;
  /** Python module of the class; null when a Lovage worker ran the task and Python has no such class. */
  readonly excModule: string | null;
  /** Arguments that it was made with. */
  readonly excArgs: readonly unknown[];
  /** The stack where it was thrown. */
  readonly traceback: string | null;

  constructor(taskId: string, exception: ExceptionDocument, traceback: string | null) {
    const args = exception.exc_message.map((each) => (typeof each === "string" ? each : textOf(each, MAX_SHOWN)));
    super(`task ${taskId} failed: ${[exception.exc_type, args.join(", ")].filter((each) => each !== "").join(": ")}`);
    this.taskId = taskId;
    this.excType = exception.exc_type;
    this.excModule = exception.exc_module;
    this.excArgs = exception.exc_message;
    this.traceback = traceback;
  }
}

/** The task was revoked, or expired, before it started, or was terminated. */
export class TaskRevokedError extends LostError {
  readonly code = "ERR_TASK_REVOKED";
  readonly taskId: string;
  /** "revoked", "expired" or "terminated". */
  readonly how: string;

  constructor(taskId: string, how: string) {
    super(`task ${taskId} was ${how}`);
    this.taskId = taskId;
    this.how = how;
  }
}

/** States that are stored with an exception. */
export const EXCEPTION_STATES: ReadonlySet<string> = new Set(["RETRY", "FAILURE", "REVOKED"]);

const MAX_SHOWN = 500;

/** Of a document of one of `EXCEPTION_STATES`; of RETRY: what the task is run again for. */
export function errorOf({ task_id, status, result, traceback }: ResultDocument): TaskError | TaskRevokedError {
  const exception = exceptionOf(decodeJson(result));
  if (status !== "REVOKED") return new TaskError(task_id, exception, traceback);
  const [how = "revoked"] = exception.exc_message;
  return new TaskRevokedError(task_id, typeof how === "string" ? how : textOf(how, MAX_SHOWN));
}

/** What a peer stored need not be what Celery stores: whatever is missing is filled in. */
export function exceptionOf(value: unknown): ExceptionDocument {
  if (!isPlain(value)) return { exc_type: "Exception", exc_message: [value], exc_module: null };
  const { exc_type: type, exc_message: message, exc_module: module } = value;
  const exception = {
    exc_type: typeof type === "string" && type !== "" ? type : "Exception",
    exc_message: argumentsOf(value, message),
    exc_module: typeof module === "string" ? module : null,
  };
  return unwrapped(exception) ?? exception;
}

/** The constructor's arguments are a list; Python takes anything else as the one argument. */
function argumentsOf(value: Readonly<Record<string, unknown>>, message: unknown): readonly unknown[] {
  if (Array.isArray(message)) return message;
  if (message !== undefined) return [message];
  return "exc_type" in value ? [] : [value];
}

/** What Python could not send to its own main process comes as `[module, class, [arguments], repr]`: the class is what was thrown. */
function unwrapped({ exc_type, exc_message }: ExceptionDocument): ExceptionDocument | undefined {
  if (exc_type !== "UnpickleableExceptionWrapper") return undefined;
  const [module, name, args] = exc_message;
  if (typeof name !== "string" || name === "" || !Array.isArray(args)) return undefined;
  return { exc_type: name, exc_message: args, exc_module: typeof module === "string" ? module : null };
}
