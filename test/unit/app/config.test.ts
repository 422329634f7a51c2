import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readConfig, type SettingsInput } from "../../../src/app/config.ts";

describe("the settings of an app", () => {
  test("keep everything in one file when nothing is set", () => {
    const config = readConfig({}, {});

    assert.equal(config.broker, "sqlite:lovage.db");
    assert.equal(config.backend, "sqlite:lovage.db");
    assert.equal(config.schedule, "sqlite:lovage.db");
    assert.equal(config.taskDefaultQueue, "celery");
    assert.equal(config.durability, "strict");
  });

  test("with RabbitMQ: no results unless asked for, and callbacks in the embedded file", () => {
    const config = readConfig({ broker: "amqp://guest:guest@localhost//" }, {});

    assert.equal(config.backend, undefined);
    assert.equal(config.schedule, "sqlite:lovage.db");
  });

  test("are taken in Celery's spelling too", () => {
    const config = readConfig(
      { broker_url: "memory://x", result_backend: "memory://y", task_acks_late: true, worker_prefetch_multiplier: 1 },
      {},
    );

    assert.equal(config.broker, "memory://x");
    assert.equal(config.backend, "memory://y");
    assert.equal(config.taskAcksLate, true);
    assert.equal(config.workerPrefetchMultiplier, 1);
  });

  test("come from the code first, then LOVAGE_*, then Celery's variables", () => {
    const env = {
      LOVAGE_BROKER_URL: "memory://lovage",
      CELERY_BROKER_URL: "memory://celery",
      CELERY_RESULT_BACKEND: "memory://results",
      LOVAGE_TASK_ACKS_LATE: "true",
      LOVAGE_RESULT_EXPIRES: "2h",
      LOVAGE_WORKER_CONCURRENCY: "3",
    };

    assert.equal(readConfig({}, env).broker, "memory://lovage");
    assert.equal(readConfig({ broker: "memory://code" }, env).broker, "memory://code");
    assert.equal(readConfig({}, { ...env, LOVAGE_BROKER_URL: "" }).broker, "memory://celery");
    assert.equal(readConfig({}, env).backend, "memory://results");
    assert.equal(readConfig({}, env).taskAcksLate, true);
    assert.equal(readConfig({}, env).resultExpiresMs, 7_200_000);
    assert.equal(readConfig({}, env).workerConcurrency, 3);
  });

  test("an undefined or null one counts as not set", () => {
    assert.equal(
      readConfig({ broker: undefined, schedule: null } as unknown as SettingsInput, {}).broker,
      "sqlite:lovage.db",
    );
  });

  test("every wrong one is named at once, with its rule", () => {
    const wrong = {
      broker: "mysql://user:secret@host/db",
      workerConcurrency: 0,
      taskAcksLate: "perhaps",
      timezone: "Mars/Olympus",
      taskTimeLimit: "soon",
      workerPool: "gevent",
      taskDefautQueue: "typo",
    } as unknown as SettingsInput;

    assert.throws(
      () => readConfig(wrong, {}),
      (error: Error & { code?: string; problems?: string[] }) => {
        assert.equal(error.code, "ERR_INVALID_CONFIG");
        assert.equal(error.problems?.length, 7);
        assert.match(error.message, /broker must be a URL that begins with amqp:.*not mysql:/);
        assert.match(error.message, /workerConcurrency must be a whole number of at least 1; it was 0/);
        assert.match(error.message, /taskAcksLate must be true or false/);
        assert.match(error.message, /timezone must be an IANA time zone/);
        assert.match(error.message, /taskTimeLimit/);
        assert.match(error.message, /workerPool must be "prefork" or "solo"/);
        assert.match(error.message, /unknown setting "taskDefautQueue".*taskDefaultQueue/);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  });

  test("a schedule may be in Redis, in any of its forms", () => {
    for (const schedule of [
      "redis://localhost",
      "REDISS://user:secret@host:6380/2",
      "redis+sentinel://a:26379,b/mymaster/1",
      "rediss+cluster://a:6379,b:6379",
    ]) {
      assert.equal(readConfig({ schedule }, {}).schedule, schedule);
    }
    assert.throws(
      () => readConfig({ broker: "redis+cluster://host" }, {}),
      /broker must be a URL that begins with amqp:/,
    );
  });

  test("a schedule may be in PostgreSQL, and results may not", () => {
    for (const schedule of ["postgres://user:secret@db:5432/app?schema=jobs", "POSTGRESQL://localhost"]) {
      assert.equal(readConfig({ schedule }, {}).schedule, schedule);
    }
    assert.equal(readConfig({}, { LOVAGE_SCHEDULE_URL: "postgres://db/app" }).schedule, "postgres://db/app");
    assert.throws(() => readConfig({ backend: "postgres://db" }, {}), /backend must be a URL that begins with redis:/);
  });

  test("content, compression and rates are names that somebody knows, and pickle is never read", () => {
    const config = readConfig(
      {
        accept_content: ["json", "application/x-msgpack"],
        task_serializer: "yaml",
        task_compression: "gzip",
        task_default_rate_limit: "100/m",
      },
      {},
    );
    assert.deepEqual(config.acceptContent, ["json", "application/x-msgpack"]);
    assert.equal(config.taskDefaultRateLimit, "100/m");

    const wrong = {
      acceptContent: ["json", "pickle"],
      taskSerializer: "yml",
      taskCompression: "zip9",
      taskDefaultRateLimit: "10/d",
    } as unknown as SettingsInput;
    assert.throws(
      () => readConfig(wrong, {}),
      (error: Error & { problems?: string[] }) => {
        assert.equal(error.problems?.length, 4);
        assert.match(
          error.message,
          /acceptContent\[1\] must not be "pickle": to read pickle is to run what the sender wrote/,
        );
        assert.match(
          error.message,
          /taskSerializer must be one of json, yaml, msgpack, auth; it was "yml"; did you mean "yaml"/,
        );
        assert.match(error.message, /taskCompression must be one of zlib, gzip, .*; it was "zip9"/);
        assert.match(error.message, /taskDefaultRateLimit must be a number a second, or a text such as "10\/s"/);
        return true;
      },
    );
  });

  test("signed content needs its files, and is said to protect nothing beside unsigned content", () => {
    const signing = { task_serializer: "auth", security_key: "k", security_certificate: "c" };
    const believing = { accept_content: ["application/data"], security_cert_store: "s" };
    assert.deepEqual(readConfig({ ...signing, ...believing }, {}).warnings, []);
    assert.equal(readConfig(signing, {}).securityEnvelope, "base64");
    assert.throws(() => readConfig({ ...signing, security_key: undefined }, {}), /securityKey and securityCertificate/);
    assert.throws(() => readConfig({ acceptContent: ["auth"] }, {}), /securityCertStore/);
    const { warnings } = readConfig({ ...believing, accept_content: ["auth", "json"] }, {});
    assert.match(warnings.join(), /messages without a signature are taken too/);
  });

  test("rates are read as Celery reads them", () => {
    for (const rate of ["100/s", "100/m", "100/h", "5", "0.5/s", "10/", 0, 5, 0.1]) {
      assert.equal(readConfig({ taskDefaultRateLimit: rate }, {}).taskDefaultRateLimit, rate);
    }
    for (const rate of ["1/d", "x/m", "/s", "-1/s", -1, Number.NaN, true as unknown as number]) {
      assert.throws(() => readConfig({ taskDefaultRateLimit: rate }, {}), /taskDefaultRateLimit must be/);
    }
  });

  test("with one of the broker's URLs alone, the broker is there", () => {
    const config = readConfig({ brokerWriteUrl: "memory://w" }, {});
    assert.equal(config.broker, "memory://w");
    const both = readConfig({ brokerWriteUrl: "memory://w", brokerReadUrl: "memory://r" }, {});
    assert.equal(both.broker, "memory://r");
  });

  test("a wrong variable is named as the variable", () => {
    assert.throws(
      () => readConfig({}, { LOVAGE_WORKER_CONCURRENCY: "many" }),
      /LOVAGE_WORKER_CONCURRENCY must be a whole number/,
    );
  });
});
