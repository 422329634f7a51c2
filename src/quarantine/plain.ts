/**
 * Headers and properties as they can be kept and shown, whatever a broker client made of them: plain data, bounded, without
 * passwords. Who looks at a refused message must see what was in it, so bytes stay bytes (`{ base64 }`) and an odd value
 * becomes its text; nothing in it may make the quarantine itself fail.
 */
import { messageOf } from "../kit/errors.ts";
import { isSecretName, redactText } from "../kit/redact.ts";

export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain };

/** Of all texts and names of one table together. Celery's own headers have some 2,000. */
const MAX_CHARS = 64 * 1024;
/** Of one text. */
const MAX_TEXT = 16 * 1024;
const MAX_DEPTH = 16;
/** What a value that is no text counts as, so that a table of a million numbers is bounded too. */
const VALUE_CHARS = 8;

/** The table as plain data, in an object without a prototype. Never throws. */
export function plainTable(table: unknown): Readonly<Record<string, Plain>> {
  const value = new Copy().value(table);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, Plain>>;
  }
  return value === null ? Object.create(null) : Object.assign(Object.create(null), { "": value });
}

/** The text, well-formed and bounded. What is no text becomes its text. */
export function plainText(text: unknown, maxChars: number): string {
  const whole = (typeof text === "string" ? text : messageOf(text)).toWellFormed();
  return whole.length > maxChars ? cut(whole, maxChars) : whole;
}

class Copy {
  readonly #ancestors: object[] = [];
  #left = MAX_CHARS;

  value(value: unknown): Plain {
    this.#left -= VALUE_CHARS;
    switch (typeof value) {
      case "string":
        return this.#text(value);
      case "number":
        // JSON has no NaN.
        return Number.isFinite(value) ? value : String(value);
      case "boolean":
        return value;
      case "bigint":
        return this.#text(value < 0n ? `-${digitsOf(-value)}` : digitsOf(value));
      case "object":
        return value === null ? null : this.#guarded(value);
      case "undefined":
        return null;
      default:
        return this.#text(messageOf(value));
    }
  }

  /** A proxy or a getter of somebody's may throw. */
  #guarded(value: object): Plain {
    if (this.#ancestors.includes(value)) return "[cyclic]";
    if (this.#ancestors.length >= MAX_DEPTH) return "[nested too deep]";
    this.#ancestors.push(value);
    try {
      return this.#object(value);
    } catch (thrown) {
      return this.#text(`[cannot be read: ${messageOf(thrown)}]`);
    } finally {
      this.#ancestors.pop();
    }
  }

  #object(value: object): Plain {
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "an invalid Date" : value.toISOString();
    if (ArrayBuffer.isView(value)) return this.#bytes(value);
    if (value instanceof ArrayBuffer) return this.#bytes(new Uint8Array(value));
    if (value instanceof Error) return this.#text(messageOf(value));
    if (value instanceof Map || value instanceof Set) return this.#items([...value]);
    return Array.isArray(value) ? this.#items(value) : this.#members(value);
  }

  #bytes(view: ArrayBufferView): Plain {
    const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
    const most = Math.max(0, Math.min(MAX_TEXT, this.#left));
    const base64 = bytes.subarray(0, Math.floor((most * 3) / 4)).toString("base64");
    this.#left -= base64.length;
    const kept = Math.floor((most * 3) / 4);
    return table(
      kept < bytes.length
        ? [
            ["base64", base64],
            ["bytes", bytes.length],
          ]
        : [["base64", base64]],
    );
  }

  #items(items: readonly unknown[]): Plain {
    const out: Plain[] = [];
    // By index: an array may be sparse.
    for (let i = 0; i < items.length; i++) {
      if (this.#left <= 0) {
        out.push(`… ${items.length - i} more`);
        break;
      }
      out.push(this.value(items[i]));
    }
    return out;
  }

  #members(value: object): Plain {
    const out: [string, Plain][] = [];
    const keys = Object.keys(value);
    for (const [i, key] of keys.entries()) {
      if (this.#left <= 0) {
        out.push(["…", `${keys.length - i} more`]);
        break;
      }
      const plain = isSecretName(key) ? "**" : this.#member(value, key);
      if (plain === undefined) continue;
      const name = this.#text(key);
      // Under its own name it would be a trap for whoever copies the table into an ordinary object.
      const safe = name === "__proto__" ? "[__proto__]" : name;
      out.push([safe, plain]);
    }
    return table(out);
  }

  /** Undefined: as good as absent. */
  #member(value: object, key: string): Plain | undefined {
    try {
      const member = (value as Record<string, unknown>)[key];
      return member === undefined ? undefined : this.value(member);
    } catch (thrown) {
      return this.#text(`[cannot be read: ${messageOf(thrown)}]`);
    }
  }

  #text(text: string): string {
    const kept = plainText(redacted(text), Math.max(32, Math.min(MAX_TEXT, this.#left)));
    this.#left -= kept.length;
    return kept;
  }
}

/** Before it is cut, because half a URL cannot be redacted; what is too long to be looked at is cut between two words. */
function redacted(text: string): string {
  if (text.length <= MAX_CHARS) return redactText(text);
  let end = MAX_CHARS;
  while (end > 0 && !/\s/.test(text.charAt(end))) end -= 1;
  return `${redactText(text.slice(0, end))}… (${text.length} characters)`;
}

/** A number of 10^6 digits takes seconds to be written; no header needs it. */
function digitsOf(value: bigint): string {
  return value < 1n << 4_096n ? String(value) : "[an integer of more than 4096 bits]";
}

function cut(text: string, maxChars: number): string {
  const mark = `… (${text.length} characters)`;
  return text.slice(0, Math.max(0, maxChars - mark.length)).replace(/[\ud800-\udbff]$/, "") + mark;
}

function table(members: readonly (readonly [string, Plain])[]): Plain {
  const out: Record<string, Plain> = Object.create(null);
  for (const [name, value] of members) out[name] = value;
  return out;
}
