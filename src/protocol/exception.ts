/**
 * What a task threw, as the data that a result document carries (PROTOCOL 10.3). Never throws, whatever was thrown:
 * null, a frozen proxy, an object whose `toString` explodes.
 */

import { encodeJson } from "./json-writer.ts";
import { pyRepr } from "./repr.ts";
import type { ExceptionDocument } from "./result.ts";

/** Fit for `TaskFailure`. */
export interface ThrownError {
  readonly exception: ExceptionDocument;
  /** One line for logs and events, as Python shows an exception: `TypeError('x is not a function')`. */
  readonly text: string;
  /** The stack, and those of the causes; null when there is none. */
  readonly traceback: string | null;
}

/** Bounds of what one failure may take up in a result backend. */
const MAX_MESSAGE_CHARS = 64 * 1024;
const MAX_TRACEBACK_CHARS = 64 * 1024;
const MAX_NAME_CHARS = 255;
const MAX_CAUSES = 8;
const MAX_ARGS = 100;

/**
 * Python's own exceptions that a client may be given as themselves: made with one message, and harmless to raise.
 * SystemExit would end the client, StopIteration its loop; UnicodeDecodeError cannot be made with one message; Python's
 * ReferenceError is about weak references, not about names.
 */
const PYTHON_ERRORS: ReadonlySet<string> = new Set([
  "ArithmeticError",
  "AssertionError",
  "AttributeError",
  "BlockingIOError",
  "BrokenPipeError",
  "BufferError",
  "ChildProcessError",
  "ConnectionAbortedError",
  "ConnectionError",
  "ConnectionRefusedError",
  "ConnectionResetError",
  "EOFError",
  "FileExistsError",
  "FileNotFoundError",
  "FloatingPointError",
  "ImportError",
  "IndexError",
  "InterruptedError",
  "IsADirectoryError",
  "KeyError",
  "LookupError",
  "ModuleNotFoundError",
  "NameError",
  "NotADirectoryError",
  "NotImplementedError",
  "OSError",
  "OverflowError",
  "PermissionError",
  "ProcessLookupError",
  "RecursionError",
  "RuntimeError",
  "SyntaxError",
  "TimeoutError",
  "TypeError",
  "ValueError",
  "ZeroDivisionError",
]);

/** Names that a class inherits when it does not set its own. */
const JS_ERRORS: ReadonlySet<string> = new Set([
  "Error",
  "AggregateError",
  "EvalError",
  "RangeError",
  "ReferenceError",
  "SyntaxError",
  "TypeError",
  "URIError",
]);

/** Python's own that are no failures: raised by `get()` they would end the client, or its loop. */
const NEVER_RAISED: ReadonlySet<string> = new Set([
  "BaseException",
  "BaseExceptionGroup",
  "GeneratorExit",
  "KeyboardInterrupt",
  "StopAsyncIteration",
  "StopIteration",
  "SystemExit",
]);

/**
 * An error may say itself what Python is to be given: by `excType` ("Outer.Inner" for a class within another), `excModule` and `excArgs`. A
 * TaskError does, so that a task which fails with what another one threw, fails for Python with that one's class.
 */
export function exceptionOf(thrown: unknown): ThrownError {
  const type = typeOf(thrown);
  const args = argsOf(thrown);
  return {
    exception: { exc_type: type, exc_message: args, exc_module: moduleOf(thrown, type) },
    text: `${type}(${args.map((arg) => pyRepr(arg)).join(", ")})`.replace(/[\r\n]+/g, " "),
    traceback: tracebackOf(thrown),
  };
}

function moduleOf(thrown: unknown, type: string): string | null {
  const given = isErrorLike(thrown) ? textAt(thrown, "excModule") : undefined;
  if (given === undefined) return PYTHON_ERRORS.has(type) ? "builtins" : null;
  return given === "builtins" && NEVER_RAISED.has(type) ? null : nameFrom(given);
}

/** Python makes a class of it, which refuses NUL and lone surrogates. */
function nameFrom(text: string): string {
  const name = text.toWellFormed().replaceAll("\0", "").slice(0, MAX_NAME_CHARS).toWellFormed();
  return name === "" ? "Error" : name;
}

/** The name that it gives itself; where that is only inherited from a built-in class, the name of its own class. */
function typeOf(thrown: unknown): string {
  if (!isErrorLike(thrown)) return "Error";
  const given = textAt(thrown, "excType");
  if (given !== undefined) return nameFrom(given);
  const name = textAt(thrown, "name");
  if (name !== undefined && (hasOwnName(thrown) || !JS_ERRORS.has(name))) return nameFrom(name);
  const className = textAt(at(thrown, "constructor"), "name");
  // A plain object with a message was made by Object, which says nothing.
  const type = className === undefined || className === "Object" ? (name ?? "Error") : className;
  return nameFrom(type);
}

function hasOwnName(error: object): boolean {
  try {
    return Object.hasOwn(error, "name");
  } catch {
    return false;
  }
}

/** The message; what is no error, itself. */
function argsOf(thrown: unknown): unknown[] {
  if (isErrorLike(thrown)) {
    const given = at(thrown, "excArgs");
    if (Array.isArray(given)) return given.slice(0, MAX_ARGS).map(sendable);
    const message = textAt(thrown, "message");
    return message === undefined ? [] : [message.slice(0, MAX_MESSAGE_CHARS)];
  }
  if (typeof thrown === "string") return [thrown.slice(0, MAX_MESSAGE_CHARS)];
  if (thrown === null || thrown === undefined) return [`${String(thrown)} was thrown`];
  return [sendable(thrown)];
}

/** Itself; of what cannot be sent, or is too large, its repr, as Celery does it. */
function sendable(value: unknown): unknown {
  if (typeof value === "string") return value.slice(0, MAX_MESSAGE_CHARS);
  try {
    const { length } = encodeJson(value);
    if (length <= MAX_MESSAGE_CHARS) return value;
  } catch {
    // Its repr can.
  }
  return pyRepr(value);
}

function tracebackOf(thrown: unknown): string | null {
  const stacks: string[] = [];
  const seen = new Set<unknown>();
  for (
    let error = thrown;
    isErrorLike(error) && !seen.has(error) && seen.size < MAX_CAUSES;
    error = at(error, "cause")
  ) {
    seen.add(error);
    stacks.push(stackOf(error));
    // What another task threw, wherever that ran.
    const remote = textAt(error, "traceback");
    if (remote !== undefined) stacks.push(`in task ${textAt(error, "taskId") ?? "of another process"}:\n${remote}`);
    for (const each of errorsIn(error)) if (stacks.length <= MAX_CAUSES) stacks.push(stackOf(each));
  }
  if (stacks.length === 0) return null;
  const text = stacks.join("\n\nCaused by: ");
  return text.length > MAX_TRACEBACK_CHARS ? `${text.slice(0, MAX_TRACEBACK_CHARS)}\n…` : text;
}

function stackOf(error: object): string {
  return textAt(error, "stack") ?? `${typeOf(error)}: ${textAt(error, "message") ?? ""}`;
}

/** Of an AggregateError. */
function errorsIn(error: object): object[] {
  const errors = at(error, "errors");
  try {
    return Array.isArray(errors) ? errors.slice(0, MAX_CAUSES).filter(isErrorLike) : [];
  } catch {
    return [];
  }
}

/** Errors of another realm, and of libraries that make their own, are known by what they have. */
function isErrorLike(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  try {
    return value instanceof Error || typeof at(value, "message") === "string";
  } catch {
    return false;
  }
}

function textAt(value: unknown, key: string): string | undefined {
  const text = at(value, key);
  return typeof text === "string" && text !== "" ? text : undefined;
}

/** A property, whatever its getter does. */
function at(value: unknown, key: string): unknown {
  try {
    return (value as Record<string, unknown> | null | undefined)?.[key];
  } catch {
    return undefined;
  }
}
