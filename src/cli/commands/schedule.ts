/** `lovage schedule list|get|cancel|reschedule`: the durable callbacks, from any process. */
import { Command, Option } from "commander";
import type { Lovage } from "../../app/app.ts";
import { type ListOptions, UnknownCallbackError } from "../../app/schedule.ts";
import { InvalidInputError } from "../../kit/errors.ts";
import { CALLBACK_STATES, type Callback, type CallbackState } from "../../schedule/callback.ts";
import { EXIT_FAILED } from "../exit.ts";
import { callbackJson, callText, printJson, printLine, printTable } from "../render.ts";
import { withApp } from "../with-app.ts";
import { commaList, wholeNumber } from "./worker.ts";

const STATES: readonly string[] = CALLBACK_STATES;

interface ListFlags {
  readonly state?: string[];
  readonly task?: string;
  readonly keyPrefix?: string;
  readonly tag?: string[];
  readonly queue?: string;
  readonly dueFrom?: string;
  readonly dueBefore?: string;
  readonly limit: number;
  readonly json?: boolean;
}

interface RescheduleFlags {
  readonly countdown?: string;
  readonly eta?: string;
  readonly timezone?: string;
  readonly by?: string;
  readonly json?: boolean;
}

export function scheduleCommand(): Command {
  return new Command("schedule")
    .description("the durable callbacks")
    .addCommand(list())
    .addCommand(get())
    .addCommand(cancel())
    .addCommand(reschedule());
}

function list(): Command {
  return new Command("list")
    .description("callbacks in due order; those that have not ended, unless --state says otherwise")
    .option("--state <states>", `states, separated by commas: ${STATES.join(", ")}`, commaList)
    .option("--task <pattern>", "task name; * stands for any characters")
    .option("--key-prefix <text>", "keys that begin with it")
    .option("--tag <tags>", "tags that it must all carry, separated by commas", commaList)
    .option("--queue <name>", "queue of its task")
    .option("--due-from <moment>", "due then or later: ISO 8601 with offset")
    .option("--due-before <moment>", "due before then")
    .option("--limit <n>", "print so many at most", wholeNumber, 100)
    .option("--json", "print JSON, one object a line")
    .action((flags: ListFlags, command: Command) => withApp(command, (app) => printList(app, flags)));
}

async function printList(app: Lovage, flags: ListFlags): Promise<void> {
  for (const state of flags.state ?? []) {
    if (!STATES.includes(state))
      throw new InvalidInputError(`--state ${JSON.stringify(state)} is none: use ${STATES.join(", ")}`);
  }
  const options: ListOptions = {
    ...(flags.state === undefined ? {} : { states: flags.state as CallbackState[] }),
    ...(flags.task === undefined ? {} : { task: flags.task }),
    ...(flags.keyPrefix === undefined ? {} : { keyPrefix: flags.keyPrefix }),
    ...(flags.tag === undefined ? {} : { tags: flags.tag }),
    ...(flags.queue === undefined ? {} : { queue: flags.queue }),
    ...(flags.dueFrom === undefined ? {} : { dueFrom: flags.dueFrom }),
    ...(flags.dueBefore === undefined ? {} : { dueBefore: flags.dueBefore }),
  };
  const rows: string[][] = [];
  let more = false;
  for await (const callback of app.schedule.list(options)) {
    if (rows.length >= flags.limit) {
      more = true;
      break;
    }
    rows.push([
      callback.id,
      callback.key ?? "",
      callback.state,
      new Date(callback.dueMs).toISOString(),
      callback.queue,
      callText(callback),
    ]);
    if (flags.json === true) printJson(callbackJson(callback));
  }
  if (flags.json === true) return;
  if (rows.length === 0) printLine("no callbacks");
  else printTable(["id", "key", "state", "due", "queue", "call"], rows);
  if (more) printLine(`… there are more; --limit ${flags.limit} was reached`);
}

function get(): Command {
  return new Command("get")
    .description("one callback, by id or key; exit status 1 when there is none")
    .argument("<ref>", "its id or its key")
    .option("--json", "print JSON")
    .action((ref: string, flags: { json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const callback = await app.schedule.get(ref);
        if (callback === undefined) throw new UnknownCallbackError(ref);
        if (flags.json === true) printJson(callbackJson(callback));
        else printRecord(callback);
      }),
    );
}

function printRecord(callback: Callback): void {
  for (const [name, value] of Object.entries(callbackJson(callback))) {
    if (value === null || name === "args" || name === "kwargs") continue;
    printLine(`${`${name}:`.padEnd(10)} ${Array.isArray(value) ? value.join(", ") : String(value)}`);
  }
  printLine(`${"call:".padEnd(10)} ${callText(callback)}`);
}

function cancel(): Command {
  return new Command("cancel")
    .description("take a callback back; exit status 1 when it has started, has ended, or is unknown")
    .argument("<ref>", "its id or its key")
    .addOption(new Option("--running <what>", "what to do with one that runs").choices(["abort"]))
    .option("--json", "print JSON")
    .action((ref: string, flags: { running?: "abort"; json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const answer = await app.schedule.cancel(ref, flags.running === undefined ? {} : { running: flags.running });
        const state = answer === "finished" ? (await app.schedule.get(ref))?.state : undefined;
        if (flags.json === true) printJson({ ref, answer, state: state ?? null });
        else printLine(state === undefined ? answer : `${answer} (${state})`);
        if (answer !== "cancelled" && answer !== "stopped") process.exitCode = EXIT_FAILED;
      }),
    );
}

function reschedule(): Command {
  return new Command("reschedule")
    .description("move a callback that has not started; prints when it is due")
    .argument("<ref>", "its id or its key")
    .option("--countdown <duration>", "so long from now")
    .option("--eta <moment>", "to this moment: ISO 8601 with offset, or with --timezone")
    .option("--timezone <zone>", "IANA zone of an --eta without offset")
    .option("--by <duration>", "by so much, with a sign: +2h, -30m")
    .option("--json", "print JSON")
    .action((ref: string, flags: RescheduleFlags, command: Command) =>
      withApp(command, async (app) => {
        const due = await app.schedule.reschedule(ref, target(flags));
        if (flags.json === true) printJson({ ref, due: due.toISOString() });
        else printLine(due.toISOString());
      }),
    );
}

function target({ countdown, eta, timezone, by }: RescheduleFlags): Parameters<Lovage["schedule"]["reschedule"]>[1] {
  const given = [countdown, eta, by].filter((each) => each !== undefined);
  if (given.length !== 1) throw new InvalidInputError("reschedule takes one of --countdown, --eta and --by");
  if (countdown !== undefined) return { countdown };
  if (by !== undefined) return { by };
  return { eta: eta ?? "", ...(timezone === undefined ? {} : { timezone }) };
}
