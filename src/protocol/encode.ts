/** Task messages out: protocol 2, every header that Celery's client writes, nulls included (PROTOCOL 2.1). */
import { InvalidInputError } from "../kit/errors.ts";
import { isoFromMs } from "../kit/iso8601.ts";
import { JSON_TYPE } from "./content/json.ts";
import { CARRIED_HEADERS, FIELD_HEADERS, isBrokerHeader } from "./headers.ts";
import { encodeJson } from "./json.ts";
import type { TaskMessage, WireMessage } from "./message.ts";
import { idProblem, MAX_SHORT_BYTES, nameProblem } from "./names.ts";
import { quoted } from "./refusal.ts";
import { pyRepr, pyTupleRepr } from "./repr.ts";
import { type Embed, NO_EMBED } from "./signature.ts";

/**
 * RabbitMQ closes the channel of a message that lives longer: ten years. Such a message is sent without `expiration`; the
 * header `expires` is what the worker goes by in any case.
 */
const MAX_EXPIRATION_MS = 315_360_000_000;

/**
 * The message for a broker. The body goes out as it is.
 *
 * @param nowMs to say how long the message still lives; without it the broker is not told
 */
export function encodeTask(message: TaskMessage, nowMs?: number): WireMessage {
  const { id } = message;
  const correlationId = message.correlationId ?? id;
  const expiration = expirationOf(message.expiresMs, nowMs);
  return {
    body: Buffer.from(message.body, "utf8"),
    properties: {
      contentType: JSON_TYPE,
      contentEncoding: "utf-8",
      deliveryMode: 2,
      priority: message.priority ?? 0,
      correlationId: Buffer.byteLength(correlationId) <= MAX_SHORT_BYTES ? correlationId : id,
      replyTo: message.replyTo ?? "",
      ...(expiration === undefined ? {} : { expiration }),
    },
    headers: headersOf(message),
  };
}

function headersOf(message: TaskMessage): Record<string, unknown> {
  const headers: Record<string, unknown> = Object.create(null);
  headers.lang = "js";
  headers.task = message.task;
  headers.id = message.id;
  headers.shadow = message.shadow ?? null;
  headers.eta = message.etaMs === undefined ? null : isoFromMs(message.etaMs);
  headers.expires = message.expiresMs === undefined ? null : isoFromMs(message.expiresMs);
  headers.group = message.group ?? null;
  headers.group_index = message.groupIndex ?? null;
  headers.retries = message.retries;
  headers.timelimit = [seconds(message.hardLimitMs), seconds(message.softLimitMs)];
  headers.root_id = message.rootId ?? message.id;
  headers.parent_id = message.parentId ?? null;
  headers.argsrepr = message.argsRepr ?? null;
  headers.kwargsrepr = message.kwargsRepr ?? null;
  headers.origin = message.origin ?? null;
  headers.ignore_result = message.ignoreResult ?? false;
  for (const [name, nothing] of CARRIED_HEADERS) headers[name] = nothing;
  const others = message.headers;
  if (others !== undefined) {
    for (const name of Object.keys(others)) {
      if (!FIELD_HEADERS.has(name) && !isBrokerHeader(name)) headers[name] = others[name];
    }
  }
  return headers;
}

function seconds(ms: number | undefined): number | null {
  return ms === undefined ? null : ms / 1_000;
}

function expirationOf(expiresMs: number | undefined, nowMs: number | undefined): string | undefined {
  if (expiresMs === undefined || nowMs === undefined) return undefined;
  const leftMs = Math.max(0, Math.ceil(expiresMs - nowMs));
  return leftMs > MAX_EXPIRATION_MS ? undefined : String(leftMs);
}

/**
 * The body of a call, `[args, kwargs, embed]` as JSON text.
 * @throws {EncodeError} an argument cannot be sent; the message names it: `args[1].customer`
 */
export function encodeBody(
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  embed: Embed = NO_EMBED,
): string {
  return `[${encodeJson(args, "args")},${encodeJson(kwargs, "kwargs")},${encodeJson(embed, "embed")}]`;
}

/** A call and how it is to run: a `TaskMessage` but for what is made of the arguments. */
export interface NewTaskMessage extends Omit<TaskMessage, "body" | "retries" | "argsRepr" | "kwargsRepr"> {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly embed?: Embed;
  readonly retries?: number;
}

/**
 * The message of a new call.
 * @throws {InvalidInputError} the name, the id or a header is not what it must be
 * @throws {EncodeError} an argument cannot be sent
 */
export function newTaskMessage(call: NewTaskMessage): TaskMessage {
  const { args = [], kwargs = {}, embed = NO_EMBED, ...rest } = call;
  check(call.task, nameProblem(call.task), "the task name");
  check(call.id, idProblem(call.id), "the task id");
  if (!Array.isArray(args)) throw new InvalidInputError(`args is ${quoted(args)}; give an array`);
  if (typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs)) {
    throw new InvalidInputError(`kwargs is ${quoted(kwargs)}; give an object`);
  }
  for (const name of Object.keys(call.headers ?? {})) {
    if (FIELD_HEADERS.has(name) || name === "__proto__") {
      throw new InvalidInputError(`headers has ${quoted(name)}, which is not free to use; give it another name`);
    }
  }
  return {
    ...rest,
    retries: call.retries ?? 0,
    rootId: call.rootId ?? call.id,
    body: encodeBody(args, kwargs, embed),
    argsRepr: pyTupleRepr(args),
    kwargsRepr: pyRepr(kwargs),
  };
}

function check(value: unknown, problem: string | undefined, what: string): void {
  if (problem !== undefined) throw new InvalidInputError(`${what} ${quoted(value)} ${problem}`);
}
