/** Adding callbacks: keys, redelivered messages, revoked task ids, the limit. Runs in the file's thread. */
import type { Db } from "../../../sqlite/tables.ts";
import type { Occurrence } from "../../callback.ts";
import { count, liveCount } from "./counts.ts";
import { flagsOfOverlap, INLINE_BODY, type PutTuple, SCHEDULED, tagsOf } from "./rows.ts";

export interface PutParams {
  readonly ns: number;
  readonly maxPending: number;
  readonly callbacks: readonly PutTuple[];
}

/** n, salt and due of the row that stands; the words are those of PutAnswer. */
export type PutRow = readonly [
  put: "added" | "existing" | "replaced" | "too_late" | "conflict" | "revoked",
  n: number,
  salt: number,
  due: number,
];

/** "full": the limit is reached, and nothing was added. */
export function put(db: Db, { ns, maxPending, callbacks }: PutParams, nowMs: number): PutRow[] | "full" {
  if (maxPending > 0) {
    const left = maxPending - liveCount(db, ns);
    if (callbacks.length > left && addedBy(db, ns, callbacks) > left) return "full";
  }
  return callbacks.map((callback) => putOne(db, ns, callback, nowMs));
}

function putOne(db: Db, ns: number, callback: PutTuple, nowMs: number): PutRow {
  const [salt, due, , , , key, conflict, taskId, , , , retries] = callback;
  if (taskId !== null) {
    if (isRevoked(db, ns, taskId, nowMs)) return ["revoked", 0, 0, 0];
    const earlier = takenOver(db, ns, taskId, retries);
    if (earlier !== undefined) return ["existing", ...earlier];
  }
  if (key !== null) {
    const holder = liveOf(db, ns, key);
    if (holder !== undefined) {
      if (conflict === "reject") return ["conflict", holder.n, holder.salt, holder.due];
      if (conflict === "keep") return ["existing", holder.n, holder.salt, holder.due];
      if (holder.state !== SCHEDULED) return ["too_late", holder.n, holder.salt, holder.due];
      replace(db, ns, holder, callback);
      return ["replaced", holder.n, holder.salt, due];
    }
  }
  return ["added", insert(db, ns, callback, nowMs), salt, due];
}

function insert(db: Db, ns: number, callback: PutTuple, nowMs: number): number {
  const [salt, due, flags, grace, expires, key, , taskId, queue, tags, task, retries, more, body] = callback;
  const inline = body.length <= INLINE_BODY;
  const n = Number(
    db
      .sql(
        `INSERT INTO callbacks
           (salt, ns, due, flags, grace, retries, expires, created, key, task_id, arrived, queue, task, tags, more, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        salt,
        ns,
        due,
        flags,
        grace,
        retries,
        expires,
        nowMs,
        key,
        taskId,
        taskId === null ? null : retries,
        queue,
        task,
        tags,
        more,
        inline ? body : null,
      ).lastInsertRowid,
  );
  afterInsert(db, ns, n, callback);
  return n;
}

/** An occurrence; nothing is done when it has its row already. */
export function insertOccurrence(
  db: Db,
  ns: number,
  callback: PutTuple,
  { recurrence, generation, nominalMs, overlap }: Occurrence,
  nowMs: number,
): void {
  const [salt, due, flags, grace, expires, , , , queue, tags, task, retries, more, body] = callback;
  const inline = body.length <= INLINE_BODY;
  const { changes, lastInsertRowid } = db
    .sql(
      `INSERT INTO callbacks
         (salt, ns, due, flags, grace, retries, expires, created, queue, task, tags, more, body, recurrence, generation, nominal)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (ns, recurrence, generation, nominal) WHERE recurrence IS NOT NULL DO NOTHING`,
    )
    .run(
      salt,
      ns,
      due,
      flags | flagsOfOverlap(overlap),
      grace,
      retries,
      expires,
      nowMs,
      queue,
      task,
      tags,
      more,
      inline ? body : null,
      recurrence,
      generation,
      nominalMs,
    );
  if (changes > 0) afterInsert(db, ns, Number(lastInsertRowid), callback);
}

function afterInsert(db: Db, ns: number, n: number, callback: PutTuple): void {
  const [, due, , , , , , , , tags, , , , body] = callback;
  if (body.length > INLINE_BODY) db.sql("INSERT INTO bodies (n, body) VALUES (?, ?)").run(n, body);
  if (tags !== null) addTags(db, ns, n, due, tags);
  count(ns, SCHEDULED, 1);
}

/** The live callback is given this call and due time; its id stays. */
function replace(db: Db, ns: number, holder: Holder, callback: PutTuple): void {
  const [, due, flags, grace, expires, , , taskId, queue, tags, task, retries, more, body] = callback;
  if (holder.tags !== null) removeTags(db, ns, holder.n, holder.due, holder.tags);
  db.sql(
    `UPDATE callbacks SET due = ?, token = token + 1, flags = ?, grace = ?, retries = ?, expires = ?, task_id = ?,
       arrived = ?, queue = ?, task = ?, tags = ?, more = ? WHERE n = ?`,
  ).run(
    due,
    flags,
    grace,
    retries,
    expires,
    taskId,
    taskId === null ? null : retries,
    queue,
    task,
    tags,
    more,
    holder.n,
  );
  setBody(db, holder.n, body);
  if (tags !== null) addTags(db, ns, holder.n, due, tags);
}

/** Give the row another body, where bodies of its length live. */
export function setBody(db: Db, n: number, body: string): void {
  db.sql("DELETE FROM bodies WHERE n = ?").run(n);
  const inline = body.length <= INLINE_BODY;
  db.sql("UPDATE callbacks SET body = ? WHERE n = ?").run(inline ? body : null, n);
  if (!inline) db.sql("INSERT INTO bodies (n, body) VALUES (?, ?)").run(n, body);
}

interface Holder {
  readonly n: number;
  readonly salt: number;
  readonly due: number;
  readonly state: number;
  readonly tags: string | null;
}

function liveOf(db: Db, ns: number, key: string): Holder | undefined {
  return db
    .sql(
      "SELECT n, salt, due, state, tags FROM callbacks INDEXED BY by_live_key WHERE ns = ? AND key = ? AND state <= 2",
    )
    .get(ns, key) as Holder | undefined;
}

function takenOver(db: Db, ns: number, taskId: string, retries: number): [number, number, number] | undefined {
  return db
    .rows("SELECT n, salt, due FROM callbacks INDEXED BY by_task_id WHERE ns = ? AND task_id = ? AND arrived = ?")
    .get(ns, taskId, retries) as [number, number, number] | undefined;
}

export function isRevoked(db: Db, ns: number, taskId: string, nowMs: number): boolean {
  const until = db.sql("SELECT until FROM tombstones WHERE ns = ? AND task_id = ?").get(ns, taskId)?.until;
  return typeof until === "number" && until > nowMs;
}

/** How many rows these would make. */
function addedBy(db: Db, ns: number, callbacks: readonly PutTuple[]): number {
  const keys = new Set<string>();
  const adds = callbacks.filter(([, , , , , key, , taskId, , , , retries]) => {
    if (taskId !== null && takenOver(db, ns, taskId, retries) !== undefined) return false;
    return key === null || (liveOf(db, ns, key) === undefined && !keys.has(key) && keys.add(key));
  });
  return adds.length;
}

/** `tags` is the row's own JSON. */
export function addTags(db: Db, ns: number, n: number, due: number, tags: string): void {
  for (const tag of tagsOf(tags)) db.sql("INSERT INTO tags (ns, tag, due, n) VALUES (?, ?, ?, ?)").run(ns, tag, due, n);
}

export function removeTags(db: Db, ns: number, n: number, due: number, tags: string): void {
  for (const tag of tagsOf(tags)) {
    db.sql("DELETE FROM tags WHERE ns = ? AND tag = ? AND due = ? AND n = ?").run(ns, tag, due, n);
  }
}
