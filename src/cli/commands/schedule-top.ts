/** `lovage schedule top`: a live view of what fires next. Without a terminal, or with --once, it is one frame. */
import { Command } from "commander";
import type { Lovage } from "../../app/app.ts";
import type { Timeout } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { redactText } from "../../kit/redact.ts";
import { printJson, printLine } from "../render.ts";
import { Screen } from "../screen.ts";
import { readTop, type TopData, topJson, topLines } from "../top.ts";
import { withApp } from "../with-app.ts";
import { positiveNumber } from "./worker.ts";

interface TopFlags {
  readonly once?: boolean;
  readonly limit: number;
  readonly json?: boolean;
}

const REFRESH_MS = 1_000;
/** Of a frame that goes to no terminal. */
const PLAIN_COLUMNS = 160;
/** More than any terminal shows. */
const MOST_ROWS = 200;

export function topCommand(): Command {
  return new Command("top")
    .description("a live view of what fires next; q ends it")
    .option("--once", "print one frame, and stop")
    .option("-n, --limit <n>", "with --once or --json: so many of each at most", positiveNumber, 20)
    .option("--json", "print one frame as JSON")
    .action((flags: TopFlags, command: Command) =>
      withApp(command, async (app) => {
        const { once = false, json = false, limit } = flags;
        const most = Math.min(limit, MOST_ROWS);
        if (json) return printJson(topJson(await readTop(app, most)));
        if (!once && process.stdout.isTTY) return watch(app);
        const data = await readTop(app, most);
        const columns = process.stdout.columns || PLAIN_COLUMNS;
        for (const line of topLines(data, data.nowMs, { columns })) printLine(line);
      }),
    );
}

async function watch(app: Lovage): Promise<void> {
  // Before the screen is taken: a store that cannot be opened is an error like any other.
  let data: TopData = await readTop(app, Math.min(process.stdout.rows || 24, MOST_ROWS));
  let trouble: string | undefined;
  const draw = () => {
    const { columns, rows } = screen;
    const hint = "q quits";
    const shown = { columns, rows, hint, ...(trouble === undefined ? {} : { trouble }) };
    screen.draw(topLines(data, app.clock.wallMs(), shown));
  };
  const screen = new Screen(process, draw);
  let over = false;
  const ended = screen.ended.then(() => {
    over = true;
  });
  screen.open();
  try {
    while (!over) {
      draw();
      await pause(app, ended);
      if (over) break;
      // A store that hangs must not keep the view from ending.
      const read = readTop(app, Math.min(screen.rows, MOST_ROWS)).then(
        (fresh) => {
          data = fresh;
          trouble = undefined;
        },
        (error: unknown) => {
          trouble = redactText(messageOf(error));
        },
      );
      await Promise.race([ended, read]);
    }
  } finally {
    screen.close();
  }
}

/** Until the next refresh, or the end of the view. */
async function pause({ clock }: Lovage, ended: Promise<void>): Promise<void> {
  let timeout: Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timeout = clock.timeout(resolve, REFRESH_MS);
  });
  await Promise.race([ended, over]);
  timeout?.cancel();
}
