/**
 * Headers as a broker of ours keeps them: the values that AMQP carries go in, and the plain data come out that the RabbitMQ
 * broker gives. So a program that was written against one broker meets nothing new on the next.
 */
import { InvalidInputError } from "../kit/errors.ts";

/** Tables deeper than this are nobody's headers. */
const MAX_DEPTH = 64;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A copy of its own, without prototypes. Bytes become their text (base64 where they are no UTF-8), a date its ISO text, an
 * integer past 2^53 its decimal text. A header named `__proto__` means nothing, and is left out.
 *
 * @throws {InvalidInputError} a header that no broker carries, by name
 */
export function plainHeaders(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return plainTable(headers, "", 0);
}

function plainTable(from: Readonly<Record<string, unknown>>, path: string, depth: number): Record<string, unknown> {
  const to: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(from)) {
    const value = from[key];
    if (value === undefined || key === "__proto__") continue;
    to[key] = plain(value, path === "" ? key : `${path}.${key}`, depth);
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
      if (BigInt.asIntN(64, value) !== value) throw unfit(name, "is an integer of more than 64 bits: send it as text");
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
  if (value instanceof Uint8Array) return textOf(value);
  if (value instanceof Date) {
    if (!(value.getTime() >= 0)) throw unfit(name, "is a date that no broker carries: send it as text");
    return value.toISOString();
  }
  return plainTable(value as Readonly<Record<string, unknown>>, name, depth + 1);
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return Buffer.from(bytes).toString("base64");
  }
}

function unfit(name: string, why: string): InvalidInputError {
  return new InvalidInputError(`header ${JSON.stringify(name)} ${why}`);
}
