/**
 * URL scheme -> backend, imported on first use. The only file that names backends: a client of RabbitMQ never loads SQLite,
 * and the package of a server's client is asked for when its URL is.
 */
import type { Broker } from "../brokers/broker.ts";
import { failover } from "../brokers/failover.ts";
import type { Clock } from "../kit/clock.ts";
import { ContractError, InvalidInputError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { redactUrl } from "../kit/redact.ts";
import type { SchedulePlace } from "../pool/asks.ts";
import type { ContentFormats } from "../protocol/content.ts";
import type { Quarantine } from "../quarantine/quarantine.ts";
import type { ResultBackend } from "../results/backend.ts";
import { ResultFormat } from "../results/format.ts";
import type { NewCallback, PutAnswer } from "../schedule/callback.ts";
import { DEFAULT_LIMITS } from "../schedule/limits.ts";
import type { ScheduleStore, StoreLimits } from "../schedule/store.ts";
import type { Transaction } from "../schedule/stores/postgres/tx.ts";
import { type Config, DEFAULT_FILE_URL, isEmbedded } from "./config.ts";

const DAY_MS = 86_400_000;

/** The app has no result backend, and a result was asked for. */
export class ResultsDisabledError extends ContractError {
  readonly code = "ERR_RESULTS_DISABLED";
}

/** One broker, or several of which the next is used when one cannot be. */
export async function openBroker(config: Config, log: Logger): Promise<Broker> {
  // kombu's list of Sentinels leads to one Redis.
  const urls = schemeOf(config.broker) === "sentinel" ? [config.broker] : config.broker.split(";");
  const brokers = await Promise.all(urls.map((url) => openOneBroker(url.trim(), config, log)));
  const [first, ...others] = brokers;
  if (first === undefined) throw new InvalidInputError("broker names no URL");
  return failover([first, ...others], { strategy: config.brokerFailoverStrategy, log });
}

async function openOneBroker(url: string, config: Config, log: Logger): Promise<Broker> {
  switch (schemeOf(url)) {
    case "amqp":
    case "pyamqp":
    case "amqps": {
      const { openRabbitmqBroker } = await import("../brokers/rabbitmq/broker.ts");
      const heartbeat = Math.round(config.brokerHeartbeatMs / 1_000);
      return openRabbitmqBroker(url.replace(/^pyamqp:/i, "amqp:"), { log, heartbeat, useSsl: config.brokerUseSsl });
    }
    case "redis":
    case "rediss":
    case "redis+sentinel":
    case "rediss+sentinel":
    case "sentinel": {
      const { openRedisBroker } = await import("../brokers/redis.ts");
      const { brokerTransportOptions: transport, brokerUseSsl: useSsl } = config;
      return openRedisBroker(url, { log, transport, useSsl });
    }
    case "sqlite": {
      const { openSqliteBroker } = await import("../brokers/sqlite.ts");
      return openSqliteBroker(fileOf(url), { log, durability: config.durability });
    }
    default: {
      const { openMemoryBroker } = await import("../brokers/memory.ts");
      return openMemoryBroker(url);
    }
  }
}

/** @throws {ResultsDisabledError} no backend is set */
export async function openResultBackend(
  config: Config,
  log: Logger,
  over: { readonly broker: () => Promise<Broker>; readonly clock: Clock; readonly formats: ContentFormats },
): Promise<ResultBackend> {
  const url = config.backend;
  if (url === undefined) {
    throw new ResultsDisabledError(
      'results are not kept: set a backend, such as new Lovage(name, { backend: "sqlite:results.db" }) or LOVAGE_RESULT_BACKEND',
    );
  }
  switch (schemeOf(url)) {
    case "sqlite": {
      const { openSqliteResults } = await import("../results/sqlite.ts");
      return openSqliteResults(fileOf(url), { log, durability: config.durability });
    }
    case "rpc": {
      const [{ RpcResults }, { Replies }] = await Promise.all([import("../results/rpc.ts"), import("./replies.ts")]);
      const { resultExpiresMs: expiresMs, resultPersistent: persistent, brokerConnectionTimeoutMs } = config;
      const carrier = new Replies({ ...over, log, connectTimeoutMs: brokerConnectionTimeoutMs });
      const { resultSerializer, resultAcceptContent = config.acceptContent } = config;
      return new RpcResults({
        carrier,
        expiresMs,
        persistent,
        format: await over.formats.load(resultSerializer),
        accept: await over.formats.accept([resultSerializer, ...resultAcceptContent]),
        clock: over.clock,
        log,
      });
    }
    case "memory": {
      const { openMemoryResults } = await import("../results/memory.ts");
      return openMemoryResults(url);
    }
    default: {
      const { openRedisResults } = await import("../results/redis.ts");
      return openRedisResults(url, {
        log,
        transport: config.resultBackendTransportOptions,
        ssl: config.redisBackendUseSsl,
        username: config.redisUsername,
        password: config.redisPassword,
        connectMs: config.redisSocketConnectTimeoutMs,
        answerMs: config.redisSocketTimeoutMs,
        format: new ResultFormat(await over.formats.load(config.resultSerializer)),
      });
    }
  }
}

/** Results are sent to who sent the task, which must be heard before: `replyTo` of the backend. */
export function sendsResults({ backend }: Config): boolean {
  return backend !== undefined && schemeOf(backend) === "rpc";
}

export async function openScheduleStore(config: Config, log: Logger): Promise<ScheduleStore> {
  const { schedule: url, namespace, durability } = config;
  const limits = limitsOfConfig(config);
  switch (schemeOf(url)) {
    case "sqlite": {
      const { openSqliteSchedule } = await import("../schedule/stores/sqlite.ts");
      return openSqliteSchedule(fileOf(url), { log, durability, namespace, limits });
    }
    case "memory": {
      const { openMemorySchedule } = await import("../schedule/stores/memory.ts");
      return openMemorySchedule({ limits });
    }
    case "postgres":
    case "postgresql": {
      const { openPostgresSchedule } = await import("../schedule/stores/postgres.ts");
      return openPostgresSchedule(url, { log, namespace, limits });
    }
    default: {
      const { openRedisSchedule } = await import("../schedule/stores/redis.ts");
      return openRedisSchedule(url, { log, namespace, limits });
    }
  }
}

/** What a process must know that schedules in a transaction of its own: a task's has no URL of any store. */
export function placeOf({ schedule, namespace, maxPending }: Config): SchedulePlace {
  return { url: redactUrl(schedule), namespace, maxPending };
}

/**
 * Schedule inside the caller's own transaction, on the caller's connection; nothing is opened.
 * @throws {InvalidInputError} the schedule is not in PostgreSQL, so no transaction reaches it
 */
export async function putWithin(
  tx: Transaction,
  place: SchedulePlace,
  callbacks: readonly NewCallback[],
): Promise<PutAnswer[]> {
  const scheme = schemeOf(place.url);
  if (scheme !== "postgres" && scheme !== "postgresql") {
    throw new InvalidInputError(
      `tx needs a schedule in PostgreSQL (postgres://…), and this one is ${scheme}: leave tx out`,
    );
  }
  const { putInTransaction } = await import("../schedule/stores/postgres/tx.ts");
  return putInTransaction(tx, place, callbacks);
}

/** Beside the schedule: what is refused is kept where what is accepted is. With a schedule that is no embedded file: beside the broker, else in a file. */
export async function openQuarantine(config: Config, log: Logger): Promise<Quarantine> {
  const url = [config.schedule, config.broker].find(isEmbedded) ?? DEFAULT_FILE_URL;
  if (schemeOf(url) === "sqlite") {
    const { openSqliteQuarantine } = await import("../quarantine/sqlite.ts");
    return openSqliteQuarantine(fileOf(url), { log, durability: config.durability });
  }
  const { openMemoryQuarantine } = await import("../quarantine/memory.ts");
  return openMemoryQuarantine({ log });
}

/** A thousand years: as good as for ever, and far from where a store's numbers lose their last digits. */
const FOR_EVER_MS = 1_000 * 365 * DAY_MS;

/** `resultExpires` says how long ended callbacks are kept, too; those with a key for a week at least, so that the key's last one is found. */
function limitsOfConfig({ resultExpiresMs, maxPending }: Config): Partial<StoreLimits> {
  const keepMs = resultExpiresMs === 0 ? FOR_EVER_MS : Math.min(resultExpiresMs, FOR_EVER_MS);
  return { maxPending, keepMs, keepKeyedMs: Math.max(keepMs, DEFAULT_LIMITS.keepKeyedMs) };
}

function schemeOf(url: string): string {
  return url.slice(0, url.indexOf(":")).toLowerCase();
}

/** `sqlite:FILE`, `sqlite://FILE` with a relative file, `sqlite:///FILE` with an absolute one. */
function fileOf(url: string): string {
  const rest = url.slice(url.indexOf(":") + 1);
  return rest.startsWith("//") ? rest.slice(2) : rest;
}
