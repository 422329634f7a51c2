/**
 * JSON as Python and kombu write it: the reader, and the door to the writer.
 *
 * What differs from `JSON.parse`: `NaN` and `Infinity` are numbers; an integer that a number cannot hold exactly is a
 * BigInt; `{"__type__", "__value__"}` is a typed value; a key that could reach a prototype, a text too large or too
 * deep is refused; errors say what is wrong and where. Most texts need none of that, so a scan that builds nothing
 * looks first, applies the limits, and hands such a text to `JSON.parse`: together half the time of the reader below
 * (1.1 against 2.3 µs for a task's body, 11 against 24 ms for 1.3 MB of records; bench/protocol.ts).
 */
import { DEFAULT_LIMITS, type JsonLimits, MAX_INTEGER_DIGITS } from "./limits.ts";
import { DecodeError, quoted } from "./refusal.ts";
import { readTyped } from "./typed-value.ts";

export { encodeJson, numberText } from "./json-writer.ts";
export { TypedValue } from "./typed-value.ts";

/**
 * The value that the text says. Objects are plain and hold own properties only; of two equal keys the last wins.
 *
 * @throws {DecodeError} ERR_DECODE, ERR_TYPED_VALUE, ERR_PROTO_KEY, ERR_SIZE, ERR_DEPTH
 */
export function decodeJson(text: string, limits: JsonLimits = DEFAULT_LIMITS): unknown {
  if (isStandard(text, limits)) {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      // Not JSON: the reader below finds the same, and says where.
    }
  }
  return new Reader(text, limits).document();
}

/**
 * The raw text of each member of the object that the text holds; of two equal keys the last. `text` must be valid
 * JSON (`decodeJson` has read it). What is cut out so is passed on as it was written: 1.0 stays a float for Python.
 */
export function jsonMembers(text: string): Map<string, string> {
  const members = new Map<string, string>();
  let at = skipSpace(text, text.indexOf("{") + 1);
  while (text.charCodeAt(at) === QUOTE) {
    const keyEnd = endOfString(text, at);
    const key = JSON.parse(text.slice(at, keyEnd)) as string;
    const start = skipSpace(text, text.indexOf(":", keyEnd) + 1);
    const end = endOfValue(text, start);
    members.set(key, text.slice(start, end).trimEnd());
    at = skipSpace(text, end);
    if (text.charCodeAt(at) !== COMMA) break;
    at = skipSpace(text, at + 1);
  }
  return members;
}

/** The raw text of each element of the array that the text holds; `text` must be valid JSON, as above. */
export function jsonElements(text: string): string[] {
  const elements: string[] = [];
  let at = skipSpace(text, text.indexOf("[") + 1);
  while (at < text.length && text.charCodeAt(at) !== CLOSE_BRACKET) {
    const end = endOfValue(text, at);
    elements.push(text.slice(at, end).trimEnd());
    at = skipSpace(text, end);
    if (text.charCodeAt(at) !== COMMA) break;
    at = skipSpace(text, at + 1);
  }
  return elements;
}

/** An object of JSON, and not one that a typed value became. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const POINT = 0x2e;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Digits that a number may have before it must be asked whether it is still exact. */
const EXACT_DIGITS = 15;

/** Names that the reader must see, or an escape that could spell one. Python escapes no ASCII letter. */
const SUSPECT = /__type__|__proto__|constructor|\\u00[2-7]/;

/** True if `JSON.parse` reads the text as we would. Applies the limits on the way. */
function isStandard(text: string, limits: JsonLimits): boolean {
  if (text.length > limits.maxBytes) {
    throw new DecodeError("ERR_SIZE", `the JSON text has ${text.length} characters; the limit is ${limits.maxBytes}`);
  }
  const keysAt: number[] = [0];
  const length = text.length;
  let depth = 0;
  let keys = 0;
  let digits = 0;
  let standard = true;
  for (let at = 0; at < length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x30 && unit <= 0x39) {
      if (++digits > EXACT_DIGITS) standard = false;
      continue;
    }
    digits = 0;
    switch (unit) {
      case QUOTE:
        at++;
        for (let inner = text.charCodeAt(at); inner !== QUOTE && at < length; inner = text.charCodeAt(++at)) {
          if (inner === BACKSLASH) at++;
        }
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++depth > limits.maxDepth) {
          throw tooDeep(limits.maxDepth, at);
        }
        keysAt[depth] = 0;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        if (--depth < 0) return false;
        break;
      case COLON: {
        const inObject = (keysAt[depth] ?? 0) + 1;
        keysAt[depth] = inObject;
        if (inObject > limits.maxKeys) {
          throw new DecodeError("ERR_SIZE", `an object of the JSON text has more than ${limits.maxKeys} keys`);
        }
        if (++keys > limits.maxKeysInAll) {
          throw new DecodeError("ERR_SIZE", `the JSON text has more than ${limits.maxKeysInAll} keys in all`);
        }
        break;
      }
      case POINT: // What follows is a fraction, however long.
        digits = Number.MIN_SAFE_INTEGER;
        break;
      case 0x49: // Infinity
      case 0x4e: // NaN
        standard = false;
        break;
    }
  }
  return standard && !SUSPECT.test(text);
}

/** Recursive descent; the scan has bounded its depth. */
class Reader {
  readonly #text: string;
  readonly #maxDepth: number;
  #at = 0;
  #depth = 0;

  constructor(text: string, limits: JsonLimits) {
    this.#text = text;
    this.#maxDepth = limits.maxDepth;
  }

  document(): unknown {
    this.#at = skipSpace(this.#text, 0);
    const value = this.#value();
    this.#at = skipSpace(this.#text, this.#at);
    if (this.#at < this.#text.length) this.#fail("the end of the text was expected");
    return value;
  }

  #value(): unknown {
    switch (this.#text.charCodeAt(this.#at)) {
      case QUOTE:
        return this.#string();
      case OPEN_BRACE:
        return this.#object();
      case OPEN_BRACKET:
        return this.#array();
      case 0x74:
        return this.#word("true", true);
      case 0x66:
        return this.#word("false", false);
      case 0x6e:
        return this.#word("null", null);
      case 0x4e:
        return this.#word("NaN", Number.NaN);
      case 0x49:
        return this.#word("Infinity", Number.POSITIVE_INFINITY);
      default:
        return this.#number();
    }
  }

  /** Passes the bracket. The scan has counted them, but in a text that is no JSON it may have taken others for them. */
  #enter(): void {
    if (++this.#depth > this.#maxDepth) throw tooDeep(this.#maxDepth, this.#at);
    this.#at = skipSpace(this.#text, this.#at + 1);
  }

  #array(): unknown[] {
    const array: unknown[] = [];
    this.#enter();
    if (!this.#take(CLOSE_BRACKET)) {
      do array.push(this.#value());
      while (this.#next(CLOSE_BRACKET, `"," or "]"`));
    }
    this.#depth--;
    return array;
  }

  #object(): unknown {
    const object: Record<string, unknown> = {};
    this.#enter();
    if (!this.#take(CLOSE_BRACE)) {
      do {
        if (this.#text.charCodeAt(this.#at) !== QUOTE) this.#fail("a key in double quotes was expected");
        const key = this.#string();
        this.#at = skipSpace(this.#text, this.#at);
        if (!this.#take(COLON)) this.#fail(`":" was expected`);
        const value = this.#value();
        refuseProtoKey(key, value);
        object[key] = value;
      } while (this.#next(CLOSE_BRACE, `"," or "}"`));
    }
    this.#depth--;
    if (!Object.hasOwn(object, "__type__") || !Object.hasOwn(object, "__value__")) return object;
    return Object.keys(object).length === 2 ? readTyped(object.__type__, object.__value__) : object;
  }

  /** After an element: true if another follows, false if the bracket closed. */
  #next(close: number, expected: string): boolean {
    this.#at = skipSpace(this.#text, this.#at);
    if (this.#take(COMMA)) return true;
    if (this.#text.charCodeAt(this.#at) !== close) this.#fail(`${expected} was expected`);
    this.#at++;
    return false;
  }

  /** Passes the unit, and space after it, if it stands here. */
  #take(unit: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== unit) return false;
    this.#at++;
    if (unit === COMMA || unit === COLON) this.#at = skipSpace(this.#text, this.#at);
    return true;
  }

  #string(): string {
    const end = endOfString(this.#text, this.#at);
    if (end < 0) this.#fail("a string is not ended");
    try {
      // Native: escapes and control characters are judged, and lone surrogates kept, as JSON.parse does it.
      const value = JSON.parse(this.#text.slice(this.#at, end)) as string;
      this.#at = end;
      return value;
    } catch (error) {
      throw new DecodeError(
        "ERR_DECODE",
        `not JSON: a string with a bad escape or a control character at ${this.#place()}`,
        {
          cause: error,
        },
      );
    }
  }

  #number(): number | bigint {
    if (this.#text.startsWith("-Infinity", this.#at)) return this.#word("-Infinity", Number.NEGATIVE_INFINITY);
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) this.#fail("a value was expected");
    const [token, fraction] = match as unknown as [string, string | undefined];
    const value = Number(token);
    if (fraction !== undefined || Number.isSafeInteger(value)) {
      this.#at += token.length;
      return value;
    }
    if (token.length > MAX_INTEGER_DIGITS) {
      throw new DecodeError(
        "ERR_SIZE",
        `an integer of more than ${MAX_INTEGER_DIGITS} digits at ${this.#place()}; Python refuses it too`,
      );
    }
    this.#at += token.length;
    return BigInt(token);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail("a value was expected");
    this.#at += word.length;
    return value;
  }

  #fail(expected: string): never {
    throw new DecodeError("ERR_DECODE", `not JSON: ${expected} at ${this.#place()}`);
  }

  #place(): string {
    const text = this.#text;
    if (this.#at >= text.length) return `the end (character ${text.length + 1})`;
    return `character ${this.#at + 1}, before ${quoted(text.slice(this.#at, this.#at + 20))}`;
  }
}

/** The second part is what an integer has not. */
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)?/y;

/** `__proto__` is a setter of every object; `constructor.prototype` is the way around it. Neither is any task's argument. */
function refuseProtoKey(key: string, value: unknown): void {
  if (key === "__proto__") throw new DecodeError("ERR_PROTO_KEY", `an object has the key "__proto__"`);
  if (key === "constructor" && typeof value === "object" && value !== null && Object.hasOwn(value, "prototype")) {
    throw new DecodeError("ERR_PROTO_KEY", `an object has the keys "constructor" and, in it, "prototype"`);
  }
}

function tooDeep(maxDepth: number, at: number): DecodeError {
  return new DecodeError("ERR_DEPTH", `the JSON text is nested more than ${maxDepth} deep at character ${at + 1}`);
}

function skipSpace(text: string, from: number): number {
  let at = from;
  for (;;) {
    const unit = text.charCodeAt(at);
    if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return at;
    at++;
  }
}

/** Where the string that opens at `from` is over; -1 if nowhere. */
function endOfString(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === BACKSLASH) at++;
    else if (unit === QUOTE) return at + 1;
  }
  return -1;
}

/** Where the value that begins at `from` is over, in valid JSON. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at) - 1;
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        depth++;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        if (depth === 0) return at;
        if (--depth === 0) return at + 1;
        break;
      case COMMA:
        if (depth === 0) return at;
        break;
    }
  }
  return text.length;
}
