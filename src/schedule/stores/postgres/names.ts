/**
 * Names as the schedule in PostgreSQL writes them: ids, texts that stand in an index, and the schema's own.
 *
 * An id carries the row's integer, so that finding it costs no index of its own, and 47 random bits: a schema that was made anew does not
 * answer for the callbacks of the old one, and nobody guesses an id.
 */
import { createHash, randomFillSync } from "node:crypto";
import { callbackId, recurrenceId, withoutPrefix } from "../../ids.ts";

/** An entry of a B-tree has room for 2,704 bytes, and a key of 1,024 characters may have 3,072: what is longer is cut. */
const MAX_INDEXED_BYTES = 1_000;
const CUT = 128;
/** Between the beginning and the hash. A text that has it is cut too, however short: so no two texts have one indexed form. */
const MARK = "\u0001";

/** The text as it stands in an index: itself; or its beginning and a hash of it, so that two that differ do so here. */
export function indexed(text: string): string {
  const fits = text.length <= MAX_INDEXED_BYTES / 3 || Buffer.byteLength(text) <= MAX_INDEXED_BYTES;
  if (fits && !text.includes(MARK)) return text;
  return `${beginningOf(text)}${MARK}${createHash("sha256").update(text).digest("base64url")}`;
}

/** What of a prefix every text that begins so has in common with its indexed form. */
export function beginningOf(text: string): string {
  const beginning = text.slice(0, CUT);
  // Not in the middle of a character.
  return beginning.isWellFormed() ? beginning : beginning.slice(0, -1);
}

export function idOf(n: number, salt: number): string {
  return callbackId(n, salt.toString(36));
}

export function recurrenceIdOf(n: number, salt: number): string {
  return recurrenceId(n, salt.toString(36));
}

/** Undefined: no id of ours. */
export function parseId(id: string): readonly [n: number, salt: number] | undefined {
  const [, n, salt] = /^([0-9a-z]{1,11})-([0-9a-z]{1,10})$/.exec(id) ?? [];
  if (n === undefined || salt === undefined) return undefined;
  const parsed = [Number.parseInt(n, 36), Number.parseInt(salt, 36)] as const;
  // Only the one spelling: "01-2" is nobody's id.
  if (!Number.isSafeInteger(parsed[0]) || !Number.isSafeInteger(parsed[1]) || idOf(...parsed) !== id) return undefined;
  return parsed;
}

/** Undefined: no id of a recurrence of ours. */
export function parseRecurrenceId(id: string): readonly [n: number, salt: number] | undefined {
  const rest = withoutPrefix(id);
  return rest === undefined ? undefined : parseId(rest);
}

const pool = new Uint32Array(1_024);
let left = 0;

/** 47 random bits, drawn from the system in large portions. */
export function newSalt(): number {
  if (left === 0) {
    randomFillSync(pool);
    left = pool.length;
  }
  left -= 2;
  return ((pool[left + 1] as number) & 0x7fff) * 2 ** 32 + (pool[left] as number);
}

/** As PostgreSQL writes a name that may be any text. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text as it stands between the quotes of a literal. */
export function inLiteral(text: string): string {
  return text.replaceAll("'", "''");
}

/** Hints go to the channel of this name and the namespace's number: channels are the database's, and 63 bytes long. */
export function channelOf(schema: string): string {
  return `lovage_${createHash("sha256").update(schema).digest("hex").slice(0, 16)}_`;
}
