/** `lovage schedule preview`: when a rule, or a recurrence that there is, comes next. Nothing is stored. */
import { Command } from "commander";
import type { Recurs } from "../../app/recurrence-options.ts";
import type { Ref } from "../../app/refs.ts";
import { InvalidInputError } from "../../kit/errors.ts";
import { fromNow, printJson, printLine, printTable } from "../render.ts";
import { withApp } from "../with-app.ts";
import { positiveNumber } from "./worker.ts";

interface PreviewFlags {
  readonly cron?: string;
  readonly every?: string;
  readonly rrule?: string;
  readonly timezone?: string;
  readonly count: number;
  readonly json?: boolean;
}

const MOVED = "the clocks leave out its time: the first moment after the gap";

export function previewCommand(): Command {
  return new Command("preview")
    .description("the next times of a recurrence or of a rule, with their offsets from UTC; stores nothing")
    .argument("[ref]", "a recurrence's id or key")
    .option("--cron <pattern>", 'cron pattern of 5 fields, or of 6 with seconds first: "0 9 * * 1-5"')
    .option("--every <duration>", "interval, from now on: 90, 10m, 2h30m")
    .option("--rrule <text>", "rule of iCalendar: DTSTART and RRULE, each on a line of its own")
    .option("--timezone <zone>", "IANA zone of the --cron or --rrule (default: the app's timezone)")
    .option("-n, --count <n>", "how many", positiveNumber, 10)
    .option("--json", "print JSON, one object a line")
    .action((ref: string | undefined, flags: PreviewFlags, command: Command) =>
      withApp(command, async (app) => {
        const times = await app.schedule.preview(meant(ref, flags), { count: flags.count });
        if (flags.json === true) {
          for (const { at, text, moved } of times) printJson({ at: at.toISOString(), local: text, moved });
          return;
        }
        if (times.length === 0) return printLine("no further time");
        const nowMs = app.clock.wallMs();
        const rows = times.map(({ at, text, moved }, i) => [
          String(i + 1),
          text,
          fromNow(at.getTime(), nowMs),
          moved ? MOVED : "",
        ]);
        printTable(["", "time", "", ""], rows);
      }),
    );
}

/** @throws {InvalidInputError} not one of the four was given, or a zone for what has none */
function meant(ref: string | undefined, { cron, every, rrule, timezone }: PreviewFlags): Recurs | Ref {
  if ([ref, cron, every, rrule].filter((each) => each !== undefined).length !== 1) {
    throw new InvalidInputError("preview takes one of --cron, --every, --rrule and a recurrence's id or key");
  }
  const zone = timezone === undefined ? {} : { timezone };
  if (cron !== undefined) return { cron, ...zone };
  if (rrule !== undefined) return { rrule, ...zone };
  if (timezone !== undefined) {
    throw new InvalidInputError(
      "--timezone goes with --cron and --rrule; an interval has no zone, and a recurrence has its own",
    );
  }
  return every === undefined ? (ref ?? "") : { every };
}
