/**
 * The table of owners: the processes that hold something in the file (a claim, a delivery). Runs in the file's thread.
 *
 * What an owner holds names it by its number `n`. An owner with `dead_ms`, or one that has no row any more, holds nothing:
 * whoever keeps such things gives them back when it sweeps.
 */
import { type Db, read, type SqliteTables, write } from "./tables.ts";

export interface OwnerRow {
  readonly n: number;
  readonly name: string;
  /** 0: it never said which process it is; only leases tell. */
  readonly pid: number;
  readonly started: string;
  readonly boot: string;
  /** Pid and start of each process that works for it. */
  readonly children: readonly (readonly [pid: number, started: string])[];
}

export type NewOwner = Omit<OwnerRow, "n">;

const migrations = [
  `CREATE TABLE owners (
     n INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: what is held may outlive the row
     name TEXT NOT NULL UNIQUE,
     pid INTEGER NOT NULL DEFAULT 0,
     started TEXT NOT NULL DEFAULT '',
     boot TEXT NOT NULL DEFAULT '',
     children TEXT NOT NULL DEFAULT '[]',
     dead_ms INTEGER
   ) STRICT`,
];

/** The number of the owner of this name, for what it holds. One that never enlisted gets a row without a process. */
export function ownerNumber(db: Db, name: string): number {
  const row = db.sql("SELECT n, dead_ms FROM owners WHERE name = ?").get(name);
  if (row === undefined) return Number(db.sql("INSERT INTO owners (name) VALUES (?)").run(name).lastInsertRowid);
  // It asks, so it lives.
  if (row.dead_ms !== null) db.sql("UPDATE owners SET dead_ms = NULL WHERE n = ?").run(row.n as number);
  return row.n as number;
}

/** SQL: true when the owner numbered by this column is alive as far as is known. */
export function aliveSql(column: string): string {
  return `EXISTS (SELECT 1 FROM owners WHERE owners.n = ${column} AND owners.dead_ms IS NULL)`;
}

const ops = {
  /** Announce the process, and what works for it now. */
  enlist: write((db: Db, owner: NewOwner) => {
    const n = ownerNumber(db, owner.name);
    db.sql("UPDATE owners SET pid = ?, started = ?, boot = ?, children = ? WHERE n = ?").run(
      owner.pid,
      owner.started,
      owner.boot,
      JSON.stringify(owner.children),
      n,
    );
    return null;
  }),

  /** Those not known to be dead. */
  list: read((db: Db, _: null): OwnerRow[] =>
    db
      .sql("SELECT n, name, pid, started, boot, children FROM owners WHERE dead_ms IS NULL AND pid <> 0")
      .all()
      .map((row) => ({
        n: row.n as number,
        name: row.name as string,
        pid: row.pid as number,
        started: row.started as string,
        boot: row.boot as string,
        children: JSON.parse(row.children as string),
      })),
  ),

  /** The process is gone, and so is what worked for it. Only if it is still the one that was looked at. */
  bury: write((db: Db, owner: OwnerRow, nowMs) =>
    Number(
      db
        .sql("UPDATE owners SET dead_ms = ? WHERE n = ? AND pid = ? AND started = ? AND dead_ms IS NULL")
        .run(nowMs, owner.n, owner.pid, owner.started).changes,
    ),
  ),

  /** It holds nothing from now on. */
  resign: write((db: Db, name: string, nowMs) => {
    db.sql("UPDATE owners SET dead_ms = ?, children = '[]' WHERE name = ? AND dead_ms IS NULL").run(nowMs, name);
    return null;
  }),

  /** Remove the rows of those long dead. */
  forget: write((db: Db, params: { readonly beforeMs: number; readonly limit: number }) =>
    Number(
      db
        .sql("DELETE FROM owners WHERE n IN (SELECT n FROM owners WHERE dead_ms < ? LIMIT ?)")
        .run(params.beforeMs, params.limit).changes,
    ),
  ),
};

export const tables: SqliteTables<typeof ops> = { name: "owners", url: import.meta.url, migrations, ops };
