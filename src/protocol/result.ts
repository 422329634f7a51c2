/** A result document, field by field as Celery stores it (PROTOCOL 10.2), and its states. */

/** Custom states of `updateState` are any other text. */
export type TaskState =
  | "PENDING"
  | "RECEIVED"
  | "STARTED"
  | "RETRY"
  | "SUCCESS"
  | "FAILURE"
  | "REVOKED"
  | (string & {});

/** States after which nothing changes. */
export const READY_STATES: ReadonlySet<string> = new Set(["SUCCESS", "FAILURE", "REVOKED"]);

export interface ResultDocument {
  readonly task_id: string;
  readonly status: TaskState;
  /**
   * JSON text (Python's dialect) of the result: the return value, an `ExceptionDocument` for FAILURE, RETRY and
   * REVOKED, the meta of a custom state. Text, so that what Python wrote is not changed on its way.
   */
  readonly result: string;
  readonly traceback: string | null;
  /** `[[id, parent|null], null]` for each task that it sent. */
  readonly children: readonly unknown[] | null;
  /** ISO 8601 with offset and microseconds, for ready states; else null. */
  readonly date_done: string | null;
  readonly group_id?: string;
  readonly parent_id?: string;
  /** With `resultExtended`. */
  readonly name?: string;
  readonly worker?: string;
  readonly retries?: number;
  readonly queue?: string;
}

/** An exception as data (PROTOCOL 10.3): shown, never rebuilt by name. */
export interface ExceptionDocument {
  /** Qualified class name. */
  readonly exc_type: string;
  /** The constructor's arguments. */
  readonly exc_message: readonly unknown[];
  /** Python module, "builtins" for Python's own; null for ours. */
  readonly exc_module: string | null;
}
