/**
 * The poison corpus: messages that come from anywhere, one file a case in `cases/`, each with what becomes of it. README.md says
 * what a file holds.
 */
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync, gzipSync } from "node:zlib";
import type { WireMessage } from "../../src/protocol/message.ts";

export type Transport = "rabbitmq" | "redis";

export interface Expected {
  /** Code of the record in quarantine; "*": any. */
  readonly quarantined?: string;
  /** State of its result, and the class of what it failed with. */
  readonly state?: string;
  readonly excType?: string;
  /** Text of its result, as JSON of Python's dialect. */
  readonly result?: string;
  /** How often its handler began. Default: once where the state is SUCCESS. */
  readonly runs?: number;
}

/** Text, or a recipe for what is too large or no text. */
export type Part =
  | string
  | { readonly base64: string }
  | { readonly repeat: string; readonly times: number }
  /** So many keys of an object. */
  | { readonly keys: number }
  | { readonly zlib: readonly Part[]; readonly cut?: number }
  | { readonly gzip: readonly Part[] };

export interface PoisonCase {
  /** Number of FAULTS 5. */
  readonly id: string;
  readonly what: string;
  /** Default: both. */
  readonly on?: readonly Transport[];
  readonly before?: "revoke";
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly body?: readonly Part[];
  /** Item of a Redis list, in place of a message. */
  readonly raw?: readonly Part[];
  readonly expect: Expected;
  /** Why it is otherwise than one might expect. */
  readonly differs?: string;
}

/** A case made ready to send: its ids filled in. */
export interface Poison {
  readonly case: PoisonCase;
  /** Task id, as the worker sees it. */
  readonly id: string;
  readonly message: WireMessage;
  readonly raw?: Uint8Array;
}

const folder = join(import.meta.dirname, "cases");
const GOOD_BODY = '[["x"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]';

export function readCorpus(): PoisonCase[] {
  return readdirSync(folder)
    .sort()
    .map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")) as PoisonCase);
}

export function isOn(each: PoisonCase, transport: Transport): boolean {
  return each.on === undefined || each.on.includes(transport);
}

export function poisonOf(each: PoisonCase, queue: string, nowMs: number): Poison {
  const number = Math.floor(Math.random() * 2 ** 40);
  const uuid = randomUUID();
  const fill = (text: string): string =>
    text
      .replaceAll("$id", uuid)
      .replaceAll("$uuid", randomUUID())
      .replaceAll("$queue", queue)
      .replaceAll("$case", each.id)
      .replace(/^\$in (-?\d+)$/, (_, seconds: string) => new Date(nowMs + Number(seconds) * 1_000).toISOString());
  const headers = headersOf(each.headers ?? { task: "poison.echo", id: "$id" }, fill, number);
  const { contentType = "application/json", contentEncoding = "utf-8", ...others } = each.properties ?? {};
  const properties = { contentType, contentEncoding, deliveryMode: 2, ...others };
  const body = bytesOf(each.body ?? [GOOD_BODY], fill);
  const given = (headers.id ?? uuid) as unknown;
  return {
    case: each,
    id: typeof given === "string" || typeof given === "number" ? String(given) : uuid,
    message: { body, headers, properties: fillAll(properties, fill, number) as WireMessage["properties"] },
    ...(each.raw === undefined ? {} : { raw: bytesOf(each.raw, fill) }),
  };
}

type Fill = (text: string) => string;

/** `x-case` tells which one it is, wherever it comes to light; but where there are to be no headers, there are none. */
function headersOf(given: Readonly<Record<string, unknown>>, fill: Fill, number: number): Record<string, unknown> {
  const headers: Record<string, unknown> = Object.create(null);
  for (const [name, value] of Object.entries(given)) {
    if (name === "$many") for (let i = 0; i < Number(value); i += 1) headers[`h${i}`] = i;
    else headers[name] = fillAll(value, fill, number);
  }
  return headers;
}

function fillAll(value: unknown, fill: Fill, number: number): unknown {
  if (value === "$number") return number;
  if (value === null) return undefined;
  if (typeof value === "string") return fill(value);
  if (Array.isArray(value)) return value.map((each) => (each === null ? null : fillAll(each, fill, number)));
  if (typeof value !== "object") return value;
  if ("repeat" in value && "times" in value) return String(value.repeat).repeat(Number(value.times));
  const filled: Record<string, unknown> = Object.create(null);
  for (const [name, each] of Object.entries(value)) filled[name] = fillAll(each, fill, number);
  return filled;
}

function bytesOf(parts: readonly Part[], fill: Fill): Buffer {
  return Buffer.concat(parts.map((part) => partBytes(part, fill)));
}

function partBytes(part: Part, fill: Fill): Buffer {
  if (typeof part === "string") return Buffer.from(fill(part));
  if ("base64" in part) return Buffer.from(part.base64, "base64");
  if ("repeat" in part) return Buffer.from(part.repeat.repeat(part.times));
  if ("keys" in part) return Buffer.from(Array.from({ length: part.keys }, (_, i) => `"${i}":0`).join(","));
  if ("gzip" in part) return gzipSync(bytesOf(part.gzip, fill));
  const whole = deflateSync(bytesOf(part.zlib, fill));
  return part.cut === undefined ? whole : whole.subarray(0, whole.byteLength - part.cut);
}
