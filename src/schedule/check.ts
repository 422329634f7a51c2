/** What a schedule store is given, checked before it touches anything: the same refusals, in the same words, in every store. */
import { InvalidInputError } from "../kit/errors.ts";
import {
  CALLBACK_STATES,
  type Callback,
  type CallbackState,
  type Claim,
  type NewCallback,
  type RunEnd,
} from "./callback.ts";
import type { ListQuery, Owner, Target } from "./store.ts";

/** The last moment that JavaScript's Date knows, and so the last that anybody can be shown. */
export const LAST_MS = 8_640_000_000_000_000;
export const MAX_LIST = 1_000;
/** Long enough for `order:42:reminder` of anybody, short enough for an index. */
const MAX_NAME = 1_024;
const MAX_TAGS = 64;
const MAX_REASON = 2_000;

const STATES: ReadonlySet<CallbackState> = new Set(CALLBACK_STATES);

/** @throws {InvalidInputError} names the first that is wrong, and why */
export function checkNewCallbacks(callbacks: readonly NewCallback[]): void {
  for (const [i, callback] of callbacks.entries()) checkNewCallback(callback, callbacks.length === 1 ? "" : `[${i}]`);
}

function checkNewCallback(callback: NewCallback, at: string): void {
  const { key, onConflict, taskId, dueMs, expiresMs, misfire, graceMs, onLost, queue, tags, message } = callback;
  if (key !== undefined) checkName(key, `key${at}`);
  if (taskId !== undefined) checkName(taskId, `taskId${at}`);
  checkName(queue, `queue${at}`);
  checkMoment(dueMs, `dueMs${at}`);
  if (expiresMs !== undefined) checkMoment(expiresMs, `expiresMs${at}`);
  if (graceMs !== undefined) checkSpan(graceMs, `graceMs${at}`);
  checkOneOf(onConflict, ["keep", "replace", "reject"], `onConflict${at}`);
  checkOneOf(misfire, ["fire", "skip"], `misfire${at}`);
  checkOneOf(onLost, ["rerun", "fail"], `onLost${at}`);
  if (tags !== undefined) checkTags(tags, `tags${at}`);
  checkMessage(message, at);
}

function checkMessage(message: NewCallback["message"], at: string): void {
  checkName(message.task, `message.task${at}`);
  checkText(message.body, `message.body${at}`);
  if (!Number.isSafeInteger(message.retries) || message.retries < 0) {
    throw new InvalidInputError(
      `message.retries${at} must be a whole number from 0 on, not ${String(message.retries)}`,
    );
  }
}

/** @throws {InvalidInputError} */
export function checkTarget(target: Target): void {
  if ("id" in target) checkText(target.id, "id");
  else checkName(target.key, "key");
}

/** @throws {InvalidInputError} */
export function checkTaskId(taskId: string): void {
  checkName(taskId, "taskId");
}

/** @throws {InvalidInputError} */
export function checkMove(to: { readonly dueMs: number } | { readonly byMs: number }): void {
  if ("dueMs" in to) checkMoment(to.dueMs, "dueMs");
  else if (!Number.isSafeInteger(to.byMs) || Math.abs(to.byMs) > LAST_MS) {
    throw new InvalidInputError(`byMs must be a whole number of milliseconds, not ${String(to.byMs)}`);
  }
}

/** @throws {InvalidInputError} */
export function checkClaiming(owner: Owner, limit: number, leaseMs: number): void {
  checkOwner(owner);
  checkCount(limit, "limit");
  checkLease(leaseMs);
}

/** @throws {InvalidInputError} */
export function checkOwner({ id, queues }: Owner): void {
  checkName(id, "owner.id");
  for (const [i, queue] of queues?.entries() ?? []) checkName(queue, `owner.queues[${i}]`);
}

/** @throws {InvalidInputError} */
export function checkCount(count: number, what: string): void {
  if (Number.isSafeInteger(count) && count >= 0) return;
  throw new InvalidInputError(`${what} must be a whole number from 0 on, not ${String(count)}`);
}

/** @throws {InvalidInputError} */
export function checkLease(leaseMs: number): void {
  if (Number.isSafeInteger(leaseMs) && leaseMs > 0 && leaseMs <= LAST_MS / 2) return;
  throw new InvalidInputError(`leaseMs must be a whole number of milliseconds from 1 on, not ${String(leaseMs)}`);
}

/** @throws {InvalidInputError} */
export function checkEnd(end: RunEnd): void {
  if (end.kind !== "retry") return;
  checkMoment(end.dueMs, "dueMs");
  checkMessage(end.message, "");
}

/** A reason as it is kept. It is the text of whatever was thrown, and must not keep an end from being recorded. */
export function reasonOf(text: string): string {
  const short = text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}…` : text;
  return short.toWellFormed().replaceAll("\0", "\ufffd");
}

/** @throws {InvalidInputError} */
export function checkList(query: ListQuery): void {
  const { states, task, keyPrefix, tags, queue, recurrence, dueFromMs, dueBeforeMs, limit } = query;
  checkLimit(limit);
  for (const state of states ?? []) {
    if (!STATES.has(state)) {
      throw new InvalidInputError(`${JSON.stringify(state)} is no state of a callback: use ${[...STATES].join(", ")}`);
    }
  }
  for (const [name, text] of Object.entries({ task, keyPrefix, queue, recurrence })) {
    if (text !== undefined) checkText(text, name);
  }
  for (const [name, ms] of Object.entries({ dueFromMs, dueBeforeMs })) if (ms !== undefined) checkMoment(ms, name);
  if (tags !== undefined) checkTags(tags, "tags");
}

/** @throws {InvalidInputError} it is not the size of a page */
export function checkLimit(limit: number): void {
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= MAX_LIST) return;
  throw new InvalidInputError(`limit must be 1 … ${MAX_LIST}, not ${String(limit)}`);
}

/** Where a page ends: the due time and the row of its last callback. Opaque to everybody else. */
export interface Place {
  readonly dueMs: number;
  readonly row: number;
}

export function cursorOf(place: Place): string {
  return `${place.dueMs}.${place.row}`;
}

/** @throws {InvalidInputError} it is no cursor of ours */
export function placeOf(cursor: string | undefined): Place | undefined {
  if (cursor === undefined) return undefined;
  const [, due, row] = /^(-?\d{1,16})\.(\d{1,16})$/.exec(cursor) ?? [];
  if (due === undefined || row === undefined) {
    throw new InvalidInputError(`cursor ${JSON.stringify(cursor)} is none: give "next" of the page before`);
  }
  return { dueMs: Number(due), row: Number(row) };
}

/** The claims without those that stand in the list twice. */
export function distinctClaims(claims: readonly Claim[]): Claim[] {
  const seen = new Set<string>();
  return claims.filter(({ callback, token }) => {
    const name = `${callback.id} ${token}`;
    return !seen.has(name) && seen.add(name);
  });
}

/** Tags as they are kept: each once, in the order given. */
export function distinctTags(tags: readonly string[] | undefined): readonly string[] {
  return tags === undefined || tags.length === 0 ? NO_TAGS : [...new Set(tags)];
}

const NO_TAGS: Callback["tags"] = [];

function checkTags(tags: readonly string[], what: string): void {
  if (!Array.isArray(tags) || tags.length > MAX_TAGS) {
    throw new InvalidInputError(`${what} must be a list of at most ${MAX_TAGS} texts`);
  }
  for (const [i, tag] of tags.entries()) checkName(tag, `${what}[${i}]`);
}

export function checkName(value: string, what: string): void {
  checkText(value, what);
  if (value.length > 0 && value.length <= MAX_NAME) return;
  throw new InvalidInputError(`${what} must have 1 … ${MAX_NAME} characters, not ${value.length}`);
}

/**
 * Half of a surrogate pair has no UTF-8, and some SQLite bindings cut a text at its first NUL: two different texts would
 * become one.
 */
function checkText(value: string, what: string): void {
  if (typeof value !== "string") throw new InvalidInputError(`${what} must be a text, not ${typeof value}`);
  if (value.includes("\0")) throw new InvalidInputError(`${what} has a NUL character in it: remove or escape it`);
  if (!value.isWellFormed()) {
    throw new InvalidInputError(`${what} has half a surrogate pair in it (a cut emoji, say): send whole characters`);
  }
}

export function checkMoment(ms: number, what: string): void {
  if (Number.isSafeInteger(ms) && Math.abs(ms) <= LAST_MS) return;
  throw new InvalidInputError(
    `${what} must be a whole number of milliseconds since 1970 (up to the year 275760), not ${String(ms)}`,
  );
}

export function checkSpan(ms: number, what: string): void {
  if (Number.isSafeInteger(ms) && ms >= 0) return;
  throw new InvalidInputError(`${what} must be a whole number of milliseconds from 0 on, not ${String(ms)}`);
}

export function checkOneOf(value: string | undefined, allowed: readonly string[], what: string): void {
  if (value === undefined || allowed.includes(value)) return;
  throw new InvalidInputError(`${what} must be one of ${allowed.join(", ")}, not ${JSON.stringify(value)}`);
}
