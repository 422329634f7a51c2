/** The header table of a message: which headers Celery defines, and any table made plain, bounded data. */
import { isUtf8 } from "node:buffer";
import { isoFromMs } from "../kit/iso8601.ts";
import type { MessageLimits } from "./limits.ts";
import { DecodeError } from "./refusal.ts";
import { bytesEnvelope } from "./typed-value.ts";

/** Headers that a `TaskMessage` holds in fields of its own, or that describe only how it travelled. */
export const FIELD_HEADERS: ReadonlySet<string> = new Set([
  "lang",
  "task",
  "id",
  "shadow",
  "eta",
  "expires",
  "group",
  "group_index",
  "retries",
  "timelimit",
  "root_id",
  "parent_id",
  "argsrepr",
  "kwargsrepr",
  "origin",
  "ignore_result",
  "compression",
]);

/** Celery's own that travel in `TaskMessage.headers`, with what they are when the producer says nothing. */
export const CARRIED_HEADERS: readonly (readonly [string, unknown])[] = [
  ["replaced_task_nesting", 0],
  ["stamped_headers", null],
  ["stamps", {}],
];

/**
 * Headers that a broker writes while a message is under way. Sent on in a new message they would claim a past that it
 * has not had.
 */
export function isBrokerHeader(name: string): boolean {
  return /^x-(?:death|first-death-|last-death-|delivery-count|acquired-count)/.test(name);
}

type Table = Record<string, unknown>;

/**
 * The table as plain data: what JSON can hold, own properties only, `__proto__` dropped wherever it stands.
 * Bytes become text, or kombu's typed form where they are no UTF-8; integers that a number cannot hold, their digits.
 *
 * @throws {DecodeError} ERR_HEADERS past a limit; ERR_PROTO when it is no table
 */
export function plainTable(headers: unknown, limits: MessageLimits): Table {
  if (headers === undefined || headers === null) return {};
  if (typeof headers !== "object" || Array.isArray(headers)) {
    throw new DecodeError("ERR_PROTO", "the headers are not a table");
  }
  const names = Object.keys(headers);
  if (names.length > limits.maxHeaders) {
    throw new DecodeError("ERR_HEADERS", `there are ${names.length} headers; the limit is ${limits.maxHeaders}`);
  }
  return new Copy(limits).table(headers as Table, names);
}

class Copy {
  readonly #limits: MessageLimits;
  #chars = 0;
  #depth = 0;

  constructor(limits: MessageLimits) {
    this.#limits = limits;
  }

  table(from: Table, names: readonly string[]): Table {
    this.#enter();
    const to: Table = {};
    for (const name of names) {
      if (name === "__proto__") continue;
      this.#count(name.length);
      const value = this.#value(from[name]);
      if (value !== undefined) to[name] = value;
    }
    this.#depth--;
    return to;
  }

  #value(value: unknown): unknown {
    switch (typeof value) {
      case "string":
        this.#count(value.length);
        return value;
      case "number":
      case "boolean":
        return value;
      case "bigint":
        return Number.isSafeInteger(Number(value)) ? Number(value) : this.#value(String(value));
      case "object":
        return value === null ? null : this.#object(value);
      default:
        return undefined;
    }
  }

  #object(value: object): unknown {
    if (Array.isArray(value)) {
      this.#enter();
      const copy = value.map((each) => this.#value(each) ?? null);
      this.#depth--;
      return copy;
    }
    if (value instanceof Uint8Array) {
      this.#count(value.byteLength);
      return isUtf8(value) ? Buffer.from(value).toString("utf8") : bytesEnvelope(value);
    }
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : isoFromMs(value.getTime());
    return this.table(value as Table, Object.keys(value));
  }

  #enter(): void {
    this.#count(1);
    if (++this.#depth > this.#limits.maxDepth) {
      throw new DecodeError("ERR_HEADERS", `the headers are nested more than ${this.#limits.maxDepth} deep`);
    }
  }

  /** An element counts as a character, so that empty ones are bounded too. */
  #count(chars: number): void {
    this.#chars += chars + 1;
    if (this.#chars > this.#limits.maxHeaderChars) {
      throw new DecodeError(
        "ERR_HEADERS",
        `the headers have more than ${this.#limits.maxHeaderChars} characters in all`,
      );
    }
  }
}
