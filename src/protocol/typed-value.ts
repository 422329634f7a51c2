/**
 * kombu's typed values: `{"__type__": "uuid", "__value__": {"hex": ...}}` and its kin, both ways.
 *
 * What JavaScript has a value for becomes that value: bytes a `Uint8Array`, a moment a `Date` where a Date holds all
 * of it. The rest stays a `TypedValue`, which is written back as Python wrote it. An unknown type is refused, as kombu
 * refuses it, and not passed on as an object: a task would get a shape that no Python worker ever gives it, and the
 * message, which quarantine keeps, can run once the type is known. (Python code does add types: kombu.register_type.)
 */
import { isUtf8 } from "node:buffer";
import { InvalidInputError } from "../kit/errors.ts";
import { parseIso8601 } from "../kit/iso8601.ts";
import { DecodeError, quoted } from "./refusal.ts";

export type TypedName = "datetime" | "date" | "time" | "decimal" | "uuid";

/**
 * A Python value that JavaScript has no type for. `value` is its text: ISO 8601 for the three of time, a decimal
 * number, a UUID in its 36 character form.
 */
export class TypedValue {
  readonly type: TypedName;
  readonly value: string;

  /** @throws {InvalidInputError} the text is not a value of that type */
  constructor(type: TypedName, value: string) {
    if (!Object.hasOwn(SHAPES, type) || typeof value !== "string" || !SHAPES[type](value)) {
      throw new InvalidInputError(`${quoted(value)} is not a value of the type ${quoted(type)}`);
    }
    this.type = type;
    this.value = type === "uuid" ? canonicalUuid(value) : value;
  }

  /** As kombu writes it, so that plain `JSON.stringify` is right as well. */
  toJSON(): { readonly __type__: TypedName; readonly __value__: unknown } {
    const value = this.type === "uuid" ? { hex: this.value.replaceAll("-", "") } : this.value;
    return { __type__: this.type, __value__: value };
  }

  toString(): string {
    return this.value;
  }
}

/** The value of an object whose keys are exactly `__type__` and `__value__`. @throws {DecodeError} ERR_TYPED_VALUE */
export function readTyped(type: unknown, value: unknown): Date | Uint8Array | TypedValue {
  switch (type) {
    case "datetime": {
      const text = textOf(type, value);
      return exactDate(text) ?? typed(type, text);
    }
    case "date":
    case "time":
    case "decimal":
      return typed(type, textOf(type, value));
    case "uuid":
      return typed(type, hexOf(value));
    case "bytes":
      return bytesOf(textOf(type, value));
    case "base64":
      return base64Of(textOf(type, value));
    default:
      throw new DecodeError("ERR_TYPED_VALUE", `${quoted(type)} is not a "__type__" that is known here`);
  }
}

/** The bytes as kombu writes them: as text where they are UTF-8. */
export function bytesEnvelope(bytes: Uint8Array): {
  readonly __type__: "bytes" | "base64";
  readonly __value__: string;
} {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(bytes)
    ? { __type__: "bytes", __value__: buffer.toString("utf8") }
    : { __type__: "base64", __value__: buffer.toString("base64") };
}

function typed(type: TypedName, text: string): TypedValue {
  try {
    return new TypedValue(type, text);
  } catch (error) {
    throw new DecodeError("ERR_TYPED_VALUE", `the typed value ${quoted(text)} is not a ${type}`, { cause: error });
  }
}

function textOf(type: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw new DecodeError(
    "ERR_TYPED_VALUE",
    `the typed value of type ${type} is ${quoted(value)}; a string was expected`,
  );
}

/** Releases of kombu before 5.3.2 wrote the version beside the digits. */
function hexOf(value: unknown): string {
  if (
    typeof value === "object" &&
    value !== null &&
    Object.keys(value).every((key) => key === "hex" || key === "version")
  ) {
    const { hex } = value as { readonly hex?: unknown };
    if (typeof hex === "string") return hex;
  }
  throw new DecodeError("ERR_TYPED_VALUE", `the typed value of type uuid is ${quoted(value)}; {"hex": …} was expected`);
}

function bytesOf(text: string): Uint8Array {
  if (!text.isWellFormed()) {
    throw new DecodeError("ERR_TYPED_VALUE", "a typed value of type bytes holds a lone surrogate, which has no UTF-8");
  }
  return new Uint8Array(Buffer.from(text, "utf8"));
}

function base64Of(text: string): Uint8Array {
  // Buffer passes over whatever is no base64: only what it writes back equal was read whole.
  const buffer = Buffer.from(text, "base64");
  if (text.length % 4 !== 0 || buffer.toString("base64") !== text) {
    throw new DecodeError("ERR_TYPED_VALUE", `the typed value ${quoted(text)} is not base64`);
  }
  return new Uint8Array(buffer);
}

/** The moment, if a Date can hold all of it but its zone: it carries an offset, and nothing below the millisecond. */
function exactDate(text: string): Date | undefined {
  const parsed = parseIso8601(text);
  if ("problem" in parsed || !parsed.hasOffset || BELOW_MS.test(text)) return undefined;
  const date = new Date(parsed.ms);
  // Near the ends of Python's calendar the moment in UTC is outside it, and could not be written back.
  return date.getUTCFullYear() >= 1 && date.getUTCFullYear() <= 9999 ? date : undefined;
}

const BELOW_MS = /[.,]\d{3}\d*[1-9]/;
/** Python has offsets of seconds: local mean time, before the railways. */
const OFFSET_SECONDS = /([+-]\d\d:\d\d):[0-5]\d(?:\.\d+)?$/;
const DAY = /^\d{4}(?:-\d\d-\d\d|\d{4})$/;
const DECIMAL = /^[+-]?(?:(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|s?nan[0-9]*)$/i;
const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

const SHAPES: Record<TypedName, (text: string) => boolean> = {
  datetime: isMoment,
  date: (text) => DAY.test(text) && isMoment(text),
  time: (text) => isMoment(`2000-01-01T${text}`),
  decimal: (text) => DECIMAL.test(text),
  uuid: (text) => UUID.test(text),
};

function isMoment(text: string): boolean {
  return !("problem" in parseIso8601(text.replace(OFFSET_SECONDS, "$1")));
}

function canonicalUuid(text: string): string {
  const hex = text.toLowerCase().replaceAll("-", "");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
