/** What commands print: a table for people, or JSON for programs. */
import { showMs } from "../kit/duration.ts";
import { printable } from "../kit/printable.ts";
import { decodeBody } from "../protocol/decode.ts";
import { pyRepr } from "../protocol/repr.ts";
import type { Callback } from "../schedule/callback.ts";
import type { Recurrence, Rule } from "../schedule/recurrence.ts";
import { padTo, widthOf } from "./width.ts";

const GAP = "  ";
const COLUMN_LIMIT = 60;

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** JSON with what JSON has not: big integers as their digits. */
export function printJson(value: unknown): void {
  printLine(JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? each.toString() : each)));
}

/** Columns as wide as their widest cell, up to 60 characters. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  for (const line of tableLines(head, rows)) printLine(line);
}

/** The lines of the table; the head's is the first. */
export function tableLines(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map((cell) => printable(cell, COLUMN_LIMIT)));
  const widths = head.map((title, i) => Math.max(widthOf(title), ...cells.map((row) => widthOf(row[i] ?? ""))));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => padTo(cell, widths[i] ?? 0))
      .join(GAP)
      .trimEnd();
  return [line(head), ...cells.map(line)];
}

/** Names with their values, one a line; those without a value are left out. */
export function printFields(fields: readonly (readonly [name: string, value: string | null])[]): void {
  const width = Math.max(10, ...fields.map(([name]) => name.length + 1));
  for (const [name, value] of fields) {
    if (value !== null) printLine(`${`${name}:`.padEnd(width)} ${printable(value)}`);
  }
}

/** A callback for programs: times as ISO 8601, arguments as data. */
export function callbackJson(callback: Callback): Record<string, unknown> {
  const { args, kwargs } = decodeBody(callback.message.body);
  return {
    id: callback.id,
    key: callback.key ?? null,
    taskId: callback.taskId,
    state: callback.state,
    task: callback.message.task,
    args,
    kwargs,
    queue: callback.queue,
    due: iso(callback.dueMs),
    expires: iso(callback.expiresMs),
    tags: callback.tags,
    recurrence: callback.occurrence?.recurrence ?? null,
    attempts: callback.attempts,
    onLost: callback.onLost,
    created: iso(callback.createdMs),
    claimed: iso(callback.claimedMs),
    ended: iso(callback.endedMs),
    reason: callback.reason ?? null,
  };
}

/** `task(args)`, as people write a call. */
export function callText({ message }: Pick<Callback, "message">): string {
  const { args, kwargs } = decodeBody(message.body);
  const named = Object.entries(kwargs).map(([name, value]) => `${name}=${pyRepr(value)}`);
  return `${message.task}(${[...args.map((each) => pyRepr(each)), ...named].join(", ")})`;
}

/** A recurrence for programs: times as ISO 8601, durations in seconds. */
export function recurrenceJson({ definition, ...recurrence }: Recurrence): Record<string, unknown> {
  const { rule, call, misfire, overlap, jitterMs, fromMs, untilMs } = definition;
  const { args, kwargs } = decodeBody(call.message.body);
  return {
    id: recurrence.id,
    key: recurrence.key ?? null,
    state: recurrence.state,
    generation: recurrence.generation,
    next: iso(recurrence.nextMs),
    rule: ruleJson(rule),
    from: iso(fromMs),
    until: iso(untilMs),
    misfire: misfire.kind === "skip" ? { kind: "skip", grace: misfire.graceMs / 1_000 } : misfire,
    overlap,
    jitter: jitterMs / 1_000,
    task: call.message.task,
    args,
    kwargs,
    queue: call.queue,
    tags: call.tags,
    onLost: call.onLost,
    expires: call.expiresAfterMs === undefined ? null : call.expiresAfterMs / 1_000,
    started: recurrence.started,
    created: iso(recurrence.createdMs),
    ended: iso(recurrence.endedMs),
  };
}

/** When it recurs, as people write it. */
export function ruleText(rule: Rule): string {
  switch (rule.kind) {
    case "every":
      return `every ${showMs(rule.everyMs)}`;
    case "cron":
      return `cron ${rule.cron} (${rule.timezone})`;
    case "rrule":
      return `rrule ${rule.rrule.replaceAll("\n", " ")} (${rule.timezone})`;
  }
}

function ruleJson(rule: Rule): Record<string, unknown> {
  if (rule.kind !== "every") return { ...rule };
  return { kind: "every", every: rule.everyMs / 1_000, anchor: iso(rule.anchorMs) };
}

/** "in 5 m", or "12 s ago"; "now" for what is closer than half a second. */
export function fromNow(ms: number, nowMs: number): string {
  const aheadMs = ms - nowMs;
  if (Math.abs(aheadMs) < 500) return "now";
  return aheadMs > 0 ? `in ${spanText(aheadMs)}` : `${spanText(-aheadMs)} ago`;
}

/** How long, to the second; below ten seconds to the tenth. Finer would only flicker in a live view. */
export function spanText(ms: number): string {
  const stepMs = Math.abs(ms) < 10_000 ? 100 : 1_000;
  return showMs(Math.round(ms / stepMs) * stepMs);
}

export function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
