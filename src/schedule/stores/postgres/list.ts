/**
 * Listing, in due order. The text is made for the query, so that each of its walks has an index: by tag, by recurrence, by state. A reader holds
 * nobody up here, so one statement looks as far as it must.
 */
import type { Place } from "../../check.ts";
import type { ListQuery } from "../../store.ts";
import { beginningOf, indexed, parseRecurrenceId } from "./names.ts";
import { stateNumber } from "./rows.ts";

export interface ListStatement {
  readonly text: (schema: string) => string;
  readonly values: readonly unknown[];
}

const ENDS = [2, 3, 4, 5, 6, 7, 8, 9];

/** Rows behind `after`, at most `limit`, each as a column "tuple". Undefined: there can be none. */
export function listStatement(
  ns: number,
  query: ListQuery,
  after: Place | undefined,
  limit: number,
): ListStatement | undefined {
  const values: unknown[] = [ns];
  const value = (given: unknown) => `$${values.push(given)}`;
  const where: string[] = [];
  if (query.queue !== undefined) where.push(`c.queue = ${value(indexed(query.queue))}`);
  if (query.task !== undefined) where.push(`c.task LIKE ${value(patternOf(query.task))}`);
  if (query.keyPrefix !== undefined) where.push(...prefixConditions(query.keyPrefix, value));
  if (query.tags !== undefined && query.tags.length > 0)
    where.push(`c.tags @> ${value(query.tags.map(indexed))}::text[]`);
  if (query.dueFromMs !== undefined) where.push(`c.due >= ${value(query.dueFromMs)}`);
  if (query.dueBeforeMs !== undefined) where.push(`c.due < ${value(query.dueBeforeMs)}`);
  if (after !== undefined) where.push(`(c.due, c.n) > (${value(after.dueMs)}, ${value(after.row)})`);
  const states = [...new Set((query.states ?? []).map(stateNumber))];
  if (query.states !== undefined && states.length === 0) return undefined;
  const most = value(limit);
  const order = `ORDER BY due, n LIMIT ${most}`;
  const shown = (s: string, walk: string) =>
    `SELECT (SELECT ${s}.row_of(c) FROM ${s}.callbacks c WHERE c.n = l.n) AS tuple FROM (${walk} ${order}) l ORDER BY l.due, l.n`;
  // Rows that are found by another table, or by their recurrence: no other index is to tempt the planner (see schema/tables.ts).
  const found = ["c.ns + 0 = $1", ...(states.length === 0 ? [] : [`c.state + 0 IN (${states.join(", ")})`]), ...where];

  if (query.recurrence !== undefined) {
    const [n, salt] = parseRecurrenceId(query.recurrence) ?? [];
    if (n === undefined) return undefined;
    const conditions = [`c.recurrence = ${value(n)}`, `c.recurrence_salt = ${value(salt)}`, ...found].join(" AND ");
    return { text: (s) => shown(s, `SELECT c.n, c.due FROM ${s}.callbacks c WHERE ${conditions}`), values };
  }
  if (query.tags !== undefined && query.tags.length > 0) {
    const behind = [`t.ns = $1`, `t.tag = ${value(indexed(query.tags[0] as string))}`];
    if (query.dueFromMs !== undefined) behind.push(`t.due >= ${value(query.dueFromMs)}`);
    if (query.dueBeforeMs !== undefined) behind.push(`t.due < ${value(query.dueBeforeMs)}`);
    if (after !== undefined) behind.push(`(t.due, t.n) > (${value(after.dueMs)}, ${value(after.row)})`);
    const conditions = [...behind, ...found].join(" AND ");
    return {
      text: (s) =>
        shown(s, `SELECT t.n, t.due FROM ${s}.tags t JOIN ${s}.callbacks c ON c.n = t.n WHERE ${conditions}`),
      values,
    };
  }
  // A walk for each index, merged.
  const pending = states.filter((state) => state <= 1);
  const walks: string[] = [];
  if (states.length === 0 || pending.length > 0) {
    walks.push(
      ["c.ns = $1", "c.state <= 1", ...where, ...(pending.length === 1 ? [`c.state = ${pending[0]}`] : [])].join(
        " AND ",
      ),
    );
  }
  for (const state of states.length === 0 ? ENDS : states.filter((each) => each > 1)) {
    walks.push(["c.ns = $1", `c.state = ${state}`, "c.state >= 2", ...where].join(" AND "));
  }
  const merged = (s: string) =>
    walks.map((each) => `(SELECT c.n, c.due FROM ${s}.callbacks c WHERE ${each} ${order})`).join(" UNION ALL ");
  return { text: (s) => shown(s, `SELECT w.n, w.due FROM (${merged(s)}) w`), values };
}

/** `*` stands for any characters, and nothing else is special. */
function patternOf(glob: string): string {
  return glob.replaceAll(/[\\%_]/g, (special) => `\\${special}`).replaceAll("*", "%");
}

/** By the index as far as it goes, then by the whole key. */
function prefixConditions(prefix: string, value: (given: unknown) => string): string[] {
  if (prefix === "") return ["c.key IS NOT NULL"];
  const beginning = beginningOf(prefix);
  const after = textAfter(beginning);
  return [
    `c.key >= ${value(beginning)}`,
    ...(after === undefined ? [] : [`c.key < ${value(after)}`]),
    `starts_with(coalesce(c.long::json->>'key', c.key), ${value(prefix)})`,
  ];
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
