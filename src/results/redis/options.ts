/** `resultBackendTransportOptions` by Celery's names, as far as they mean something here. */
import { InvalidConfigError } from "../../kit/errors.ts";
import { plainOf } from "../../kit/printable.ts";

export interface TransportOptions {
  /** Before every key, with the `_` that Celery puts after it. */
  readonly prefix: string;
  readonly masterName: string | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
  /** How long an operation is tried again while Redis is away, ms. */
  readonly patienceMs: number | undefined;
  /** Names that we know nothing of. */
  readonly unknown: readonly string[];
}

/** Celery's and kombu's that say how their own client works, or belong to chords or the broker. */
const OF_OTHERS: ReadonlySet<string> = new Set([
  "client_name",
  "connection_class",
  "fanout_patterns",
  "fanout_prefix",
  "health_check_interval",
  "max_connections",
  "min_other_sentinels",
  "polling_interval",
  "priority_steps",
  "queue_order_strategy",
  "result_chord_ordered",
  "retry_on_timeout",
  "sep",
  "socket_connect_timeout",
  "socket_keepalive",
  "socket_keepalive_options",
  "socket_timeout",
  "unacked_restore_limit",
  "visibility_timeout",
]);

const READ = ["global_keyprefix", "master_name", "sentinel_kwargs", "retry_policy"];

/** @throws {InvalidConfigError} names every option that is wrong */
export function transportOptions(given: Readonly<Record<string, unknown>>): TransportOptions {
  const problems: string[] = [];
  const wrong = (name: string, rule: string, value: unknown) => {
    problems.push(
      `result_backend_transport_options.${name} must be ${rule}; it was ${JSON.stringify(plainOf(value)) ?? "nothing"}`,
    );
  };
  const text = (of: Readonly<Record<string, unknown>>, name: string, shown = name): string | undefined => {
    const value = of[name];
    if (value === undefined || value === null || value === "") return undefined;
    if (typeof value === "string" && value.isWellFormed()) return value;
    wrong(shown, "a text", value);
    return undefined;
  };
  const table = (name: string): Readonly<Record<string, unknown>> => {
    const value = given[name];
    if (value === undefined || value === null) return {};
    if (typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
    wrong(name, "an object", value);
    return {};
  };
  const seconds = (of: Readonly<Record<string, unknown>>, name: string, fallback: number | null): number | null => {
    const value = of[name];
    if (value === undefined) return fallback;
    if (value === null || (typeof value === "number" && value >= 0)) return value;
    wrong(`retry_policy.${name}`, "a number from 0 on, or null", value);
    return fallback;
  };

  const prefix = text(given, "global_keyprefix") ?? "";
  const sentinel = table("sentinel_kwargs");
  const policy = table("retry_policy");
  const retries = seconds(policy, "max_retries", 20);
  const longest = seconds(policy, "interval_max", 1) ?? 1;
  const options: TransportOptions = {
    prefix: prefixOf(prefix),
    masterName: text(given, "master_name"),
    sentinelUsername: text(sentinel, "username", "sentinel_kwargs.username"),
    sentinelPassword: text(sentinel, "password", "sentinel_kwargs.password"),
    patienceMs:
      given.retry_policy === undefined
        ? undefined
        : (retries ?? Number.POSITIVE_INFINITY) * Math.max(longest, 0.1) * 1_000,
    unknown: Object.keys(given).filter((name) => !READ.includes(name) && !OF_OTHERS.has(name)),
  };
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return options;
}

/** Celery's rule: a `_` follows, unless the prefix ends with what separates already (PROTOCOL 10.1). */
export function prefixOf(prefix: string): string {
  return prefix === "" || /[:_\-.]$/.test(prefix) ? prefix : `${prefix}_`;
}
