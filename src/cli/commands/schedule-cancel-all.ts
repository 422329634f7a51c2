/** `lovage schedule cancel-all`: takes back all that a filter finds, and tells how many were answered how. */
import { Command, Option } from "commander";
import type { CancelCounts } from "../../schedule/cancel-page.ts";
import { Progress } from "../progress.ts";
import { printFields, printJson } from "../render.ts";
import { withApp } from "../with-app.ts";
import { addFilterFlags, type FilterFlags, filterOf, refuseTheUnclear } from "./schedule-filter.ts";

interface CancelAllFlags extends FilterFlags {
  readonly everything?: boolean;
  readonly dryRun?: boolean;
  readonly running?: "abort";
  readonly json?: boolean;
}

export function cancelAllCommand(): Command {
  return addFilterFlags(new Command("cancel-all"))
    .description("take back all callbacks that the filter finds; prints how many were answered by which word")
    .option("--everything", "all that have not ended, where no filter is given")
    .option("--dry-run", "change nothing; print what would be answered")
    .addOption(new Option("--running <what>", "what to do with those that run").choices(["abort"]))
    .option("--json", "print JSON")
    .action((flags: CancelAllFlags, command: Command) =>
      withApp(command, async (app) => {
        const { everything = false, dryRun = false, running, json } = flags;
        const filter = filterOf(flags);
        refuseTheUnclear(filter, everything);
        const progress = new Progress(process.stderr, app.clock);
        let counts: CancelCounts | undefined;
        try {
          counts = await app.schedule.cancelAll(filter, {
            everything,
            dryRun,
            ...(running === undefined ? {} : { running }),
            onProgress(soFar) {
              counts = soFar;
              progress.show(() => `${dryRun ? "looking" : "cancelling"}: ${wordsOf(soFar)}`);
            },
          });
        } catch (error) {
          progress.end();
          // What was done is done; the error itself is reported like any other.
          if (counts !== undefined) process.stderr.write(`lovage: before it failed: ${wordsOf(counts)}\n`);
          throw error;
        }
        progress.end();
        if (json === true) printJson({ ...counts, dryRun });
        else printFields(Object.entries(counts).map(([word, count]) => [word, count.toLocaleString("en")] as const));
      }),
    );
}

/** "1,200 cancelled, 3 running" */
function wordsOf(counts: CancelCounts): string {
  const told = Object.entries(counts).filter(([word, count]) => count > 0 || word === "cancelled");
  return told.map(([word, count]) => `${count.toLocaleString("en")} ${word}`).join(", ");
}
