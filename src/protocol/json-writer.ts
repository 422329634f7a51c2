/**
 * Values to JSON as Python reads it. Where `JSON.stringify` would silently change a value, here it is either kept
 * (BigInt, NaN, Date, bytes) or refused with its place (`args[1].customer is a function; …`). Nothing is written that
 * `decodeJson` would refuse to read: too deep, too large, a `__proto__` key.
 *
 * A number that is no exact integer is written as a float (`1e21`, `9007199254740994.0`): that is what it is in
 * JavaScript, so it comes back as the number it was. A BigInt is an integer for both sides.
 */
import { types } from "node:util";
import { messageOf } from "../kit/errors.ts";
import { isoFromMs } from "../kit/iso8601.ts";
import { DEFAULT_LIMITS, type JsonLimits, MAX_INTEGER_DIGITS } from "./limits.ts";
import { DecodeError, EncodeError, quoted } from "./refusal.ts";
import { bytesEnvelope, readTyped, TypedValue } from "./typed-value.ts";

/**
 * The JSON text of the value; "null" for undefined.
 *
 * @param name what the value is, for the message of an error: "args", "the result"
 * @throws {EncodeError} ERR_ENCODE; the message names the place and says what to do
 */
export function encodeJson(value: unknown, name = "the value", limits: JsonLimits = DEFAULT_LIMITS): string {
  const writer = new Writer(name, limits);
  try {
    return writer.text(value);
  } catch (error) {
    if (error instanceof EncodeError) throw error;
    // A getter, a proxy or a toJSON of the caller's threw.
    throw new EncodeError(`${writer.place} cannot be read: ${quoted(messageOf(error), 200)}`, { cause: error });
  }
}

class Writer {
  readonly #name: string;
  readonly #limits: JsonLimits;
  /** Where it stands now: a key or an index for each level. */
  readonly #path: (string | number)[] = [];
  readonly #ancestors: object[] = [];
  #chars = 0;
  #keys = 0;

  constructor(name: string, limits: JsonLimits) {
    this.#name = name;
    this.#limits = limits;
  }

  get place(): string {
    let place = this.#name;
    for (const step of this.#path) {
      if (typeof step === "number") place += `[${step}]`;
      else place += /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(step) ? `.${step}` : `[${quoted(step)}]`;
    }
    return place;
  }

  text(value: unknown): string {
    const text = this.#value(value) ?? "null";
    // A character of UTF-16 takes at most three bytes of UTF-8.
    if (text.length * 3 > this.#limits.maxBytes && Buffer.byteLength(text) > this.#limits.maxBytes) this.#tooLarge();
    return text;
  }

  /** Undefined for what an object leaves out. */
  #value(value: unknown): string | undefined {
    if (typeof value === "object" && value !== null) return this.#object(value);
    return this.#primitive(value);
  }

  #primitive(value: unknown): string | undefined {
    switch (typeof value) {
      case "string":
        this.#count(value.length);
        return JSON.stringify(value);
      case "number":
        return numberText(value);
      case "boolean":
        return value ? "true" : "false";
      case "undefined":
        return undefined;
      case "bigint":
        return this.#bigint(value);
      case "object":
        return "null";
      default:
        return this.#refuse(`is a ${typeof value}; JSON has none`);
    }
  }

  #bigint(value: bigint): string {
    // The bound is looked at before the text is made, which takes quadratic time.
    if (value >= BIGINT_BOUND || value <= -BIGINT_BOUND) {
      this.#refuse(
        `is an integer of more than ${MAX_INTEGER_DIGITS} digits, which Python refuses to read; send it as text`,
      );
    }
    return String(value);
  }

  #object(value: object): string | undefined {
    if (value instanceof Date) return this.#date(value);
    if (value instanceof Uint8Array) {
      this.#count(value.byteLength);
      return JSON.stringify(bytesEnvelope(value));
    }
    if (value instanceof TypedValue) return JSON.stringify(value);
    const toJSON: unknown = (value as { readonly toJSON?: unknown }).toJSON;
    if (typeof toJSON === "function") {
      const json: unknown = toJSON.call(value, String(this.#path.at(-1) ?? ""));
      // As JSON.stringify: what toJSON gave is written as it is, not asked again.
      return typeof json === "object" && json !== null ? this.#plain(json) : this.#value(json);
    }
    return this.#plain(value);
  }

  #plain(value: object): string | undefined {
    if (Array.isArray(value)) {
      this.#enter(value);
      const text = this.#array(value);
      this.#ancestors.pop();
      return text;
    }
    if (!isRecord(value)) {
      if (value instanceof Date || value instanceof Uint8Array || value instanceof TypedValue)
        return this.#object(value);
      if (types.isBoxedPrimitive(value)) return this.#value(value.valueOf());
      const remedy = unfit(value);
      if (remedy !== undefined) this.#refuse(remedy);
    }
    this.#enter(value);
    const text = this.#members(value as Record<string, unknown>);
    this.#ancestors.pop();
    return text;
  }

  #enter(value: object): void {
    if (this.#ancestors.includes(value)) this.#refuse("is cyclic: it is within itself; send the parts that are needed");
    if (this.#ancestors.length >= this.#limits.maxDepth) {
      this.#refuse(`is nested more than ${this.#limits.maxDepth} deep; send a flatter value`);
    }
    this.#ancestors.push(value);
  }

  #array(array: readonly unknown[]): string {
    const { length } = array;
    let text = "[";
    for (let index = 0; index < length; index++) {
      this.#path.push(index);
      this.#count(1);
      if (index > 0) text += ",";
      text += this.#value(array[index]) ?? "null";
      this.#path.pop();
    }
    return `${text}]`;
  }

  #members(object: Record<string, unknown>): string {
    const keys = Object.keys(object);
    if (keys.length > this.#limits.maxKeys) {
      this.#refuse(
        `has ${keys.length} keys; the limit is ${this.#limits.maxKeys}: send an array, or a reference to where it is kept`,
      );
    }
    this.#keys += keys.length;
    if (this.#keys > this.#limits.maxKeysInAll) {
      throw new EncodeError(
        `${this.#name} has more than ${this.#limits.maxKeysInAll} keys in all: send a reference to where it is kept`,
      );
    }
    let text = "{";
    for (const key of keys) {
      this.#path.push(key);
      this.#count(key.length);
      if (key.startsWith("__") || key === "constructor") this.#refuseMagic(object, keys);
      const member = this.#value(object[key]);
      if (member !== undefined) text += `${text.length > 1 ? "," : ""}${JSON.stringify(key)}:${member}`;
      this.#path.pop();
    }
    return `${text}}`;
  }

  /** What a receiver would not take for the plain object that it is. */
  #refuseMagic(object: Record<string, unknown>, keys: readonly string[]): void {
    const key = this.#path.pop();
    if (keys.includes("__proto__")) this.#refuse(`has the key "__proto__", which receivers refuse; rename it`);
    if (keys.includes("constructor")) {
      const inner = object.constructor;
      if (typeof inner === "object" && inner !== null && Object.hasOwn(inner, "prototype")) {
        this.#refuse(`has the keys "constructor" and, in it, "prototype", which receivers refuse; rename one`);
      }
    }
    if (keys.length === 2 && keys.includes("__type__") && keys.includes("__value__")) {
      try {
        readTyped(object.__type__, object.__value__);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        this.#refuse(
          `has just the keys "__type__" and "__value__", which mean a typed value to receivers, and it is none: ${error.message}`,
        );
      }
    }
    this.#path.push(key ?? "");
  }

  #date(date: Date): string {
    const ms = date.getTime();
    const year = date.getUTCFullYear();
    if (Number.isNaN(ms)) this.#refuse("is an invalid Date");
    if (year < 1 || year > 9999) this.#refuse(`is a Date of the year ${year}; Python knows the years 1 to 9999`);
    return `{"__type__":"datetime","__value__":"${isoFromMs(ms)}"}`;
  }

  #count(chars: number): void {
    this.#chars += chars;
    if (this.#chars > this.#limits.maxBytes) this.#tooLarge();
  }

  #tooLarge(): never {
    throw new EncodeError(
      `${this.#name} takes more than ${this.#limits.maxBytes} bytes as JSON: send a reference to where it is kept`,
    );
  }

  #refuse(what: string): never {
    throw new EncodeError(`${this.place} ${what}`);
  }
}

const BIGINT_BOUND = 10n ** BigInt(MAX_INTEGER_DIGITS);

/** @param isFloat true: it is one for Python also where it is whole (1.0) */
export function numberText(value: number, isFloat = false): string {
  if (!isFloat && Number.isSafeInteger(value)) return Object.is(value, -0) ? "-0.0" : String(value);
  if (Number.isNaN(value)) return "NaN";
  if (value === Number.POSITIVE_INFINITY) return "Infinity";
  if (value === Number.NEGATIVE_INFINITY) return "-Infinity";
  const text = Object.is(value, -0) ? "-0" : String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function isRecord(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Why the object is not what its own members say; undefined if it is. */
function unfit(value: object): string | undefined {
  if (value instanceof Map) return "is a Map; send Object.fromEntries(map), or [...map]";
  if (value instanceof Set) return "is a Set; send [...set]";
  if (types.isNativeError(value)) return "is an Error; send its message";
  if (types.isPromise(value)) return "is a Promise; await it first";
  if (types.isRegExp(value)) return "is a RegExp; send its source";
  if (types.isAnyArrayBuffer(value)) return "is an ArrayBuffer; send new Uint8Array(buffer)";
  if (ArrayBuffer.isView(value)) return `is a ${value.constructor.name}; send an array of numbers, or a Uint8Array`;
  if (types.isWeakMap(value) || types.isWeakSet(value)) return "is a weak collection; JSON has none";
  return undefined;
}
