/**
 * Headers and properties as JSON text, and back. What JSON has no word for becomes what it would be after a trip through
 * RabbitMQ: bytes their text, a date its ISO text, an integer past 2^53 its decimal text. What AMQP refuses is refused.
 */
import { InvalidInputError } from "../../kit/errors.ts";
import type { WireProperties } from "../../protocol/message.ts";

/** Tables deeper than this are nobody's headers. */
const MAX_DEPTH = 64;
const NAMES = [
  "contentType",
  "contentEncoding",
  "deliveryMode",
  "priority",
  "correlationId",
  "replyTo",
  "expiration",
] as const satisfies readonly (keyof WireProperties)[];
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function propertiesText(properties: WireProperties): string {
  return JSON.stringify(properties, NAMES as unknown as string[]);
}

export function propertiesOf(text: string): WireProperties {
  return JSON.parse(text);
}

/** @throws {InvalidInputError} a value that no broker carries, by name */
export function headersText(headers: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(plainTable(headers, "", 0));
}

/** An object without prototype. */
export function headersOf(text: string): Record<string, unknown> {
  return Object.setPrototypeOf(JSON.parse(text), null);
}

function plainTable(from: Readonly<Record<string, unknown>>, path: string, depth: number): Record<string, unknown> {
  const to: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(from)) {
    const value = from[key];
    if (value === undefined || key === "__proto__") continue;
    to[key] = typeof value === "string" ? value : plain(value, path === "" ? key : `${path}.${key}`, depth);
  }
  return to;
}

function plain(value: unknown, name: string, depth: number): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (!Number.isFinite(value)) throw unfit(name, `is ${value}, which no broker carries: send it as text`);
      return value;
    case "bigint":
      return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
    case "object":
      return value === null ? null : plainObject(value, name, depth);
    default:
      throw unfit(name, `is a ${typeof value}: use text, numbers, booleans, null, lists and tables`);
  }
}

function plainObject(value: object, name: string, depth: number): unknown {
  if (depth >= MAX_DEPTH) throw unfit(name.slice(0, 80), `is nested deeper than ${MAX_DEPTH}: flatten it`);
  if (Array.isArray(value)) return value.map((each, i) => plain(each ?? null, `${name}[${i}]`, depth + 1));
  if (value instanceof Uint8Array) return bytesText(value);
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw unfit(name, "is an invalid date: send it as text");
    return value.toISOString();
  }
  return plainTable(value as Readonly<Record<string, unknown>>, name, depth + 1);
}

function bytesText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return Buffer.from(bytes).toString("base64");
  }
}

function unfit(name: string, why: string): InvalidInputError {
  return new InvalidInputError(`header ${JSON.stringify(name)} ${why}`);
}
