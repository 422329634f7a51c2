/** From a call to a message: which options apply, where it goes, what is inherited from the running task (PROTOCOL 4). */
import { hostname } from "node:os";
import type { Clock } from "../kit/clock.ts";
import { countdownMs, type Duration, parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { newTaskId } from "../kit/ids.ts";
import { type Moment, parseMomentMs } from "../kit/moment.ts";
import { textOf } from "../kit/printable.ts";
import type { Content, Destination } from "../pool/asks.ts";
import { newTaskMessage } from "../protocol/encode.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Config } from "./config.ts";
import { currentTaskOrNone, type TaskRequest } from "./context.ts";
import { checkNames } from "./option-names.ts";
import type { Queues } from "./queues.ts";
import { type RetryPolicy, retryPolicyRule } from "./retry-policy.ts";
import { routeOf } from "./router.ts";
import { compressionName, deliveryMode, serializerName } from "./setting-rules.ts";
import type { TaskOptions } from "./task-options.ts";

/** How a call is sent: Celery's `apply_async` options in camelCase. A number is seconds. */
export interface ApplyOptions {
  /** Earliest start, from now. */
  readonly countdown?: Duration;
  /** Earliest start, a moment: Date, ISO 8601 with offset, or local time with `timezone`. */
  readonly eta?: Moment;
  /** IANA zone of an `eta` or `expires` without an offset. */
  readonly timezone?: string;
  /** Latest start: a duration from now, or a moment (Date, or ISO 8601). After it the task is discarded (REVOKED). */
  readonly expires?: Duration | Date;
  /** Default: a new UUID. */
  readonly taskId?: string;
  /** Default: the task's queue, else what `taskRoutes` say, else `taskDefaultQueue`. */
  readonly queue?: string;
  /** With `routingKey`: where it is published, instead of the queue's own exchange. */
  readonly exchange?: string;
  /** Of an `exchange` that no queue of the app has, for a broker that must know it (Redis). Default: the queue's. */
  readonly exchangeType?: string;
  /** Default: the queue's. As in Celery of no effect on a queue with a direct exchange, unless `exchange` is given too. */
  readonly routingKey?: string;
  /** 0 … 255; on RabbitMQ higher is sooner, for queues with `maxPriority`. Default: the task's, the route's, `taskDefaultPriority`. */
  readonly priority?: number;
  /** Whether it survives a restart of the broker (2, "persistent") or not (1, "transient"). Default: `taskDefaultDeliveryMode`. */
  readonly deliveryMode?: 1 | 2 | "persistent" | "transient";
  readonly timeLimit?: Duration;
  readonly softTimeLimit?: Duration;
  readonly ignoreResult?: boolean;
  /** Name shown in logs in place of the task's. */
  readonly shadow?: string;
  /** Headers of your own; Celery's names are refused. */
  readonly headers?: Readonly<Record<string, unknown>>;
  /** Queue that a result is to be sent to, by who sends results so. Default: the client's own. */
  readonly replyTo?: string;
  /** Id of the first task of the workflow. Default: that of the running task, else the call's own. */
  readonly rootId?: string;
  /** Id of the task that sends it. Default: the running task. */
  readonly parentId?: string;
  /** Try again when the broker is away. Default: `taskPublishRetry`. */
  readonly retry?: boolean;
  /** How often and how soon; what is left out is `taskPublishRetryPolicy`'s. */
  readonly retryPolicy?: RetryPolicy;
  /** How its body is written: "json", "yaml", "msgpack". Default: the task's, else `taskSerializer`. A callback is always JSON. */
  readonly serializer?: string;
  /** "zlib", "brotli", "zstd". Default: the task's, else `taskCompression`. */
  readonly compression?: string;
}

export interface Call {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

export interface Addressed {
  readonly message: TaskMessage;
  /** Where it is served, as far as the app knows: what a callback waits for. */
  readonly queue: string;
  /** All that is said of where it goes, the queue too. */
  readonly to: Destination;
  /** How it is written, where that is said. */
  readonly content: Content;
  /** `expires` where it is a duration, exactly: what recurs counts it for each of its occurrences. */
  readonly expiresAfterMs?: number;
}

/** What a call is addressed by. */
export interface Addressing {
  readonly config: Config;
  readonly queues: Queues;
  readonly clock: Clock;
}

const OPTION_NAMES: readonly string[] = [
  ...[
    "countdown",
    "eta",
    "timezone",
    "expires",
    "taskId",
    "queue",
    "exchange",
    "exchangeType",
    "routingKey",
    "priority",
  ],
  ...[
    "deliveryMode",
    "timeLimit",
    "softTimeLimit",
    "ignoreResult",
    "shadow",
    "headers",
    "replyTo",
    "rootId",
    "parentId",
  ],
  ...["retry", "retryPolicy", "serializer", "compression"],
];

const HOST = hostname();

/**
 * The message of a call, complete but for its carrier. An option is the call's, else the task's, else the route's, else the app's.
 * @param taskOptions the task's own, when it is registered here
 * @throws {InvalidInputError} an option or an argument is not what it must be, or there is no such queue
 */
export function addressCall(
  call: Call,
  options: ApplyOptions,
  taskOptions: TaskOptions,
  { config, queues, clock }: Addressing,
): Addressed {
  checkNames(options, OPTION_NAMES, `a call of ${call.task}`);
  if (options.countdown !== undefined && options.eta !== undefined) {
    throw new InvalidInputError("countdown and eta were both given; give the one that is meant");
  }
  const nowMs = clock.wallMs();
  const parent = currentTaskOrNone()?.request;
  const id = options.taskId ?? newTaskId();
  const etaMs = dueMsOf(options, config, nowMs);
  const expires = options.expires ?? taskOptions.expires;
  const hard = limitMs(options.timeLimit ?? taskOptions.timeLimit, "timeLimit");
  const soft = limitMs(options.softTimeLimit ?? taskOptions.softTimeLimit, "softTimeLimit");
  if (soft !== undefined && hard !== undefined && hard > 0 && soft > hard) {
    throw new InvalidInputError(
      `softTimeLimit (${soft / 1_000} s) is longer than timeLimit (${hard / 1_000} s): the soft limit comes first`,
    );
  }
  const { priority, to, content } = routeCall(call, options, taskOptions, config, parent);
  const queue = queueReached(to, queues);
  const ignoreResult = options.ignoreResult ?? taskOptions.ignoreResult ?? config.taskIgnoreResult;
  const parentId = options.parentId ?? parent?.id;
  const message = newTaskMessage({
    task: call.task,
    id,
    args: call.args,
    kwargs: call.kwargs,
    rootId: options.rootId ?? parent?.rootId ?? parent?.id ?? id,
    origin: `gen${process.pid}@${HOST}`,
    ...(parentId === undefined ? {} : { parentId }),
    ...(etaMs === undefined ? {} : { etaMs }),
    ...(expires === undefined ? {} : { expiresMs: expiresMsOf(expires, nowMs, options.timezone) }),
    ...(priority === undefined ? {} : { priority }),
    ...(hard === undefined ? {} : { hardLimitMs: hard }),
    ...(soft === undefined ? {} : { softLimitMs: soft }),
    ...(ignoreResult ? { ignoreResult } : {}),
    ...(options.shadow === undefined ? {} : { shadow: options.shadow }),
    ...(options.headers === undefined ? {} : { headers: options.headers }),
    ...(options.replyTo === undefined ? {} : { replyTo: options.replyTo }),
  });
  if (expires === undefined || isMoment(expires)) return { message, queue, to, content };
  return { message, queue, to, content, expiresAfterMs: parseDurationMs(expires as Duration, "expires") };
}

/** Where it goes and how soon it is served. */
function routeCall(
  call: Call,
  options: ApplyOptions,
  task: TaskOptions,
  config: Config,
  parent: TaskRequest | undefined,
): { priority: number | undefined; to: Destination & { readonly queue: string }; content: Content } {
  const { taskRoutes } = config;
  const route =
    taskRoutes === undefined ? undefined : routeOf(taskRoutes, { ...call, options: { ...task, ...options } });
  const inherited = config.taskInheritParentPriority ? (parent?.deliveryInfo?.priority ?? undefined) : undefined;
  const exchange = options.exchange ?? task.exchange ?? route?.exchange;
  const routingKey = options.routingKey ?? task.routingKey ?? route?.routingKey;
  const exchangeType = options.exchangeType ?? route?.exchangeType;
  const mode = options.deliveryMode ?? task.deliveryMode ?? route?.deliveryMode;
  const retry = options.retry ?? route?.retry;
  const policy = options.retryPolicy ?? route?.retryPolicy;
  const serializer = options.serializer ?? task.serializer ?? route?.serializer;
  const compression = options.compression ?? task.compression ?? route?.compression;
  return {
    content: {
      ...(serializer === undefined ? {} : { serializer: serializerName(serializer, "serializer") }),
      ...(compression === undefined ? {} : { compression: compressionName(compression, "compression") }),
    },
    priority: priorityOf(
      options.priority ?? task.priority ?? route?.priority ?? inherited ?? config.taskDefaultPriority,
    ),
    to: {
      queue: options.queue ?? task.queue ?? route?.queue ?? config.taskDefaultQueue,
      ...(exchange === undefined ? {} : { exchange }),
      ...(routingKey === undefined ? {} : { routingKey }),
      ...(exchangeType === undefined ? {} : { exchangeType }),
      ...(mode === undefined ? {} : { deliveryMode: deliveryMode(mode, "deliveryMode") }),
      ...(retry === undefined ? {} : { retry }),
      ...(policy === undefined ? {} : { retryPolicy: retryPolicyRule(policy, "retryPolicy") }),
    },
  };
}

/** The queue that is named, or another that its exchange and key lead to. @throws {InvalidInputError} there is no such queue */
function queueReached(
  { queue: name, exchange, routingKey }: Destination & { readonly queue: string },
  queues: Queues,
): string {
  const queue = queues.get(name);
  const from = exchange || (queue.exchange.type === "direct" ? "" : queue.exchange.name);
  if (!from || !routingKey || (from === queue.exchange.name && routingKey === queue.routingKey)) return name;
  return queues.reachedBy(from, routingKey)?.name ?? name;
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

export function expiresMsOf(expires: Duration | Date, nowMs: number, timezone?: string): number {
  if (isMoment(expires))
    return parseMomentMs(expires as Moment, { what: "expires", ...(timezone === undefined ? {} : { timezone }) });
  return nowMs + parseDurationMs(expires as Duration, "expires");
}

/** A date, or the text of one: no duration begins with a year and its month. */
function isMoment(expires: Duration | Date): boolean {
  return expires instanceof Date || (typeof expires === "string" && /^\s*\d{4}(-|\d{4}T)/.test(expires));
}

/** @throws {InvalidInputError} it is no priority */
export function priorityOf(priority: number | undefined): number | undefined {
  if (priority === undefined || (Number.isInteger(priority) && priority >= 0 && priority <= 255)) return priority;
  throw new InvalidInputError(`priority must be a whole number from 0 to 255, not ${textOf(priority, 80)}`);
}

function limitMs(limit: Duration | undefined, what: string): number | undefined {
  return limit === undefined ? undefined : parseDurationMs(limit, what);
}
