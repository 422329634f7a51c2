/**
 * The program of a pool process.
 *
 *     node main.ts PoolWorker-1 '{"level":"info"}' /path/to/tasks.ts     (its channel at fd 3)
 *
 * It opens no broker and no store: what the user's code asks of the app goes to the worker. So it starts fast, and holds
 * nothing that could be lost with it.
 */
import "./ignore-signals.ts";
import { Socket } from "node:net";
import { findApp } from "../app/find-app.ts";
import { systemClock } from "../kit/clock.ts";
import { createLogger } from "../kit/log.ts";
import type { ChildLog } from "../pool/prefork/child-handle.ts";
import { CHANNEL_FD } from "../pool/prefork/ipc.ts";
import { Child } from "./child.ts";

const [name = "PoolWorker", logging = "{}", appPath = ""] = process.argv.slice(2);

const child = new Child({
  channel: new Socket({ fd: CHANNEL_FD, readable: true, writable: true }),
  load: () => findApp(appPath),
  exit: (status) => process.exit(status),
  log: createLogger({ ...(JSON.parse(logging) as ChildLog), process: name }),
  clock: systemClock,
});
process.on("uncaughtExceptionMonitor", (error) => child.lastWords(error));
await child.boot();
