/** `lovage schedule …`: the durable callbacks and what recurs, from any process. */
import { Command, Option } from "commander";
import { isRecurrenceId } from "../../app/refs.ts";
import type { MoveTo } from "../../app/schedule.ts";
import { UnknownCallbackError, UnknownRecurrenceError } from "../../app/schedule-errors.ts";
import { InvalidInputError } from "../../kit/errors.ts";
import type { Callback } from "../../schedule/callback.ts";
import { EXIT_FAILED } from "../exit.ts";
import { callbackJson, callText, fromNow, printFields, printJson, printLine, recurrenceJson } from "../render.ts";
import { withApp } from "../with-app.ts";
import { cancelAllCommand } from "./schedule-cancel-all.ts";
import { countsCommand, listCommand } from "./schedule-list.ts";
import { previewCommand } from "./schedule-preview.ts";
import { pauseCommand, printRecurrence, recurrencesCommand, resumeCommand } from "./schedule-recurring.ts";
import { topCommand } from "./schedule-top.ts";

interface RescheduleFlags {
  readonly countdown?: string;
  readonly eta?: string;
  readonly timezone?: string;
  readonly by?: string;
  readonly json?: boolean;
}

export function scheduleCommand(): Command {
  return new Command("schedule")
    .description("the durable callbacks, and what recurs")
    .addCommand(listCommand())
    .addCommand(get())
    .addCommand(countsCommand())
    .addCommand(cancel())
    .addCommand(cancelAllCommand())
    .addCommand(reschedule())
    .addCommand(recurrencesCommand())
    .addCommand(pauseCommand())
    .addCommand(resumeCommand())
    .addCommand(previewCommand())
    .addCommand(topCommand());
}

function get(): Command {
  return new Command("get")
    .description("one callback, or else one recurrence, by id or key; exit status 1 when there is none")
    .argument("<ref>", "its id or its key")
    .option("--json", "print JSON")
    .action((ref: string, flags: { json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const callback = await app.schedule.get(ref);
        const recurrence = callback === undefined ? await app.schedule.recurrence(ref) : undefined;
        const nowMs = app.clock.wallMs();
        if (callback !== undefined) {
          if (flags.json === true) printJson(callbackJson(callback));
          else printRecord(callback, nowMs);
        } else if (recurrence !== undefined) {
          if (flags.json === true) printJson(recurrenceJson(recurrence));
          else printRecurrence(recurrence, nowMs);
        } else throw isRecurrenceId(ref) ? new UnknownRecurrenceError(ref) : new UnknownCallbackError(ref);
      }),
    );
}

function printRecord(callback: Callback, nowMs: number): void {
  const { args: _args, kwargs: _kwargs, due, ...rest } = callbackJson(callback);
  const texts = Object.entries({ ...rest, due: `${String(due)} (${fromNow(callback.dueMs, nowMs)})` }).map(
    ([name, value]) => [name, Array.isArray(value) ? value.join(", ") || null : textOrNull(value)] as const,
  );
  printFields([...texts, ["call", callText(callback)]]);
}

function textOrNull(value: unknown): string | null {
  return value === null ? null : String(value);
}

function cancel(): Command {
  return new Command("cancel")
    .description("take a callback or a recurrence back; exit status 1 when it has started, has ended, or is unknown")
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
    .option("--countdown <duration>", "so long from now: seconds, or 1500ms, 5m, 2h30m, 3d")
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

function target({ countdown, eta, timezone, by }: RescheduleFlags): MoveTo {
  const given = [countdown, eta, by].filter((each) => each !== undefined);
  if (given.length !== 1) throw new InvalidInputError("reschedule takes one of --countdown, --eta and --by");
  if (countdown !== undefined) return { countdown };
  if (by !== undefined) return { by };
  return { eta: eta ?? "", ...(timezone === undefined ? {} : { timezone }) };
}
