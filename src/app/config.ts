/**
 * The settings of an app: Celery's names in camelCase or snake_case, read from the argument, then the environment
 * (`LOVAGE_*`, then `CELERY_BROKER_URL` and `CELERY_RESULT_BACKEND`), then the default. Every wrong one is named at once.
 */

import { DEFAULT_MAX_COUNTDOWN_MS, type Duration } from "../kit/duration.ts";
import { InvalidConfigError, messageOf } from "../kit/errors.ts";
import { duration, flag, oneOf, type Rule, suggest, text, whole } from "../kit/options.ts";

/** What `new Lovage(name, settings)` takes. Durations: a number is seconds, a string carries its unit. */
export interface Settings {
  /** Where messages wait: `amqp://`, `sqlite:FILE`, `memory://`. Default `sqlite:lovage.db`. Celery: `broker_url`. */
  readonly broker?: string | undefined;
  /** Where results wait: `sqlite:FILE`, `memory://`. Default: the broker's own file if it is embedded, else none. Celery: `result_backend`. */
  readonly backend?: string | undefined;
  /**
   * Where callbacks wait: `sqlite:FILE`, `memory://`; Redis 7: `redis://user:password@host:6379/0`,
   * `redis+sentinel://host:26379,host/MASTER/0`, `redis+cluster://host:6379,host` (over TLS: `rediss://`, `rediss+…`); or PostgreSQL 15:
   * `postgres://user:password@host:5432/database` (`?schema=`, default lovage; `?sslmode=`).
   * Default: the broker's own file if it is embedded, else `sqlite:lovage.db`.
   */
  readonly schedule?: string | undefined;
  /** Callbacks of different namespaces in one store do not see each other. Default "lovage". */
  readonly namespace?: string | undefined;
  /** What an acknowledged callback or message survives in the embedded file: power loss, or kill -9. Default "strict". */
  readonly durability?: "strict" | "process" | undefined;
  /** Zone of moments without an offset in messages (Celery: `timezone`). Default UTC. */
  readonly timezone?: string | undefined;
  /** Default "celery". */
  readonly taskDefaultQueue?: string | undefined;
  readonly taskAcksLate?: boolean | undefined;
  readonly taskRejectOnWorkerLost?: boolean | undefined;
  readonly taskIgnoreResult?: boolean | undefined;
  readonly taskTrackStarted?: boolean | undefined;
  readonly taskTimeLimit?: Duration | undefined;
  readonly taskSoftTimeLimit?: Duration | undefined;
  /** How long results are kept, and callbacks that have ended; those with a key for at least 7 days. Default 1 day; 0 = for ever. */
  readonly resultExpires?: Duration | undefined;
  /** Also store name, worker, retries and queue. Default false. */
  readonly resultExtended?: boolean | undefined;
  /** Slots of the pool. Default: the number of CPUs. */
  readonly workerConcurrency?: number | undefined;
  readonly workerPool?: "prefork" | "solo" | undefined;
  /** Deliveries in hand = this × concurrency; 0 = no limit. Default 4. */
  readonly workerPrefetchMultiplier?: number | undefined;
  /** Replace a child after so many tasks. Default: never. */
  readonly workerMaxTasksPerChild?: number | undefined;
  /** Default 4 s. */
  readonly brokerConnectionTimeout?: Duration | undefined;
  /** Default 120 s; amqp only. */
  readonly brokerHeartbeat?: Duration | undefined;
  /** Try again when the broker cannot be reached. Default true. */
  readonly brokerConnectionRetry?: boolean | undefined;
  /** Default 100; 0 = for ever. */
  readonly brokerConnectionMaxRetries?: number | undefined;
  /** The furthest that a countdown may reach. Default 10 years. */
  readonly maxCountdown?: Duration | undefined;
  /** How long a claim holds without being renewed. Default 30 s. */
  readonly scheduleLease?: Duration | undefined;
  /** Live callbacks allowed in the namespace; 0 = no limit. Default 0. */
  readonly maxPending?: number | undefined;
  /** How long a revoked task id is remembered. Default 3 h, as in Celery. */
  readonly revokesExpire?: Duration | undefined;
}

/** Settings in Celery's spelling are taken too: `task_acks_late` is `taskAcksLate`. */
export type SettingsInput = Settings & { readonly [celeryName: `${string}_${string}`]: unknown };

/** The settings as the code uses them: complete, durations in ms. */
export interface Config {
  readonly broker: string;
  readonly backend: string | undefined;
  readonly schedule: string;
  readonly namespace: string;
  readonly durability: "strict" | "process";
  readonly timezone: string;
  readonly taskDefaultQueue: string;
  readonly taskAcksLate: boolean;
  readonly taskRejectOnWorkerLost: boolean;
  readonly taskIgnoreResult: boolean;
  readonly taskTrackStarted: boolean;
  readonly taskTimeLimitMs: number | undefined;
  readonly taskSoftTimeLimitMs: number | undefined;
  readonly resultExpiresMs: number;
  readonly resultExtended: boolean;
  readonly workerConcurrency: number | undefined;
  readonly workerPool: "prefork" | "solo";
  readonly workerPrefetchMultiplier: number;
  readonly workerMaxTasksPerChild: number | undefined;
  readonly brokerConnectionTimeoutMs: number;
  readonly brokerHeartbeatMs: number;
  readonly brokerConnectionRetry: boolean;
  readonly brokerConnectionMaxRetries: number;
  readonly maxCountdownMs: number;
  readonly scheduleLeaseMs: number;
  readonly maxPending: number;
  readonly revokesExpireMs: number;
}

const DAY_MS = 86_400_000;
export const DEFAULT_FILE_URL = "sqlite:lovage.db";
const EMBEDDED_SCHEMES = ["sqlite", "memory"];
const REDIS_SCHEMES = ["redis", "rediss"].flatMap((each) => [each, `${each}+sentinel`, `${each}+cluster`]);
const POSTGRES_SCHEMES = ["postgres", "postgresql"];

/** Celery's names that are not the camelCase of ours. */
const ALIASES: Readonly<Record<string, keyof Settings>> = { brokerUrl: "broker", resultBackend: "backend" };

const RULES: Readonly<Record<keyof Settings, Rule<unknown>>> = {
  broker: url(["amqp", "amqps", "sqlite", "memory"]),
  backend: url(["sqlite", "memory"]),
  schedule: url(["sqlite", "memory", ...REDIS_SCHEMES, ...POSTGRES_SCHEMES]),
  namespace: text(),
  durability: oneOf("strict", "process"),
  timezone: zone,
  taskDefaultQueue: text(),
  taskAcksLate: flag(),
  taskRejectOnWorkerLost: flag(),
  taskIgnoreResult: flag(),
  taskTrackStarted: flag(),
  taskTimeLimit: duration(),
  taskSoftTimeLimit: duration(),
  resultExpires: duration(),
  resultExtended: flag(),
  workerConcurrency: whole({ min: 1 }),
  workerPool: oneOf("prefork", "solo"),
  workerPrefetchMultiplier: whole(),
  workerMaxTasksPerChild: whole({ min: 1 }),
  brokerConnectionTimeout: duration(),
  brokerHeartbeat: duration(),
  brokerConnectionRetry: flag(),
  brokerConnectionMaxRetries: whole(),
  maxCountdown: duration(),
  scheduleLease: duration(),
  maxPending: whole(),
  revokesExpire: duration(),
};

/** @throws {InvalidConfigError} names every setting that is unknown or wrong */
export function readConfig(settings: SettingsInput, env: Readonly<Record<string, string | undefined>>): Config {
  const problems: string[] = [];
  const read: Partial<Record<keyof Settings, unknown>> = {};
  const take = (name: keyof Settings, readings: readonly unknown[], shown: string) => {
    try {
      read[name] = firstThatFits(RULES[name], readings, shown);
    } catch (error) {
      problems.push(messageOf(error));
    }
  };

  for (const [name, value] of Object.entries(fromEnvironment(env))) {
    take(name as keyof Settings, readingsOf(value.text), value.variable);
  }
  for (const [given, value] of Object.entries(settings)) {
    if (value === undefined || value === null) continue;
    const camel = given.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const name = ALIASES[camel] ?? camel;
    if (Object.hasOwn(RULES, name)) take(name as keyof Settings, [value], given);
    else problems.push(`unknown setting ${JSON.stringify(given)}${suggest(name, Object.keys(RULES))}`);
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);

  const broker = (read.broker as string | undefined) ?? DEFAULT_FILE_URL;
  const embedded = isEmbedded(broker);
  return {
    broker,
    backend: (read.backend as string | undefined) ?? (embedded ? broker : undefined),
    schedule: (read.schedule as string | undefined) ?? (embedded ? broker : DEFAULT_FILE_URL),
    namespace: (read.namespace as string | undefined) ?? "lovage",
    durability: (read.durability as "strict" | "process" | undefined) ?? "strict",
    timezone: (read.timezone as string | undefined) ?? "UTC",
    taskDefaultQueue: (read.taskDefaultQueue as string | undefined) ?? "celery",
    taskAcksLate: (read.taskAcksLate as boolean | undefined) ?? false,
    taskRejectOnWorkerLost: (read.taskRejectOnWorkerLost as boolean | undefined) ?? false,
    taskIgnoreResult: (read.taskIgnoreResult as boolean | undefined) ?? false,
    taskTrackStarted: (read.taskTrackStarted as boolean | undefined) ?? false,
    taskTimeLimitMs: read.taskTimeLimit as number | undefined,
    taskSoftTimeLimitMs: read.taskSoftTimeLimit as number | undefined,
    resultExpiresMs: (read.resultExpires as number | undefined) ?? DAY_MS,
    resultExtended: (read.resultExtended as boolean | undefined) ?? false,
    workerConcurrency: read.workerConcurrency as number | undefined,
    workerPool: (read.workerPool as "prefork" | "solo" | undefined) ?? "prefork",
    workerPrefetchMultiplier: (read.workerPrefetchMultiplier as number | undefined) ?? 4,
    workerMaxTasksPerChild: read.workerMaxTasksPerChild as number | undefined,
    brokerConnectionTimeoutMs: (read.brokerConnectionTimeout as number | undefined) ?? 4_000,
    brokerHeartbeatMs: (read.brokerHeartbeat as number | undefined) ?? 120_000,
    brokerConnectionRetry: (read.brokerConnectionRetry as boolean | undefined) ?? true,
    brokerConnectionMaxRetries: (read.brokerConnectionMaxRetries as number | undefined) ?? 100,
    maxCountdownMs: (read.maxCountdown as number | undefined) ?? DEFAULT_MAX_COUNTDOWN_MS,
    scheduleLeaseMs: (read.scheduleLease as number | undefined) ?? 30_000,
    maxPending: (read.maxPending as number | undefined) ?? 0,
    revokesExpireMs: (read.revokesExpire as number | undefined) ?? 3 * 3_600_000,
  };
}

/** It is in this process, or in a file of this machine. */
export function isEmbedded(url: string): boolean {
  return EMBEDDED_SCHEMES.includes(url.slice(0, url.indexOf(":")).toLowerCase());
}

/** `LOVAGE_TASK_ACKS_LATE` is `taskAcksLate`; the two URLs are read under Celery's names as well. */
function fromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Partial<Record<keyof Settings, { text: string; variable: string }>> {
  const found: Partial<Record<keyof Settings, { text: string; variable: string }>> = {};
  const look = (name: keyof Settings, variable: string) => {
    const text = env[variable];
    if (text !== undefined && text !== "" && found[name] === undefined) found[name] = { text, variable };
  };
  for (const name of Object.keys(RULES) as (keyof Settings)[]) look(name, `LOVAGE_${upperSnake(name)}`);
  for (const [alias, name] of Object.entries(ALIASES)) look(name, `LOVAGE_${upperSnake(alias)}`);
  look("schedule", "LOVAGE_SCHEDULE_URL");
  look("broker", "CELERY_BROKER_URL");
  look("backend", "CELERY_RESULT_BACKEND");
  return found;
}

function upperSnake(camel: string): string {
  return camel.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** What the text of a variable may mean: a number, a yes or no, or itself. */
function readingsOf(value: string): unknown[] {
  const readings: unknown[] = [value];
  if (/^(true|1)$/i.test(value)) readings.unshift(true);
  if (/^(false|0)$/i.test(value)) readings.unshift(false);
  if (/^\d+(\.\d+)?$/.test(value)) readings.unshift(Number(value));
  return readings;
}

function firstThatFits(rule: Rule<unknown>, readings: readonly unknown[], name: string): unknown {
  let refusal: unknown;
  for (const reading of readings) {
    try {
      return rule(reading, name);
    } catch (error) {
      refusal ??= error;
    }
  }
  throw refusal;
}

function zone(value: unknown, name: string): string {
  const zoneName = text()(value, name);
  try {
    return new Intl.DateTimeFormat("en", { timeZone: zoneName }).resolvedOptions().timeZone;
  } catch (error) {
    throw new TypeError(
      `${name} must be an IANA time zone such as "Europe/Berlin"; it was ${JSON.stringify(zoneName)}`,
      {
        cause: error,
      },
    );
  }
}

function url(schemes: readonly string[]): Rule<string> {
  return (value, name) => {
    const scheme = typeof value === "string" ? /^([a-z][a-z0-9+.-]*):/i.exec(value)?.[1]?.toLowerCase() : undefined;
    if (typeof value === "string" && scheme !== undefined && schemes.includes(scheme)) return value;
    // The value may hold a password: only its scheme is shown.
    throw new TypeError(
      `${name} must be a URL that begins with ${schemes.map((each) => `${each}:`).join(", ")}` +
        `, not ${scheme === undefined ? "a text without a scheme" : `${scheme}:`}`,
    );
  };
}
