/** One frame of `lovage schedule top`: what is read for it, and its lines. The terminal is `screen.ts`'s. */
import type { Lovage } from "../app/app.ts";
import { showMs } from "../kit/duration.ts";
import { redactUrl } from "../kit/redact.ts";
import { CALLBACK_STATES, type Callback, type CallbackState } from "../schedule/callback.ts";
import type { Recurrence } from "../schedule/recurrence.ts";
import { callbackJson, callText, fromNow, recurrenceJson, ruleText, spanText, tableLines } from "./render.ts";
import { cutTo } from "./width.ts";

/** What a frame shows, as it was read. */
export interface TopData {
  readonly url: string;
  readonly nowMs: number;
  readonly counts: Readonly<Record<CallbackState, number>>;
  /** In due order. */
  readonly next: readonly Callback[];
  readonly running: readonly Callback[];
  /** The soonest first; of the 100 that were added first. */
  readonly recurrences: readonly Recurrence[];
}

export interface FrameOptions {
  readonly columns: number;
  /** Lines of the terminal; undefined: no end. */
  readonly rows?: number;
  /** Said at the end of the first line. */
  readonly hint?: string;
  /** What went wrong when it was read last; what was read before is shown. */
  readonly trouble?: string;
}

interface Section {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** How many there are, shown or not. */
  readonly total: number;
}

/** One page of the store: who has more looks with `lovage schedule recurrences`. */
const MOST_RECURRENCES = 100;

/** Four reads of the store, whatever it holds: each is a page of an index, or a sum that is kept. */
export async function readTop(app: Lovage, limit: number): Promise<TopData> {
  const { schedule } = app;
  const [counts, next, running, recurrences] = await Promise.all([
    schedule.counts(),
    schedule.listPage({ states: ["scheduled", "waiting"], limit }),
    schedule.listPage({ states: ["running"], limit }),
    firstOf(schedule.recurrences(), MOST_RECURRENCES),
  ]);
  const url = redactUrl(app.config.schedule);
  const soonest = recurrences.toSorted((a, b) => (a.nextMs ?? Infinity) - (b.nextMs ?? Infinity));
  return {
    url,
    nowMs: app.clock.wallMs(),
    counts,
    next: next.callbacks,
    running: running.callbacks,
    recurrences: soonest,
  };
}

export function topJson({ url, nowMs, counts, next, running, recurrences }: TopData): Record<string, unknown> {
  return {
    schedule: url,
    now: new Date(nowMs).toISOString(),
    counts,
    next: next.map(callbackJson),
    running: running.map((each) => ({ ...callbackJson(each), late: latenessMs(each) / 1_000 })),
    recurrences: recurrences.map(recurrenceJson),
  };
}

/** Lines of at most `columns`, at most `rows` of them. @param nowMs what the countdowns count to: the frame may be drawn again */
export function topLines(data: TopData, nowMs: number, { columns, rows, hint, trouble }: FrameOptions): string[] {
  const head = [
    `schedule ${data.url}  ${new Date(nowMs).toISOString().replace(/\.\d+Z$/, "Z")}${hint === undefined ? "" : `  ${hint}`}`,
    countsLine(data.counts),
    ...(trouble === undefined ? [] : [`cannot be read: ${trouble}`]),
  ];
  const sections = [nextSection(data, nowMs), runningSection(data, nowMs), recurrencesSection(data, nowMs)];
  const room = rows === undefined ? undefined : roomOf(sections, rows - head.length);
  const lines = [...head, ...sections.flatMap((section, i) => sectionLines(section, room?.[i]))];
  return lines.slice(0, rows).map((line) => cutTo(line, columns));
}

function countsLine(counts: TopData["counts"]): string {
  // Live ones always; of the ended only those that there are.
  const told = CALLBACK_STATES.filter((state, i) => i < 3 || counts[state] > 0);
  return told.map((state) => `${state} ${counts[state].toLocaleString("en")}`).join("  ");
}

function nextSection({ next, counts }: TopData, nowMs: number): Section {
  return {
    title: "next",
    head: ["due", "at", "state", "id", "key", "queue", "call"],
    rows: next.map((each) => [
      fromNow(each.dueMs, nowMs),
      new Date(each.dueMs).toISOString(),
      each.state,
      each.id,
      each.key ?? "",
      each.queue,
      callText(each),
    ]),
    total: counts.scheduled + counts.waiting,
  };
}

function runningSection({ running, counts }: TopData, nowMs: number): Section {
  return {
    title: "running",
    head: ["for", "late", "attempt", "id", "key", "call"],
    rows: running.map((each) => [
      spanText(Math.max(0, nowMs - (each.claimedMs ?? nowMs))),
      showMs(latenessMs(each)),
      String(each.attempts),
      each.id,
      each.key ?? "",
      callText(each),
    ]),
    total: counts.running,
  };
}

function recurrencesSection({ recurrences }: TopData, nowMs: number): Section {
  return {
    title: "recurrences",
    head: ["next", "id", "key", "rule", "task"],
    rows: recurrences.map(({ id, key = "", state, nextMs, definition }) => [
      nextMs === undefined ? state : fromNow(nextMs, nowMs),
      id,
      key,
      ruleText(definition.rule),
      definition.call.message.task,
    ]),
    total: recurrences.length,
  };
}

/** A blank line, a title, a table, and a line that says that there are more. An empty section is its title alone. */
function sectionLines({ title, head, rows, total }: Section, room = Number.POSITIVE_INFINITY): string[] {
  if (room < 2) return [];
  if (rows.length === 0) return ["", `${title}: none`];
  const most = Math.max(0, room - 3);
  const shown = rows.slice(0, most);
  const count = total > shown.length ? `${shown.length} of ${total.toLocaleString("en")}` : String(shown.length);
  return ["", `${title} (${count})`, ...(shown.length === 0 ? [] : tableLines(head, shown))];
}

/** Of a section that shows one row: blank line, title, head, row. */
const LEAST_LINES = 4;

/**
 * Lines for each section: the first has at least half of them, the others a quarter each, and what one does not need goes to the others.
 */
function roomOf(sections: readonly Section[], lines: number): number[] {
  const needs = sections.map(({ rows }) => (rows.length === 0 ? 2 : rows.length + LEAST_LINES - 1));
  const quarter = Math.max(LEAST_LINES, Math.floor(lines / 4));
  const [firstNeed = 0, ...laterNeeds] = needs;
  const rooms = laterNeeds.map((need) => Math.min(need, quarter));
  const most = Math.max(lines - sumOf(rooms), Math.ceil(lines / 2), LEAST_LINES);
  const first = Math.min(firstNeed, most);
  let spare = lines - first - sumOf(rooms);
  for (const [i, need] of laterNeeds.entries()) {
    const room = rooms[i] ?? 0;
    rooms[i] = room + Math.max(-room, Math.min(spare, need - room));
    spare -= rooms[i] - room;
  }
  return [first, ...rooms];
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, each) => sum + each, 0);
}

/** How long after its time it was claimed. */
function latenessMs({ dueMs, claimedMs }: Callback): number {
  return Math.max(0, (claimedMs ?? dueMs) - dueMs);
}

async function firstOf<T>(items: AsyncIterable<T>, limit: number): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) {
    found.push(item);
    if (found.length >= limit) break;
  }
  return found;
}
