/** Each setting's rule and default, in one table: `Settings` is what users write, `Config` what the code reads. */
import { DEFAULT_MAX_COUNTDOWN_MS } from "../kit/duration.ts";
import { duration, flag, listOf, oneOf, type Rule, text, whole } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";
import { annotationsRule } from "./annotations.ts";
import { queuesRule } from "./queue-options.ts";
import { retryPolicyRule } from "./retry-policy.ts";
import { routesRule } from "./router.ts";
import { compressionName, contentName, deliveryMode, serializerName, table } from "./setting-rules.ts";
import type { Settings } from "./settings.ts";

const DAY_MS = 86_400_000;
export const EMBEDDED_SCHEMES = ["sqlite", "memory"];
const REDIS_SCHEMES = ["redis", "rediss"].flatMap((each) => [each, `${each}+sentinel`]);
const CLUSTER_SCHEMES = ["redis+cluster", "rediss+cluster"];
const POSTGRES_SCHEMES = ["postgres", "postgresql"];
const AMQP_SCHEMES = ["amqp", "amqps", "pyamqp"];
const BROKER_SCHEMES = [...AMQP_SCHEMES, ...REDIS_SCHEMES, "sentinel", ...EMBEDDED_SCHEMES];

/** Durations are read as ms, and the field of `Config` says so. */
interface Entry<T, D> {
  readonly rule: Rule<T>;
  readonly fallback: D;
  readonly ms?: boolean;
}

function setting<T>(rule: Rule<T>): Entry<T, undefined>;
function setting<T, D extends T>(rule: Rule<T>, fallback: D): Entry<T, T>;
function setting(rule: Rule<unknown>, fallback?: unknown): Entry<unknown, unknown> {
  return { rule, fallback };
}

function lasting(): Entry<number, undefined> & { readonly ms: true };
function lasting(fallbackMs: number): Entry<number, number> & { readonly ms: true };
function lasting(fallback?: number): Entry<number, unknown> & { readonly ms: true } {
  return { rule: duration(), fallback, ms: true };
}

export const TABLE = {
  broker: setting(urls(BROKER_SCHEMES)),
  brokerWriteUrl: setting(urls(BROKER_SCHEMES)),
  brokerReadUrl: setting(urls(BROKER_SCHEMES)),
  backend: setting(url([...REDIS_SCHEMES, "sentinel", "rpc", ...EMBEDDED_SCHEMES])),
  schedule: setting(url([...EMBEDDED_SCHEMES, ...REDIS_SCHEMES, ...CLUSTER_SCHEMES, ...POSTGRES_SCHEMES])),
  namespace: setting(text(), "lovage"),
  durability: setting(oneOf("strict", "process"), "strict"),

  brokerFailoverStrategy: setting(oneOf("round-robin", "shuffle"), "round-robin"),
  brokerConnectionTimeout: lasting(4_000),
  brokerHeartbeat: lasting(120_000),
  brokerConnectionRetry: setting(flag(), true),
  brokerConnectionRetryOnStartup: setting(flag()),
  brokerConnectionMaxRetries: setting(whole(), 100),
  brokerUseSsl: setting(tls()),
  brokerTransportOptions: setting(table(), {}),
  brokerNativeDelayedDeliveryQueueType: setting(oneOf("quorum", "classic"), "quorum"),

  acceptContent: setting(listOf(contentName), ["json"]),
  taskSerializer: setting(serializerName, "json"),
  taskCompression: setting(compressionName),
  taskProtocol: setting(among<1 | 2>(1, 2), 2),
  securityKey: setting(text()),
  securityKeyPassword: setting(text()),
  securityCertificate: setting(text()),
  securityCertStore: setting(text()),
  securityDigest: setting(oneOf("sha256", "sha384", "sha512"), "sha256"),
  securityEnvelope: setting(oneOf("base64", "raw"), "base64"),
  timezone: setting(zone),
  enableUtc: setting(flag(), true),

  taskDefaultQueue: setting(text(), "celery"),
  taskDefaultExchange: setting(text()),
  taskDefaultExchangeType: setting(text(), "direct"),
  taskDefaultRoutingKey: setting(text()),
  taskDefaultQueueType: setting(oneOf("classic", "quorum"), "classic"),
  taskDefaultDeliveryMode: setting(deliveryMode, 2),
  taskDefaultPriority: setting(whole({ max: 255 })),
  taskQueueMaxPriority: setting(whole({ min: 1, max: 255 })),
  taskInheritParentPriority: setting(flag(), false),
  taskQueues: setting(queuesRule),
  taskRoutes: setting(routesRule),
  taskCreateMissingQueues: setting(flag(), true),
  taskCreateMissingQueueType: setting(oneOf("classic", "quorum"), "classic"),
  taskCreateMissingQueueExchangeType: setting(text()),
  taskPublishRetry: setting(flag(), true),
  taskPublishRetryPolicy: setting(retryPolicyRule, {}),

  taskAcksLate: setting(flag(), false),
  taskAcksOnFailureOrTimeout: setting(flag(), true),
  taskAcksOnFailure: setting(flag()),
  taskAcksOnTimeout: setting(flag()),
  taskRejectOnWorkerLost: setting(flag(), false),
  taskIgnoreResult: setting(flag(), false),
  taskStoreErrorsEvenIfIgnored: setting(flag(), false),
  taskTrackStarted: setting(flag(), false),
  taskTimeLimit: lasting(),
  taskSoftTimeLimit: lasting(),
  taskDefaultRateLimit: setting(rateLimit),
  taskAnnotations: setting(annotationsRule),

  resultExpires: lasting(DAY_MS),
  resultSerializer: setting(oneOf("json", "yaml", "msgpack"), "json"),
  resultAcceptContent: setting(listOf(contentName)),
  resultExtended: setting(flag(), false),
  resultPersistent: setting(flag(), false),
  resultBackendTransportOptions: setting(table(), {}),
  redisBackendUseSsl: setting(tls()),
  redisSocketTimeout: lasting(120_000),
  redisSocketConnectTimeout: lasting(),
  redisUsername: setting(text()),
  redisPassword: setting(text()),

  workerConcurrency: setting(whole({ min: 1 })),
  workerPool: setting(oneOf("prefork", "solo"), "prefork"),
  workerPrefetchMultiplier: setting(whole(), 4),
  workerDisablePrefetch: setting(flag(), false),
  workerMaxTasksPerChild: setting(whole({ min: 1 })),
  workerMaxMemoryPerChild: setting(whole({ min: 1 })),
  workerDisableRateLimits: setting(flag(), false),
  workerDeduplicateSuccessfulTasks: setting(flag(), false),
  workerDetectQuorumQueues: setting(flag(), true),
  workerDirect: setting(flag(), false),
  workerCancelLongRunningTasksOnConnectionLoss: setting(flag(), false),
  workerSoftShutdownTimeout: lasting(0),
  workerEnableRemoteControl: setting(flag(), true),
  controlExchange: setting(text(), "celery"),
  controlQueueTtl: lasting(300_000),
  controlQueueExpires: lasting(10_000),
  controlQueueExclusive: setting(flag(), false),
  controlQueueDurable: setting(flag(), false),

  maxCountdown: lasting(DEFAULT_MAX_COUNTDOWN_MS),
  scheduleLease: lasting(30_000),
  maxPending: setting(whole(), 0),
  revokesExpire: lasting(3 * 3_600_000),
} as const satisfies { readonly [Name in keyof Settings]-?: Entry<unknown, unknown> };

type Table = typeof TABLE;
type Value<E> = E extends { readonly rule: Rule<infer T>; readonly fallback: infer D } ? T | D : never;

/** The settings as the code uses them: every one there, durations in ms under a name that says so. */
export type TableConfig = {
  readonly [Name in keyof Table as Table[Name] extends { readonly ms: true } ? `${Name}Ms` : Name]: Value<Table[Name]>;
};

function tls(): Rule<boolean | Readonly<Record<string, unknown>>> {
  return (value, name) => (typeof value === "boolean" ? value : table()(value, name));
}

function among<T extends number>(...allowed: readonly T[]): Rule<T> {
  return (value, name) => {
    const found = allowed.find((each) => each === value);
    if (found !== undefined) return found;
    throw new TypeError(`${name} must be ${allowed.join(" or ")}; it was ${JSON.stringify(value)}`);
  };
}

/** Celery's rate: so many a second, or "10/s", "100/m", "1000/h". */
function rateLimit(value: unknown, name: string): string | number {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  if (typeof value === "string" && /^\d+(\.\d+)?(\/[smh]?)?$/.test(value)) return value;
  throw new TypeError(
    `${name} must be a number a second, or a text such as "10/s", "100/m" or "1000/h"; it was ${textOf(value, 80)}`,
  );
}

function zone(value: unknown, name: string): string {
  const zoneName = text()(value, name);
  try {
    return new Intl.DateTimeFormat("en", { timeZone: zoneName }).resolvedOptions().timeZone;
  } catch (error) {
    throw new TypeError(
      `${name} must be an IANA time zone such as "Europe/Berlin"; it was ${JSON.stringify(zoneName)}`,
      { cause: error },
    );
  }
}

/** One URL, or several in a list or with `;` between them, which is how they are kept. */
function urls(schemes: readonly string[]): Rule<string> {
  const one = url(schemes);
  return (value, name) => {
    const given = Array.isArray(value) ? value : typeof value === "string" ? value.split(";") : [value];
    if (given.length === 0) throw new TypeError(`${name} must name at least one URL`);
    return given.map((each) => one(typeof each === "string" ? each.trim() : each, name)).join(";");
  };
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
