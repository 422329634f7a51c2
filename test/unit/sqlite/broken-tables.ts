/** Tables whose schema SQLite refuses. */
import type { SqliteTables } from "../../../src/sqlite/tables.ts";

export const tables: SqliteTables = {
  name: "broken",
  url: import.meta.url,
  migrations: ["CREATE TABLE first (n INTEGER) STRICT", "CREATE TABEL second"],
  ops: {},
};
