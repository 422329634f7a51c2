/** How what goes wrong with the embedded file comes out of its thread. */
import { type LovageError, OutcomeUnknownError } from "../kit/errors.ts";
import {
  StoreCorruptError,
  StoreFullError,
  StoreOperationError,
  StorePathError,
  StoreSchemaError,
  StoreUnavailableError,
} from "../kit/store-errors.ts";

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
