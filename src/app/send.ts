/** From a call to a message: which options apply, where it goes, what is inherited from the running task. */
import { hostname } from "node:os";
import type { Clock } from "../kit/clock.ts";
import { countdownMs, type Duration, parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { newTaskId } from "../kit/ids.ts";
import { type Moment, parseMomentMs } from "../kit/moment.ts";
import { newTaskMessage } from "../protocol/encode.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Config } from "./config.ts";
import { currentTaskOrNone } from "./context.ts";
import type { TaskOptions } from "./task-options.ts";

/** How a call is sent: Celery's `apply_async` options in camelCase. A number is seconds. */
export interface ApplyOptions {
  /** Earliest start, from now. */
  readonly countdown?: Duration;
  /** Earliest start, a moment: Date, ISO 8601 with offset, or local time with `timezone`. */
  readonly eta?: Moment;
  /** IANA zone of an `eta` or `expires` without an offset. */
  readonly timezone?: string;
  /** Latest start: a duration from now, or a moment. After it the task is discarded (REVOKED). */
  readonly expires?: Duration | Date;
  /** Default: a new UUID. */
  readonly taskId?: string;
  /** Default: the task's queue, else `taskDefaultQueue`. */
  readonly queue?: string;
  readonly priority?: number;
  readonly timeLimit?: Duration;
  readonly softTimeLimit?: Duration;
  readonly ignoreResult?: boolean;
  /** Name shown in logs in place of the task's. */
  readonly shadow?: string;
  /** Headers of your own; Celery's names are refused. */
  readonly headers?: Readonly<Record<string, unknown>>;
}

export interface Call {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

export interface Addressed {
  readonly message: TaskMessage;
  readonly queue: string;
  /** `expires` where it is a duration, exactly: what recurs counts it for each of its occurrences. */
  readonly expiresAfterMs?: number;
}

const HOST = hostname();

/**
 * The message of a call, complete but for its carrier.
 * @param taskOptions the task's own, when it is registered here; the call's options win
 * @throws {InvalidInputError} an option or an argument is not what it must be
 */
export function addressCall(
  call: Call,
  options: ApplyOptions,
  taskOptions: TaskOptions,
  config: Config,
  clock: Clock,
): Addressed {
  if (options.countdown !== undefined && options.eta !== undefined) {
    throw new InvalidInputError("countdown and eta were both given; give the one that is meant");
  }
  const nowMs = clock.wallMs();
  const parent = currentTaskOrNone()?.request;
  const id = options.taskId ?? newTaskId();
  const etaMs = dueMsOf(options, config, nowMs);
  const expires = options.expires ?? taskOptions.expires;
  const priority = options.priority ?? taskOptions.priority;
  const hard = options.timeLimit ?? taskOptions.timeLimit;
  const soft = options.softTimeLimit ?? taskOptions.softTimeLimit;
  const ignoreResult = options.ignoreResult ?? taskOptions.ignoreResult ?? config.taskIgnoreResult;
  const message = newTaskMessage({
    task: call.task,
    id,
    args: call.args,
    kwargs: call.kwargs,
    rootId: parent?.rootId ?? id,
    origin: `gen${process.pid}@${HOST}`,
    ...(parent === undefined ? {} : { parentId: parent.id }),
    ...(etaMs === undefined ? {} : { etaMs }),
    ...(expires === undefined ? {} : { expiresMs: expiresMsOf(expires, nowMs) }),
    ...(priority === undefined ? {} : { priority }),
    ...(hard === undefined ? {} : { hardLimitMs: parseDurationMs(hard, "timeLimit") }),
    ...(soft === undefined ? {} : { softLimitMs: parseDurationMs(soft, "softTimeLimit") }),
    ...(ignoreResult ? { ignoreResult } : {}),
    ...(options.shadow === undefined ? {} : { shadow: options.shadow }),
    ...(options.headers === undefined ? {} : { headers: options.headers }),
  });
  const queue = options.queue ?? taskOptions.queue ?? config.taskDefaultQueue;
  if (expires === undefined || expires instanceof Date) return { message, queue };
  return { message, queue, expiresAfterMs: parseDurationMs(expires, "expires") };
}

/** The earliest start that the options ask for, ms; undefined: now. Celery reads a countdown of 0 as now, too. */
export function dueMsOf(
  { countdown, eta, timezone }: Pick<ApplyOptions, "countdown" | "eta" | "timezone">,
  config: Config,
  nowMs: number,
): number | undefined {
  if (countdown !== undefined) {
    const delayMs = countdownMs(countdown, { maxMs: config.maxCountdownMs });
    return delayMs === 0 ? undefined : nowMs + delayMs;
  }
  if (eta === undefined) return undefined;
  return parseMomentMs(eta, { what: "eta", ...(timezone === undefined ? {} : { timezone }) });
}

export function expiresMsOf(expires: Duration | Date, nowMs: number): number {
  if (expires instanceof Date) return parseMomentMs(expires, { what: "expires" });
  return nowMs + parseDurationMs(expires, "expires");
}
