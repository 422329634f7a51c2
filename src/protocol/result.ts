/** A result document, field by field as Celery stores it (PROTOCOL 10.2), its states, and its text. */
import { isoFromMs } from "../kit/iso8601.ts";
import { decodeJson, encodeJson, isPlain, jsonMembers } from "./json.ts";
import type { JsonLimits } from "./limits.ts";
import { DecodeError, quoted } from "./refusal.ts";

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

/** A handle on results as data: `[[id, parent], null]` of a task, `[[group id, parent], [tuple, …]]` of a group; a parent is a tuple or null. */
export type ResultTuple = readonly unknown[];

export interface ResultDocument {
  readonly task_id: string;
  readonly status: TaskState;
  /**
   * JSON text (Python's dialect) of the result: the return value, an `ExceptionDocument` for FAILURE, RETRY and
   * REVOKED, the meta of a custom state. Text, so that what Python wrote is not changed on its way.
   */
  readonly result: string;
  readonly traceback: string | null;
  /** A `ResultTuple` for each task that it sent, as far as peers keep to it. */
  readonly children: readonly unknown[] | null;
  /** ISO 8601 with offset, for ready states; else null. (`pythonTimestamp`) */
  readonly date_done: string | null;
  readonly group_id?: string;
  readonly parent_id?: string;
  /** With `resultExtended`. */
  readonly name?: string;
  readonly worker?: string;
  readonly retries?: number;
  readonly queue?: string;
  /** JSON texts. */
  readonly args?: string;
  readonly kwargs?: string;
  /** The task's stamps by name (PROTOCOL 11.7). Celery has each at top level, and their names in `stamped_headers`. */
  readonly stamps?: Readonly<Record<string, unknown>>;
}

/** An exception as data (PROTOCOL 10.3): shown, never rebuilt by name. */
export interface ExceptionDocument {
  /** Qualified class name. */
  readonly exc_type: string;
  /** The constructor's arguments. */
  readonly exc_message: readonly unknown[];
  /**
   * Python module. Of ours: "builtins" where the name is that of a Python error too, so that a Python client catches a
   * TypeError as one; else null.
   */
  readonly exc_module: string | null;
}

/** A moment as `date_done` has it: `2026-11-22T13:25:14.727000+00:00`. */
export function pythonTimestamp(ms: number): string {
  return isoFromMs(ms);
}

const RAW = ["result", "args", "kwargs"] as const;
const OPTIONAL_TEXT = ["group_id", "parent_id", "name", "worker", "queue"] as const;
const OWN: ReadonlySet<string> = new Set([
  ...["task_id", "status", "traceback", "children", "date_done", "retries", "stamped_headers", "__proto__"],
  ...RAW,
  ...OPTIONAL_TEXT,
]);

/** Of what workers wrote: a result may be larger than a message, and a task may have sent 10^6 others. Who reads the result has limits of his own. */
const LIMITS: JsonLimits = {
  maxBytes: Number.POSITIVE_INFINITY,
  maxDepth: 1_000,
  maxKeys: Number.POSITIVE_INFINITY,
  maxKeysInAll: Number.POSITIVE_INFINITY,
};

/** The document as Celery's JSON backends store it. `result`, `args` and `kwargs` must be JSON texts; they go in as they are. */
export function encodeResult(document: ResultDocument): string {
  const { task_id, status, result, traceback, children, date_done, args, kwargs, stamps, ...rest } = document;
  const fields = { traceback, children, date_done, ...rest, ...stampsOf(stamps), task_id };
  const text = encodeJson(fields, "the result document", LIMITS);
  // The status first, as Celery has it: who looks for it need not read the rest.
  let raw = `{"status": ${encodeJson(status)}, "result": ${result}, `;
  if (args !== undefined) raw += `"args": ${args}, `;
  if (kwargs !== undefined) raw += `"kwargs": ${kwargs}, `;
  return raw + text.slice(1);
}

/** Each stamp at top level, beside its name in a list; one that would hide a field of ours stays out. */
function stampsOf(stamps: Readonly<Record<string, unknown>> | undefined): Record<string, unknown> {
  if (stamps === undefined) return {};
  const top: Record<string, unknown> = { stamped_headers: Object.keys(stamps) };
  for (const [name, value] of Object.entries(stamps)) if (!OWN.has(name)) top[name] = value;
  return top;
}

/**
 * The document of a text that Celery stored. What ours has no field for is passed over.
 * @throws {DecodeError} the text is not that of a result document
 */
export function decodeResult(text: string): ResultDocument {
  const value = decodeJson(text, LIMITS);
  if (!isPlain(value)) throw wrong("it", value, "an object");
  const { task_id, status, traceback = null, children = null, date_done = null, retries } = value;
  if (typeof task_id !== "string" || task_id === "") throw wrong("task_id", task_id, "a text");
  if (typeof status !== "string" || status === "") throw wrong("status", status, "a text");
  if (traceback !== null && typeof traceback !== "string") throw wrong("traceback", traceback, "a text or null");
  if (children !== null && !Array.isArray(children)) throw wrong("children", children, "an array or null");
  const raw = jsonMembers(text);
  const document: Record<string, unknown> = {
    task_id,
    status,
    result: raw.get("result") ?? "null",
    traceback,
    children,
    // Older releases stored a typed datetime.
    date_done: date_done instanceof Date ? pythonTimestamp(date_done.getTime()) : textOrNull(date_done),
  };
  for (const name of OPTIONAL_TEXT) if (typeof value[name] === "string") document[name] = value[name];
  if (typeof retries === "number") document.retries = retries;
  for (const name of RAW) {
    const slice = raw.get(name);
    if (slice !== undefined) document[name] = slice;
  }
  const stamps = stampsIn(value);
  if (stamps !== undefined) document.stamps = stamps;
  return document as unknown as ResultDocument;
}

function stampsIn(value: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const names = value.stamped_headers;
  if (!Array.isArray(names)) return undefined;
  const stamps: Record<string, unknown> = {};
  for (const name of names) {
    if (typeof name === "string" && !OWN.has(name) && Object.hasOwn(value, name)) stamps[name] = value[name];
  }
  return stamps;
}

function textOrNull(value: unknown): string | null {
  if (value === null) return null;
  // A typed value that a Date does not hold.
  return typeof value === "string" || typeof value === "object" ? String(value) : null;
}

function wrong(name: string, value: unknown, expected: string): DecodeError {
  return new DecodeError(
    "ERR_BODY_SHAPE",
    `not a result document: ${name} is ${quoted(value)}; ${expected} was expected`,
  );
}
