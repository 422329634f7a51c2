/**
 * Who serves which queues: what owners announce, and what an owner may claim. Runs in the file's thread.
 *
 * Where owners serve different queues, each finds what is due in its own along an index, so that it need not walk past 10^6 rows of others
 * with the file locked (0.2 s for each claim). The index is made when the first such owner enlists, and stays: where all serve the
 * same queues, which is nearly everywhere, no put and no claim pays for it.
 */
import { aliveSql, ownerNumber } from "../../../sqlite/owners-tables.ts";
import type { Db } from "../../../sqlite/tables.ts";

/** In the place of a queue's name, which is never empty. */
const EVERY = "";

export interface ServeParams {
  readonly ns: number;
  readonly owner: string;
  /** Null: every queue. */
  readonly queues: readonly string[] | null;
}

export function serve(db: Db, { ns, owner, queues }: ServeParams): null {
  const ownerN = ownerNumber(db, owner);
  // Those that died without a word are cleared away by the next that comes.
  db.sql(`DELETE FROM serving WHERE ns = ? AND (owner = ? OR NOT ${aliveSql("serving.owner")})`).run(ns, ownerN);
  const own = new Set(queues ?? [EVERY]);
  if (!servedQueues(db, ns).every((queue) => own.has(queue)) || !othersServeAll(db, ns, own)) {
    db.sql("CREATE INDEX IF NOT EXISTS by_queue ON callbacks (ns, queue, state, due) WHERE state <= 1").run();
  }
  const add = db.sql("INSERT OR IGNORE INTO serving (ns, queue, owner) VALUES (?, ?, ?)");
  for (const queue of own) add.run(ns, queue, ownerN);
  return null;
}

/** Each queue that a live owner serves. */
function servedQueues(db: Db, ns: number): string[] {
  return db
    .sql(`SELECT DISTINCT queue FROM serving WHERE ns = ? AND ${aliveSql("serving.owner")}`)
    .all(ns)
    .map(({ queue }) => queue as string);
}

/** Whether each live owner that is there serves all of these, or there is none. All that is served is among them. */
function othersServeAll(db: Db, ns: number, queues: ReadonlySet<string>): boolean {
  const rows = db.sql(`SELECT owner FROM serving WHERE ns = ? AND ${aliveSql("serving.owner")}`).all(ns);
  return rows.length === queues.size * new Set(rows.map(({ owner }) => owner)).size;
}

function hasIndex(db: Db): boolean {
  return db.sql("SELECT 1 FROM pragma_index_info('by_queue') LIMIT 1").get() !== undefined;
}

export function serveNone(db: Db, { ns, owner }: { readonly ns: number; readonly owner: string }): null {
  db.sql("DELETE FROM serving WHERE ns = ? AND owner = (SELECT owners.n FROM owners WHERE owners.name = ?)").run(
    ns,
    owner,
  );
  return null;
}

/** How many owners that live serve one of these queues. @param queues null: every queue */
export function countServing(db: Db, ns: number, queues: readonly string[] | null): number {
  const rows = db.sql(`SELECT queue, owner FROM serving WHERE ns = ? AND ${aliveSql("serving.owner")}`).all(ns);
  const shares = (queue: unknown) => queues === null || queue === EVERY || queues.includes(queue as string);
  return new Set(rows.filter(({ queue }) => shares(queue)).map(({ owner }) => owner)).size;
}

/** From where an owner may claim. */
export type Reach =
  | { readonly from: "every queue" }
  /** Each of them by itself, along `by_queue`. */
  | { readonly from: "queues"; readonly queues: readonly string[] }
  /** The same without `by_queue`, for an owner that announced nothing: these, or all but these. JSON. */
  | { readonly from: "some" | "all but"; readonly queues: string };

const EVERYWHERE: Reach = { from: "every queue" };

/** What an owner asks with. */
export interface Asking {
  readonly ns: number;
  /** Queues that it serves; null: every one. */
  readonly queues: readonly string[] | null;
  readonly sendsOn?: boolean;
}

export function reachOf(db: Db, { ns, queues, sendsOn = true }: Asking): Reach {
  if (queues === null) return EVERYWHERE;
  const served = servedQueues(db, ns);
  if (sendsOn && served.every((queue) => queue !== EVERY && queues.includes(queue))) return EVERYWHERE;
  const own = [...new Set(queues)];
  const leavesOthers = !sendsOn || served.includes(EVERY);
  if (!hasIndex(db)) {
    if (leavesOthers) return { from: "some", queues: JSON.stringify(own) };
    return { from: "all but", queues: JSON.stringify(served.filter((queue) => !queues.includes(queue))) };
  }
  if (leavesOthers) return { from: "queues", queues: own };
  const unserved = waitingQueues(db, ns).filter((queue) => !served.includes(queue) && !queues.includes(queue));
  return { from: "queues", queues: [...own, ...unserved] };
}

/** Queues in which something waits. From name to name, not from row to row. */
function waitingQueues(db: Db, ns: number): string[] {
  const next = db.sql(
    "SELECT queue FROM callbacks INDEXED BY by_queue WHERE ns = ? AND queue > ? AND state <= 1 ORDER BY queue LIMIT 1",
  );
  const queues: string[] = [];
  for (let queue = next.get(ns, EVERY)?.queue; queue !== undefined; queue = next.get(ns, queue as string)?.queue) {
    queues.push(queue as string);
  }
  return queues;
}
