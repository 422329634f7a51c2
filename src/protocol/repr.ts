/**
 * Values as Python's `repr` shows them, cut to a length: what Celery writes into `argsrepr` and `kwargsrepr`, and what
 * monitors show. The same algorithm as Celery's saferepr, so that our calls look like theirs: three levels, strings in
 * single quotes with nothing but the quote escaped, `...` where something was cut. Never throws.
 */
import { isUtf8 } from "node:buffer";
import { TypedValue } from "./typed-value.ts";

const MAX_LEVELS = 3;

export function pyRepr(value: unknown, maxChars = 1_024): string {
  return represent(value, maxChars, false);
}

/** Of positional arguments, which are a tuple in Python. */
export function pyTupleRepr(values: readonly unknown[], maxChars = 1_024): string {
  return represent(values, maxChars, true);
}

function represent(value: unknown, maxChars: number, asTuple: boolean): string {
  const printer = new Printer(maxChars);
  try {
    printer.print(value, 0, asTuple);
  } catch (error) {
    // A getter or a proxy of the caller's threw. Display only: what was read is shown.
    if (error !== CUT) printer.mark("<unrepresentable>");
  }
  return printer.text();
}

/** Thrown when the length is used up: from here on only brackets are closed. */
const CUT = Symbol("cut");

class Printer {
  #parts: string[] = [];
  #left: number;
  /** Closing brackets of what is open. */
  readonly #open: string[] = [];
  readonly #seen = new Set<object>();

  constructor(maxChars: number) {
    this.#left = maxChars;
  }

  text(): string {
    return this.#parts.join("") + this.#open.toReversed().join("");
  }

  /** One token. The first that finds nothing left ends it all. */
  add(token: string): void {
    if (this.#left <= 0) {
      this.mark(", ...");
      throw CUT;
    }
    this.#parts.push(token);
    this.#left -= token.length;
  }

  /** Text that is shown whether there is room or not. */
  mark(text: string): void {
    this.#parts.push(text);
  }

  print(value: unknown, level: number, asTuple = false): void {
    const scalar = scalarRepr(value, this.#left);
    if (scalar !== undefined) {
      this.add(scalar);
    } else if (Array.isArray(value)) {
      const [open, close] = asTuple ? ["(", value.length === 1 ? ",)" : ")"] : ["[", "]"];
      this.#items(value, value, level, open, close);
    } else if (value instanceof Set) {
      this.#items(value, [...value], level, "{", "}");
    } else {
      this.#dict(value as object, level);
    }
  }

  #items(of: object, items: readonly unknown[], level: number, open: string, close: string): void {
    if (!this.#enter(of, level, open, close)) return;
    for (let index = 0; index < items.length; index++) {
      if (index > 0) this.add(", ");
      this.print(items[index], level + 1);
    }
    this.#leave(of, close);
  }

  #dict(value: object, level: number): void {
    if (!this.#enter(value, level, "{", "}")) return;
    // The value of a key is read when its turn comes: what is not shown is not asked for.
    const map = value instanceof Map ? (value as Map<unknown, unknown>) : undefined;
    const keys = map === undefined ? Object.keys(value) : [...map.keys()];
    for (let index = 0; index < keys.length; index++) {
      const key = keys[index];
      if (index > 0) this.add(", ");
      this.add(pyRepr(key, this.#left));
      this.add(": ");
      this.print(map === undefined ? (value as Record<string, unknown>)[key as string] : map.get(key), level + 1);
    }
    this.#leave(value, "}");
  }

  #enter(value: object, level: number, open: string, close: string): boolean {
    if (level >= MAX_LEVELS) {
      this.add(`${open}...${close}`);
      return false;
    }
    if (this.#seen.has(value)) {
      this.add(`<Recursion on ${open === "{" ? "dict" : "list"}>`);
      return false;
    }
    this.#seen.add(value);
    // First what closes it: saferepr closes also the bracket that no longer found room.
    this.#open.push(close);
    this.add(open);
    return true;
  }

  #leave(value: object, close: string): void {
    // A closing one that finds no room is lost, as in saferepr.
    this.#open.pop();
    this.add(close);
    this.#seen.delete(value);
  }
}

/** The token of what has no members; undefined for containers. */
function scalarRepr(value: unknown, maxChars: number): string | undefined {
  switch (typeof value) {
    case "string":
      return `'${truncate(value, maxChars).replaceAll("'", "\\'")}'`;
    case "number":
      return truncate(numberRepr(value), maxChars);
    case "bigint":
      return truncate(bigintRepr(value), maxChars);
    case "boolean":
      return value ? "True" : "False";
    case "undefined":
      return "None";
    case "object":
      if (value === null) return "None";
      if (value instanceof Date) return truncate(dateRepr(value), maxChars);
      if (value instanceof Uint8Array) return bytesRepr(value, maxChars);
      if (value instanceof TypedValue) return truncate(typedRepr(value), maxChars);
      return value instanceof Set && value.size === 0 ? "set()" : undefined;
    default:
      return `<${typeof value}>`;
  }
}

/** As celery.utils.text.truncate: at a space, if there is one. */
function truncate(text: string, maxChars: number): string {
  if (maxChars <= 0 || text.length < maxChars) return text;
  const kept = text.slice(0, maxChars).replace(/[\ud800-\udbff]$/, "");
  const space = kept.lastIndexOf(" ");
  return `${space < 0 ? kept : kept.slice(0, space)}...`;
}

/** As Python reads the number from the JSON that we write: no point and no exponent is an int. */
function numberRepr(value: number): string {
  if (Number.isSafeInteger(value)) return Object.is(value, -0) ? "-0.0" : String(value);
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const [mantissa = "", exponentText = "0"] = value.toExponential().split("e");
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  const digits = mantissa.replace(/[-.]/g, "");
  const sign = value < 0 ? "-" : "";
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}

/** A very long one takes quadratic time to print, and nobody reads it. */
function bigintRepr(value: bigint): string {
  const bound = 10n ** 1_100n;
  return value < bound && value > -bound ? String(value) : "<int of more than 1100 digits>";
}

function bytesRepr(bytes: Uint8Array, maxChars: number): string {
  const cut = maxChars > 0 && bytes.byteLength > maxChars;
  const shown = Buffer.from(cut ? bytes.subarray(0, maxChars) : bytes);
  return `b'${isUtf8(shown) ? shown.toString("utf8") : shown.toString("hex")}${cut ? "..." : ""}'`;
}

function dateRepr(date: Date): string {
  if (Number.isNaN(date.getTime())) return "<invalid Date>";
  const ms = date.getUTCMilliseconds();
  const parts = [
    date.getUTCFullYear(),
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
  ];
  return `datetime.datetime(${[...parts, ...tail(date.getUTCSeconds(), ms * 1_000)].join(", ")}, tzinfo=datetime.timezone.utc)`;
}

/** Python leaves seconds and microseconds away where they are zero. */
function tail(second: number, microsecond: number): number[] {
  if (microsecond > 0) return [second, microsecond];
  return second > 0 ? [second] : [];
}

const MOMENT = /^(?:(\d{4})-(\d\d)-(\d\d))?(?:[T ]?(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?(Z|[+-]\d\d:\d\d)?$/;

function typedRepr({ type, value }: TypedValue): string {
  if (type === "decimal") return `Decimal('${value}')`;
  if (type === "uuid") return `UUID('${value}')`;
  const match = MOMENT.exec(value);
  if (match === null) return `datetime.${type}.fromisoformat('${value}')`;
  const [, year, month, day, hour, minute, second = "0", fraction = "0", offset] = match;
  const days = year === undefined ? [] : [Number(year), Number(month), Number(day)];
  const times =
    type === "date"
      ? []
      : [Number(hour ?? 0), Number(minute ?? 0), ...tail(Number(second), Number(fraction.padEnd(6, "0")))];
  return `datetime.${type}(${[...days, ...times, ...zone(offset)].join(", ")})`;
}

function zone(offset: string | undefined): string[] {
  if (offset === undefined) return [];
  const seconds = offset === "Z" ? 0 : (Number(offset.slice(1, 3)) * 60 + Number(offset.slice(4))) * 60;
  if (seconds === 0) return ["tzinfo=datetime.timezone.utc"];
  const delta = offset.startsWith("-") ? `days=-1, seconds=${86_400 - seconds}` : `seconds=${seconds}`;
  return [`tzinfo=datetime.timezone(datetime.timedelta(${delta}))`];
}
