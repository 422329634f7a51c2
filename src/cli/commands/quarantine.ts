/** `lovage quarantine list|show|retry|drop`: messages that could not be run, with their bytes and the reason. */
import { Command } from "commander";
import type { Lovage } from "../../app/app.ts";
import type { QuarantineFilter } from "../../app/quarantined.ts";
import { InvalidInputError, LovageError } from "../../kit/errors.ts";
import { plainOf, printable } from "../../kit/printable.ts";
import type { Quarantined } from "../../quarantine/quarantine.ts";
import { EXIT_FAILED, report } from "../exit.ts";
import { printJson, printLine, printTable } from "../render.ts";
import { withApp } from "../with-app.ts";
import { wholeNumber } from "./worker.ts";

interface Choice extends QuarantineFilter {
  readonly all?: boolean;
}

export function quarantineCommand(): Command {
  return new Command("quarantine")
    .description("messages that could not be run")
    .addCommand(list())
    .addCommand(show())
    .addCommand(retry())
    .addCommand(drop());
}

function list(): Command {
  return filtered(new Command("list").description("newest first"))
    .option("--limit <n>", "print so many at most", wholeNumber, 100)
    .option("--json", "print JSON, one object a line")
    .action(({ limit, json, ...filter }: QuarantineFilter & { limit: number; json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const records: Quarantined[] = [];
        if (limit > 0) {
          for await (const each of app.quarantine.list(filter)) if (records.push(each) >= limit) break;
        }
        if (json === true) {
          for (const each of records) printJson(quarantinedJson(each));
          return;
        }
        if (records.length === 0) {
          printLine((await app.quarantine.count()) === 0 ? "quarantine is empty" : "no such message is in quarantine");
          return;
        }
        const rows = records.map((each) => [
          each.id,
          new Date(each.arrivedMs).toISOString(),
          each.queue,
          each.code,
          each.reason,
        ]);
        printTable(["id", "arrived", "queue", "code", "reason"], rows);
      }),
    );
}

function show(): Command {
  return new Command("show")
    .description("one message: reason, properties, headers, raw body")
    .argument("<id>", "its id, as list prints it")
    .option("--json", "print JSON; the body is base64")
    .action((id: string, flags: { json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const record = await app.quarantine.get(id);
        if (flags.json === true) printJson(quarantinedJson(record));
        else printRecord(record);
      }),
    );
}

function retry(): Command {
  return filtered(new Command("retry").description("send messages again, as they came"))
    .argument("[ids...]", "their ids, as list prints them")
    .option("--all", "all of them, or all that fit --code, --queue and --task")
    .option("--to <queue>", "send them to this queue (default: the one that each came from)")
    .action((ids: string[], { to, ...choice }: Choice & { to?: string }, command: Command) =>
      withApp(command, (app) =>
        each(app, ids, choice, async (id) => {
          const { queue } = await app.quarantine.retry(id, to === undefined ? {} : { queue: to });
          return `sent to queue ${to ?? queue}`;
        }),
      ),
    );
}

function drop(): Command {
  return filtered(new Command("drop").description("remove messages for good"))
    .argument("[ids...]", "their ids, as list prints them")
    .option("--all", "all of them, or all that fit --code, --queue and --task")
    .action((ids: string[], choice: Choice, command: Command) =>
      withApp(command, (app) =>
        each(app, ids, choice, async (id) => {
          await app.quarantine.drop(id);
          return "dropped";
        }),
      ),
    );
}

function filtered(command: Command): Command {
  return command
    .option("--code <code>", "only those that were refused with this code, such as ERR_UNKNOWN_TASK")
    .option("--queue <queue>", "only those that came from this queue")
    .option("--task <name>", "only those of this task");
}

/** One line for each; one that fails does not keep the others from it. Oldest first, so that they go in the order they came. */
async function each(
  app: Lovage,
  ids: readonly string[],
  { all = false, ...filter }: Choice,
  act: (id: string) => Promise<string>,
): Promise<void> {
  const isFiltered = Object.keys(filter).length > 0;
  if (ids.length > 0 ? all || isFiltered : !all) {
    throw new InvalidInputError(
      ids.length > 0
        ? "give ids, or --all with or without a filter, not both"
        : 'name the messages by their ids, or say --all: "lovage quarantine list" shows them',
    );
  }
  const chosen = ids.length > 0 ? ids : await idsOf(app, filter);
  let failed = 0;
  for (const id of chosen) {
    try {
      printLine(`${id}: ${await act(id)}`);
    } catch (error) {
      if (!(error instanceof LovageError)) throw error;
      failed += 1;
      report(error, process.argv);
    }
  }
  if (ids.length === 0) printLine(`${chosen.length - failed} of ${chosen.length}`);
  if (failed > 0) process.exitCode = EXIT_FAILED;
}

/** What is there now: what is refused again meanwhile is not met a second time. */
async function idsOf(app: Lovage, filter: QuarantineFilter): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of app.quarantine.list(filter)) ids.push(id);
  return ids.reverse();
}

function printRecord(record: Quarantined): void {
  const { body, ...rest } = quarantinedJson(record);
  for (const [name, value] of Object.entries(rest)) {
    if (value === null) continue;
    printLine(`${`${name}:`.padEnd(12)} ${printable(typeof value === "string" ? value : JSON.stringify(value))}`);
  }
  printLine(`${"body:".padEnd(12)} ${printable(Buffer.from(String(body), "base64").toString("utf8"))}`);
}

function quarantinedJson(record: Quarantined) {
  return {
    id: record.id,
    arrived: new Date(record.arrivedMs).toISOString(),
    code: record.code,
    reason: record.reason,
    queue: record.queue,
    task: record.task ?? null,
    taskId: record.taskId ?? null,
    properties: plainOf(record.properties),
    headers: plainOf(record.headers),
    bodyBytes: record.bodyBytes,
    truncated: record.truncated,
    body: Buffer.from(record.body).toString("base64"),
  };
}
