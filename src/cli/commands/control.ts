/** `lovage control revoke|ping`, `lovage inspect ping`: Celery's orders to workers. */
import { Command } from "commander";
import type { BroadcastOptions } from "../../app/control.ts";
import { EXIT_FAILED } from "../exit.ts";
import { printJson, printLine } from "../render.ts";
import { withApp } from "../with-app.ts";
import { commaList } from "./worker.ts";

interface Whom {
  readonly timeout: string;
  readonly destination?: string[];
  readonly json?: boolean;
}

/** Celery's `EX_UNAVAILABLE` is 69; here what did not work is 1, as everywhere. */
const NOBODY = "no worker answered in time";

export function controlCommand(): Command {
  return new Command("control").description("orders to workers").addCommand(revoke()).addCommand(ping());
}

export function inspectCommand(): Command {
  return new Command("inspect").description("questions to workers").addCommand(ping());
}

function revoke(): Command {
  return new Command("revoke")
    .description("tasks must not start any more; prints what is so of each")
    .argument("<ids...>", "task ids")
    .option("--terminate", "what runs is asked to end, and then killed")
    .option("--signal <name>", "what its process is sent with that", "SIGTERM")
    .action((ids: string[], flags: { terminate?: boolean; signal: string }, command: Command) =>
      withApp(command, async (app) => {
        const { terminate = false, signal } = flags;
        const answers = await app.control.revoke(ids, { terminate, signal: signal as NodeJS.Signals });
        for (const [i, id] of ids.entries()) printLine(`${id}: ${answers[i] ?? "unknown"}`);
      }),
    );
}

function ping(): Command {
  return new Command("ping")
    .description("the workers that answer")
    .option("-t, --timeout <seconds>", "how long to wait for the next answer", "1")
    .option("-d, --destination <nodes>", "node names, separated by commas (default: every worker)", commaList)
    .option("--json", "print JSON")
    .action(({ timeout, destination, json }: Whom, command: Command) =>
      withApp(command, async (app) => {
        const options: BroadcastOptions = {
          timeout: Number(timeout),
          ...(destination === undefined ? {} : { destination }),
        };
        const answers = await app.control.ping(options);
        if (json === true) printJson(answers);
        else for (const [node, answer] of Object.entries(answers)) printLine(`${node}: ${answerText(answer)}`);
        if (Object.keys(answers).length > 0) return;
        process.stderr.write(`lovage: ${NOBODY}\n`);
        process.exitCode = EXIT_FAILED;
      }),
    );
}

function answerText(answer: unknown): string {
  const ok = (answer as { ok?: unknown } | null)?.ok;
  return typeof ok === "string" ? ok : JSON.stringify(answer);
}
