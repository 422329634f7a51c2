/** Every setting of Celery's is either ours, or one that says why it has no effect. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { Lovage } from "../../../src/app/app.ts";
import { NOT_OURS } from "../../../src/app/celery-settings.ts";
import { readConfig, type SettingsInput } from "../../../src/app/config.ts";
import { createLogger } from "../../../src/kit/log.ts";

interface Defaults {
  readonly settings: Readonly<Record<string, { readonly default: unknown; readonly type: string }>>;
}
const { settings } = JSON.parse(
  readFileSync(new URL("../../fixtures/settings_defaults.json", import.meta.url), "utf8"),
) as Defaults;

/** Names whose default is a way of Celery's to say "the app's own", or that we have under another default. */
const OWN_DEFAULTS: Readonly<Record<string, unknown>> = {
  broker_failover_strategy: "round-robin", // null
  broker_use_ssl: undefined, // false
  broker_url: "sqlite:lovage.db",
  control_queue_exclusive: false, // as in Celery's releases
  result_backend: "sqlite:lovage.db",
  result_expires: 86_400_000,
  result_persistent: false, // null
  task_publish_retry_policy: {}, // read over the same default
  task_reject_on_worker_lost: false, // null
  timezone: "UTC",
};

const camel = (name: string) => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

function warningsOf(given: Readonly<Record<string, unknown>>): readonly string[] {
  return readConfig(given as SettingsInput, {}).warnings;
}

describe("Celery's settings", () => {
  const config = readConfig({}, {}) as unknown as Readonly<Record<string, unknown>>;
  const ours = (name: string) => {
    const known = { broker_url: "broker", result_backend: "backend" }[name] ?? camel(name);
    return [known, `${known}Ms`].find((each) => Object.hasOwn(config, each));
  };

  test("are all known, and each is either ours or has a reason", () => {
    const names = Object.keys(settings);
    assert.ok(names.length > 170);
    assert.deepEqual(
      names.filter((name) => (ours(name) === undefined) === (NOT_OURS[name] === undefined)),
      [],
    );
    assert.deepEqual(
      Object.keys(NOT_OURS).filter((name) => settings[name] === undefined),
      [],
    );
  });

  for (const [name, { default: celerys, type }] of Object.entries(settings)) {
    const known = ours(name);
    if (known === undefined) continue;
    test(`${name} has Celery's default`, () => {
      const expected = Object.hasOwn(OWN_DEFAULTS, name)
        ? OWN_DEFAULTS[name]
        : celerys === null
          ? undefined
          : known.endsWith("Ms") && type !== "string"
            ? Number(celerys) * 1_000
            : celerys;
      assert.deepEqual(config[known], expected);
    });
  }

  test("that have no effect are warnings, in either spelling, and no errors", () => {
    for (const name of Object.keys(NOT_OURS)) {
      for (const spelling of [name, camel(name)]) {
        const [warning, ...more] = warningsOf({ [spelling]: settings[name]?.default ?? "x" });
        assert.equal(warning, `the setting ${spelling} is Celery's and has no effect here: ${NOT_OURS[name]}`);
        assert.deepEqual(more, []);
      }
    }
  });

  test("that are None say nothing", () => {
    const none = Object.fromEntries(Object.keys(settings).map((name) => [name, null]));
    assert.deepEqual(warningsOf(none), []);
  });

  test("that are None mean what they mean to Celery", () => {
    const none = readConfig(
      { result_expires: null, broker_connection_max_retries: null, broker_heartbeat: null, task_time_limit: null },
      {},
    );
    assert.equal(none.resultExpiresMs, 0);
    assert.equal(none.brokerConnectionMaxRetries, 0);
    assert.equal(none.brokerHeartbeatMs, 0);
    assert.equal(none.taskTimeLimitMs, undefined);
  });

  test("are logged once by an app that has a log, and by the first log it is given", () => {
    const lines: string[] = [];
    const log = createLogger({ level: "warning", destination: (line) => lines.push(line) });
    const given = { worker_agent: "x", beat_schedule: {} } as SettingsInput;

    new Lovage("with", given, { log, env: {} });
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? "", /the setting worker_agent is Celery's and has no effect here/);

    const later = new Lovage("later", given, { env: {} });
    later.useLog(log);
    later.useLog(log);
    assert.equal(lines.length, 4);

    const child = new Lovage("in a pool process", given, { env: {} });
    child.useAsk(() => Promise.reject(new Error("nobody asks")));
    child.useLog(log);
    assert.equal(lines.length, 4);
  });
});

describe("names in capitals", () => {
  const cases: readonly (readonly [given: string, now: string])[] = [
    ["BROKER_URL", "broker (broker_url)"],
    ["CELERY_BROKER_URL", "broker (broker_url)"],
    ["CELERY_RESULT_BACKEND", "backend (result_backend)"],
    ["CELERY_TASK_RESULT_EXPIRES", "resultExpires (result_expires)"],
    ["CELERY_ACKS_LATE", "taskAcksLate (task_acks_late)"],
    ["CELERY_TASK_ACKS_LATE", "taskAcksLate (task_acks_late)"],
    ["CELERY_ROUTES", "taskRoutes (task_routes)"],
    ["CELERY_QUEUES", "taskQueues (task_queues)"],
    ["CELERY_ACCEPT_CONTENT", "acceptContent (accept_content)"],
    ["CELERY_TIMEZONE", "timezone (timezone)"],
    ["CELERY_ENABLE_UTC", "enableUtc (enable_utc)"],
    ["CELERY_DEFAULT_QUEUE", "taskDefaultQueue (task_default_queue)"],
    ["CELERY_CREATE_MISSING_QUEUES", "taskCreateMissingQueues (task_create_missing_queues)"],
    ["CELERY_MESSAGE_COMPRESSION", "taskCompression (task_compression)"],
    ["CELERY_TASK_SERIALIZER", "taskSerializer (task_serializer)"],
    ["CELERY_TASK_PUBLISH_RETRY_POLICY", "taskPublishRetryPolicy (task_publish_retry_policy)"],
    ["CELERY_DISABLE_RATE_LIMITS", "workerDisableRateLimits (worker_disable_rate_limits)"],
    ["CELERY_REDIS_SOCKET_TIMEOUT", "redisSocketTimeout (redis_socket_timeout)"],
    ["CELERYD_CONCURRENCY", "workerConcurrency (worker_concurrency)"],
    ["CELERYD_PREFETCH_MULTIPLIER", "workerPrefetchMultiplier (worker_prefetch_multiplier)"],
    ["CELERYD_MAX_TASKS_PER_CHILD", "workerMaxTasksPerChild (worker_max_tasks_per_child)"],
    ["CELERYD_TASK_TIME_LIMIT", "taskTimeLimit (task_time_limit)"],
    ["CELERYD_TASK_SOFT_TIME_LIMIT", "taskSoftTimeLimit (task_soft_time_limit)"],
    ["BROKER_TRANSPORT_OPTIONS", "brokerTransportOptions (broker_transport_options)"],
    ["BROKER_HOST", "broker_host"],
    ["TASK_ROUTES", "taskRoutes (task_routes)"],
    ["CELERYBEAT_SCHEDULE", "beat_schedule"],
    ["CELERYD_STATE_DB", "worker_state_db"],
    ["CELERY_IMPORTS", "imports"],
  ];
  for (const [given, now] of cases) {
    test(`${given} is an error that says what it is called`, () => {
      assert.throws(() => readConfig({ [given]: "x" } as SettingsInput, {}), {
        code: "ERR_INVALID_CONFIG",
        message: `the setting ${given} is called ${now}: names in capitals are not read`,
      });
    });
  }

  test("that nobody knows are unknown", () => {
    assert.throws(
      () => readConfig({ CELERY_NONSENSE_AT_ALL: 1 } as SettingsInput, {}),
      /unknown setting "CELERY_NONSENSE_AT_ALL"/,
    );
  });
});
