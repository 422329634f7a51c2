/** `lovage purge`: drops what waits in the app's queues, as `celery purge`. It cannot be undone, so it asks. */
import { createInterface } from "node:readline/promises";
import { Command } from "commander";
import { InvalidInputError } from "../../kit/errors.ts";
import { printJson, printLine } from "../render.ts";
import { withApp } from "../with-app.ts";
import { commaList } from "./worker.ts";

interface PurgeFlags {
  readonly force?: boolean;
  readonly queues?: string[];
  readonly excludeQueues?: string[];
  readonly json?: boolean;
}

export function purgeCommand(): Command {
  return new Command("purge")
    .description("drop all messages that wait in the app's queues; callbacks of the schedule are not touched")
    .option("-f, --force", "do not ask")
    .option("-Q, --queues <names>", "queues to purge, separated by commas (default: the app's)", commaList)
    .option("-X, --exclude-queues <names>", "queues not to purge, separated by commas", commaList)
    .option("--json", "print JSON")
    .action((flags: PurgeFlags, command: Command) =>
      withApp(command, async (app) => {
        const names = app.queues.select(flags.queues, flags.excludeQueues).map((each) => each.name);
        if (flags.force !== true && !(await confirmed(names))) return;
        const connection = await app.producer.connection();
        const dropped: Record<string, number> = {};
        for (const name of names) {
          // One that is not there has nothing to drop.
          const waiting = await connection.depth(name);
          dropped[name] = waiting === undefined ? 0 : await connection.purge(name);
        }
        const total = Object.values(dropped).reduce((sum, each) => sum + each, 0);
        if (flags.json === true) printJson({ purged: total, queues: dropped });
        else if (total === 0) printLine(`No messages purged from ${counted(names.length, "queue")}`);
        else printLine(`Purged ${counted(total, "message")} from ${counted(names.length, "queue")}.`);
      }),
    );
}

/** @throws {InvalidInputError} nobody is there to ask */
async function confirmed(names: readonly string[]): Promise<boolean> {
  const what = `all messages of ${names.join(", ")}`;
  if (process.stdin.isTTY !== true) throw new InvalidInputError(`purge drops ${what} for good: say so with --force`);
  const ask = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await ask.question(`This drops ${what}, and cannot be undone. Type yes to go on: `);
    return answer.trim().toLowerCase() === "yes";
  } finally {
    ask.close();
  }
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
