/**
 * Values from anywhere made fit to be shown: one line, no control, ANSI or bidirectional characters, no password, bounded
 * in size and depth whatever they are. What a producer puts into a task's name must not be able to forge a log line.
 */
import { messageOf } from "./errors.ts";
import { isSecretName, redactText } from "./redact.ts";

/** What one field may take up. */
export const MAX_FIELD_CHARS = 2_048;
/** Of a longer text only the beginning is looked at: redaction and escaping stay cheap. */
const MAX_READ_CHARS = 65_536;
const SPACE = /\s/;
const MAX_DEPTH = 4;
const MAX_ITEMS = 50;
const MAX_CAUSES = 5;

/** C0, DEL and C1 controls, line and paragraph separators, bidirectional and invisible marks, lone surrogates. */
const UNSAFE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\p{Cs}\u{e0000}-\u{e007f}]/gu;
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Plain data: what `JSON.stringify` writes as it stands. */
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain };

/** One line of at most `maxChars`, without passwords, with what could hide or move text shown as `\n` or `\u{202e}`. */
export function printable(text: string, maxChars: number = MAX_FIELD_CHARS): string {
  const read = text.length > MAX_READ_CHARS ? wholeWords(text.slice(0, MAX_READ_CHARS)) : text;
  const escaped = redactText(read).replace(UNSAFE, escapeChar);
  return escaped.length > maxChars || read.length < text.length ? cut(escaped, maxChars, text.length) : escaped;
}

/** The value as bounded plain data; texts printable, values under the names of secrets masked. Never throws. */
export function plainOf(value: unknown): Plain {
  try {
    return plain(value, 0);
  } catch {
    return "[cannot be shown]"; // a getter, a proxy or a toJSON that throws
  }
}

/** The value as one line of at most `maxChars`: a text as it is, anything else as JSON. */
export function textOf(value: unknown, maxChars: number = MAX_FIELD_CHARS): string {
  const data = plainOf(value);
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return text.length > maxChars ? cut(text, maxChars, text.length) : text;
}

/** One line for anything thrown: message, code, and the messages of its causes. No stack. */
export function errorText(thrown: unknown): string {
  const parts: string[] = [];
  const seen = new Set<unknown>();
  for (let each = thrown; each !== undefined && each !== null && !seen.has(each); each = causeOf(each)) {
    if (parts.length === MAX_CAUSES) {
      parts.push("…");
      break;
    }
    seen.add(each);
    parts.push(oneError(each));
  }
  // A wrapper often repeats what it wraps: say it once.
  const fresh = parts.filter((part, i) => i === 0 || !(parts[i - 1] ?? "").includes(part));
  return printable(fresh.length === 0 ? String(thrown) : fresh.join(", caused by: "));
}

function oneError(thrown: unknown): string {
  const code = property(thrown, "code");
  const inner = property(thrown, "errors");
  let text = messageOf(thrown);
  // What a failed connection attempt throws has no message of its own, only those of each address it tried.
  if (thrown instanceof AggregateError && thrown.message === "" && Array.isArray(inner)) {
    text = inner.slice(0, MAX_CAUSES).map(messageOf).join(", ");
  }
  return typeof code === "string" && code !== "" && !text.includes(code) ? `${text} (${code})` : text;
}

function causeOf(thrown: unknown): unknown {
  return property(thrown, "cause");
}

function property(thrown: unknown, name: "code" | "cause" | "errors"): unknown {
  try {
    return thrown instanceof Error ? (thrown as unknown as Record<string, unknown>)[name] : undefined;
  } catch {
    return undefined;
  }
}

function plain(value: unknown, depth: number): Plain {
  switch (typeof value) {
    case "string":
      return printable(value);
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "boolean":
      return value;
    case "undefined":
      return "undefined";
    case "bigint":
      return String(value);
    case "symbol":
    case "function":
      return printable(String(value), 80);
    default:
      return value === null ? null : plainObject(value as object, depth);
  }
}

function plainObject(value: object, depth: number): Plain {
  if (value instanceof Error) return errorText(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "an invalid Date" : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof URL) return printable(value.href);
  if (Array.isArray(value)) {
    if (depth >= MAX_DEPTH) return `[${value.length} items]`;
    const items = value.slice(0, MAX_ITEMS).map((item) => plain(item, depth + 1));
    return value.length > MAX_ITEMS ? [...items, `… ${value.length - MAX_ITEMS} more`] : items;
  }
  if (value instanceof Map || value instanceof Set) return plain([...value].slice(0, MAX_ITEMS + 1), depth);
  if (depth >= MAX_DEPTH) return "{…}";
  const out: Record<string, Plain> = Object.create(null);
  let left = MAX_ITEMS;
  for (const key in value) {
    if (!Object.hasOwn(value, key)) continue;
    if (left-- === 0) {
      out["…"] = "more";
      break;
    }
    const name = printable(key, 80);
    out[name] = isSecretName(key) ? "**" : plain((value as Record<string, unknown>)[key], depth + 1);
  }
  return out;
}

/** `text` without the word that the end of the text may have cut: half a URL could not be redacted. */
function wholeWords(text: string): string {
  let end = text.length;
  while (end > 0 && !SPACE.test(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

function cut(text: string, maxChars: number, length: number): string {
  const mark = `… (${length} characters)`;
  // Not between the halves of a surrogate pair.
  const kept = text.slice(0, Math.max(0, maxChars - mark.length)).replace(/[\ud800-\udbff]$/, "");
  return kept + mark;
}

function escapeChar(char: string): string {
  return SHORT[char] ?? `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
}
