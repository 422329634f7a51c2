/**
 * The fields of a task message from the names that Celery gives them, whether they came as headers or in a body of
 * protocol 1. What decides when, whether or how a task runs must be right, or the message is refused; what is only shown
 * is dropped when it is not.
 */
import { parseIso8601 } from "../kit/iso8601.ts";
import { zonedMs } from "../kit/moment.ts";
import { CARRIED_HEADERS, FIELD_HEADERS } from "./headers.ts";
import { isPlain } from "./json.ts";
import type { TaskMessage, WireProperties } from "./message.ts";
import { MAX_SHORT_BYTES } from "./names.ts";
import { DecodeError, quoted } from "./refusal.ts";
import { TypedValue } from "./typed-value.ts";

type Fields = Readonly<Record<string, unknown>>;
type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * @param fields by Celery's names: the headers, or the body of protocol 1 with the headers over it
 * @param headers the headers alone: those that Celery does not define are kept
 * @throws {DecodeError} ERR_HEADERS, ERR_ETA, ERR_EXPIRES
 */
export function taskMessage(
  call: { readonly task: string; readonly id: string; readonly body: string },
  fields: Fields,
  headers: Fields,
  properties: WireProperties,
  timezone = "UTC",
): TaskMessage {
  const message: Writable<TaskMessage> = { ...call, retries: integer(fields.retries, "retries", MAX_INT32) ?? 0 };
  const [hard, soft] = timeLimits(fields.timelimit);
  set(message, "etaMs", momentMs(fields.eta, "eta", "ERR_ETA", timezone));
  set(message, "expiresMs", momentMs(fields.expires, "expires", "ERR_EXPIRES", timezone));
  set(message, "hardLimitMs", hard);
  set(message, "softLimitMs", soft);
  set(message, "rootId", shownId(fields.root_id));
  set(message, "parentId", shownId(fields.parent_id));
  set(message, "group", groupId(fields.group));
  set(message, "groupIndex", integer(fields.group_index, "group_index", Number.MAX_SAFE_INTEGER));
  set(message, "shadow", text(fields.shadow));
  set(message, "argsRepr", text(fields.argsrepr));
  set(message, "kwargsRepr", text(fields.kwargsrepr));
  set(message, "origin", text(fields.origin));
  // Only a header counts: a body of protocol 1 leaves it to the task. (PROTOCOL 2.3)
  if (typeof headers.ignore_result === "boolean") message.ignoreResult = headers.ignore_result;
  set(message, "replyTo", replyTo(properties.replyTo));
  const correlationId = text(properties.correlationId);
  if (correlationId !== call.id) set(message, "correlationId", correlationId);
  set(message, "priority", priority(properties.priority));
  set(message, "headers", others(headers));
  return message;
}

const MAX_INT32 = 2_147_483_647;

function set<Key extends keyof TaskMessage>(
  message: Writable<TaskMessage>,
  key: Key,
  value: TaskMessage[Key] | undefined,
): void {
  if (value !== undefined) message[key] = value;
}

/**
 * Milliseconds UTC, rounded up. A moment without an offset is one of the application's zone. A typed datetime is met in
 * bodies of protocol 1.
 */
function momentMs(value: unknown, name: string, code: "ERR_ETA" | "ERR_EXPIRES", timezone: string): number | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (value instanceof Date) return value.getTime();
  const written = value instanceof TypedValue && value.type === "datetime" ? value.value : value;
  if (typeof written !== "string") {
    throw new DecodeError(code, `${name} is ${quoted(value)}; ISO 8601 text was expected`);
  }
  const parsed = parseIso8601(written);
  if ("problem" in parsed) throw new DecodeError(code, `${name} ${quoted(written)} ${parsed.problem}`);
  return parsed.hasOffset || timezone === "UTC" ? parsed.ms : zonedMs(parsed.ms, timezone);
}

/** `[hard, soft]` in seconds to milliseconds. 0 is no limit, as Celery has it. */
function timeLimits(value: unknown): [number | undefined, number | undefined] {
  if (value === undefined || value === null) return [undefined, undefined];
  if (!Array.isArray(value) || value.length !== 2) {
    throw new DecodeError("ERR_HEADERS", `timelimit is ${quoted(value)}; [hard, soft] was expected`);
  }
  const [hard, soft] = value as [unknown, unknown];
  return [limitMs(hard, "hard"), limitMs(soft, "soft")];
}

function limitMs(value: unknown, which: string): number | undefined {
  if (value === null || value === undefined || value === 0) return undefined;
  const ms = typeof value === "number" ? msOfSeconds(value) : Number.NaN;
  if (!(ms > 0) || !Number.isSafeInteger(ms)) {
    throw new DecodeError(
      "ERR_HEADERS",
      `the ${which} limit of timelimit is ${quoted(value)}; seconds or null were expected`,
    );
  }
  return ms;
}

/** Rounded up, but not by the error of the multiplication: 133480.991 s are 133,480,991 ms and not one more. */
function msOfSeconds(seconds: number): number {
  const nearest = Math.round(seconds * 1_000);
  return nearest / 1_000 === seconds ? nearest : Math.ceil(seconds * 1_000);
}

function integer(value: unknown, name: string, max: number): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max) {
    throw new DecodeError("ERR_HEADERS", `${name} is ${quoted(value)}; a whole number from 0 to ${max} was expected`);
  }
  return value;
}

function shownId(value: unknown): string | undefined {
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  return text(value);
}

function groupId(value: unknown): string | undefined {
  if (value !== undefined && value !== null && typeof value === "object") {
    throw new DecodeError("ERR_HEADERS", `group is ${quoted(value)}; an id was expected`);
  }
  return shownId(value);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** It names a queue; AMQP carries no longer one. */
function replyTo(value: unknown): string | undefined {
  const queue = text(value);
  if (queue !== undefined && Buffer.byteLength(queue) > MAX_SHORT_BYTES) {
    throw new DecodeError("ERR_HEADERS", `reply_to has more than ${MAX_SHORT_BYTES} bytes`);
  }
  return queue;
}

function priority(value: unknown): number | undefined {
  if (typeof value !== "number" || !Number.isFinite(value)) return undefined;
  return Math.min(255, Math.max(0, Math.trunc(value)));
}

/** The headers that no field holds, and of Celery's own those that say more than nothing. */
function others(headers: Fields): Readonly<Record<string, unknown>> | undefined {
  const kept: Record<string, unknown> = {};
  let any = false;
  for (const name of Object.keys(headers)) {
    if (FIELD_HEADERS.has(name)) continue;
    const value = headers[name];
    if (isCarried(name) && !saysMore(name, value)) continue;
    kept[name] = value;
    any = true;
  }
  return any ? kept : undefined;
}

function isCarried(name: string): boolean {
  return CARRIED_HEADERS.some(([carried]) => carried === name);
}

/** Malformed stamps are passed over: they change nothing in how the task runs. */
function saysMore(name: string, value: unknown): boolean {
  switch (name) {
    case "replaced_task_nesting":
      return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
    case "stamped_headers":
      return Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string");
    default:
      return isPlain(value) && Object.keys(value).length > 0;
  }
}
