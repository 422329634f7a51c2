/** A refused message as it is kept, and back: one shape for every quarantine. Whatever arrives can be kept; nothing is refused here. */
import { createHash } from "node:crypto";
import { InvalidInputError } from "../kit/errors.ts";
import { printable } from "../kit/printable.ts";
import { redactText } from "../kit/redact.ts";
import type { WireProperties } from "../protocol/message.ts";
import type { QuarantineLimits } from "./limits.ts";
import { plainTable, plainText } from "./plain.ts";
import type { NewQuarantined, Quarantined } from "./quarantine.ts";

export interface KeptRecord {
  /** JSON of all but the body. */
  readonly meta: string;
  /** As much as is kept of it. */
  readonly body: Uint8Array;
  readonly bodyBytes: number;
  /** Of the whole body, where not all of it is kept. */
  readonly sha256: string | null;
}

/** In digits: the ids of 10^12 records sort as text. */
const ID_DIGITS = 12;
const MAX_NAME_CHARS = 1_024;
const MAX_CODE_CHARS = 80;

export function keep(message: NewQuarantined, limits: QuarantineLimits): KeptRecord {
  const { task, taskId, body } = message;
  const meta = JSON.stringify({
    code: printable(message.code, MAX_CODE_CHARS),
    reason: printable(message.reason),
    queue: nameOf(message.queue),
    ...(task === undefined ? {} : { task: nameOf(task) }),
    ...(taskId === undefined ? {} : { taskId: nameOf(taskId) }),
    properties: plainTable(message.properties),
    headers: plainTable(message.headers),
  });
  const whole = body.byteLength <= limits.maxBodyBytes;
  return {
    meta,
    // A copy: a broker client may use its buffer again, and a slice would hold on to all of it.
    body: new Uint8Array(whole ? body : body.subarray(0, limits.maxBodyBytes)),
    bodyBytes: body.byteLength,
    sha256: whole ? null : sha256Of(body),
  };
}

/** The record, with what is not kept of its body said in the reason. */
export function recordOf(n: number, arrivedMs: number, { meta, body, bodyBytes, sha256 }: KeptRecord): Quarantined {
  const { code, reason, queue, task, taskId, properties, headers } = JSON.parse(meta) as NewQuarantined;
  const truncated = body.byteLength < bodyBytes;
  return {
    id: idOf(n),
    arrivedMs,
    code,
    reason: truncated ? `${reason} (${lossOf(body.byteLength, bodyBytes, sha256)})` : reason,
    queue,
    ...(task === undefined ? {} : { task }),
    ...(taskId === undefined ? {} : { taskId }),
    properties: properties as WireProperties,
    headers: Object.assign(Object.create(null), headers),
    body: new Uint8Array(body),
    truncated,
    bodyBytes,
  };
}

export function sha256Of(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}

export function idOf(n: number): string {
  return String(n).padStart(ID_DIGITS, "0");
}

/** Undefined: an id that no record of ours can have. */
export function numberOf(id: string): number | undefined {
  const n = typeof id === "string" && /^\d{12,16}$/.test(id) ? Number(id) : 0;
  return Number.isSafeInteger(n) && n > 0 && idOf(n) === id ? n : undefined;
}

/** Below which number a page begins. @throws {InvalidInputError} */
export function checkPage({ limit, before }: { readonly limit: number; readonly before?: string }): number {
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new InvalidInputError(`limit must be a whole number from 0 on, not ${String(limit)}`);
  }
  if (before === undefined) return Number.MAX_SAFE_INTEGER;
  const n = numberOf(before);
  if (n !== undefined) return n;
  throw new InvalidInputError(`before must be the id of a record, as list gives it, not ${JSON.stringify(before)}`);
}

function nameOf(text: string): string {
  return plainText(redactText(plainText(text, MAX_NAME_CHARS)), MAX_NAME_CHARS);
}

function lossOf(kept: number, all: number, sha256: string | null): string {
  const of = `of its body of ${all} bytes, sha256 ${sha256}`;
  return kept === 0 ? `nothing ${of}, is kept` : `${of}, the first ${kept} bytes are kept`;
}
