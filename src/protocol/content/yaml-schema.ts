/**
 * The plain values of PyYAML's safe loader and dumper, as tags for js-yaml: YAML 1.1 as PyYAML reads it, which is neither the specification's
 * 1.1 nor anybody's 1.2. `y` and `1e5` are texts there, `on` is a truth, `012` is ten and `1:30` is ninety. The patterns say what PyYAML's
 * resolver says; what a text is taken for there is quoted when it is written here.
 */
import type * as Yaml from "js-yaml";
import { isoFromMs } from "../../kit/iso8601.ts";
import { MAX_INTEGER_DIGITS } from "../limits.ts";
import { readTyped, TypedValue } from "../typed-value.ts";

const BOOL = /^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/;
const TRUE = /^(?:yes|true|on)$/i;
const NULL = /^(?:|~|null|Null|NULL)$/;
const INT = /^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)$/;
const FLOAT =
  /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/;
const MOMENT =
  /^(\d{4})-(\d\d?)-(\d\d?)(?:(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?(?:[ \t]*(Z|([-+])(\d\d?)(?::(\d\d))?))?)?$/;
/** A date alone has two digits each; with a time one is enough. */
const DATE = /^\d{4}-\d\d-\d\d$/;

/** Written as timestamps, which PyYAML reads as `datetime` and `date`. */
type Stamp = Date | TypedValue;

/** The schema for both ways. */
export function pySchema(yaml: typeof Yaml): Yaml.Schema {
  const { defineScalarTag, defineMappingTag, FAILSAFE_SCHEMA, NOT_RESOLVED } = yaml;
  const scalar = (
    name: string,
    resolve: (text: string, isExplicit: boolean) => unknown,
    options: Omit<Yaml.ScalarTagOptions<unknown>, "resolve">,
  ) =>
    defineScalarTag<unknown>(`tag:yaml.org,2002:${name}`, {
      implicit: true,
      ...options,
      resolve: (text, isExplicit) => {
        const value = resolve(text, isExplicit);
        return value === undefined ? NOT_RESOLVED : value;
      },
    });
  return FAILSAFE_SCHEMA.withTags(
    scalar("null", (text) => (NULL.test(text) ? null : undefined), {
      identify: (value) => value === null,
      represent: () => "null",
      implicitFirstChars: ["", "~", "n", "N"],
    }),
    scalar("bool", (text) => (BOOL.test(text) ? TRUE.test(text) : undefined), {
      identify: (value) => typeof value === "boolean",
      implicitFirstChars: [..."yYnNtTfFoO"],
    }),
    scalar("int", (text) => (INT.test(text) ? integer(text) : undefined), {
      identify: isInteger,
      implicitFirstChars: [..."-+0123456789"],
    }),
    scalar(
      "float",
      (text, isExplicit) => (FLOAT.test(text) || (isExplicit && INT.test(text)) ? float(text) : undefined),
      {
        identify: (value) => typeof value === "number" && !isInteger(value),
        represent: floatText,
        implicitFirstChars: [..."-+.0123456789"],
      },
    ),
    scalar("timestamp", moment, {
      identify: isStamp,
      represent: (stamp: Stamp) => (stamp instanceof Date ? isoFromMs(stamp.getTime()) : stamp.value),
      implicitFirstChars: [..."0123456789"],
    }),
    yaml.mergeTag,
    // A lone `=` has a tag of its own in 1.1, for which nobody has a value: it is a text.
    scalar("value", (text) => (text === "=" ? text : undefined), { identify: () => false, implicitFirstChars: ["="] }),
    yaml.binaryTag,
    // A set of Python's: JSON has only lists.
    defineMappingTag<Set<unknown>, unknown[]>("tag:yaml.org,2002:set", {
      create: () => new Set(),
      addPair: (set, key) => {
        set.add(key);
        return "";
      },
      has: (set, key) => set.has(key),
      keys: (list) => list,
      get: () => null,
      finalize: (set) => [...set],
      identify: () => false,
    }),
  );
}

function isInteger(value: unknown): boolean {
  return typeof value === "bigint" || (Number.isSafeInteger(value) && !Object.is(value, -0));
}

function integer(text: string): number | bigint {
  const digits = text.replaceAll("_", "").replace(/^[-+]/, "");
  if (digits.length > MAX_INTEGER_DIGITS) throw new RangeError(`an integer of more than ${MAX_INTEGER_DIGITS} digits`);
  const size = digits.includes(":")
    ? digits.split(":").reduce((sum, part) => sum * 60n + BigInt(part), 0n)
    : BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  const value = text.startsWith("-") ? -size : size;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function float(text: string): number {
  const digits = text.replaceAll("_", "").replace(/^[-+]/, "").toLowerCase();
  const sign = text.startsWith("-") ? -1 : 1;
  if (digits === ".inf") return sign * Number.POSITIVE_INFINITY;
  if (digits === ".nan") return Number.NaN;
  const sixties = digits.includes(":") ? digits.split(":") : [digits];
  return sign * sixties.reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** As PyYAML writes one: always with a point, for without it 1e+21 is a text. */
function floatText(value: number): string {
  if (Number.isNaN(value)) return ".nan";
  if (!Number.isFinite(value)) return value < 0 ? "-.inf" : ".inf";
  const text = Object.is(value, -0) ? "-0.0" : String(value);
  if (text.includes(".")) return text;
  return text.includes("e") ? text.replace("e", ".0e") : `${text}.0`;
}

/** What a timestamp says. */
export function isStamp(value: unknown): value is Stamp {
  if (value instanceof Date) return true;
  return (
    value instanceof TypedValue && (value.type === "datetime" || value.type === "date") && MOMENT.test(value.value)
  );
}

/** A date, a moment that says where it counts from, or one that does not, as kombu's JSON has them. */
function moment(text: string): Date | Uint8Array | TypedValue | undefined {
  const match = MOMENT.exec(text);
  if (match === null) return undefined;
  const [
    ,
    year,
    month = "",
    day = "",
    hour,
    minute,
    second,
    fraction = "",
    zone,
    sign,
    zoneHour = "",
    zoneMinute = "00",
  ] = match;
  const date = `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`;
  if (hour === undefined) return DATE.test(text) ? readTyped("date", date) : undefined;
  const micros = fraction === "" ? "" : `.${fraction.slice(0, 6).padEnd(6, "0")}`;
  const offset =
    zone === undefined ? "" : zone === "Z" ? "+00:00" : `${sign}${zoneHour.padStart(2, "0")}:${zoneMinute}`;
  return readTyped("datetime", `${date}T${hour.padStart(2, "0")}:${minute}:${second}${micros}${offset}`);
}
