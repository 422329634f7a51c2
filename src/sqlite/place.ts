/** The place of a file, before SQLite sees it: what is wrong with it is said at once, and in words that say what to do. */
import { accessSync, closeSync, constants, openSync, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";
import { LovageError, messageOf } from "../kit/errors.ts";
import { StoreCorruptError, StoreFullError, StorePathError, StoreUnavailableError } from "../kit/store-errors.ts";

/**
 * Make the file if it is not there, for its owner alone. Answers what the operator should know.
 *
 * @param create false: it must be there
 * @throws {StorePathError} {StoreCorruptError} {StoreFullError} {StoreUnavailableError}
 */
export function preparePlace(path: string, create: boolean): string | undefined {
  const stats = statOf(path);
  if (stats?.isFile() === false) {
    throw new StorePathError(
      `${path} is ${stats.isDirectory() ? "a directory" : "no ordinary file"}: give the path of a file`,
    );
  }
  const missing = stats === undefined;
  if (missing || stats.size === 0) refuseOrphanLog(path, missing);
  try {
    if (!missing) accessSync(path, constants.R_OK | constants.W_OK);
    else if (create) createPrivate(path);
    else throw new StoreUnavailableError(`${path} is gone: put it back, or restart to begin with a new one`);
    // The log and its index are made beside it.
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
  } catch (thrown) {
    throw thrown instanceof LovageError ? thrown : pathError(path, thrown);
  }
  return stats?.size === 0 ? `${path} was empty; it is set up as a new file` : undefined;
}

/** SQLite would remove the log, and with it what was committed. */
function refuseOrphanLog(path: string, missing: boolean): void {
  const log = statOf(`${path}-wal`);
  if (log === undefined || log.size === 0) return;
  // Whoever makes the file at this moment writes it before its log.
  if ((statOf(path)?.size ?? 0) > 0) return;
  throw new StoreCorruptError(
    `${path} is ${missing ? "missing" : "empty"}, but its log ${path}-wal is not: restore both from a backup, or move the log away to begin anew`,
  );
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (thrown) {
    throw pathError(path, thrown);
  }
}

/** For its owner only: messages hold what users sent. Exclusive, so an open file is never opened and closed beside SQLite. */
function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (thrown) {
    if (codeOf(thrown) !== "EEXIST") throw thrown;
  }
}

function pathError(path: string, thrown: unknown): LovageError {
  const options = { cause: thrown };
  const directory = dirname(path);
  switch (codeOf(thrown)) {
    case "ENOENT":
      return new StorePathError(`cannot open ${path}: there is no directory ${directory}; create it`, options);
    case "ENOTDIR":
      return new StorePathError(
        `cannot open ${path}: a part of ${directory} is no directory; correct the path`,
        options,
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new StorePathError(
        `cannot write ${path}: it or its directory is read-only for this user; change that, or give another path`,
        options,
      );
    case "ENOSPC":
    case "EDQUOT":
      return new StoreFullError(`cannot create ${path}: the disk is full; free some space and try again`, options);
    default:
      return new StorePathError(`cannot open ${path}: ${messageOf(thrown)}`, options);
  }
}

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
}
