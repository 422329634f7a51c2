/**
 * What goes wrong with a place where something is kept: the embedded file, Redis, PostgreSQL. The same for the schedule, results,
 * messages and quarantine, whatever store holds them. Codes stand in `docs/errors.md`.
 */
import { ContractError, UnavailableError } from "./errors.ts";

/** It cannot be used now: it does not answer, is locked for too long, had an I/O error, was removed under us. Nothing of the call was done. */
export class StoreUnavailableError extends UnavailableError {
  readonly code = "ERR_STORE_UNAVAILABLE";
}

/** The disk, or the memory of the server, is full. What was acknowledged is kept, and nothing of this call was done. */
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

/** It belongs to another program, or to a newer Lovage, or is of a version that we cannot use. It is left as it is. */
export class StoreSchemaError extends ContractError {
  readonly code = "ERR_STORE_SCHEMA";
}

/** The store refused one operation for what it was given: nothing of it was done. A bug of ours, or a value past its limits. */
export class StoreOperationError extends ContractError {
  readonly code = "ERR_STORE_OPERATION";
}

/** The server is set up so that it may lose what it acknowledged, or may not be used so: it evicts keys, is a read-only replica, refuses our commands. */
export class StorePolicyError extends ContractError {
  readonly code = "ERR_STORE_POLICY";
}
