/**
 * Listing, in due order, in bounded steps: one step looks at so many rows at most, and claims and settles go between two steps. So
 * a filter that hardly anything of 10^6 rows passes delays nobody. Runs in the file's thread.
 */
import type { Db } from "../../../sqlite/tables.ts";
import type { Place } from "../../check.ts";
import { matcherOf } from "../../match.ts";
import type { ListQuery } from "../../store.ts";
import { COLUMNS, type RowTuple, STATE_NAMES, stateName, stateNumber, tagsOf } from "./rows.ts";

export interface ListParams {
  readonly ns: number;
  readonly query: ListQuery;
  /** Begin behind this place; null: at the beginning. */
  readonly after: Place | null;
  /** At most so many rows in the answer. */
  readonly limit: number;
}

export interface ListStep {
  readonly rows: readonly RowTuple[];
  /** Where to go on; null: there is nothing more. */
  readonly at: Place | null;
}

/** Rows that one step looks at. */
const BUDGET = 1_000;
/** Keys with one prefix that are sorted here, in place of a walk in due order. */
const FEW = 2_000;

interface Seen {
  readonly n: number;
  readonly state: number;
  readonly due: number;
  readonly key: string | null;
  readonly queue: string;
  readonly task: string;
  readonly tags: string | null;
  readonly recurrence: string | null;
}

const SEEN = "n, state, due, key, queue, task, tags, recurrence";

export function list(db: Db, params: ListParams): ListStep {
  const { query } = params;
  if (query.recurrence !== undefined) {
    const recurrence = query.recurrence;
    return step(
      db,
      params,
      walkStates(params, (state, from) => walkRecurrence(db, params.ns, recurrence, state, from)),
    );
  }
  if (query.tags !== undefined && query.tags.length > 0)
    return step(db, params, walkTag(db, params, query.tags[0] as string));
  const few = query.keyPrefix === undefined ? undefined : fewWithPrefix(db, params.ns, query.keyPrefix);
  const byState = (state: number, from: Place) => walkState(db, params.ns, state, from);
  return step(
    db,
    params,
    few === undefined ? walkStates(params, byState) : sorted(few, params.after),
    few !== undefined,
  );
}

/** @param whole look at all that comes: it is known to be little */
function step(db: Db, { query, limit }: ListParams, walk: Iterable<Seen>, whole = false): ListStep {
  const matches = matcherOf(query);
  const rows: RowTuple[] = [];
  let looked = 0;
  for (const seen of walk) {
    if (query.dueBeforeMs !== undefined && seen.due >= query.dueBeforeMs) break;
    looked += 1;
    if (matches(candidateOf(seen))) {
      rows.push(db.rows(`SELECT ${COLUMNS} FROM callbacks WHERE n = ?`).get(seen.n) as unknown as RowTuple);
    }
    if (rows.length >= limit || (!whole && looked >= BUDGET)) return { rows, at: { dueMs: seen.due, row: seen.n } };
  }
  return { rows, at: null };
}

function candidateOf(seen: Seen) {
  return {
    state: stateName(seen.state),
    dueMs: seen.due,
    key: seen.key ?? undefined,
    queue: seen.queue,
    task: seen.task,
    tags: tagsOf(seen.tags),
    recurrence: seen.recurrence ?? undefined,
  };
}

/** The wanted states' walks, each in due order, merged. */
function* walkStates(
  { query, after }: ListParams,
  walk: (state: number, from: Place) => Generator<Seen>,
): Generator<Seen> {
  const from = startOf(query, after);
  const walks = (query.states ?? STATE_NAMES).map((state) => walk(stateNumber(state), from));
  try {
    const heads = walks.map((walk) => walk.next());
    for (;;) {
      let first = -1;
      for (let i = 0; i < heads.length; i++) {
        const head = heads[i];
        if (head?.done !== false) continue;
        const best = heads[first];
        if (best?.done !== false || isBefore(head.value, best.value)) first = i;
      }
      const head = heads[first];
      if (head?.done !== false) return;
      yield head.value;
      heads[first] = (walks[first] as Generator<Seen>).next();
    }
  } finally {
    for (const walk of walks) walk.return(undefined);
  }
}

/** In two parts, so that a page that begins among 10^6 rows due at one moment does not read those before it. */
function* walkState(db: Db, ns: number, state: number, from: Place): Generator<Seen> {
  // The state stands in the text: walks that go on side by side need statements of their own.
  const where = `SELECT ${SEEN} FROM callbacks INDEXED BY by_state WHERE ns = ? AND state = ${state}`;
  yield* db
    .sql(`${where} AND due = ? AND n > ? ORDER BY n`)
    .iterate(ns, from.dueMs, from.row) as unknown as Iterable<Seen>;
  yield* db.sql(`${where} AND due > ? ORDER BY due, n`).iterate(ns, from.dueMs) as unknown as Iterable<Seen>;
}

function* walkRecurrence(db: Db, ns: number, recurrence: string, state: number, from: Place): Generator<Seen> {
  const where = `SELECT ${SEEN} FROM callbacks INDEXED BY by_recurrence WHERE ns = ? AND recurrence = ? AND state = ${state}`;
  yield* db
    .sql(`${where} AND due = ? AND n > ? ORDER BY n`)
    .iterate(ns, recurrence, from.dueMs, from.row) as unknown as Iterable<Seen>;
  yield* db
    .sql(`${where} AND due > ? ORDER BY due, n`)
    .iterate(ns, recurrence, from.dueMs) as unknown as Iterable<Seen>;
}

function* walkTag(db: Db, { ns, query, after }: ListParams, tag: string): Generator<Seen> {
  const from = startOf(query, after);
  const where = `SELECT ${SEEN.split(", ")
    .map((column) => `callbacks.${column}`)
    .join(", ")} FROM tags CROSS JOIN callbacks ON callbacks.n = tags.n WHERE tags.ns = ? AND tags.tag = ?`;
  yield* db
    .sql(`${where} AND tags.due = ? AND tags.n > ? ORDER BY tags.n`)
    .iterate(ns, tag, from.dueMs, from.row) as unknown as Iterable<Seen>;
  yield* db
    .sql(`${where} AND tags.due > ? ORDER BY tags.due, tags.n`)
    .iterate(ns, tag, from.dueMs) as unknown as Iterable<Seen>;
}

/** All rows whose key begins so, if they are few; undefined: walk in due order instead. */
function fewWithPrefix(db: Db, ns: number, prefix: string): Seen[] | undefined {
  const after = textAfter(prefix);
  if (prefix === "" || after === undefined) return undefined;
  const found: Seen[] = [];
  for (const where of ["INDEXED BY by_live_key WHERE state <= 2", "INDEXED BY by_ended_key WHERE state > 2"]) {
    const range = `FROM callbacks ${where} AND ns = ? AND key >= ? AND key < ?`;
    // Counted in the index alone, before a row is read.
    const count = db.sql(`SELECT count(*) AS n FROM (SELECT 1 ${range} LIMIT ${FEW + 1})`).get(ns, prefix, after)?.n;
    if (found.length + Number(count) > FEW) return undefined;
    found.push(...(db.sql(`SELECT ${SEEN} ${range}`).all(ns, prefix, after) as unknown as Seen[]));
  }
  return found;
}

function sorted(rows: Seen[], after: Place | null): Seen[] {
  return rows
    .filter((row) => after === null || row.due > after.dueMs || (row.due === after.dueMs && row.n > after.row))
    .sort((a, b) => (isBefore(a, b) ? -1 : 1));
}

/** The least text greater than all that begin so, in the order of code points, which is that of UTF-8. */
function textAfter(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return undefined;
  // Surrogates are no characters.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}

function startOf(query: ListQuery, after: Place | null): Place {
  const from: Place = { dueMs: query.dueFromMs ?? Number.MIN_SAFE_INTEGER, row: 0 };
  return after === null || after.dueMs < from.dueMs ? from : after;
}

function isBefore(a: Seen, b: Seen): boolean {
  return a.due < b.due || (a.due === b.due && a.n < b.n);
}
