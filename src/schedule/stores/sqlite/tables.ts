/** What the schedule keeps in the embedded file, and what can be done with it. Runs in the file's thread. */
import { type Db, grow, read, type SqliteTables, write } from "../../../sqlite/tables.ts";
import { cancel, get, reschedule, revoke, revoked } from "./cancel.ts";
import { claimDue, upcoming } from "./claim.ts";
import { count, countsOf, group } from "./counts.ts";
import { list } from "./list.ts";
import { hasLost, recoverLost } from "./lost.ts";
import { put, removeTags } from "./put.ts";
import {
  advance,
  cancelRecurrence,
  dueRecurrences,
  forgetRecurrences,
  getRecurrence,
  hasOldRecurrences,
  listRecurrences,
  pause,
  putRecurrence,
  resume,
} from "./recurrences.ts";
import { migrations } from "./schema.ts";
import { countServing, serve, serveNone } from "./serving.ts";
import { release, renew, settle, takeAborts } from "./settle.ts";

interface OfNamespace {
  readonly ns: number;
}

/** The number of the namespace, for all that follows. */
function open(db: Db, name: string): number {
  db.sql("INSERT OR IGNORE INTO namespaces (name) VALUES (?)").run(name);
  return db.sql("SELECT n FROM namespaces WHERE name = ?").get(name)?.n as number;
}

function counts(db: Db, { ns }: OfNamespace): number[] {
  return countsOf(db, ns);
}

interface Unswept {
  readonly held: boolean;
  readonly lost: boolean;
  readonly old: boolean;
  /** Owners that live and share a queue. */
  readonly owners: number;
}

/** Whether there is anything to sweep, and who else does: looked at each second, so without the write lock. */
function unswept(
  db: Db,
  { ns, queues }: OfNamespace & { readonly queues: readonly string[] | null },
  nowMs: number,
): Unswept {
  return {
    owners: countServing(db, ns, queues),
    held:
      db.sql("SELECT 1 FROM callbacks INDEXED BY by_lease WHERE ns = ? AND lease IS NOT NULL LIMIT 1").get(ns) !==
      undefined,
    lost: hasLost(db, ns, nowMs),
    old:
      db.sql("SELECT 1 FROM callbacks INDEXED BY by_forget WHERE ns = ? AND forget <= ? LIMIT 1").get(ns, nowMs) !==
        undefined ||
      db.sql("SELECT 1 FROM tombstones INDEXED BY by_until WHERE ns = ? AND until <= ? LIMIT 1").get(ns, nowMs) !==
        undefined ||
      hasOldRecurrences(db, ns, nowMs),
  };
}

interface Old {
  readonly n: number;
  readonly state: number;
  readonly due: number;
  readonly tags: string | null;
}

/** Remove what is past retention, `limit` of each kind at most; how many of the kind of which there were most. */
function forget(db: Db, { ns, limit }: OfNamespace & { readonly limit: number }, nowMs: number): number {
  const rows = db
    .sql(
      "SELECT n, state, due, tags FROM callbacks INDEXED BY by_forget WHERE ns = ? AND forget <= ? ORDER BY forget, n LIMIT ?",
    )
    .all(ns, nowMs, limit) as unknown as Old[];
  for (const row of rows) {
    if (row.tags !== null) removeTags(db, ns, row.n, row.due, row.tags);
    db.sql("DELETE FROM bodies WHERE n = ?").run(row.n);
    db.sql("DELETE FROM callbacks WHERE n = ?").run(row.n);
    count(ns, row.state, -1);
  }
  const tombs = db.sql("SELECT task_id FROM tombstones WHERE ns = ? AND until <= ? LIMIT ?").all(ns, nowMs, limit);
  for (const tomb of tombs)
    db.sql("DELETE FROM tombstones WHERE ns = ? AND task_id = ?").run(ns, tomb.task_id as string);
  return Math.max(rows.length, tombs.length, forgetRecurrences(db, ns, limit, nowMs));
}

const ops = {
  open: write(open),
  put: grow(put),
  cancel: write(cancel),
  reschedule: write(reschedule),
  get: read(get),
  list: read(list),
  counts: read(counts),
  upcoming: read(upcoming),
  claimDue: write(claimDue),
  renew: write(renew),
  settle: write(settle),
  release: write(release),
  unswept: read(unswept),
  recoverLost: write(recoverLost),
  forget: write(forget),
  takeAborts: write(takeAborts),
  revoke: write(revoke),
  revoked: read(revoked),
  serve: write(serve),
  serveNone: write(serveNone),
  putRecurrence: grow(putRecurrence),
  getRecurrence: read(getRecurrence),
  listRecurrences: read(listRecurrences),
  dueRecurrences: read(dueRecurrences),
  advance: grow(advance),
  pause: write(pause),
  resume: grow(resume),
  cancelRecurrence: write(cancelRecurrence),
};

export const tables: SqliteTables<typeof ops> = { name: "schedule", url: import.meta.url, migrations, ops, group };
