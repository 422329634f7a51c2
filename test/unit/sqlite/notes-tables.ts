/** Tables for the tests of the embedded file: notes, each with a number. */
import { type Db, grow, read, type SqliteTables, write } from "../../../src/sqlite/tables.ts";

const migrations = ["CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"];

const ops = {
  add: grow((db: Db, note: { readonly n: number; readonly text: string }) => {
    db.sql("INSERT INTO notes (n, text) VALUES (?, ?)").run(note.n, note.text);
    return note.n;
  }),
  remove: write((db: Db, n: number) => Number(db.sql("DELETE FROM notes WHERE n = ?").run(n).changes)),
  count: read((db: Db, _: null) => db.sql("SELECT count(*) AS n FROM notes").get()?.n as number),
  now: read((_: Db, __: null, nowMs) => nowMs),
  /** Writes, and then fails. */
  trip: write((db: Db, n: number): null => {
    db.sql("INSERT INTO notes (n, text) VALUES (?, 'never')").run(n);
    throw new TypeError("tripped");
  }),
  /** The thread itself ends: what it was doing nobody knows. */
  die: write((_: Db, __: null): null => process.exit(1)),
};

export const tables: SqliteTables<typeof ops> = { name: "notes", url: import.meta.url, migrations, ops };
