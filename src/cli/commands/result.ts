/** `lovage result ID`: what became of a task. */
import { Command } from "commander";
import { TaskError, TaskRevokedError } from "../../app/task-error.ts";
import { TimeoutError } from "../../kit/errors.ts";
import { encodeJson } from "../../protocol/json.ts";
import { EXIT_FAILED } from "../exit.ts";
import { printJson, printLine } from "../render.ts";
import { withApp } from "../with-app.ts";

interface ResultFlags {
  readonly wait?: string;
  readonly traceback?: boolean;
  readonly json?: boolean;
}

export function resultCommand(): Command {
  return new Command("result")
    .description("print what a task returned; exit status 1 when it failed or has not ended")
    .argument("<id>", "id of the task")
    .option("--wait <duration>", "wait for its end up to so long")
    .option("--traceback", "print the traceback of one that failed")
    .option("--json", "print JSON: id, status, result, traceback")
    .action((id: string, flags: ResultFlags, command: Command) =>
      withApp(command, async (app) => {
        const result = app.result(id);
        try {
          const value = await result.get({ timeout: flags.wait ?? 0 });
          show(flags, { id, status: "SUCCESS", result: value, traceback: null }, encodeJson(value));
        } catch (error) {
          if (!(error instanceof TaskError || error instanceof TaskRevokedError || error instanceof TimeoutError))
            throw error;
          process.exitCode = EXIT_FAILED;
          const meta = await result.meta();
          const status = meta?.status ?? "PENDING";
          const traceback = error instanceof TaskError ? error.traceback : null;
          const text =
            error instanceof TimeoutError ? `${status}: task ${id} has not ended` : `${status}: ${error.message}`;
          show(flags, { id, status, result: meta?.result, traceback }, text);
          if (flags.traceback === true && traceback !== null && flags.json !== true) printLine(traceback);
        }
      }),
    );
}

function show(flags: ResultFlags, document: Record<string, unknown>, text: string): void {
  if (flags.json === true) printJson(document);
  else printLine(text);
}
