/** `lovage -A FILE worker`: runs a worker until it is told to stop. */
import { resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import type { SettingsInput } from "../../app/config.ts";
import { messageOf } from "../../kit/errors.ts";
import { createLogger, parseLogLevel } from "../../kit/log.ts";
import { Worker } from "../../worker/worker.ts";
import { banner } from "../banner.ts";
import { EXIT_FAILED, usersStack } from "../exit.ts";
import { printLine } from "../render.ts";
import { requireApp } from "../with-app.ts";

interface WorkerFlags {
  readonly loglevel: string;
  readonly concurrency?: number;
  readonly pool?: "prefork" | "solo";
  readonly queues?: string[];
  readonly excludeQueues?: string[];
  readonly purge?: boolean;
  readonly discard?: boolean;
  readonly prefetchMultiplier?: number;
  readonly disablePrefetch?: boolean;
  readonly timeLimit?: string;
  readonly softTimeLimit?: string;
  readonly maxTasksPerChild?: number;
  readonly maxMemoryPerChild?: number;
  readonly hostname?: string;
  readonly graph?: true | "text" | "dot";
  readonly quiet?: boolean;
  readonly logJson?: boolean;
}

export function workerCommand(): Command {
  return new Command("worker")
    .description("run a worker: consume its queues, and fire callbacks when they are due")
    .option("-l, --loglevel <level>", "debug, info, warning, error or critical", "warning")
    .option("-c, --concurrency <n>", "tasks at once (default: the number of CPUs)", wholeNumber)
    .addOption(new Option("-P, --pool <kind>", "where tasks run (default: prefork)").choices(["prefork", "solo"]))
    .option("-Q, --queues <names>", "queues to consume, separated by commas", commaList)
    .option("-X, --exclude-queues <names>", "queues not to consume, separated by commas", commaList)
    .option("--prefetch-multiplier <n>", "messages in hand for each slot; 0: no limit (default: 4)", wholeNumber)
    .option("--disable-prefetch", "take a message only when a slot is free")
    .option("--purge", "drop what waits in its queues before it starts")
    .addOption(new Option("--discard", "the same as --purge").hideHelp())
    .option("--time-limit <duration>", "end a task, with its process, after so long")
    .option("--soft-time-limit <duration>", "ask a task to end after so long")
    .option("--max-tasks-per-child <n>", "replace a process after so many tasks", positiveNumber)
    .option("--max-memory-per-child <kib>", "replace a process that has grown beyond so many KiB", positiveNumber)
    .option("-n, --hostname <name>", "node name; %h is the host (default: lovage@%h)")
    .addOption(new Option("--graph [form]", "print the order of the bootsteps, and stop").choices(["text", "dot"]))
    .option("-q, --quiet", "no banner")
    .option("--log-json", "log JSON, one object a line")
    .action(async (flags: WorkerFlags, command: Command) => {
      const level = parseLogLevel(flags.loglevel, "--loglevel");
      const { app, file } = await requireApp(command, settingsOf(flags));
      const options = {
        appFile: resolve(file),
        log: createLogger({ level, json: flags.logJson ?? false, color: process.stderr.isTTY ?? false }),
        logLevel: level,
        ...(flags.concurrency === undefined ? {} : { concurrency: flags.concurrency }),
        ...(flags.pool === undefined ? {} : { pool: flags.pool }),
        ...(flags.queues === undefined ? {} : { queues: flags.queues }),
        ...(flags.excludeQueues === undefined ? {} : { excludeQueues: flags.excludeQueues }),
        purge: flags.purge ?? flags.discard ?? false,
        ...(flags.hostname === undefined ? {} : { hostname: flags.hostname }),
      };
      if (flags.graph !== undefined) {
        printLine(Worker.graph(app, options, flags.graph === "dot" ? "dot" : "text"));
        return;
      }
      const worker = new Worker(app, options);
      // Before the banner, which opens the store: what the store has to say belongs in the log.
      app.useLog(options.log);
      if (flags.quiet !== true) printLine(await banner(worker, file));
      process.exitCode = await runUntilStopped(worker);
      // What a bootstep of the user's own left open must not keep a stopped worker alive.
      process.exit();
    });
}

/** What the flags say of settings. */
function settingsOf(flags: WorkerFlags): SettingsInput {
  return {
    workerPrefetchMultiplier: flags.prefetchMultiplier,
    workerDisablePrefetch: flags.disablePrefetch,
    taskTimeLimit: flags.timeLimit,
    taskSoftTimeLimit: flags.softTimeLimit,
    workerMaxTasksPerChild: flags.maxTasksPerChild,
    workerMaxMemoryPerChild: flags.maxMemoryPerChild,
  };
}

/** npm, timeout and others pass on a signal that the terminal has sent to us too: two so close are one. */
const SAME_SIGNAL_MS = 500;

/** Of the stops so far and the signal: which one now. Celery's: QUIT, or a second one, is soft where that has a time, and the next is cold. */
function nextStop(
  before: "warm" | "soft" | undefined,
  signal: NodeJS.Signals,
  hasSoft: boolean,
): "warm" | "soft" | "cold" {
  if (before === undefined && !isQuit(signal)) return "warm";
  return hasSoft && before !== "soft" ? "soft" : "cold";
}

/** Celery's `REMAP_SIGTERM=SIGQUIT`: for who sends TERM and means a stop within a time. */
function isQuit(signal: NodeJS.Signals): boolean {
  return signal === "SIGQUIT" || (signal === "SIGTERM" && process.env.REMAP_SIGTERM === "SIGQUIT");
}

/** First signal: warm. Second, or QUIT: soft or cold. Answers the exit status. */
async function runUntilStopped(worker: Worker): Promise<number> {
  const { log, clock } = worker.settings;
  let stopping: "warm" | "soft" | undefined;
  let heardMs = Number.NEGATIVE_INFINITY;
  let stop: () => void = () => undefined;
  const stopped = new Promise<void>((resolveStopped) => {
    stop = resolveStopped;
  });
  const onSignal = (signal: NodeJS.Signals) => {
    const echo = clock.monoMs() - heardMs < SAME_SIGNAL_MS;
    heardMs = clock.monoMs();
    if (echo && signal !== "SIGQUIT") return;
    const { hostname, config } = worker.settings;
    const softMs = config.workerSoftShutdownTimeoutMs;
    const how = nextStop(stopping, signal, softMs > 0);
    process.stderr.write(
      {
        warm: `\nworker: Warm shutdown (${hostname}); ${signal} again ends running tasks${softMs > 0 ? ` after ${softMs / 1_000} seconds` : " at once"}\n`,
        soft: `\nworker: Initiating Soft Shutdown, terminating in ${softMs / 1_000} seconds (${hostname}); ${signal} again ends running tasks at once\n`,
        cold: `\nworker: Cold shutdown (${hostname})\n`,
      }[how],
    );
    stopping = how === "cold" ? "soft" : how;
    void worker.stop(how).then(stop);
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) process.on(signal, onSignal);

  const starting = worker.start();
  try {
    await Promise.race([starting, stopped]);
  } catch (error) {
    if (stopping === undefined) throw error;
  }
  const failure = await Promise.race([stopping === undefined ? worker.failed() : stopped, stopped]);
  if (failure === undefined) {
    await starting.catch(() => undefined);
    return 0;
  }
  const traceback = usersStack(failure);
  log.critical(`The worker cannot go on: ${messageOf(failure)}`, traceback === undefined ? {} : { traceback });
  await worker.stop("cold");
  return EXIT_FAILED;
}

export function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

export function positiveNumber(text: string): number {
  if (!/^\d*[1-9]\d*$/.test(text)) throw new InvalidArgumentError("It must be a whole number from 1 on.");
  return Number(text);
}

/** Given twice it means both: of two tags, the second alone would find more than was asked for. */
export function commaList(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(",").map((each) => each.trim())];
}
