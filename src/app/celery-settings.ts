/**
 * Celery's settings that Lovage does not have, each with the reason, and the names that Celery's settings had before 4.0. A setting
 * with a reason is a warning and no error: a configuration that Python and Node share must not have to be cut in two.
 */
import { suggest } from "../kit/options.ts";
import { camelCase } from "./setting-rules.ts";

const IN_URL = "write it into the broker's URL: amqp://user:password@host:5672/vhost";
const IN_BACKEND_URL = "write it into the URL of the backend: redis://user:password@host:6379/0";
const NO_STORE = (what: string) =>
  `results are not kept in ${what}; backend takes redis://, rpc://, sqlite: and memory://`;
const NOT_YET = (what: string) => `${what} are not there yet`;
const PYTHON = "it is about Python's own";
const NO_EAGER = 'tasks are not run in the caller\'s process; tests use broker: "memory://" and the solo pool';
const ANOTHER_PART = (what: string) => `${what} cannot be exchanged`;

/** Why a setting of Celery's has no effect here, by its name in Celery's spelling. */
export const NOT_OURS: Readonly<Record<string, string>> = {
  ...of(NO_STORE("ArangoDB"), "arangodb_backend_settings"),
  ...of(
    NO_STORE("Azure Block Blob"),
    "azureblockblob_base_path",
    "azureblockblob_connection_timeout",
    "azureblockblob_container_name",
    "azureblockblob_read_timeout",
    "azureblockblob_retry_increment_base",
    "azureblockblob_retry_initial_backoff_sec",
    "azureblockblob_retry_max_attempts",
  ),
  ...of(
    "there is no beat: what recurs waits in the schedule (app.schedule.callRepeatedly)",
    "beat_cron_starting_deadline",
    "beat_max_loop_interval",
    "beat_schedule",
    "beat_schedule_filename",
    "beat_scheduler",
    "beat_sync_every",
  ),
  broker_channel_error_retry: "a channel that the broker closes is always opened again, with its connection",
  broker_heartbeat_checkrate: "the connection looks for heartbeats by itself, twice in each interval",
  ...of(IN_URL, "broker_host", "broker_password", "broker_port", "broker_transport", "broker_user", "broker_vhost"),
  broker_login_method: "user and password are sent as SASL PLAIN; a client certificate as EXTERNAL is not supported",
  ...of(
    "an app has one connection to publish on, for any number of messages at once",
    "broker_pool_acquire_timeout",
    "broker_pool_limit",
  ),
  ...of(NO_STORE("Memcached"), "cache_backend", "cache_backend_options"),
  ...of(
    NO_STORE("Cassandra"),
    "cassandra_auth_kwargs",
    "cassandra_auth_provider",
    "cassandra_bundle_path",
    "cassandra_entry_ttl",
    "cassandra_keyspace",
    "cassandra_options",
    "cassandra_port",
    "cassandra_read_consistency",
    "cassandra_servers",
    "cassandra_table",
    "cassandra_write_consistency",
  ),
  ...of(
    NO_STORE("Cosmos DB"),
    "cosmosdbsql_collection_name",
    "cosmosdbsql_consistency_level",
    "cosmosdbsql_database_name",
    "cosmosdbsql_max_retry_attempts",
    "cosmosdbsql_max_retry_wait_time",
  ),
  ...of(NO_STORE("Couchbase"), "couchbase_backend_settings"),
  ...of(
    NO_STORE("SQLAlchemy's databases"),
    "database_create_tables_at_setup",
    "database_engine_callback",
    "database_engine_options",
    "database_short_lived_sessions",
    "database_table_names",
    "database_table_schemas",
    "database_url",
  ),
  ...of(
    NO_STORE("Elasticsearch"),
    "elasticsearch_max_retries",
    "elasticsearch_retry_on_timeout",
    "elasticsearch_save_meta_as_text",
    "elasticsearch_timeout",
  ),
  ...of(
    NOT_YET("events"),
    "event_exchange",
    "event_queue_durable",
    "event_queue_exclusive",
    "event_queue_expires",
    "event_queue_prefix",
    "event_queue_ttl",
    "event_serializer",
    "task_send_sent_event",
    "worker_send_task_events",
  ),
  ...of(NO_STORE("Google Cloud Storage"), "gcs_base_path", "gcs_bucket", "gcs_project", "gcs_ttl"),
  ...of("the app's file imports what defines its tasks", "imports", "include"),
  ...of(NO_STORE("MongoDB"), "mongodb_backend_settings"),
  ...of(IN_BACKEND_URL, "redis_db", "redis_host", "redis_port"),
  redis_max_connections: "a result backend has one connection to ask on and one to listen on",
  redis_retry_on_timeout: "a command that is safe to repeat is repeated when the connection comes back",
  redis_socket_keepalive: "it is always on",
  ...of(
    "a result that cannot be stored is tried again for some seconds, then given up with an error in the log",
    "result_backend_always_retry",
    "result_backend_base_sleep_between_retries_ms",
    "result_backend_max_retries",
    "result_backend_max_sleep_between_retries_ms",
  ),
  result_cache_max: "results are not cached in the client",
  ...of(
    NOT_YET("chords"),
    "result_chord_join_timeout",
    "result_chord_retry_interval",
    "task_allow_error_cb_on_chord_header",
  ),
  ...of("it was for the amqp backend, which Celery itself has no more", "result_exchange", "result_exchange_type"),
  ...of(
    NO_STORE("S3"),
    "s3_access_key_id",
    "s3_base_path",
    "s3_bucket",
    "s3_endpoint_url",
    "s3_region",
    "s3_secret_access_key",
  ),
  result_compression: "Celery compresses task messages by it, and no results; set task_compression",
  ...of(NO_EAGER, "task_always_eager", "task_eager_propagates", "task_store_eager_result"),
  task_remote_tracebacks: `${PYTHON} tracebacks; a failure always carries the stack of the process that ran the task`,
  ...of(ANOTHER_PART("the worker's parts"), "worker_agent", "worker_autoscaler", "worker_consumer", "worker_timer"),
  worker_enable_prefetch_count_reduction:
    "after a reconnect the worker asks for its full prefetch again: what still runs is acknowledged or given back",
  worker_enable_soft_shutdown_on_idle:
    "an idle worker has nothing to wait for: what is due later is in the schedule, on disk",
  worker_eta_task_limit: "what is due later waits in the schedule, on disk, and takes no part of the prefetch",
  ...of(
    `${PYTHON} logging; the log is set on the command line (-l, --log-json)`,
    "worker_hijack_root_logger",
    "worker_log_color",
    "worker_log_format",
    "worker_redirect_stdouts",
    "worker_redirect_stdouts_level",
    "worker_task_log_format",
  ),
  worker_lost_wait: "a process that is gone is known to be gone at once",
  worker_pool_putlocks: `${PYTHON} pool; a slot takes one task at a time`,
  worker_pool_restarts: NOT_YET("control commands that restart the pool"),
  worker_proc_alive_timeout: "a process of the pool says itself when it is ready",
  worker_state_db: "revoked ids are kept in the schedule, which all workers share",
  worker_timer_precision: "timers fire when they are due, and nothing is polled",
};

function of(why: string, ...names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(names.map((name) => [name, why]));
}

const BY_CAMEL = new Map(Object.entries(NOT_OURS).map(([name, why]) => [camelCase(name), why]));

/** Why Celery's setting (in camelCase) has no effect here; undefined: it is none of them. */
export function whyNotOurs(camel: string): string | undefined {
  return BY_CAMEL.get(camel);
}

/** Names of the settings that only have a reason, in camelCase. */
export function notOurs(): Iterable<string> {
  return BY_CAMEL.keys();
}

/** Names before Celery 4.0 whose new one does not follow from them. */
const RENAMED: Readonly<Record<string, string>> = {
  BROKER_URL: "broker_url",
  CELERYBEAT_MAX_LOOP_INTERVAL: "beat_max_loop_interval",
  CELERYBEAT_SCHEDULE: "beat_schedule",
  CELERYBEAT_SCHEDULER: "beat_scheduler",
  CELERYBEAT_SCHEDULE_FILENAME: "beat_schedule_filename",
  CELERYBEAT_SYNC_EVERY: "beat_sync_every",
  CELERYD_TASK_SOFT_TIME_LIMIT: "task_soft_time_limit",
  CELERYD_TASK_TIME_LIMIT: "task_time_limit",
  CELERYD_WORKER_LOST_WAIT: "worker_lost_wait",
  CELERY_DISABLE_RATE_LIMITS: "worker_disable_rate_limits",
  CELERY_EAGER_PROPAGATES_EXCEPTIONS: "task_eager_propagates",
  CELERY_ENABLE_REMOTE_CONTROL: "worker_enable_remote_control",
  CELERY_MAX_CACHED_RESULTS: "result_cache_max",
  CELERY_MESSAGE_COMPRESSION: "task_compression",
  CELERY_REDIRECT_STDOUTS: "worker_redirect_stdouts",
  CELERY_REDIRECT_STDOUTS_LEVEL: "worker_redirect_stdouts_level",
  CELERY_RESULT_DBURI: "database_url",
  CELERY_RESULT_DB_SHORT_LIVED_SESSIONS: "database_short_lived_sessions",
  CELERY_RESULT_DB_TABLENAMES: "database_table_names",
  CELERY_RESULT_ENGINE_OPTIONS: "database_engine_options",
  CELERY_SEND_EVENTS: "worker_send_task_events",
  CELERY_SEND_TASK_SENT_EVENT: "task_send_sent_event",
  CELERY_TASK_RESULT_EXPIRES: "result_expires",
  CELERY_WORKER_DIRECT: "worker_direct",
};

/**
 * What an upper-case setting is called now, in Celery's spelling: the name before 4.0 (`CELERYD_CONCURRENCY`), Django's with its namespace
 * (`CELERY_WORKER_CONCURRENCY`), or the new one in capitals. Undefined: it is not upper-case, or unknown.
 */
export function newNameOf(given: string, isKnown: (camel: string) => boolean): string | undefined {
  if (!/^[A-Z][A-Z0-9_]*$/.test(given)) return undefined;
  const renamed = RENAMED[given];
  if (renamed !== undefined) return renamed;
  const lower = given.toLowerCase();
  const bare = lower.replace(/^celery(d|beat)?_/, "");
  const tries =
    lower.startsWith("celeryd_") || lower.startsWith("celerybeat_")
      ? [`${lower.startsWith("celeryd_") ? "worker" : "beat"}_${bare}`, bare]
      : [lower, bare, `task_${bare}`, `worker_${bare}`];
  return tries.find((each) => isKnown(camelCase(each)));
}

/** For a name that nobody knows: the nearest that somebody does. */
export function nearest(camel: string, ours: readonly string[]): string {
  return suggest(camel, ours) || suggest(camel, [...notOurs()]);
}
