/**
 * Listing, in due order, in bounded steps: a script looks at 500 rows at most, and others get their turn between two. What a query asks
 * for beside states and queue is decided here, by `match.ts`, as in every store.
 */
import { CALLBACK_STATES } from "../../callback.ts";
import { cursorOf, LAST_MS, placeOf } from "../../check.ts";
import { matcherOf } from "../../match.ts";
import type { ListPage, ListQuery } from "../../store.ts";
import { BUDGET } from "./lua/list.ts";
import type { Packable, Unpacked } from "./pack.ts";
import { callbackOf, candidateOf, dueOf, lacksBody, memberOf, numberOf, type Row, rowsOf } from "./rows.ts";
import { type Script, scripts } from "./scripts.ts";

type Ask = (script: Script, params: readonly Packable[]) => Promise<Unpacked>;

/** Rows whose long bodies are fetched at once. */
const BODIES = 20;
const BEFORE_ALL_MS = -LAST_MS - 1;

interface Walk {
  readonly sets: readonly string[];
  /** Beside the sets: all that is scheduled or waits. */
  readonly due: boolean;
}

/** What moves meanwhile may be met twice, or not at all. */
export async function listPage(ask: Ask, query: ListQuery): Promise<ListPage> {
  const after = placeOf(query.cursor);
  if (query.states?.length === 0) return { callbacks: [] };
  const from = { dueMs: query.dueFromMs ?? BEFORE_ALL_MS, row: 0 };
  const start = after === undefined || after.dueMs < from.dueMs ? from : after;
  const found = (await fewWithPrefix(ask, query, start)) ?? (await walk(ask, query, start));
  const page = found.slice(0, query.limit);
  const last = page.at(-1);
  const callbacks = (await withBodies(ask, page)).map(callbackOf);
  if (last === undefined || found.length <= page.length) return { callbacks };
  return { callbacks, next: cursorOf({ dueMs: dueOf(last), row: numberOf(last.member) }) };
}

/** One more than the page has, to know whether another follows. */
async function walk(ask: Ask, query: ListQuery, start: { dueMs: number; row: number }): Promise<Row[]> {
  const { sets, due } = walkOf(query);
  const matches = matcherOf(query);
  const found: Row[] = [];
  let at: readonly [due: number, member: string] = [start.dueMs, start.row === 0 ? "" : memberOf(start.row)];
  for (;;) {
    const most = isPlain(query) ? Math.min(BUDGET, query.limit + 1 - found.length) : BUDGET;
    const answer = await ask(scripts.list, [sets, due, query.queue ?? false, ...at, most]);
    const [answered = [], more] = answer as [Unpacked, boolean];
    const rows = rowsOf(answered);
    for (const row of rows) {
      if (query.dueBeforeMs !== undefined && dueOf(row) >= query.dueBeforeMs) return found;
      if (matches(candidateOf(row))) found.push(row);
      if (found.length > query.limit) return found;
    }
    const last = rows.at(-1);
    if (!more || last === undefined) return found;
    at = [dueOf(last), last.member];
  }
}

/** The fewest sets that hold all that can match. */
function walkOf({ tags, recurrence, states }: ListQuery): Walk {
  if (recurrence !== undefined) return { sets: [`of:${recurrence}`], due: false };
  if (tags !== undefined && tags.length > 0) return { sets: [`tag:${tags[0]}`], due: false };
  const wanted = CALLBACK_STATES.map((state, number) => ({ state, number })).filter(
    ({ state }) => states === undefined || states.includes(state),
  );
  const due = wanted.some(({ state }) => state === "scheduled");
  const sets = wanted.filter(({ state }) => state !== "scheduled" && !(due && state === "waiting"));
  return { sets: sets.map(({ number }) => `in:${number}`), due };
}

/** Every row of the walk matches. */
function isPlain({ states, task, keyPrefix, tags, queue, recurrence }: ListQuery): boolean {
  const filters = [states, task, keyPrefix, queue, recurrence];
  return filters.every((filter) => filter === undefined) && (tags === undefined || tags.length === 0);
}

/** All rows whose key begins so, sorted here, if they are few; undefined: walk in due order instead. */
async function fewWithPrefix(
  ask: Ask,
  query: ListQuery,
  start: { dueMs: number; row: number },
): Promise<Row[] | undefined> {
  if (query.keyPrefix === undefined || query.keyPrefix === "") return undefined;
  const matches = matcherOf(query);
  const found = new Map<string, Row>();
  for (let from = 0; ; from += BUDGET) {
    const answer = await ask(scripts.withPrefix, [query.keyPrefix, from]);
    if (answer === false) return undefined;
    const rows = rowsOf(answer);
    for (const row of rows) if (matches(candidateOf(row))) found.set(row.member, row);
    if (rows.length < BUDGET) break;
  }
  const place = (row: Row) => [dueOf(row), numberOf(row.member)] as const;
  const behind = [...found.values()].filter((row) => {
    const [due, n] = place(row);
    return due > start.dueMs || (due === start.dueMs && n > start.row);
  });
  return behind.sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
}

/** A row that has gone meanwhile is left out. */
async function withBodies(ask: Ask, rows: readonly Row[]): Promise<readonly Row[]> {
  const lacking = rows.filter(lacksBody).map(({ member }) => member);
  if (lacking.length === 0) return rows;
  const whole = new Map<string, Row>();
  for (let from = 0; from < lacking.length; from += BODIES) {
    const answer = await ask(scripts.rowsOf, [lacking.slice(from, from + BODIES)]);
    for (const row of rowsOf(answer)) whole.set(row.member, row);
  }
  return rows.flatMap((row) => (lacksBody(row) ? (whole.get(row.member) ?? []) : row));
}
