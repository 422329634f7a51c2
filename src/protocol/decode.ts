/**
 * From what a broker delivered to a task message: protocol 2, protocol 1, and the hybrid that has a `task` header over
 * an object body, decided as Celery's worker decides (PROTOCOL 2.3, 5). Never throws: what cannot be read is a refusal.
 *
 * Where Celery's worker would run a broken call we refuse it, and quarantine keeps it:
 * - `args` that are no array. Celery spreads text into characters and an object into its keys.
 * - `args: null`, and in protocol 2 `kwargs` that are no object. Celery fails the task, or forgets it without a trace.
 * - an `eta` or `expires` that is no moment. Celery refuses it as we do.
 * - no id. Celery's worker dies of it in protocol 2, and in protocol 1 runs a task whose result nobody can ask for.
 *   Whoever wants the latter gives `newId`.
 */
import { messageOf } from "../kit/errors.ts";
import { printable } from "../kit/printable.ts";
import { ACCEPT_JSON, type Accepted, jsonTextOf, payloadOf } from "./content.ts";
import { taskMessage } from "./fields.ts";
import { plainTable } from "./headers.ts";
import { decodeJson, isPlain, jsonMembers, TypedValue } from "./json.ts";
import { DEFAULT_LIMITS, type JsonLimits, type MessageLimits } from "./limits.ts";
import type { TaskMessage, WireMessage } from "./message.ts";
import { idProblem, nameProblem } from "./names.ts";
import { type CeleryClass, DecodeError, quoted, type Refusal, type RefusalCode } from "./refusal.ts";
import { type Embed, readEmbed } from "./signature.ts";

export interface DecodeOptions {
  /** Content types, from `acceptedTypes`. Default: JSON only. */
  readonly accept?: Accepted;
  readonly limits?: MessageLimits;
  /** IANA zone of an eta or expires without an offset, as Celery's `timezone`. Default "UTC". Known to be a zone. */
  readonly timezone?: string;
  /** Gives a protocol 1 message without an id one. Default: it is refused (ERR_NO_ID). */
  readonly newId?: () => string;
}

export type Decoded =
  | { readonly ok: true; readonly message: TaskMessage }
  | { readonly ok: false; readonly refusal: Refusal };

export function decodeTask(wire: WireMessage, options: DecodeOptions = {}): Decoded {
  const seen: Seen = { protocol: 1 };
  try {
    return { ok: true, message: read(wire, options, seen) };
  } catch (error) {
    return { ok: false, refusal: refusalOf(error, seen, wire) };
  }
}

/** The call that a message's body says. For whoever runs the task. */
export interface TaskCall {
  readonly args: unknown[];
  readonly kwargs: Record<string, unknown>;
  readonly embed: Embed;
}

/** @throws {DecodeError} the text is not that of `[args, kwargs, embed]` */
export function decodeBody(body: string): TaskCall {
  return callOf(decodeJson(body, READ_BEFORE), DEFAULT_LIMITS.maxSignatures);
}

/** Limits of a body that was bounded when it came, maybe by others than the default ones: what the stack can bear. */
const READ_BEFORE: JsonLimits = {
  maxBytes: Number.POSITIVE_INFINITY,
  maxDepth: 1_000,
  maxKeys: Number.POSITIVE_INFINITY,
  maxKeysInAll: Number.POSITIVE_INFINITY,
};

type Fields = Readonly<Record<string, unknown>>;

/** What is known of the message by the time that it is refused. */
interface Seen {
  protocol: 1 | 2;
  task?: string;
  id?: string;
}

function read(wire: WireMessage, options: DecodeOptions, seen: Seen): TaskMessage {
  const limits = options.limits ?? DEFAULT_LIMITS;
  const headers = plainTable(wire.headers, limits);
  if (Object.hasOwn(headers, "task")) seen.protocol = 2;
  note(seen, headers);

  const text = jsonTextOf(
    payloadOf({ ...wire, headers }, limits),
    wire.properties.contentType,
    options.accept ?? ACCEPT_JSON,
    limits,
  );
  if (seen.protocol === 1) return readObject(text, headers, wire, options, seen);
  if (text === "") throw new DecodeError("ERR_BODY_SHAPE", "the body is empty; [args, kwargs, embed] was expected");
  const body = decodeJson(text, limits);
  if (isPlain(body) && Object.hasOwn(body, "args")) return readObject(text, headers, wire, options, seen, body);
  const { task, id } = identity(headers, seen, undefined);
  callOf(body, limits.maxSignatures);
  return taskMessage({ task, id, body: text }, headers, headers, wire.properties, options.timezone);
}

/** Protocol 1, or a hybrid: the body is an object that names everything. Headers of the same name win. */
function readObject(
  text: string,
  headers: Fields,
  wire: WireMessage,
  options: DecodeOptions,
  seen: Seen,
  decoded?: Fields,
): TaskMessage {
  const limits = options.limits ?? DEFAULT_LIMITS;
  if (text === "") throw new DecodeError("ERR_PROTO", "there is no task header, and the body is empty");
  const body = decoded ?? decodeJson(text, limits);
  if (!isPlain(body) || !(seen.protocol === 2 || Object.hasOwn(body, "task"))) {
    throw new DecodeError("ERR_PROTO", `there is no task header, and the body is not an object with the key "task"`);
  }
  const fields: Fields = { ...body, ...headers };
  note(seen, fields);
  const { task, id } = identity(fields, seen, seen.protocol === 1 ? options.newId : undefined);

  const { callbacks, errbacks, chord } = body;
  const args = Object.hasOwn(body, "args") ? body.args : [];
  const kwargs = Object.hasOwn(body, "kwargs") ? body.kwargs : {};
  callOf([args, kwargs, { callbacks, errbacks, chord }], limits.maxSignatures);

  // The parts are cut out of the text, so that they stay as they were written.
  const raw = jsonMembers(text);
  const embed = ["callbacks", "errbacks", "chord"].map((name) => `"${name}":${raw.get(name) ?? "null"}`);
  const call = `[${raw.get("args") ?? "[]"},${raw.get("kwargs") ?? "{}"},{${embed.join(",")},"chain":null}]`;
  // Celery itself loses the index of protocol 1 on receipt, and then the order of a chord's parts.
  const group = fields.group ?? body.taskset;
  return taskMessage({ task, id, body: call }, { ...fields, group }, headers, wire.properties, options.timezone);
}

function identity(fields: Fields, seen: Seen, newId: (() => string) | undefined): { task: string; id: string } {
  const { task } = fields;
  const problem = nameProblem(task);
  if (problem !== undefined) throw new DecodeError("ERR_TASK_NAME", `the task name ${quoted(task)} ${problem}`);
  const id = idText(fields.id);
  if (id === undefined || id === null) {
    if (newId === undefined) throw new DecodeError("ERR_NO_ID", "the message has no id");
    seen.id = newId();
    return { task: task as string, id: seen.id };
  }
  const wrong = idProblem(id);
  if (wrong !== undefined) throw new DecodeError("ERR_TASK_ID", `the task id ${quoted(id)} ${wrong}`);
  return { task: task as string, id: id as string };
}

/** Ids of foreign producers may be numbers: their decimal text. Anything else is left to be refused. */
function idText(id: unknown): unknown {
  if (typeof id === "bigint") return String(id);
  if (typeof id === "number" && Number.isFinite(id)) {
    if (!Number.isInteger(id) || Number.isSafeInteger(id)) return String(id);
    throw new DecodeError("ERR_TASK_ID", `the task id ${id} is a number too large to be exact; send it as text`);
  }
  return id instanceof TypedValue && id.type === "uuid" ? id.value : id;
}

/** Keep what can be shown of the name and id, whatever comes of the message. */
function note(seen: Seen, fields: Fields): void {
  if (nameProblem(fields.task) === undefined) seen.task = fields.task as string;
  if (typeof fields.id !== "object" || fields.id !== null) {
    const id = typeof fields.id === "number" || typeof fields.id === "bigint" ? String(fields.id) : fields.id;
    if (idProblem(id) === undefined) seen.id = id as string;
  }
}

function callOf(body: unknown, maxSignatures: number): TaskCall {
  if (!Array.isArray(body)) {
    throw new DecodeError("ERR_BODY_SHAPE", `the body is ${quoted(body)}; [args, kwargs, embed] was expected`);
  }
  if (body.length !== 3) {
    const count = `${body.length} element${body.length === 1 ? "" : "s"}`;
    throw new DecodeError("ERR_BODY_SHAPE", `the body has ${count}; three were expected: [args, kwargs, embed]`);
  }
  const [args, kwargs, embed] = body as [unknown, unknown, unknown];
  if (!Array.isArray(args)) {
    throw new DecodeError("ERR_BODY_SHAPE", `args is ${quoted(args)}; an array was expected`);
  }
  if (!isPlain(kwargs)) {
    throw new DecodeError("ERR_BODY_SHAPE", `kwargs is ${quoted(kwargs)}; an object was expected`);
  }
  return { args, kwargs, embed: readEmbed(embed, maxSignatures) };
}

const CLASS_OF: Readonly<Record<RefusalCode, CeleryClass>> = {
  ERR_DECODE: "a",
  ERR_TYPED_VALUE: "a",
  ERR_PROTO_KEY: "a",
  ERR_SIZE: "a",
  ERR_DEPTH: "a",
  ERR_CONTENT_TYPE: "a",
  ERR_CONTENT_ENCODING: "a",
  ERR_COMPRESSION: "a",
  ERR_SIGNATURE: "a",
  ERR_SIGNER: "a",
  ERR_SIGNER_EXPIRED: "a",
  ERR_PROTO: "b",
  ERR_TASK_NAME: "c",
  ERR_UNKNOWN_TASK: "c",
  ERR_NO_ID: "d",
  ERR_TASK_ID: "d",
  ERR_BODY_SHAPE: "d",
  ERR_HEADERS: "d",
  ERR_ETA: "d",
  ERR_EXPIRES: "d",
  ERR_CANVAS: "d",
};

function refusalOf(error: unknown, seen: Seen, wire: WireMessage): Refusal {
  const known = {
    ...(seen.task === undefined ? {} : { task: seen.task }),
    ...(seen.id === undefined ? {} : { id: seen.id }),
  };
  const reason = printable(messageOf(error), 500);
  // Headers with a getter of their own, a `newId` that throws: not the message's fault alone, yet it cannot be read.
  if (!(error instanceof DecodeError)) return { code: "ERR_DECODE", celeryClass: "a", reason, ...known };
  return { code: error.code, celeryClass: classOf(error.code, seen.protocol, wire), reason, ...known };
}

/** Celery looks at the content type of protocol 2 late, and takes a missing one for text that is no task. */
function classOf(code: RefusalCode, protocol: 1 | 2, wire: WireMessage): CeleryClass {
  if (code !== "ERR_CONTENT_TYPE") return CLASS_OF[code];
  if (protocol === 2) return "d";
  return wire.properties.contentType === undefined || wire.properties.contentType === "" ? "b" : "a";
}
