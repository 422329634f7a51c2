/** What one worker runs with: the app's configuration, and what the command line or the caller chose for this one. */
import { availableParallelism, hostname } from "node:os";
import type { Lovage } from "../app/app.ts";
import type { Config } from "../app/config.ts";
import { given } from "../blueprint/blueprint.ts";
import type { Clock } from "../kit/clock.ts";
import { InvalidConfigError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";

export interface WorkerOptions {
  /** File of the app: what pool processes load. Needed by the prefork pool. */
  readonly appFile?: string;
  /** Slots. Default: `workerConcurrency`, else the number of CPUs. */
  readonly concurrency?: number;
  /** Default: `workerPool`. */
  readonly pool?: "prefork" | "solo";
  /** Queues to consume. Default: `taskDefaultQueue`. */
  readonly queues?: readonly string[];
  /** Node name; `%h` is the host's name, `%n` its first part, `%d` its domain. Default "celery@%h". */
  readonly hostname?: string;
  readonly log?: Logger;
  readonly logLevel?: string;
}

export interface WorkerSettings {
  readonly app: Lovage;
  readonly config: Config;
  readonly appFile: string | undefined;
  readonly concurrency: number;
  readonly pool: "prefork" | "solo";
  readonly queues: readonly string[];
  /** Node name, expanded. */
  readonly hostname: string;
  readonly log: Logger;
  readonly logLevel: string;
  readonly clock: Clock;
}

/** The settings, as a part that every step may need. */
export const settingsRef = given<WorkerSettings>("settings");

/** @throws {InvalidConfigError} names every option that is wrong */
export function workerSettings(app: Lovage, options: WorkerOptions): WorkerSettings {
  const problems: string[] = [];
  const pool = options.pool ?? app.config.workerPool;
  const concurrency = options.concurrency ?? app.config.workerConcurrency ?? availableParallelism();
  const queues = options.queues ?? [app.config.taskDefaultQueue];
  if (!Number.isSafeInteger(concurrency) || concurrency < 1 || concurrency > 1_000) {
    problems.push(`concurrency must be a whole number from 1 to 1000, not ${concurrency}`);
  }
  if (pool !== "prefork" && pool !== "solo") {
    problems.push(`pool must be "prefork" or "solo", not ${JSON.stringify(pool)}`);
  }
  if (pool === "prefork" && options.appFile === undefined) {
    problems.push("the prefork pool needs appFile, the file that its processes load; or choose the solo pool");
  }
  if (queues.length === 0 || queues.some((each) => each === "")) {
    problems.push("queues must name at least one queue, and no empty one");
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return {
    app,
    config: app.config,
    appFile: options.appFile,
    concurrency,
    pool,
    queues: [...new Set(queues)],
    hostname: expandNodeName(options.hostname ?? "celery@%h"),
    log: options.log ?? app.log,
    logLevel: options.logLevel ?? "warning",
    clock: app.clock,
  };
}

/** Celery's node name: "name" alone is "name@host". */
function expandNodeName(pattern: string): string {
  const host = hostname();
  const [name, ...domain] = host.split(".");
  const expanded = pattern
    .replaceAll("%h", host)
    .replaceAll("%n", name ?? host)
    .replaceAll("%d", domain.join("."));
  return expanded.includes("@") ? expanded : `${expanded}@${host}`;
}
