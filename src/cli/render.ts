/** What commands print: a table for people, or JSON for programs. */

import { printable } from "../kit/printable.ts";
import { decodeBody } from "../protocol/decode.ts";
import { pyRepr } from "../protocol/repr.ts";
import type { Callback } from "../schedule/callback.ts";

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
  const cells = rows.map((row) => row.map((cell) => printable(cell, COLUMN_LIMIT)));
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join(GAP)
      .trimEnd();
  printLine(line(head));
  for (const row of cells) printLine(line(row));
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
    attempts: callback.attempts,
    onLost: callback.onLost,
    created: iso(callback.createdMs),
    claimed: iso(callback.claimedMs),
    ended: iso(callback.endedMs),
    reason: callback.reason ?? null,
  };
}

/** `task(args)`, as people write a call. */
export function callText(callback: Callback): string {
  const { args, kwargs } = decodeBody(callback.message.body);
  const named = Object.entries(kwargs).map(([name, value]) => `${name}=${pyRepr(value)}`);
  return `${callback.message.task}(${[...args.map((each) => pyRepr(each)), ...named].join(", ")})`;
}

export function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
