/**
 * kombu's envelope: the JSON text that a message is in Redis (PROTOCOL 8.2), read and written. Pure.
 *
 * A text is never read and written again where it can be left as it is: what goes back to its queue is the producer's own text, with
 * nothing added but the marks of a redelivery. What is no envelope becomes a message all the same: the whole item as its body, so that
 * it is refused with all it has, and not lost or run.
 */
import { isUtf8 } from "node:buffer";
import { decodeJson, isPlain, jsonMembers, TypedValue } from "../../protocol/json.ts";
import { DEFAULT_LIMITS, type JsonLimits } from "../../protocol/limits.ts";
import type { WireMessage, WireProperties } from "../../protocol/message.ts";
import type { PublishTarget } from "../broker.ts";

/** What came out of a list or a channel. */
export interface Envelope {
  readonly message: WireMessage;
  /** As the publisher wrote them; the queue's own where it wrote none. */
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  /** The publisher's; undefined where it gave none that is a text. */
  readonly tag: string | undefined;
  /** It is no envelope, or its body cannot be read. */
  readonly isForeign: boolean;
}

/** Content type of an item that is no envelope: nobody accepts it. */
export const FOREIGN_TYPE = "application/x-lovage-foreign-item";

/** base64 makes four of three, and the body may be what `DEFAULT_LIMITS` allows. What is larger is left aside before it gets here. */
const LIMITS: JsonLimits = { ...DEFAULT_LIMITS, maxBytes: 128 * 1024 * 1024, maxDepth: 200 };

/** The text of a message that is published. @param tag unique: nobody else may ever give it */
export function writeEnvelope(
  message: WireMessage,
  headers: Readonly<Record<string, unknown>>,
  target: PublishTarget,
  tag: string,
  bodyEncoding: "base64" | undefined,
): string {
  const { body, properties: from } = message;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  // A body that is no text can only be base64, whatever the option says.
  const encoding = bodyEncoding ?? (isUtf8(bytes) ? undefined : "base64");
  const properties = {
    correlation_id: from.correlationId,
    reply_to: from.replyTo,
    delivery_mode: from.deliveryMode,
    expiration: from.expiration,
    delivery_info: { exchange: target.exchange, routing_key: target.routingKey },
    priority: from.priority ?? 0,
    body_encoding: encoding ?? null,
    delivery_tag: tag,
  };
  const text = JSON.stringify({
    body: bytes.toString(encoding ?? "utf8"),
    "content-encoding": from.contentEncoding ?? null,
    "content-type": from.contentType ?? null,
    headers,
    properties,
  });
  return text.replace(NOT_ASCII, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Python escapes them all. */
const NOT_ASCII = /[\u007f-\uffff]/g;

/** @param queue where it was: its routing key, if it says none itself */
export function readEnvelope(raw: Buffer, queue: string): Envelope {
  const fields = isUtf8(raw) ? fieldsOf(raw.toString("utf8")) : undefined;
  if (fields === undefined || !isSound(fields)) return foreign(raw, queue, undefined);
  const properties = tableOf(fields.properties) ?? {};
  const info = tableOf(properties.delivery_info);
  const tag = textOf(properties.delivery_tag);
  const redelivered = info?.redelivered === true;
  if (fields["content-type"] === FOREIGN_TYPE && typeof fields.body === "string") {
    return { ...foreign(Buffer.from(fields.body, "latin1"), queue, tag), redelivered };
  }
  const body = bodyOf(fields.body, properties.body_encoding);
  const headers = headersOf(tableOf(fields.headers) ?? {}, redelivered);
  if (body === undefined || headers === undefined) return { ...foreign(raw, queue, tag), redelivered };
  return {
    message: { body, properties: propertiesOf(fields, properties), headers },
    exchange: textOf(info?.exchange) ?? "",
    routingKey: textOf(info?.routing_key) ?? queue,
    redelivered: info === undefined ? headers.redelivered === true : redelivered,
    tag,
    isForeign: false,
  };
}

/**
 * The same text with both marks of a redelivery, as kombu sets them: `headers.redelivered` and
 * `properties.delivery_info.redelivered`. What is no envelope is wrapped into one.
 */
export function markRedelivered(raw: Buffer, queue: string, tag: string): string {
  const text = isUtf8(raw) ? raw.toString("utf8") : "";
  const fields = fieldsOf(text);
  return fields !== undefined && isSound(fields) ? marked(text) : wrapForeign(raw, queue, tag, true);
}

/** An envelope around an item that is none; bytes are characters of the same numbers. */
export function wrapForeign(raw: Buffer, queue: string, tag: string, redelivered: boolean): string {
  const info = { exchange: "", routing_key: queue, ...(redelivered ? { redelivered } : {}) };
  return JSON.stringify({
    body: raw.toString("latin1"),
    "content-encoding": "binary",
    "content-type": FOREIGN_TYPE,
    headers: redelivered ? { redelivered } : {},
    properties: { delivery_mode: 2, delivery_info: info, priority: 0, body_encoding: null, delivery_tag: tag },
  });
}

function marked(text: string): string {
  const table = (members: ReadonlyMap<string, string>, name: string) => {
    const raw = members.get(name);
    return raw?.startsWith("{") === true ? jsonMembers(raw) : new Map<string, string>();
  };
  const members = jsonMembers(text);
  const properties = table(members, "properties");
  const headers = table(members, "headers").set("redelivered", "true");
  const info = table(properties, "delivery_info").set("redelivered", "true");
  properties.set("delivery_info", objectText(info));
  members.set("headers", objectText(headers)).set("properties", objectText(properties));
  return objectText(members);
}

/** As Python's `json.dumps` spaces it. */
function objectText(members: ReadonlyMap<string, string>): string {
  return `{${[...members].map(([key, value]) => `${JSON.stringify(key)}: ${value}`).join(", ")}}`;
}

type Fields = Readonly<Record<string, unknown>>;

/** The object that the text says; undefined when it says none. */
function fieldsOf(text: string): Fields | undefined {
  return tableOf(readText(text));
}

/** What the text says, in Python's JSON; undefined when it is none. Typed values of kombu's stay the objects that they are written as. */
export function readText(text: string): unknown {
  try {
    return ODD.test(text) ? odd(text) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** NaN, Infinity, or an integer of more digits than a number is sure to hold: Python's dialect, which is read more closely. */
const ODD = /[:[,]\s*-?(?:NaN|Infinity|[1-9]\d{15,})/;

function odd(text: string): unknown {
  try {
    return decodeJson(text, LIMITS);
  } catch {
    return JSON.parse(text);
  }
}

/** Its tables are tables, or not there. */
function isSound({ headers, properties }: Fields): boolean {
  const isFit = (value: unknown) => value === undefined || value === null || tableOf(value) !== undefined;
  return isFit(headers) && isFit(properties);
}

function tableOf(value: unknown): Fields | undefined {
  return isPlain(value) ? value : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function bodyOf(body: unknown, encoding: unknown): Buffer | undefined {
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (typeof body !== "string") return undefined;
  if (encoding === undefined || encoding === null || encoding === "" || encoding === "utf-8") return Buffer.from(body);
  if (encoding !== "base64") return undefined;
  // Python passes over line ends within base64; anything else that is no base64 is none.
  const code = /\s/.test(body) ? body.replace(/\s+/g, "") : body;
  const bytes = Buffer.from(code, "base64");
  return Math.ceil(bytes.byteLength / 3) * 4 === code.length && isBase64(code) ? bytes : undefined;
}

function isBase64(code: string): boolean {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(code);
}

function propertiesOf(fields: Fields, from: Fields): WireProperties {
  const properties: Record<string, unknown> = {
    contentType: textOf(fields["content-type"]),
    contentEncoding: textOf(fields["content-encoding"]),
    deliveryMode: from.delivery_mode === 1 || from.delivery_mode === 2 ? from.delivery_mode : undefined,
    priority: priorityOf(from.priority),
    correlationId: idOf(from.correlation_id),
    replyTo: textOf(from.reply_to),
    expiration: idOf(from.expiration),
  };
  for (const name of Object.keys(properties)) if (properties[name] === undefined) delete properties[name];
  return properties as WireProperties;
}

function priorityOf(value: unknown): number | undefined {
  if (typeof value !== "number" || !Number.isFinite(value)) return undefined;
  return Math.min(Math.max(Math.trunc(value), 0), 255);
}

/** Foreign producers give numbers as ids and as milliseconds. */
function idOf(value: unknown): string | undefined {
  return typeof value === "number" || typeof value === "bigint" ? String(value) : textOf(value);
}

/** Deeper than this headers are nobody's, and the stack's end is near. */
const MAX_DEPTH = 200;

/** Without the mark of a redelivery, which is none of the producer's; undefined when they are nested too deep. */
function headersOf(from: Fields, isMarked: boolean): Record<string, unknown> | undefined {
  try {
    const headers = plain(from, 0);
    if (isMarked && headers.redelivered === true) delete headers.redelivered;
    return headers;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** A copy without prototypes, and without `__proto__`; an integer past 2^53 is its digits, as the other brokers give it. */
function plain(from: Fields, depth: number): Record<string, unknown> {
  if (depth > MAX_DEPTH) throw new RangeError("too deep");
  const to: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(from)) if (key !== "__proto__") to[key] = plainValue(from[key], depth + 1);
  return to;
}

function plainValue(value: unknown, depth: number): unknown {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) throw new RangeError("too deep");
  if (Array.isArray(value)) return value.map((each) => plainValue(each, depth + 1));
  if (value instanceof TypedValue) return value.toJSON();
  if (value instanceof Date) return { __type__: "datetime", __value__: value.toISOString() };
  if (value instanceof Uint8Array) return { __type__: "base64", __value__: Buffer.from(value).toString("base64") };
  return plain(value as Fields, depth);
}

function foreign(raw: Buffer, queue: string, tag: string | undefined): Envelope {
  return {
    message: {
      body: raw,
      properties: { contentType: FOREIGN_TYPE, contentEncoding: "binary" },
      headers: Object.create(null) as Record<string, unknown>,
    },
    exchange: "",
    routingKey: queue,
    redelivered: false,
    tag,
    isForeign: true,
  };
}
