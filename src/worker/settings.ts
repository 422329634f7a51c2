/** What one worker runs with: the app's configuration, and what the command line or the caller chose for this one. */
import { availableParallelism, hostname } from "node:os";
import type { Lovage } from "../app/app.ts";
import type { Config } from "../app/config.ts";
import { directQueue } from "../app/queues.ts";
import { given } from "../blueprint/blueprint.ts";
import type { Queue } from "../brokers/topology.ts";
import type { Clock } from "../kit/clock.ts";
import { InvalidConfigError, messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { Consumed } from "./consumed.ts";

export interface WorkerOptions {
  /** File of the app: what pool processes load. Needed by the prefork pool. */
  readonly appFile?: string;
  /** Slots. Default: `workerConcurrency`, else the number of CPUs. */
  readonly concurrency?: number;
  /** Default: `workerPool`. */
  readonly pool?: "prefork" | "solo";
  /** Queues to consume. Default: `taskQueues`, else `taskDefaultQueue`. Celery: -Q. */
  readonly queues?: readonly string[];
  /** Queues not to consume. Celery: -X. */
  readonly excludeQueues?: readonly string[];
  /** Drop what waits in the queues before the worker consumes for the first time. Default false. Celery: --purge. */
  readonly purge?: boolean;
  /** Node name; `%h` is the host's name, `%n` its first part, `%d` its domain. Default "lovage@%h". */
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
  /** Names of the queues that it consumes when it starts. */
  readonly queues: readonly string[];
  /** Those that it consumes now. */
  readonly consumed: Consumed;
  /** True until it was done, once for the worker. */
  readonly purge: { wanted: boolean };
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
  const node = expandNodeName(options.hostname ?? "lovage@%h");
  if (!Number.isSafeInteger(concurrency) || concurrency < 1 || concurrency > 1_000) {
    problems.push(`concurrency must be a whole number from 1 to 1000, not ${concurrency}`);
  }
  if (pool !== "prefork" && pool !== "solo") {
    problems.push(`pool must be "prefork" or "solo", not ${JSON.stringify(pool)}`);
  }
  if (pool === "prefork" && options.appFile === undefined) {
    problems.push("the prefork pool needs appFile, the file that its processes load; or choose the solo pool");
  }
  const queues = consumedQueues(app, options, node, problems);
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return {
    app,
    config: app.config,
    appFile: options.appFile,
    concurrency,
    pool,
    queues: queues.map((each) => each.name),
    consumed: new Consumed(queues),
    purge: { wanted: options.purge ?? false },
    hostname: node,
    log: options.log ?? app.log,
    logLevel: options.logLevel ?? "warning",
    clock: app.clock,
  };
}

/** What it consumes; what is wrong with the choice goes to `problems`. */
function consumedQueues(app: Lovage, options: WorkerOptions, node: string, problems: string[]): Queue[] {
  const { queues, excludeQueues = [] } = options;
  if (queues !== undefined && (queues.length === 0 || queues.some((each) => each === ""))) {
    problems.push("queues must name at least one queue, and no empty one");
    return [];
  }
  const log = options.log ?? app.log;
  for (const name of excludeQueues) {
    if (!(queues ?? app.queues.names).includes(name))
      log.warn(`The queue ${JSON.stringify(name)} is excluded, and would not be consumed in any case`);
  }
  try {
    const selected = app.queues.select(queues, excludeQueues);
    return app.config.workerDirect ? [...selected, directQueue(node)] : selected;
  } catch (error) {
    problems.push(messageOf(error));
    return [];
  }
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
