/**
 * An error on its way from the worker to the task that asked. Its family, code and message cross the channel; on the other
 * side stands an error of the same family with the same code, so `catch` reads alike in a task and in a client.
 */
import {
  ClosedError,
  ContractError,
  InvalidInputError,
  LostError,
  LovageError,
  messageOf,
  OutcomeUnknownError,
  TimeoutError,
  UnavailableError,
} from "../../kit/errors.ts";

export interface RemoteError {
  readonly family: "contract" | "unavailable" | "lost" | "other";
  /** Of an error that is none of ours: the system's (ENOSPC), or "". */
  readonly code: string;
  /** Class name. */
  readonly name: string;
  readonly message: string;
  /** Own fields that are plain values, such as the `key` of an unknown outcome. */
  readonly fields: Readonly<Record<string, string | number | boolean | null>>;
}

const FAMILIES: ReadonlySet<unknown> = new Set(["contract", "unavailable", "lost", "other"]);
/** What every error has, or what would change what it is. */
const NOT_FIELDS: ReadonlySet<string> = new Set(["code", "name", "message", "stack", "cause", "__proto__"]);

class RemoteContractError extends ContractError {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

class RemoteUnavailableError extends UnavailableError {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

class RemoteLostError extends LostError {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The error as data; whatever was thrown, this does not throw. */
export function toRemoteError(thrown: unknown): RemoteError {
  const message = messageOf(thrown);
  try {
    if (!(thrown instanceof Error)) return { family: "other", code: "", name: "Error", message, fields: {} };
    const { code } = thrown as { code?: unknown };
    const fields: Record<string, string | number | boolean | null> = {};
    for (const [name, value] of Object.entries(thrown)) {
      if (!NOT_FIELDS.has(name) && isPlain(value)) fields[name] = value;
    }
    return {
      family: familyOf(thrown),
      code: typeof code === "string" ? code : "",
      name: String(thrown.name),
      message,
      fields,
    };
  } catch {
    return { family: "other", code: "", name: "Error", message, fields: {} };
  }
}

export function isRemoteError(value: unknown): value is RemoteError {
  if (typeof value !== "object" || value === null) return false;
  const { family, code, name, message, fields } = value as Record<string, unknown>;
  return (
    FAMILIES.has(family) &&
    typeof code === "string" &&
    typeof name === "string" &&
    typeof message === "string" &&
    typeof fields === "object" &&
    fields !== null &&
    Object.values(fields).every(isPlain)
  );
}

/** The error as the task gets it. Its stack is where the task asked, not where the worker failed. */
export function fromRemoteError(remote: RemoteError): Error {
  const error = rebuild(remote);
  error.name = remote.name;
  for (const [name, value] of Object.entries(remote.fields)) {
    if (NOT_FIELDS.has(name)) continue;
    Object.defineProperty(error, name, { value, enumerable: true, configurable: true, writable: true });
  }
  return error;
}

function rebuild({ family, code, message }: RemoteError): Error {
  switch (code) {
    // Classes that programs compare by are made again; the others keep family and code.
    case "ERR_OUTCOME_UNKNOWN": {
      const error = new OutcomeUnknownError("");
      error.message = message;
      return error;
    }
    case "ERR_TIMEOUT":
      return new TimeoutError(message);
    case "ERR_CLOSED":
      return new ClosedError(message);
    case "ERR_INVALID_INPUT":
      return new InvalidInputError(message);
  }
  switch (family) {
    case "contract":
      return new RemoteContractError(code, message);
    case "unavailable":
      return new RemoteUnavailableError(code, message);
    case "lost":
      return new RemoteLostError(code, message);
    case "other": {
      const error = new Error(message);
      return code === "" ? error : Object.assign(error, { code });
    }
  }
}

function familyOf(error: Error): RemoteError["family"] {
  if (!(error instanceof LovageError)) return "other";
  if (error instanceof ContractError) return "contract";
  return error instanceof UnavailableError ? "unavailable" : "lost";
}

function isPlain(value: unknown): value is string | number | boolean | null {
  return value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
