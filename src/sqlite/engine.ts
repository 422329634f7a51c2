/**
 * SQLite as Node carries it, and what this build of it can be trusted with.
 *
 * Releases before 3.51.3 (but for 3.50.7 and 3.44.6 and later of those lines) have the WAL-reset bug: while one connection
 * runs a *passive* checkpoint, another may reset the log and commit, and the file can be damaged. Node 22.18 ships
 * 3.50.2. There we checkpoint with the write lock held, which leaves that race no room. See docs/decisions/sqlite.md.
 */
import type { DatabaseSync } from "node:sqlite";

/** `node:sqlite`, without the warning that it is experimental: it is our choice, not the user's concern. */
export function loadSqlite(): typeof import("node:sqlite") {
  const emitWarning = process.emitWarning;
  process.emitWarning = () => undefined;
  try {
    return process.getBuiltinModule("node:sqlite");
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** True: this release has the WAL-reset bug. */
export function hasWalResetBug(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  const number = major * 1_000_000 + minor * 1_000 + patch;
  if (number >= 3_051_003) return false;
  return !(minor === 50 && patch >= 7) && !(minor === 44 && patch >= 6);
}

export function sqliteVersion(db: DatabaseSync): string {
  return String(db.prepare("SELECT sqlite_version() AS version").get()?.version ?? "0");
}
