/** What goes wrong with the embedded file, the same for everything that is kept in it. Codes stand in `docs/errors.md`. */
import { ContractError, type LovageError, OutcomeUnknownError, UnavailableError } from "../kit/errors.ts";

/** The file cannot be used now: locked for too long, an I/O error, removed under us. Nothing of the call was done. */
export class StoreUnavailableError extends UnavailableError {
  readonly code = "ERR_STORE_UNAVAILABLE";
}

/** The disk is full. What was acknowledged is kept, and nothing of this call was done. */
export class StoreFullError extends UnavailableError {
  readonly code = "ERR_STORE_FULL";
}

/** The place is wrong: no such directory, a directory where a file should be, no permission, read-only. */
export class StorePathError extends ContractError {
  readonly code = "ERR_STORE_PATH";
}

/** The file is damaged, or is no SQLite database. It is left as it is. */
export class StoreCorruptError extends ContractError {
  readonly code = "ERR_STORE_CORRUPT";
}

/** The file is a database of another program, or of a newer Lovage. It is left as it is. */
export class StoreSchemaError extends ContractError {
  readonly code = "ERR_STORE_SCHEMA";
}

/** SQLite refused one operation for what it was given: nothing of it was done. A bug of ours, or a value past SQLite's limits. */
export class StoreOperationError extends ContractError {
  readonly code = "ERR_STORE_OPERATION";
}

/** An error as it crosses from the thread: an Error loses its class on the way. */
export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  /** What SQLite itself said. */
  readonly cause?: string;
}

const CLASSES = {
  ERR_STORE_UNAVAILABLE: StoreUnavailableError,
  ERR_STORE_FULL: StoreFullError,
  ERR_STORE_PATH: StorePathError,
  ERR_STORE_CORRUPT: StoreCorruptError,
  ERR_STORE_SCHEMA: StoreSchemaError,
  ERR_STORE_OPERATION: StoreOperationError,
};

export type FailureCode = keyof typeof CLASSES | "ERR_OUTCOME_UNKNOWN";

/** The failure as an error again. @param what the operation, for an outcome that is not known */
export function errorOf(failure: Failure, what: string): LovageError {
  const options = failure.cause === undefined ? undefined : { cause: new Error(failure.cause) };
  if (failure.code === "ERR_OUTCOME_UNKNOWN") return new OutcomeUnknownError(what, undefined, options);
  return new CLASSES[failure.code](failure.message, options);
}
