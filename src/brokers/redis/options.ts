/**
 * kombu's transport options for Redis (PROTOCOL 8), by kombu's names: `brokerTransportOptions` of an app, as it is given to Python.
 *
 * One that is known to kombu and has no meaning here is passed over; one that nobody knows is told in the log, and one with a value that
 * cannot be meant is refused.
 */
import { InvalidConfigError, messageOf } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import { duration, flag, listOf, oneOf, type Rule, suggest, text, whole } from "../../kit/options.ts";

export interface RedisOptions {
  /** Before the queue's name and the step of a priority. */
  readonly sep: string;
  /** Ascending, the first is 0. */
  readonly prioritySteps: readonly number[];
  readonly globalKeyprefix: string;
  /** Before the exchange's name in a channel of Redis; `{db}` is the database. */
  readonly fanoutPrefix: string;
  /** The routing key is a part of the channel. */
  readonly fanoutPatterns: boolean;
  readonly unackedKey: string;
  readonly unackedIndexKey: string;
  readonly unackedMutexKey: string;
  readonly unackedMutexExpireMs: number;
  readonly visibilityTimeoutMs: number;
  readonly unackedRestoreIntervalMs: number;
  /** Only each n-th interval looks. */
  readonly unackedRestoreThrottle: number;
  /** Messages restored in one look; 0 = no limit. */
  readonly unackedRestoreLimit: number;
  readonly queueOrderStrategy: "round_robin" | "sorted" | "priority";
  /** Where a message goes that no binding matches. */
  readonly deadletterQueue: string | undefined;
  /** How a body is written into the envelope: undefined = as text. */
  readonly bodyEncoding: "base64" | undefined;
  /** How long the server may take to answer. */
  readonly answerMs: number;
  /** How long it may take to let us in; undefined: what `connect` is given. */
  readonly connectMs: number | undefined;
  /** How often the connection that only listens is asked whether it lives. */
  readonly healthCheckIntervalMs: number;
  /** Shown in the server's list of connections. */
  readonly clientName: string | undefined;
}

const DEFAULTS: RedisOptions = {
  sep: "\x06\x16",
  prioritySteps: [0, 3, 6, 9],
  globalKeyprefix: "",
  fanoutPrefix: "/{db}.",
  fanoutPatterns: true,
  unackedKey: "unacked",
  unackedIndexKey: "unacked_index",
  unackedMutexKey: "unacked_mutex",
  unackedMutexExpireMs: 300_000,
  visibilityTimeoutMs: 3_600_000,
  unackedRestoreIntervalMs: 10_000,
  unackedRestoreThrottle: 10,
  unackedRestoreLimit: 0,
  queueOrderStrategy: "round_robin",
  deadletterQueue: undefined,
  bodyEncoding: "base64",
  answerMs: 10_000,
  connectMs: undefined,
  healthCheckIntervalMs: 25_000,
  clientName: undefined,
};

type Field = keyof RedisOptions;

const RULES: Readonly<Record<string, { readonly field: Field; readonly rule: Rule<unknown> }>> = {
  sep: { field: "sep", rule: text() },
  priority_steps: { field: "prioritySteps", rule: steps },
  global_keyprefix: { field: "globalKeyprefix", rule: anyText },
  fanout_prefix: { field: "fanoutPrefix", rule: fanoutPrefix },
  fanout_patterns: { field: "fanoutPatterns", rule: flag() },
  unacked_key: { field: "unackedKey", rule: text() },
  unacked_index_key: { field: "unackedIndexKey", rule: text() },
  unacked_mutex_key: { field: "unackedMutexKey", rule: text() },
  unacked_mutex_expire: { field: "unackedMutexExpireMs", rule: lasting },
  visibility_timeout: { field: "visibilityTimeoutMs", rule: lasting },
  unacked_restore_interval: { field: "unackedRestoreIntervalMs", rule: lasting },
  unacked_restore_throttle: { field: "unackedRestoreThrottle", rule: whole({ min: 1 }) },
  unacked_restore_limit: { field: "unackedRestoreLimit", rule: whole() },
  queue_order_strategy: { field: "queueOrderStrategy", rule: oneOf("round_robin", "sorted", "priority") },
  deadletter_queue: { field: "deadletterQueue", rule: text() },
  body_encoding: { field: "bodyEncoding", rule: bodyEncoding },
  socket_timeout: { field: "answerMs", rule: lasting },
  socket_connect_timeout: { field: "connectMs", rule: lasting },
  health_check_interval: { field: "healthCheckIntervalMs", rule: lasting },
  client_name: { field: "clientName", rule: text() },
};

/** kombu's and Celery's own that say how their client works, or that are read where the URL is. */
const PASSED_OVER: ReadonlySet<string> = new Set([
  "brpop_timeout",
  "polling_interval",
  "socket_keepalive",
  "socket_keepalive_options",
  "retry_on_timeout",
  "max_connections",
  "master_name",
  "min_other_sentinels",
  "sentinel_kwargs",
  "credential_provider",
  "max_retries",
  "interval_start",
  "interval_step",
  "interval_max",
  "retry_policy",
  "retry_errors",
  "connect_retries_timeout",
  "confirm_publish",
  "errback",
  "heartbeat",
]);

/**
 * @param given `brokerTransportOptions`; names in camelCase are taken too
 * @throws {InvalidConfigError} names every option with a value that cannot be meant
 */
export function readRedisOptions(given: Readonly<Record<string, unknown>>, log: Pick<Logger, "warn">): RedisOptions {
  const read: Partial<Record<Field, unknown>> = {};
  const problems: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const known = Object.hasOwn(RULES, snake) ? RULES[snake] : undefined;
    if (known !== undefined && value !== undefined) {
      // None is Python's word for the default, but for the encoding of a body, which it switches off.
      if (value === null && snake !== "body_encoding") continue;
      try {
        read[known.field] = known.rule(value, `brokerTransportOptions.${name}`);
      } catch (error) {
        problems.push(messageOf(error));
      }
    } else if (snake === "ack_emulation") {
      if (value === false) {
        log.warn(
          "brokerTransportOptions.ack_emulation is false, and is not followed: without a record of what is in hand a crash would lose it",
        );
      }
    } else if (known === undefined && !PASSED_OVER.has(snake)) {
      const near = suggest(snake, [...Object.keys(RULES), ...PASSED_OVER]);
      log.warn(`brokerTransportOptions.${name} is no option of a broker in Redis, and does nothing${near}`);
    }
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return { ...DEFAULTS, ...defined(read) } as RedisOptions;
}

function defined(read: Partial<Record<Field, unknown>>): Partial<Record<Field, unknown>> {
  return Object.fromEntries(
    Object.entries(read).filter(([name, value]) => value !== undefined || name === "bodyEncoding"),
  );
}

function anyText(value: unknown, name: string): string {
  if (typeof value === "string") return value;
  throw new TypeError(`${name} must be a text; it was ${JSON.stringify(value)}`);
}

/** More than nothing: 0 would take from a worker what it has just been given. */
function lasting(value: unknown, name: string): number {
  const ms = duration()(value, name);
  if (ms > 0) return ms;
  throw new TypeError(`${name} must be more than 0 seconds`);
}

function steps(value: unknown, name: string): readonly number[] {
  const list = [...new Set(listOf(whole({ max: 255 }))(value, name))].sort((a, b) => a - b);
  if (list[0] === 0) return list;
  throw new TypeError(`${name} must begin with 0, as [0, 3, 6, 9]: what has no priority has priority 0`);
}

function fanoutPrefix(value: unknown, name: string): string {
  if (value === true) return DEFAULTS.fanoutPrefix;
  if (value === false) return "";
  return anyText(value, name);
}

function bodyEncoding(value: unknown, name: string): "base64" | undefined {
  if (value === null || value === "utf-8") return undefined;
  return oneOf("base64")(value, name);
}
