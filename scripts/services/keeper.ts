/**
 * A small program that owns processes and a folder for somebody else, and clears both away when that somebody is
 * done, in whatever way: it ended, it was interrupted, it crashed, it was killed with -9. In all these cases its end
 * of the keeper's standard input is closed, and that is all the keeper waits for. So there is one way to the end,
 * and it does not depend on the owner being able to run code. (Owner's side: kept.ts.)
 *
 * The first line of standard input is the order, one JSON text. Standard output carries a JSON text a line: an Event.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import type { KeeperEvent, KeptCommand, Order } from "./kept.ts";
import { killProcesses, processesOfRun } from "./tagged.ts";

const TERM_MS = 10_000;

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
}

let order: Order | undefined;
const running: Running[] = [];

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => {
  order = JSON.parse(line) as Order;
  for (const [index, command] of order.commands.entries()) running.push(start(index, command));
});
lines.once("close", () => void clearAway());
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(signal, () => void clearAway());
// The owner may be gone while something is told to it.
process.stdout.on("error", () => {});

function start(index: number, command: KeptCommand): Running {
  const log = openSync(command.log, "a");
  // A group of its own: what the command starts is ended with it, and a terminal's Ctrl-C does not reach it.
  const child = spawn(command.command, command.args, {
    cwd: command.cwd,
    env: command.env,
    stdio: ["ignore", log, log],
    detached: true,
  });
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      tell({ event: "ended", index, how: error.message });
      resolve();
    });
    child.once("exit", (code, signal) => {
      tell({ event: "ended", index, how: signal ?? `exit status ${code}` });
      resolve();
    });
  });
  if (child.pid !== undefined) tell({ event: "started", index, pid: child.pid });
  return { child, ended };
}

function tell(event: KeeperEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

let clearing: Promise<void> | undefined;
function clearAway(): Promise<void> {
  clearing ??= (async () => {
    for (const each of running.toReversed()) {
      signalGroup(each.child, "SIGTERM");
      await Promise.race([each.ended, new Promise((resolve) => setTimeout(resolve, TERM_MS))]);
      signalGroup(each.child, "SIGKILL");
      await each.ended;
    }
    if (order === undefined) return;
    if (order.run !== undefined) killProcesses(processesOfRun(order.run));
    rmSync(order.folder, { recursive: true, force: true, maxRetries: 5 });
  })().finally(() => process.exit());
  return clearing;
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The whole group has ended.
  }
}
