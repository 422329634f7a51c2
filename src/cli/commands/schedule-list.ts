/** `lovage schedule list|counts`: which callbacks there are, and how many. */
import { Command } from "commander";
import type { Lovage } from "../../app/app.ts";
import { CALLBACK_STATES, type Callback } from "../../schedule/callback.ts";
import { Progress } from "../progress.ts";
import { callbackJson, callText, fromNow, printFields, printJson, printLine, printTable } from "../render.ts";
import { withApp } from "../with-app.ts";
import { addFilterFlags, type FilterFlags, filterOf } from "./schedule-filter.ts";
import { positiveNumber } from "./worker.ts";

interface ListFlags extends FilterFlags {
  readonly limit: number;
  readonly cursor?: string;
  readonly json?: boolean;
}

/** A page of the store's list, at most. */
const PAGE = 200;

export function listCommand(): Command {
  return addFilterFlags(new Command("list"))
    .description("callbacks in due order; those that have not ended, unless --state says otherwise")
    .option("--limit <n>", "print so many at most", positiveNumber, 100)
    .option("--cursor <text>", "go on from where a list with the same filter ended")
    .option("--json", "print JSON, one object a line")
    .action((flags: ListFlags, command: Command) => withApp(command, (app) => printList(app, flags)));
}

export function countsCommand(): Command {
  return new Command("counts")
    .description("how many callbacks there are in each state")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const counts = await app.schedule.counts();
        if (flags.json === true) printJson(counts);
        else printFields(CALLBACK_STATES.map((state) => [state, counts[state].toLocaleString("en")] as const));
      }),
    );
}

async function printList(app: Lovage, flags: ListFlags): Promise<void> {
  const filter = filterOf(flags);
  const nowMs = app.clock.wallMs();
  const rows: string[][] = [];
  const progress = new Progress(process.stderr, app.clock);
  let left = flags.limit;
  let { cursor } = flags;
  do {
    const page = await app.schedule.listPage({
      ...filter,
      limit: Math.min(left, PAGE),
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const callback of page.callbacks) {
      if (flags.json === true) printJson(callbackJson(callback));
      else rows.push(rowOf(callback, nowMs));
    }
    left -= page.callbacks.length;
    if (flags.json !== true) progress.show(() => `reading: ${rows.length.toLocaleString("en")} callbacks`);
    cursor = page.next;
  } while (cursor !== undefined && left > 0);
  progress.end();
  if (flags.json !== true) {
    if (rows.length === 0) printLine("no callbacks");
    else printTable(["id", "key", "state", "due", "", "queue", "call"], rows);
  }
  // Not into the output of --json, which is one callback a line.
  if (cursor !== undefined) process.stderr.write(`… there are more: --cursor ${cursor}\n`);
}

function rowOf(callback: Callback, nowMs: number): string[] {
  const { id, key = "", state, dueMs, queue, endedMs } = callback;
  const when = endedMs === undefined ? fromNow(dueMs, nowMs) : "";
  return [id, key, state, new Date(dueMs).toISOString(), when, queue, callText(callback)];
}
