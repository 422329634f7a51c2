/** A callback as it travels to and from PostgreSQL: JSON, whose texts come back byte for byte. */
import {
  CALLBACK_STATES,
  type Callback,
  type CallbackState,
  type Claim,
  type EndState,
  type NewCallback,
  type Overlap,
  type ParkedMessage,
  type PutAnswer,
  type RunEnd,
} from "../../callback.ts";
import { distinctTags, reasonOf } from "../../check.ts";
import type { Ended, Target } from "../../store.ts";
import { idOf, indexed, newSalt, parseId, recurrenceIdOf } from "./names.ts";

const STATE_NUMBERS = new Map<CallbackState, number>(CALLBACK_STATES.map((name, number) => [name, number]));
export const OVERLAPS: readonly Overlap[] = ["allow", "skip", "queue"];
const CONFLICTS = ["keep", "replace", "reject"] as const;

/** Bits of `flags`. */
const FLAG_SKIP = 1;
const FLAG_FAIL_WHEN_LOST = 2;

export function stateNumber(state: CallbackState): number {
  return STATE_NUMBERS.get(state) as number; // the map has them all
}

export function stateName(number: number): CallbackState {
  return CALLBACK_STATES[number] as CallbackState;
}

/** As `row_of` builds it. */
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
  tags: readonly string[] | null,
  reason: string | null,
  task: string,
  retries: number,
  more: string | null,
  body: string,
  long: string | null,
  recurrence: number | null,
  generation: number | null,
  nominal: number | null,
  overlap: number,
  recurrenceSalt: number | null,
];

/** The texts that were cut to fit an index, whole. */
interface Long {
  readonly key?: string;
  readonly taskId?: string;
  readonly queue?: string;
  readonly tags?: readonly string[];
}

/** What a call has, wherever it comes from: its letters are those of ITEM in schema/put.ts. */
export interface CallItem {
  /** Flags. */
  readonly f: number;
  readonly q: string;
  readonly g: readonly string[] | null;
  readonly w: string;
  readonly e: number;
  readonly m: string | null;
  readonly b: string;
  readonly l: string | null;
}

export interface PutItem extends CallItem {
  readonly i: number;
  readonly s: number;
  readonly d: number;
  readonly r: number;
  readonly x: number | null;
  readonly k: string | null;
  readonly c: number;
  readonly t: string | null;
}

/** A batch as it is sent. */
export interface PutCall {
  /** None of the items has a key or a task id: each makes a row. */
  readonly plain: boolean;
  /** Some have tags. */
  readonly tagged: boolean;
  /** The earliest due time of each queue. */
  readonly firsts: Readonly<Record<string, number>>;
  readonly items: readonly PutItem[];
}

export function isPlain({ key, taskId }: NewCallback): boolean {
  return key === undefined && taskId === undefined;
}

/** @param items are numbered anew */
export function putCallOf(items: readonly PutItem[]): PutCall {
  const firsts: Record<string, number> = Object.create(null);
  let [plain, tagged] = [true, false];
  for (const { k, t, g, q, d } of items) {
    if (k !== null || t !== null) plain = false;
    if (g !== null) tagged = true;
    firsts[q] = Math.min(d, firsts[q] ?? d);
  }
  return { plain, tagged, firsts, items: items.map((item, i) => ({ ...item, i })) };
}

/** What `put` answers to a call: numbers of its rows, when it is plain. */
export function putAnswersOf({ plain, items }: PutCall, answer: readonly PutTuple[] | readonly number[]): PutAnswer[] {
  if (!plain) return (answer as readonly PutTuple[]).map(putAnswerOf);
  return items.map(({ s, d }, i) => putAnswerOf([0, answer[i] as number, s, d]));
}

/** @param i place in its batch */
export function putItemOf(callback: NewCallback, i: number): PutItem {
  const { key, taskId } = callback;
  return {
    i,
    s: newSalt(),
    d: callback.dueMs,
    r: callback.graceMs ?? 0,
    x: callback.expiresMs ?? null,
    k: key === undefined ? null : indexed(key),
    c: CONFLICTS.indexOf(callback.onConflict ?? "keep"),
    t: taskId === undefined ? null : indexed(taskId),
    ...callItemOf(callback),
  };
}

export function callItemOf(callback: NewCallback): CallItem {
  const { message, queue, key, taskId } = callback;
  const tags = distinctTags(callback.tags);
  return {
    f: flagsOf(callback),
    q: indexed(queue),
    g: tags.length === 0 ? null : tags.map(indexed),
    w: message.task,
    e: message.retries,
    m: moreOf(message),
    b: message.body,
    l: longOf({ key, taskId, queue, tags }),
  };
}

export function flagsOf({ misfire, onLost }: Pick<NewCallback, "misfire" | "onLost">): number {
  return (misfire === "skip" ? FLAG_SKIP : 0) | (onLost === "fail" ? FLAG_FAIL_WHEN_LOST : 0);
}

/** Null: nothing was cut. */
function longOf(of: {
  readonly key: string | undefined;
  readonly taskId: string | undefined;
  readonly queue: string;
  readonly tags: readonly string[];
}): string | null {
  const cut = (text: string | undefined) => text !== undefined && indexed(text) !== text;
  const long: Long = {
    ...(of.key !== undefined && cut(of.key) ? { key: of.key } : {}),
    ...(of.taskId !== undefined && cut(of.taskId) ? { taskId: of.taskId } : {}),
    ...(cut(of.queue) ? { queue: of.queue } : {}),
    ...(of.tags.some(cut) ? { tags: of.tags } : {}),
  };
  return Object.keys(long).length === 0 ? null : JSON.stringify(long);
}

/** The fields of a message that have no column; null when there are none. */
function moreOf(message: ParkedMessage): string | null {
  const { task: _task, body: _body, retries: _retries, ...more } = message;
  const text = JSON.stringify(more);
  return text === "{}" ? null : text;
}

export function callbackOf(row: RowTuple): Callback {
  const id = idOf(row[0], row[1]);
  const long: Long = row[22] === null ? {} : (JSON.parse(row[22]) as Long);
  const key = long.key ?? row[13];
  return {
    id,
    ...(key === null ? {} : { key }),
    taskId: long.taskId ?? row[14] ?? id,
    state: stateName(row[2]),
    dueMs: row[3],
    ...(row[8] === null ? {} : { expiresMs: row[8] }),
    misfire: (row[6] & FLAG_SKIP) === 0 ? "fire" : "skip",
    graceMs: row[7],
    onLost: (row[6] & FLAG_FAIL_WHEN_LOST) === 0 ? "rerun" : "fail",
    queue: long.queue ?? row[15],
    tags: long.tags ?? row[16] ?? [],
    message: messageOf(row),
    ...occurrenceOf(row),
    attempts: row[5],
    token: row[4],
    createdMs: row[9],
    ...(row[10] === null ? {} : { claimedMs: row[10] }),
    ...(row[11] === null ? {} : { leaseUntilMs: row[11] }),
    ...(row[12] === null ? {} : { endedMs: row[12] }),
    ...(row[17] === null ? {} : { reason: row[17] }),
  };
}

function messageOf(row: RowTuple): ParkedMessage {
  const more = row[20] === null ? undefined : (JSON.parse(row[20]) as Partial<ParkedMessage>);
  return { task: row[18], body: row[21], retries: row[19], ...more };
}

function occurrenceOf(row: RowTuple): Pick<Callback, "occurrence"> {
  if (row[23] === null) return {};
  return {
    occurrence: {
      recurrence: recurrenceIdOf(row[23], row[27] as number),
      generation: row[24] as number,
      nominalMs: row[25] as number,
      overlap: OVERLAPS[row[26]] as Overlap,
    },
  };
}

/** [code, n, salt, due], as `put` answers it. */
export type PutTuple = readonly [code: number, n: number, salt: number, due: number];

function putAnswerOf([code, n, salt, dueMs]: PutTuple): PutAnswer {
  const id = idOf(n, salt);
  switch (code) {
    case 0:
      return { put: "added", id, dueMs };
    case 1:
      return { put: "existing", id, dueMs };
    case 2:
      return { put: "replaced", id, dueMs };
    case 3:
      return { put: "too_late", id };
    case 4:
      return { put: "conflict", id };
    default:
      return { put: "revoked" };
  }
}

/** Which callback. Undefined: an id that none of ours can have. */
export function targetItemOf(
  target: Target,
): { readonly n: number; readonly s: number } | { readonly k: string } | undefined {
  if ("key" in target) return { k: indexed(target.key) };
  const parsed = parseId(target.id);
  return parsed === undefined ? undefined : { n: parsed[0], s: parsed[1] };
}

export interface ClaimItem {
  readonly i: number;
  readonly n: number;
  readonly s: number;
  readonly t: number;
}

export function claimItemOf({ callback, token }: Claim, i: number): ClaimItem {
  const [n, s] = parseId(callback.id) ?? [0, 0]; // row 0 is nobody's
  return { i, n, s, t: token };
}

/** ClaimItem, and how it ended: the letters are those of END in schema/settle.ts. */
export function endItemOf(claim: Claim, end: RunEnd, i: number): ClaimItem & { readonly k: RunEnd["kind"] } {
  const item = claimItemOf(claim, i);
  if (end.kind === "succeeded") return { ...item, k: end.kind };
  if (end.kind !== "retry") return { ...item, k: end.kind, ...{ why: reasonOf(end.reason) } };
  const { message } = end;
  return {
    ...item,
    k: end.kind,
    ...{ d: end.dueMs, w: message.task, e: message.retries, m: moreOf(message), b: message.body },
  };
}

export function claimOf(row: RowTuple): Claim {
  return { callback: callbackOf(row), token: row[4], attempt: row[5], leaseUntilMs: row[11] as number };
}

/** A run that simply ended changed nothing else of its callback. */
export function endedCallback(callback: Callback, end: RunEnd, endedMs: number): Callback {
  const { leaseUntilMs: _lease, reason: _reason, ...rest } = callback;
  return {
    ...rest,
    state: end.kind as EndState,
    endedMs,
    ...("reason" in end ? { reason: reasonOf(end.reason) } : {}),
  };
}

export function endedOf(row: RowTuple): Ended {
  const callback = callbackOf(row);
  return { callback, state: callback.state as Ended["state"] };
}
