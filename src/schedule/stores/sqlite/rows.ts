/**
 * A callback as a row, and back. Used on both sides of the file's thread: rows travel as arrays of plain values, and become
 * callbacks where they are wanted.
 *
 * The id carries the row's integer, so finding it costs no index of its own, and 47 random bits: a file that was made anew
 * does not answer for the callbacks of the old one, and nobody guesses an id.
 */
import type { Db } from "../../../sqlite/tables.ts";
import {
  CALLBACK_STATES,
  type Callback,
  type CallbackState,
  type NewCallback,
  type Occurrence,
  type Overlap,
  type ParkedMessage,
} from "../../callback.ts";
import { distinctTags } from "../../check.ts";
import { callbackId } from "../../ids.ts";
import type { DueRow } from "../../rules.ts";

/** In the file a state is its number here. */
export const STATE_NAMES = CALLBACK_STATES;

export const SCHEDULED = 0;
export const WAITING = 1;
export const RUNNING = 2;
/** Ended, from here on. */
export const FIRST_END = 3;

const STATE_NUMBERS = new Map<CallbackState, number>(STATE_NAMES.map((name, number) => [name, number]));

export function stateNumber(state: CallbackState): number {
  return STATE_NUMBERS.get(state) as number; // the map has them all
}

export function stateName(number: number): CallbackState {
  return STATE_NAMES[number] as CallbackState;
}

/** Bits of `flags`. */
export const FLAG_SKIP = 1;
export const FLAG_FAIL_WHEN_LOST = 2;
export const FLAG_OVERLAP_SKIP = 4;
export const FLAG_OVERLAP_QUEUE = 8;
/** It is an occurrence that waits until an earlier one has ended. */
export const FLAG_HELD = 16;

/** Values of `abort`. */
export const ABORT_REQUESTED = 1;
export const ABORT_TAKEN = 2;
/** Its recurrence was cancelled: nobody asks it to stop, but it does not run again. */
export const ABORT_UNWANTED = 3;

/** A body longer than this lives in a table of its own, so that claiming and settling do not write it again. */
export const INLINE_BODY = 2_048;

/** What is read of a row, in this order. `body` comes from where it lives. */
export const COLUMNS = [
  "n",
  "salt",
  "state",
  "due",
  "token",
  "attempts",
  "flags",
  "grace",
  "expires",
  "created",
  "claimed",
  "lease",
  "ended",
  "key",
  "task_id",
  "queue",
  "tags",
  "reason",
  "task",
  "retries",
  "more",
  "coalesce(body, (SELECT bodies.body FROM bodies WHERE bodies.n = callbacks.n))",
  // One value, and null for nearly all: claims carry wide rows across the threads.
  "recurrence || ' ' || generation || ' ' || nominal",
].join(", ");

export type RowTuple = readonly [
  n: number,
  salt: number,
  state: number,
  due: number,
  token: number,
  attempts: number,
  flags: number,
  grace: number,
  expires: number | null,
  created: number,
  claimed: number | null,
  lease: number | null,
  ended: number | null,
  key: string | null,
  taskId: string | null,
  queue: string,
  tags: string | null,
  reason: string | null,
  task: string,
  retries: number,
  more: string | null,
  body: string,
  occurrence: string | null,
];

/** A callback on its way in. */
export type PutTuple = readonly [
  salt: number,
  due: number,
  flags: number,
  grace: number,
  expires: number | null,
  key: string | null,
  conflict: "keep" | "replace" | "reject",
  taskId: string | null,
  queue: string,
  tags: string | null,
  task: string,
  retries: number,
  more: string | null,
  body: string,
];

/** Which row: by its integer and salt, or by its key. */
export type TargetTuple = readonly [n: number, salt: number] | readonly [key: string];

export function idOf(n: number, salt: number): string {
  return callbackId(n, salt.toString(36));
}

/** Undefined: no id of ours. */
export function parseId(id: string): readonly [n: number, salt: number] | undefined {
  const [, n, salt] = /^([0-9a-z]{1,10})-([0-9a-z]{1,10})$/.exec(id) ?? [];
  if (n === undefined || salt === undefined) return undefined;
  const parsed = [Number.parseInt(n, 36), Number.parseInt(salt, 36)] as const;
  // Only the one spelling: " 1-2" or "01-2" is nobody's id.
  return Number.isSafeInteger(parsed[0]) && Number.isSafeInteger(parsed[1]) && idOf(...parsed) === id
    ? parsed
    : undefined;
}

/** The row as it stands. */
export function rowOf(db: Db, n: number): RowTuple {
  return db.rows(`SELECT ${COLUMNS} FROM callbacks WHERE n = ?`).get(n) as unknown as RowTuple;
}

export function callbackOf(row: RowTuple): Callback {
  const id = idOf(row[0], row[1]);
  const state = stateName(row[2]);
  return {
    id,
    ...(row[13] === null ? {} : { key: row[13] }),
    taskId: row[14] ?? id,
    state,
    dueMs: row[3],
    ...(row[8] === null ? {} : { expiresMs: row[8] }),
    misfire: (row[6] & FLAG_SKIP) === 0 ? "fire" : "skip",
    graceMs: row[7],
    onLost: (row[6] & FLAG_FAIL_WHEN_LOST) === 0 ? "rerun" : "fail",
    queue: row[15],
    tags: tagsOf(row[16]),
    message: messageOf(row[18], row[19], row[20], row[21]),
    ...(row[22] === null ? {} : { occurrence: { ...nameOf(row[22]), overlap: overlapOf(row[6]) } }),
    attempts: row[5],
    token: row[4],
    createdMs: row[9],
    ...(row[10] === null ? {} : { claimedMs: row[10] }),
    ...(row[11] === null ? {} : { leaseUntilMs: row[11] }),
    ...(row[12] === null ? {} : { endedMs: row[12] }),
    ...(row[17] === null ? {} : { reason: row[17] }),
  };
}

/** What decides when its due time has come. */
export function dueRowOf(row: RowTuple): DueRow {
  return {
    attempts: row[5],
    dueMs: row[3],
    expiresMs: row[8],
    misfire: (row[6] & FLAG_SKIP) === 0 ? "fire" : "skip",
    graceMs: row[7],
    nominalMs: row[22] === null ? null : nameOf(row[22]).nominalMs,
  };
}

/** Id of the recurrence of an occurrence. */
export function recurrenceIdOf(row: RowTuple): string | null {
  return row[22] === null ? null : nameOf(row[22]).recurrence;
}

function nameOf(text: string): Omit<Occurrence, "overlap"> {
  const [recurrence = "", generation, nominal] = text.split(" ");
  return { recurrence, generation: Number(generation), nominalMs: Number(nominal) };
}

export function overlapOf(flags: number): Overlap {
  if ((flags & FLAG_OVERLAP_SKIP) !== 0) return "skip";
  return (flags & FLAG_OVERLAP_QUEUE) === 0 ? "allow" : "queue";
}

export function flagsOfOverlap(overlap: Overlap): number {
  if (overlap === "skip") return FLAG_OVERLAP_SKIP;
  return overlap === "queue" ? FLAG_OVERLAP_QUEUE : 0;
}

export function putTupleOf(callback: NewCallback, salt: number): PutTuple {
  const { message } = callback;
  const tags = distinctTags(callback.tags);
  return [
    salt,
    callback.dueMs,
    (callback.misfire === "skip" ? FLAG_SKIP : 0) | (callback.onLost === "fail" ? FLAG_FAIL_WHEN_LOST : 0),
    callback.graceMs ?? 0,
    callback.expiresMs ?? null,
    callback.key ?? null,
    callback.onConflict ?? "keep",
    callback.taskId ?? null,
    callback.queue,
    tags.length === 0 ? null : JSON.stringify(tags),
    message.task,
    message.retries,
    moreOf(message),
    message.body,
  ];
}

/** The fields of a message that have no column; null when there are none. */
export function moreOf(message: ParkedMessage): string | null {
  const { task: _task, body: _body, retries: _retries, ...more } = message;
  const text = JSON.stringify(more);
  return text === "{}" ? null : text;
}

export function tagsOf(text: string | null): readonly string[] {
  return text === null ? [] : JSON.parse(text);
}

function messageOf(task: string, retries: number, more: string | null, body: string): ParkedMessage {
  return { task, body, retries, ...(more === null ? undefined : JSON.parse(more)) };
}
