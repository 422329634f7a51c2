/** The schedule's tables as the first Lovage made them, with just enough to fill them. */
import { migrations } from "../../src/schedule/stores/sqlite/schema.ts";
import { type Db, grow, type SqliteTables } from "../../src/sqlite/tables.ts";

const ops = {
  fill: grow(
    (db: Db, rows: readonly { readonly salt: number; readonly due: number; readonly key: string | null }[]) => {
      db.sql("INSERT INTO namespaces (n, name) VALUES (1, 'lovage')").run();
      for (const { salt, due, key } of rows) {
        db.sql(
          `INSERT INTO callbacks (salt, ns, due, flags, grace, retries, created, key, queue, task, body)
         VALUES (?, 1, ?, 0, 0, 0, 1, ?, 'celery', 'demo.scream', '[]')`,
        ).run(salt, due, key);
      }
      db.sql("INSERT INTO counters (ns, state, n) VALUES (1, 0, ?)").run(rows.length);
      return null;
    },
  ),
};

export const tables: SqliteTables<typeof ops> = {
  name: "schedule",
  url: import.meta.url,
  migrations: migrations.slice(0, 1),
  ops,
};
