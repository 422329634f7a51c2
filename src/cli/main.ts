/** The command line: parses, and hands over to `commands/`. Celery's names and short flags where Celery has them. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { callCommand } from "./commands/call.ts";
import { controlCommand, inspectCommand } from "./commands/control.ts";
import { purgeCommand } from "./commands/purge.ts";
import { quarantineCommand } from "./commands/quarantine.ts";
import { resultCommand } from "./commands/result.ts";
import { scheduleCommand } from "./commands/schedule.ts";
import { workerCommand } from "./commands/worker.ts";
import { EXIT_USAGE, report } from "./exit.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

function program(): Command {
  const lovage = new Command("lovage")
    .description("Durable, cancellable callbacks for Node.js that speak Celery.")
    .version(version, "--version", "print the version")
    .option("-A, --app <file>", "file that exports your app, such as tasks.ts")
    .option("-b, --broker <url>", "broker URL; wins over the app's")
    .option("--result-backend <url>", "result backend URL; wins over the app's")
    .option("--schedule <url>", "schedule store URL; wins over the app's")
    .exitOverride();
  const commands = [
    workerCommand(),
    callCommand(),
    resultCommand(),
    scheduleCommand(),
    quarantineCommand(),
    purgeCommand(),
    controlCommand(),
    inspectCommand(),
  ];
  for (const command of commands) {
    lovage.addCommand(inherit(command));
  }
  return lovage;
}

/** Sub-commands report usage errors as the program does. */
function inherit(command: Command): Command {
  command.exitOverride();
  for (const each of command.commands) inherit(each);
  return command;
}

try {
  await program().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed its line; help and version are no failure.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  } else {
    process.exitCode = report(error, process.argv);
  }
}
