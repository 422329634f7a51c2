/** `lovage call TASK`: sends a task, of this app or of any other worker. */
import { Command } from "commander";
import type { ApplyOptions } from "../../app/send.ts";
import { InvalidInputError, messageOf } from "../../kit/errors.ts";
import { decodeJson } from "../../protocol/json.ts";
import { printJson, printLine } from "../render.ts";
import { withApp } from "../with-app.ts";
import { wholeNumber } from "./worker.ts";

interface CallFlags {
  readonly args: string;
  readonly kwargs: string;
  readonly countdown?: string;
  readonly eta?: string;
  readonly timezone?: string;
  readonly expires?: string;
  readonly queue?: string;
  readonly exchange?: string;
  readonly routingKey?: string;
  readonly priority?: number;
  readonly taskId?: string;
  readonly json?: boolean;
}

export function callCommand(): Command {
  return new Command("call")
    .description("send a task; prints its id")
    .argument("<task>", "name of the task")
    .option("-a, --args <json>", "arguments, a JSON array", "[]")
    .option("-k, --kwargs <json>", "keyword arguments, a JSON object", "{}")
    .option("--countdown <duration>", "earliest start from now: seconds, or 1500ms, 5m, 2h30m, 3d")
    .option("--eta <moment>", "earliest start: ISO 8601 with offset, or with --timezone")
    .option("--timezone <zone>", "IANA zone of an --eta without offset")
    .option("--expires <when>", "latest start: a duration from now, or a moment in ISO 8601")
    .option("-q, --queue <name>", "queue to send it to")
    .option("--exchange <name>", "exchange to publish it to, with --routing-key (default: the queue's)")
    .option("--routing-key <key>", "routing key (default: the queue's)")
    .option("--priority <n>", "0 to 255", wholeNumber)
    .option("--task-id <id>", "its id (default: a new UUID)")
    .option("--json", "print JSON")
    .action((task: string, flags: CallFlags, command: Command) =>
      withApp(command, async (app) => {
        const args = readJson(flags.args, "--args");
        if (!Array.isArray(args))
          throw new InvalidInputError(`--args must be a JSON array, such as '["42"]', not ${flags.args}`);
        const kwargs = readJson(flags.kwargs, "--kwargs");
        if (typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs)) {
          throw new InvalidInputError(`--kwargs must be a JSON object, such as '{"order": 42}', not ${flags.kwargs}`);
        }
        const { countdown, eta, timezone, expires, queue, exchange, routingKey, priority, taskId } = flags;
        const given = { countdown, eta, timezone, expires, queue, exchange, routingKey, priority, taskId };
        const options = Object.fromEntries(
          Object.entries(given).filter(([, value]) => value !== undefined),
        ) as ApplyOptions;
        const result = await app
          .signature(task, { args, kwargs: kwargs as Record<string, unknown> })
          .applyAsync(options);
        if (flags.json === true) printJson({ id: result.id });
        else printLine(result.id);
      }),
    );
}

function readJson(text: string, what: string): unknown {
  try {
    return decodeJson(text);
  } catch (error) {
    throw new InvalidInputError(`${what} is not JSON: ${messageOf(error)}`, { cause: error });
  }
}
