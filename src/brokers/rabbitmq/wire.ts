/**
 * Between amqplib's messages and ours.
 *
 * amqplib decodes a header table into ordinary objects by plain assignment, so that a key `__proto__` becomes an object's
 * prototype: only own keys are read here, into objects that have none. What JSON has no word for becomes plain data: a
 * timestamp its ISO text, a decimal its number, bytes their text (base64 where they are no UTF-8).
 *
 * The other way, amqplib takes an object with a key `!` for a typed value, and guesses the type of a number: both are
 * settled here, so that a header cannot come out as something else than went in.
 */
import type { MessageProperties, MessagePropertyHeaders, Options } from "amqplib";
import { InvalidInputError } from "../../kit/errors.ts";
import type { WireMessage, WireProperties } from "../../protocol/message.ts";

type Table = Record<string, unknown>;

/** Tables deeper than this are nobody's headers. */
const MAX_DEPTH = 64;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function fromWire(content: Buffer, properties: MessageProperties): WireMessage {
  return { body: ownBody(content), properties: fromProperties(properties), headers: fromTable(properties.headers, 0) };
}

/**
 * Writes messages out. amqplib makes the headers that it is given the prototype of those that it encodes, and V8 pays for
 * each object that becomes one: the same table is filled again as long as the names in it are the same, which halves the
 * cost of a message (15.7 and 8 µs). So what `write` answers is good until the next call.
 */
export class WireWriter {
  #table: Table = Object.create(null);
  #names: readonly string[] = [];

  /** @throws {InvalidInputError} a header that AMQP cannot carry, by name */
  write(message: WireMessage): Options.Publish {
    const names = Object.keys(message.headers);
    if (!sameNames(names, this.#names)) {
      this.#names = names;
      this.#table = Object.create(null);
    }
    fillTable(this.#table, names, message.headers, "", 0);
    const { contentType, contentEncoding, deliveryMode, priority, correlationId, replyTo, expiration } =
      message.properties;
    const options: Options.Publish = { headers: this.#table };
    if (contentType !== undefined) options.contentType = contentType;
    if (contentEncoding !== undefined) options.contentEncoding = contentEncoding;
    if (deliveryMode !== undefined) options.deliveryMode = deliveryMode;
    if (priority !== undefined) options.priority = priority;
    if (correlationId !== undefined) options.correlationId = correlationId;
    if (replyTo !== undefined) options.replyTo = replyTo;
    if (expiration !== undefined) options.expiration = expiration;
    return options;
  }
}

function sameNames(left: readonly string[], right: readonly string[]): boolean {
  if (left.length !== right.length) return false;
  for (let i = 0; i < left.length; i += 1) if (left[i] !== right[i]) return false;
  return true;
}

/** A small body is a view of a whole read buffer, and would keep it alive for as long as the message is in hand. */
function ownBody(content: Buffer): Uint8Array {
  return content.byteLength * 2 < content.buffer.byteLength ? new Uint8Array(content) : content;
}

function fromProperties(from: MessageProperties): WireProperties {
  const to: { -readonly [Key in keyof WireProperties]: WireProperties[Key] } = {};
  if (typeof from.contentType === "string") to.contentType = from.contentType;
  if (typeof from.contentEncoding === "string") to.contentEncoding = from.contentEncoding;
  if (from.deliveryMode === 1 || from.deliveryMode === 2) to.deliveryMode = from.deliveryMode;
  if (typeof from.priority === "number") to.priority = from.priority;
  if (typeof from.correlationId === "string") to.correlationId = from.correlationId;
  if (typeof from.replyTo === "string") to.replyTo = from.replyTo;
  if (typeof from.expiration === "string") to.expiration = from.expiration;
  return to;
}

function fromTable(from: MessagePropertyHeaders | undefined, depth: number): Table {
  const to: Table = Object.create(null);
  if (from === undefined || from === null) return to;
  for (const key of Object.keys(from)) to[key] = fromValue(from[key], depth);
  return to;
}

function fromValue(value: unknown, depth: number): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "[nested too deep]";
  if (Buffer.isBuffer(value)) return textOf(value);
  if (Array.isArray(value)) return value.map((each) => fromValue(each, depth + 1));
  // A table from the wire with a key "!" looks the same as amqplib's typed values: they have exactly these two.
  if (Object.hasOwn(value, "!") && Object.keys(value).length === 2) {
    const typed = fromTyped(value as { "!": unknown; value: unknown });
    if (typed !== undefined) return typed;
  }
  return fromTable(value as MessagePropertyHeaders, depth + 1);
}

function fromTyped(typed: { "!": unknown; value: unknown }): unknown {
  const { "!": type, value } = typed;
  if (type === "timestamp" && typeof value === "number") {
    const date = new Date(value * 1_000);
    return Number.isNaN(date.getTime()) ? value : date.toISOString();
  }
  if (type === "decimal" && typeof value === "object" && value !== null) {
    const { places, digits } = value as { places: number; digits: number };
    return Number(`${digits}e-${places}`);
  }
  return undefined;
}

function textOf(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return bytes.toString("base64");
  }
}

function fillTable(to: Table, names: readonly string[], from: Readonly<Table>, path: string, depth: number): void {
  for (const key of names) {
    const value = from[key];
    if (key === "__proto__") continue;
    const name = path === "" ? key : `${path}.${key}`;
    if (key === "!") throw unfit(name, 'is named "!", which cannot be told from a type mark: use another name');
    if (key.length > 85 && Buffer.byteLength(key) > 255)
      throw unfit(name, "has a name longer than 255 bytes: shorten it");
    // amqplib leaves out what is undefined.
    to[key] = value === undefined ? undefined : toValue(value, name, depth);
  }
}

function toValue(value: unknown, name: string, depth: number): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      // RabbitMQ's floats are Erlang's, which are finite: it ends the whole connection over another.
      if (!Number.isFinite(value)) throw unfit(name, `is ${value}, which AMQP cannot carry: send it as text`);
      // amqplib would write a large whole number as a 64-bit integer, and throw.
      return Number.isInteger(value) && !Number.isSafeInteger(value) ? { "!": "double", value } : value;
    case "bigint":
      if (BigInt.asIntN(64, value) !== value) throw unfit(name, "is an integer of more than 64 bits: send it as text");
      return { "!": "long", value };
    case "object":
      return value === null ? null : toObject(value, name, depth);
    default:
      throw unfit(name, `is a ${typeof value}: use text, numbers, booleans, null, lists and tables`);
  }
}

function toObject(value: object, name: string, depth: number): unknown {
  if (depth >= MAX_DEPTH) throw unfit(name.slice(0, 80), `is nested deeper than ${MAX_DEPTH}: flatten it`);
  if (Array.isArray(value)) return value.map((each, i) => toValue(each ?? null, `${name}[${i}]`, depth + 1));
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof Date) {
    const ms = value.getTime();
    if (!(ms >= 0)) throw unfit(name, "is a date that AMQP cannot carry: send it as text");
    return { "!": "timestamp", value: Math.floor(ms / 1_000) };
  }
  const table: Table = Object.create(null);
  fillTable(table, Object.keys(value), value as Table, name, depth + 1);
  return table;
}

function unfit(name: string, why: string): InvalidInputError {
  return new InvalidInputError(`header ${JSON.stringify(name)} ${why}`);
}
