/** What the broker keeps in the embedded file, and what can be done with it. Runs in the file's thread. */
import { aliveSql, ownerNumber } from "../../sqlite/owners-tables.ts";
import { type Db, grow, read, type SqliteTables, write } from "../../sqlite/tables.ts";
import {
  BACK,
  type ClaimAnswer,
  type ClaimedRow,
  type ClaimParams,
  DROP,
  type Fate,
  type LookAnswer,
  type PublishParams,
  type SettleRow,
  type StaleOwner,
} from "./rows.ts";
import { migrations } from "./schema.ts";

function queueNumber(db: Db, name: string): number | null {
  return (db.sql("SELECT n FROM queues WHERE name = ?").get(name)?.n as number | undefined) ?? null;
}

/** Answers the indexes of the rows whose queue does not exist; the others are in. */
function publish(db: Db, { rows, bodies }: PublishParams): number[] {
  const unroutable: number[] = [];
  const message = db.sql(
    "INSERT INTO messages (queue, rank, exchange, properties, headers, body) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const waiting = db.sql("INSERT INTO messages_waiting (queue, rank, n, redelivered) VALUES (?, ?, ?, 0)");
  const numbers = new Map<string, number | null>();
  let from = 0;
  for (let i = 0; i < rows.length; i += 1) {
    const [name, exchange, rank, properties, headers, bytes] = rows[i] as PublishParams["rows"][number];
    const body = bodies.subarray(from, from + bytes);
    from += bytes;
    let queue = numbers.get(name);
    if (queue === undefined) {
      queue = queueNumber(db, name);
      numbers.set(name, queue);
    }
    if (queue === null) {
      unroutable.push(i);
      continue;
    }
    const { lastInsertRowid } = message.run(queue, rank, exchange, properties, headers, body);
    waiting.run(queue, rank, lastInsertRowid);
  }
  return unroutable;
}

type Key = readonly [queue: number, rank: number, n: number, redelivered: 0 | 1];

function claim(db: Db, params: ClaimParams, nowMs: number): ClaimAnswer {
  const { claim: number, again, queues, limit, maxBytes, leaseMs } = params;
  const owner = ownerNumber(db, params.owner);
  const batch = new Batch(db);
  if (again) {
    const earlier = db
      .rows("SELECT n, redelivered FROM messages_held WHERE owner = ? AND claim = ? ORDER BY n")
      .all(owner, number) as unknown as readonly [number, 0 | 1][];
    for (const [n, redelivered] of earlier) batch.add(n, redelivered);
    // Nothing more is claimed under a number that was used: a third time would answer both.
    if (earlier.length > 0) return { owner, ...batch.answer(), more: true };
  }
  const taken = db.sql("DELETE FROM messages_waiting WHERE queue = ? AND rank = ? AND n = ?");
  const held = db.sql("INSERT INTO messages_held (owner, n, claim, redelivered) VALUES (?, ?, ?, ?)");
  for (const [queue, rank, n, redelivered] of inTurn(db, queues, limit)) {
    taken.run(queue, rank, n);
    held.run(owner, n, number, redelivered);
    batch.add(n, redelivered);
    if (batch.bytes >= maxBytes) break;
  }
  const more = batch.count >= limit || batch.bytes >= maxBytes;
  if (batch.count > 0) lease(db, owner, nowMs + leaseMs);
  return { owner, ...batch.answer(), more };
}

/** What is first in each queue: one of each in turn, so that a full queue does not keep the others waiting. */
function inTurn(db: Db, queues: readonly number[], limit: number): Key[] {
  const first = db.rows(
    "SELECT queue, rank, n, redelivered FROM messages_waiting WHERE queue = ? ORDER BY rank, n LIMIT ?",
  );
  const lines = queues.map((queue) => first.all(queue, limit) as unknown as Key[]);
  const [only] = lines;
  if (lines.length === 1 && only !== undefined) return only;
  const keys: Key[] = [];
  for (let place = 0; keys.length < limit && lines.some((line) => line.length > place); place += 1) {
    for (const line of lines) {
      const key = line[place];
      if (key !== undefined && keys.length < limit) keys.push(key);
    }
  }
  return keys;
}

/** Messages on their way out. */
class Batch {
  readonly #message: ReturnType<Db["rows"]>;
  readonly #rows: ClaimedRow[] = [];
  readonly #bodies: Uint8Array[] = [];
  bytes = 0;

  constructor(db: Db) {
    this.#message = db.rows("SELECT queue, exchange, properties, headers, body FROM messages WHERE n = ?");
  }

  get count(): number {
    return this.#rows.length;
  }

  add(n: number, redelivered: 0 | 1): void {
    const row = this.#message.get(n) as unknown as readonly [number, string, string, string, Uint8Array];
    const [queue, exchange, properties, headers, body] = row;
    this.#rows.push([n, queue, redelivered, exchange, properties, headers, body.byteLength]);
    this.#bodies.push(body);
    this.bytes += body.byteLength;
  }

  answer(): { rows: readonly ClaimedRow[]; bodies: Uint8Array } {
    const bodies = new Uint8Array(this.bytes);
    let at = 0;
    for (const body of this.#bodies) {
      bodies.set(body, at);
      at += body.byteLength;
    }
    return { rows: this.#rows, bodies };
  }
}

function lease(db: Db, owner: number, until: number): void {
  db.sql(
    "INSERT INTO message_leases (owner, until) VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET until = excluded.until",
  ).run(owner, until);
}

/** The owner holds on to what it has. */
function renew(db: Db, { owner, leaseMs }: { readonly owner: string; readonly leaseMs: number }, nowMs: number): null {
  lease(db, ownerNumber(db, owner), nowMs + leaseMs);
  return null;
}

/** What is not in that hand any more stays as it is. */
function settle(db: Db, rows: readonly SettleRow[]): null {
  for (const [owner, n, claim, fate] of rows) takeBack(db, owner, n, claim, fate);
  return null;
}

function takeBack(db: Db, owner: number, n: number, claim: number, fate: Fate): void {
  const released = db.sql("DELETE FROM messages_held WHERE owner = ? AND n = ? AND claim = ?").run(owner, n, claim);
  if (Number(released.changes) === 0) return;
  if (fate === DROP) db.sql("DELETE FROM messages WHERE n = ?").run(n);
  else
    db.sql(
      "INSERT INTO messages_waiting (queue, rank, n, redelivered) SELECT queue, rank, n, ? FROM messages WHERE n = ?",
    ).run(fate, n);
}

/** Return up to `limit` of what the owner holds; answers how many. */
function giveBack(db: Db, owner: number, limit: number): number {
  const held = db
    .rows("SELECT n, claim FROM messages_held WHERE owner = ? ORDER BY n LIMIT ?")
    .all(owner, limit) as unknown as readonly [number, number][];
  for (const [n, claim] of held) takeBack(db, owner, n, claim, BACK);
  if (held.length < limit) db.sql("DELETE FROM message_leases WHERE owner = ?").run(owner);
  return held.length;
}

/** The owner's own wish. */
function leave(db: Db, { owner, limit }: { readonly owner: string; readonly limit: number }): number {
  const n = db.sql("SELECT n FROM owners WHERE name = ?").get(owner)?.n as number | undefined;
  return n === undefined ? 0 : giveBack(db, n, limit);
}

/** Another's: only while the owner is dead, or its lease is over. */
function recover(db: Db, { owner, limit }: { readonly owner: number; readonly limit: number }, nowMs: number): number {
  const holds = db
    .sql(`SELECT 1 FROM message_leases WHERE owner = ? AND until > ? AND ${aliveSql("message_leases.owner")}`)
    .get(owner, nowMs);
  return holds === undefined ? giveBack(db, owner, limit) : 0;
}

/** Is there anything to do? A question that takes no lock. */
function look(db: Db, queues: readonly number[], nowMs: number): LookAnswer {
  const some = db.sql("SELECT 1 FROM messages_waiting WHERE queue = ? LIMIT 1");
  return {
    waiting: queues.some((queue) => some.get(queue) !== undefined),
    dead: (
      db.sql(`SELECT owner FROM message_leases WHERE NOT ${aliveSql("message_leases.owner")}`).all() as {
        owner: number;
      }[]
    ).map((row) => row.owner),
    stale: db
      .sql(
        `SELECT n, name, pid, started, boot FROM message_leases JOIN owners ON owners.n = owner
         WHERE until <= ? AND dead_ms IS NULL`,
      )
      .all(nowMs) as unknown as StaleOwner[],
  };
}

function depth(db: Db, name: string): number | null {
  const queue = queueNumber(db, name);
  if (queue === null) return null;
  return db.sql("SELECT count(*) AS n FROM messages_waiting WHERE queue = ?").get(queue)?.n as number;
}

interface PurgeParams {
  readonly queue: string;
  /** Messages that came later stay; null: those that come after this step. */
  readonly upTo: number | null;
  readonly limit: number;
}

/** One step: drop up to `limit` of what waits. Null: no such queue. */
function purge(db: Db, { queue: name, upTo, limit }: PurgeParams): { dropped: number; upTo: number } | null {
  const queue = queueNumber(db, name);
  if (queue === null) return null;
  const last = upTo ?? ((db.sql("SELECT max(n) AS n FROM messages").get()?.n ?? 0) as number);
  const rows = db
    .rows("SELECT rank, n FROM messages_waiting WHERE queue = ? AND n <= ? ORDER BY rank, n LIMIT ?")
    .all(queue, last, limit) as unknown as readonly [number, number][];
  for (const [rank, n] of rows) {
    db.sql("DELETE FROM messages_waiting WHERE queue = ? AND rank = ? AND n = ?").run(queue, rank, n);
    db.sql("DELETE FROM messages WHERE n = ?").run(n);
  }
  return { dropped: rows.length, upTo: last };
}

const ops = {
  /** Answers when the file is in working order. */
  check: read((_: Db, __: null): null => null),
  declare: grow((db: Db, name: string): null => {
    db.sql("INSERT INTO queues (name) VALUES (?) ON CONFLICT (name) DO NOTHING").run(name);
    return null;
  }),
  find: read(queueNumber),
  publish: grow(publish),
  claim: write(claim),
  renew: write(renew),
  settle: write(settle),
  leave: write(leave),
  recover: write(recover),
  look: read(look),
  depth: read(depth),
  purge: write(purge),
};

export const tables: SqliteTables<typeof ops> = { name: "broker", url: import.meta.url, migrations, ops };
