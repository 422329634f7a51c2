/**
 * The settings of an app as users write them: Celery's names in camelCase or snake_case (PROTOCOL 21), and those that only
 * Lovage has. Durations: a number is seconds, a string carries its unit.
 */
import type { Duration } from "../kit/duration.ts";
import type { TaskAnnotations } from "./annotations.ts";
import type { QueueOptions } from "./queue-options.ts";
import type { RetryPolicy } from "./retry-policy.ts";
import type { RouteOptions, Routes } from "./router.ts";

/** What `new Lovage(name, settings)` takes. */
export interface Settings {
  // Where things are
  /**
   * Where messages wait: `amqp://`, `redis://`, `redis+sentinel://`, `sqlite:FILE`, `memory://`; over TLS `amqps://`, `rediss://`. Several, in a
   * list or with `;` between them: the next one is tried when one cannot be reached. Default `sqlite:lovage.db`. Celery: `broker_url`.
   */
  readonly broker?: string | readonly string[] | undefined;
  /** Of clients, where it is another than the worker's. Celery: `broker_write_url`. */
  readonly brokerWriteUrl?: string | readonly string[] | undefined;
  /** Of the worker. Celery: `broker_read_url`. */
  readonly brokerReadUrl?: string | readonly string[] | undefined;
  /**
   * Where results wait: `redis://`, `redis+sentinel://`, `rpc://`, `sqlite:FILE`, `memory://`. Default: the broker's own file if it is embedded, else none.
   * Celery: `result_backend`.
   */
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

  // Connections
  /** Order of several brokers: one after the other, or any. Default "round-robin". */
  readonly brokerFailoverStrategy?: "round-robin" | "shuffle" | undefined;
  /** Default 4 s. */
  readonly brokerConnectionTimeout?: Duration | undefined;
  /** Default 120 s; 0 = none. amqp only. */
  readonly brokerHeartbeat?: Duration | undefined;
  /** Try again when the broker cannot be reached. Default true. */
  readonly brokerConnectionRetry?: boolean | undefined;
  /** The same for the worker's first connection. Default: `brokerConnectionRetry`. */
  readonly brokerConnectionRetryOnStartup?: boolean | undefined;
  /** Default 100; 0 = for ever. */
  readonly brokerConnectionMaxRetries?: number | undefined;
  /** How a TLS connection is made: true, or the fields of Node's `tls.connect` (`ca`, `cert`, `key`, `passphrase`, `servername`). Celery: `broker_use_ssl`. */
  readonly brokerUseSsl?: boolean | Readonly<Record<string, unknown>> | undefined;
  /** The transport's own, by kombu's names (PROTOCOL 8): `visibility_timeout`, `global_keyprefix`, `priority_steps`, `master_name` … */
  readonly brokerTransportOptions?: Readonly<Record<string, unknown>> | undefined;
  /** Default "quorum". */
  readonly brokerNativeDelayedDeliveryQueueType?: "quorum" | "classic" | undefined;

  // Contents
  /** Content types that are read, by name or MIME type: json, yaml, msgpack, auth. Default ["json"]. */
  readonly acceptContent?: readonly string[] | undefined;
  /** How bodies are written: "json", "yaml", "msgpack", "auth" (signed JSON). Default "json". */
  readonly taskSerializer?: string | undefined;
  /** Compress bodies: "zlib", "brotli", "zstd". Default: do not. */
  readonly taskCompression?: string | undefined;
  /** File of the private key to sign with, PEM, RSA. For the serializer "auth". Celery: `security_key`. */
  readonly securityKey?: string | undefined;
  /** Of that file, if it has one. */
  readonly securityKeyPassword?: string | undefined;
  /** File of the certificate by which others know this signer, PEM. */
  readonly securityCertificate?: string | undefined;
  /** Certificates of those that are trusted: a folder, or a pattern such as "/etc/ssl/workers/*.pem". */
  readonly securityCertStore?: string | undefined;
  /** Default "sha256". */
  readonly securityDigest?: "sha256" | "sha384" | "sha512" | undefined;
  /** How signed bodies are put together: "base64" as Celery does now, "raw" as it did. Both are read. Default "base64". */
  readonly securityEnvelope?: "base64" | "raw" | undefined;
  /** Of messages that are sent; both are read. Default 2. */
  readonly taskProtocol?: 1 | 2 | undefined;
  /** Zone of moments without an offset in messages. Default UTC. */
  readonly timezone?: string | undefined;
  /** Without `timezone`: moments without an offset are UTC; false: local. Default true. */
  readonly enableUtc?: boolean | undefined;

  // Queues and routes
  /** Default "celery". */
  readonly taskDefaultQueue?: string | undefined;
  /** Default: the queue's name. */
  readonly taskDefaultExchange?: string | undefined;
  /** Default "direct". */
  readonly taskDefaultExchangeType?: string | undefined;
  /** Default: the queue's name. */
  readonly taskDefaultRoutingKey?: string | undefined;
  /** Default "classic". */
  readonly taskDefaultQueueType?: "classic" | "quorum" | undefined;
  /** 2: messages survive a restart of the broker; 1: they do not. Default 2. */
  readonly taskDefaultDeliveryMode?: 1 | 2 | "persistent" | "transient" | undefined;
  /** Default: none. */
  readonly taskDefaultPriority?: number | undefined;
  /** `x-max-priority` of every queue that says none. */
  readonly taskQueueMaxPriority?: number | undefined;
  /** What a task sends has its own priority. Default false. */
  readonly taskInheritParentPriority?: boolean | undefined;
  /** The queues, in a list or by name. Default: `taskDefaultQueue` alone. */
  readonly taskQueues?:
    | readonly (string | QueueOptions)[]
    | Readonly<Record<string, Omit<QueueOptions, "name">>>
    | undefined;
  /** Where tasks go, by name, glob, pattern or function. */
  readonly taskRoutes?: Routes | undefined;
  /** Declare a queue that `taskQueues` does not name. Default true. */
  readonly taskCreateMissingQueues?: boolean | undefined;
  /** Default "classic". */
  readonly taskCreateMissingQueueType?: "classic" | "quorum" | undefined;
  /** Default "direct". */
  readonly taskCreateMissingQueueExchangeType?: string | undefined;
  /** Try a publish again when the broker is away. Default true. */
  readonly taskPublishRetry?: boolean | undefined;
  /** Default { maxRetries: 3, intervalStart: 0, intervalStep: 0.2, intervalMax: 1 }, in seconds. */
  readonly taskPublishRetryPolicy?: RetryPolicy | undefined;

  // Life of a task
  readonly taskAcksLate?: boolean | undefined;
  /** A late-acknowledged task that failed or ran out of time is acknowledged. Default true. */
  readonly taskAcksOnFailureOrTimeout?: boolean | undefined;
  /** Default: `taskAcksOnFailureOrTimeout`. */
  readonly taskAcksOnFailure?: boolean | undefined;
  /** Default: `taskAcksOnFailureOrTimeout`. */
  readonly taskAcksOnTimeout?: boolean | undefined;
  readonly taskRejectOnWorkerLost?: boolean | undefined;
  readonly taskIgnoreResult?: boolean | undefined;
  /** Default false. */
  readonly taskStoreErrorsEvenIfIgnored?: boolean | undefined;
  readonly taskTrackStarted?: boolean | undefined;
  readonly taskTimeLimit?: Duration | undefined;
  readonly taskSoftTimeLimit?: Duration | undefined;
  /** "10/s", "100/m", "1000/h" or a number a second, of each task in each worker. Default: no limit. */
  readonly taskDefaultRateLimit?: string | number | undefined;
  /** Options of tasks by name or glob, over what the code says: Celery's `task_annotations`. */
  readonly taskAnnotations?: TaskAnnotations | readonly TaskAnnotations[] | undefined;

  // Results
  /** How long results are kept, and callbacks that have ended; those with a key for at least 7 days. Default 1 day; 0 = for ever. */
  readonly resultExpires?: Duration | undefined;
  /** How results are written in Redis and sent by rpc: "json", "yaml", "msgpack". Default "json". */
  readonly resultSerializer?: "json" | "yaml" | "msgpack" | undefined;
  /** Formats of results that are read by rpc, besides that one. Default: `acceptContent`. */
  readonly resultAcceptContent?: readonly string[] | undefined;
  /** Also store name, arguments, worker, retries and queue. Default false. */
  readonly resultExtended?: boolean | undefined;
  /** rpc: results survive a restart of the broker. Default false. */
  readonly resultPersistent?: boolean | undefined;
  /** `global_keyprefix`, `master_name` and such. */
  readonly resultBackendTransportOptions?: Readonly<Record<string, unknown>> | undefined;
  readonly redisBackendUseSsl?: boolean | Readonly<Record<string, unknown>> | undefined;
  /** Of the result backend. Default 120 s. */
  readonly redisSocketTimeout?: Duration | undefined;
  readonly redisSocketConnectTimeout?: Duration | undefined;
  /** Where the URL has none. */
  readonly redisUsername?: string | undefined;
  readonly redisPassword?: string | undefined;

  // The worker
  /** Slots of the pool. Default: the number of CPUs. */
  readonly workerConcurrency?: number | undefined;
  readonly workerPool?: "prefork" | "solo" | undefined;
  /** Deliveries in hand = this × concurrency; 0 = no limit. Default 4. */
  readonly workerPrefetchMultiplier?: number | undefined;
  /** Fetch a message only when a slot is free. Default false. */
  readonly workerDisablePrefetch?: boolean | undefined;
  /** Replace a child after so many tasks. Default: never. */
  readonly workerMaxTasksPerChild?: number | undefined;
  /** Replace a child that has grown beyond so many KiB, after its task. Default: never. */
  readonly workerMaxMemoryPerChild?: number | undefined;
  /** Default false. */
  readonly workerDisableRateLimits?: boolean | undefined;
  /** A late-acknowledged task that comes again after its SUCCESS was stored is not run again. Default false. */
  readonly workerDeduplicateSuccessfulTasks?: boolean | undefined;
  /** Ask RabbitMQ for prefetch by consumer, and use native delayed delivery, when a queue is a quorum queue. Default true. */
  readonly workerDetectQuorumQueues?: boolean | undefined;
  /** Also serve the queue `<node>.dq`. Default false. */
  readonly workerDirect?: boolean | undefined;
  /** End late-acknowledged tasks when the connection is lost: their messages go to others. Default false. */
  readonly workerCancelLongRunningTasksOnConnectionLoss?: boolean | undefined;
  /** After QUIT or a second signal what runs may go on for so long before it is ended. Default 0: it is ended at once. */
  readonly workerSoftShutdownTimeout?: Duration | undefined;
  /** Listen to Celery's control commands. Default true. */
  readonly workerEnableRemoteControl?: boolean | undefined;
  /** Default "celery". */
  readonly controlExchange?: string | undefined;
  /** Default 300 s. */
  readonly controlQueueTtl?: Duration | undefined;
  /** Default 10 s. */
  readonly controlQueueExpires?: Duration | undefined;
  /** Default false, as in Celery's releases. */
  readonly controlQueueExclusive?: boolean | undefined;
  readonly controlQueueDurable?: boolean | undefined;

  // Lovage's own
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

export type { QueueOptions, RetryPolicy, RouteOptions, Routes };
