/** `lovage quarantine list|show`: messages that could not be run, with their bytes and the reason. */
import { Command } from "commander";
import { ContractError } from "../../kit/errors.ts";
import { plainOf, printable } from "../../kit/printable.ts";
import type { Quarantined } from "../../quarantine/quarantine.ts";
import { printJson, printLine, printTable } from "../render.ts";
import { withApp } from "../with-app.ts";
import { wholeNumber } from "./worker.ts";

export class UnknownQuarantinedError extends ContractError {
  readonly code = "ERR_UNKNOWN_QUARANTINED";
}

export function quarantineCommand(): Command {
  return new Command("quarantine").description("messages that could not be run").addCommand(list()).addCommand(show());
}

function list(): Command {
  return new Command("list")
    .description("newest first")
    .option("--limit <n>", "print so many at most", wholeNumber, 100)
    .option("--json", "print JSON, one object a line")
    .action((flags: { limit: number; json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const records = await (await app.backends.quarantine()).list({ limit: flags.limit });
        if (flags.json === true) {
          for (const each of records) printJson(quarantinedJson(each));
        } else if (records.length === 0) printLine("quarantine is empty");
        else {
          const rows = records.map((each) => [
            each.id,
            new Date(each.arrivedMs).toISOString(),
            each.queue,
            each.code,
            each.reason,
          ]);
          printTable(["id", "arrived", "queue", "code", "reason"], rows);
        }
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
        const record = await (await app.backends.quarantine()).get(id);
        if (record === undefined) {
          throw new UnknownQuarantinedError(
            `no message ${JSON.stringify(id)} is in quarantine; "lovage quarantine list" shows what is`,
          );
        }
        if (flags.json === true) printJson(quarantinedJson(record));
        else printRecord(record);
      }),
    );
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
