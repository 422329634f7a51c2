/**
 * Why something that came over the wire cannot be used: one stable code for each cause, and what a Celery worker
 * does in its place.
 *
 * The reader throws a `DecodeError`; `decodeTask` turns it into a `Refusal`, which is a value: a bad message is an
 * everyday input of a worker, not an accident of it.
 */
import { ContractError } from "../kit/errors.ts";
import { printable } from "../kit/printable.ts";

/**
 * How Celery takes such a message (PROTOCOL 5.3): a decode error (it acknowledges), b unknown message, c unknown
 * task (it stores FAILURE), d invalid task (b, c and d are rejected, not requeued). What kills Celery's worker (5.4) is d.
 */
export type CeleryClass = "a" | "b" | "c" | "d";

export type RefusalCode =
  /** The bytes are not UTF-8, or the text is not JSON. */
  | "ERR_DECODE"
  /** A kombu typed value of an unknown type, or of the wrong shape. */
  | "ERR_TYPED_VALUE"
  /** A key that could reach a prototype. */
  | "ERR_PROTO_KEY"
  | "ERR_SIZE"
  | "ERR_DEPTH"
  | "ERR_CONTENT_TYPE"
  | "ERR_CONTENT_ENCODING"
  | "ERR_COMPRESSION"
  /** Signed content: it is none, or the signature is not its signer's. */
  | "ERR_SIGNATURE"
  /** Nobody with that certificate is trusted. */
  | "ERR_SIGNER"
  | "ERR_SIGNER_EXPIRED"
  /** Neither a protocol 2 nor a protocol 1 task message. */
  | "ERR_PROTO"
  | "ERR_TASK_NAME"
  | "ERR_NO_ID"
  | "ERR_TASK_ID"
  | "ERR_BODY_SHAPE"
  | "ERR_HEADERS"
  | "ERR_ETA"
  | "ERR_EXPIRES"
  /** Callbacks, errbacks, chain or chord are not signatures. */
  | "ERR_CANVAS"
  /** The name is not registered; said by whoever holds the registry. */
  | "ERR_UNKNOWN_TASK";

/** What was read is not what the protocol says. */
export class DecodeError extends ContractError {
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A value that cannot be sent; the message names its place, such as `args[1].customer`. */
export class EncodeError extends ContractError {
  readonly code = "ERR_ENCODE";
}

/** A message that cannot become a task. */
export interface Refusal {
  readonly code: RefusalCode;
  readonly celeryClass: CeleryClass;
  /** One printable line: what is wrong, and where. */
  readonly reason: string;
  /** Task name and id, where they could be read and are fit to be shown. */
  readonly task?: string;
  readonly id?: string;
}

/** The refusal of a message whose task is not registered here. */
export function unknownTask(message: { readonly task: string; readonly id: string }): Refusal {
  const { task, id } = message;
  return {
    code: "ERR_UNKNOWN_TASK",
    celeryClass: "c",
    reason: `no task named ${quoted(task)} is registered here`,
    task,
    id,
  };
}

/** The value on one line, texts in quotes and cut, for a message about it. */
export function quoted(value: unknown, maxChars = 80): string {
  switch (typeof value) {
    case "string":
      return `"${printable(value, maxChars)}"`;
    case "bigint":
      return printable(String(value), maxChars);
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    default:
      if (value === null) return "null";
      if (Array.isArray(value)) return `an array of ${value.length}`;
      return typeof value === "object" ? "an object" : `a ${typeof value}`;
  }
}
