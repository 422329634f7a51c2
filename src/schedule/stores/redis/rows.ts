/**
 * A callback as a row of Redis, and back.
 *
 * The id carries the row's number, so finding it costs no index of its own, and 47 random bits: a server that was flushed does not
 * answer for the callbacks of before, and nobody guesses an id.
 */
import {
  CALLBACK_STATES,
  type Callback,
  type CallbackState,
  type Claim,
  type Misfire,
  type NewCallback,
  type Occurrence,
  type Overlap,
  type ParkedMessage,
} from "../../callback.ts";
import { distinctTags } from "../../check.ts";
import { DEFAULT_LIMITS } from "../../limits.ts";
import type { Candidate } from "../../match.ts";
import {
  type DueRow,
  fateOfCrash,
  fateOfLoss,
  fateOfOverlap,
  fateOfRetry,
  fateWhenDue,
  type LostRow,
} from "../../rules.ts";
import { newSalt } from "../../salt.ts";
import type { StoreLimits, Target } from "../../store.ts";
import { REASONS } from "./lua/rules.ts";
import { COLUMNS, PUT_COLUMNS } from "./lua/table.ts";
import type { Packable, Packer, Unpacked } from "./pack.ts";

/** A body of more bytes than this lives beside its row, so that claiming and settling do not write it again. */
const INLINE_BODY = 2_048;

const FLAG_SKIP = 1;
const FLAG_FAIL_WHEN_LOST = 2;
const CONFLICTS = ["keep", "replace", "reject"] as const;
export const OVERLAPS: readonly Overlap[] = ["allow", "skip", "queue"];

type Column = (typeof COLUMNS)[number];
const at = Object.fromEntries(COLUMNS.map((name, i) => [name, i])) as Readonly<Record<Column, number>>;

/** A row as it comes out of an answer: its number, its fields, its body if that lives beside it. */
export interface Row {
  readonly member: string;
  readonly fields: readonly Unpacked[];
  readonly body: string | undefined;
}

export function rowsOf(answer: Unpacked): Row[] {
  return (answer as [string, Unpacked[], string | false][]).map(([member, fields, body]) => ({
    member,
    fields,
    body: body === false ? undefined : body,
  }));
}

/** Its body lives beside it, and was not asked for. */
export function lacksBody({ fields, body }: Row): boolean {
  return fields[at.BODY] === false && body === undefined;
}

export function dueOf({ fields }: Row): number {
  return fields[at.DUE] as number;
}

/** What of the row a query looks at. */
export function candidateOf({ fields }: Row): Candidate {
  const [key, occurrence] = [fields[at.KEY], fields[at.OCCURRENCE]];
  return {
    key: typeof key === "string" ? key : undefined,
    task: fields[at.TASK] as string,
    recurrence: Array.isArray(occurrence) ? (occurrence[0] as string) : undefined,
    queue: fields[at.QUEUE] as string,
    tags: fields[at.TAGS] as string[],
    dueMs: fields[at.DUE] as number,
    state: stateOf(fields[at.STATE] as Unpacked),
  };
}

/** The row's number, as it stands in a cursor. */
export function numberOf(member: string): number {
  return Number.parseInt(member.slice(1), 16);
}

/** How a number is written so that texts sort as the numbers do. */
export function memberOf(n: number): string {
  const digits = n.toString(16);
  return `${digits.length.toString(16)}${digits}`;
}

export function stateOf(number: Unpacked): CallbackState {
  return CALLBACK_STATES[number as number] as CallbackState;
}

export function idOf(member: string, salt: number): string {
  return `${member}-${salt.toString(36)}`;
}

/** Undefined: no id of ours. */
export function parseId(id: string): readonly [member: string, salt: number] | undefined {
  const [, member = "", text = ""] = /^([0-9a-f]{2,14})-([0-9a-z]{1,10})$/.exec(id) ?? [];
  const [n, salt] = [numberOf(member), Number.parseInt(text, 36)];
  // Only the one spelling.
  if (!Number.isSafeInteger(n) || !Number.isSafeInteger(salt) || salt === 0) return undefined;
  return memberOf(n) === member && idOf(member, salt) === id ? [member, salt] : undefined;
}

/** What names a row to a script; undefined: nothing has that id. */
export function targetOf(target: Target): readonly [name: string, salt: number | false] | undefined {
  return "id" in target ? parseId(target.id) : [target.key, false];
}

/** The limits, as a script needs them. */
export function limitsItem({ crashLimit, lostLimit, keepMs, keepKeyedMs }: StoreLimits): readonly number[] {
  return [crashLimit, lostLimit, keepMs, keepKeyedMs];
}

/** A claim, as a script needs it. */
export function claimItem({ callback, token }: Claim): readonly [member: string, salt: number, token: number] {
  const [member, salt] = parseId(callback.id) ?? ["0", 0]; // row 0 is nobody's
  return [member, salt, token];
}

/** One that is put: see lua/put.ts. Answers its salt. */
export function packNew(packer: Packer, callback: NewCallback): number {
  const { message, taskId, queue } = callback;
  const salt = newSalt();
  const tags = distinctTags(callback.tags);
  packer.list(9);
  packer.number(callback.dueMs);
  packer.text(queue);
  packer.value(callback.key ?? false);
  packer.number(CONFLICTS.indexOf(callback.onConflict ?? "keep"));
  packer.value(taskId ?? false);
  packer.number(message.retries);
  packer.value(tags);
  packer.nested(() => packRow(packer, callback, tags, salt));
  packer.value(longBody(message));
  return salt;
}

/** What occurrences are made from: the row, its long body, its queue, its tags. */
export function packTemplate(packer: Packer, callback: NewCallback): void {
  const tags = distinctTags(callback.tags);
  packer.list(4);
  packer.nested(() => packRow(packer, callback, tags, 0));
  packer.value(longBody(callback.message));
  packer.text(callback.queue);
  packer.value(tags);
}

/** All but its last field, which the script adds. */
function packRow(packer: Packer, callback: NewCallback, tags: readonly string[], salt: number): void {
  const { message, taskId } = callback;
  packer.list(PUT_COLUMNS);
  packer.number(0);
  packer.number(salt);
  packer.number(callback.dueMs);
  packer.number(0);
  packer.number(0);
  packer.number((callback.misfire === "skip" ? FLAG_SKIP : 0) | (callback.onLost === "fail" ? FLAG_FAIL_WHEN_LOST : 0));
  packer.number(callback.graceMs ?? 0);
  packer.value(callback.expiresMs ?? false);
  packer.value(callback.key ?? false);
  packer.value(taskId ?? false);
  packer.value(taskId === undefined ? false : message.retries);
  packer.text(callback.queue);
  packer.value(tags);
  packer.text(message.task);
  packer.number(message.retries);
  packer.value(moreOf(message));
  packer.value(isLong(message) ? false : message.body);
  packer.value(false);
}

function isLong({ body }: ParkedMessage): boolean {
  return body.length > INLINE_BODY;
}

function longBody(message: ParkedMessage): string | false {
  return isLong(message) ? message.body : false;
}

/** The fields of a settle that asks for another run: see lua/settle.ts. */
export function retryFields(dueMs: number, message: ParkedMessage): readonly Packable[] {
  const { task, retries, body } = message;
  return [dueMs, task, retries, moreOf(message), isLong(message) ? false : body, longBody(message)];
}

export function callbackOf(row: Row): Callback {
  const { member, fields } = row;
  const id = idOf(member, fields[at.SALT] as number);
  const state = stateOf(fields[at.STATE] as Unpacked);
  const flags = fields[at.FLAGS] as number;
  const occurrence = fields[at.OCCURRENCE] as Unpacked;
  const reason = reasonOf(fields);
  return {
    id,
    ...text("key", fields[at.KEY]),
    taskId: (fields[at.TASK_ID] || id) as string,
    state,
    dueMs: fields[at.DUE] as number,
    ...number("expiresMs", fields[at.EXPIRES]),
    misfire: misfireOf(flags),
    graceMs: fields[at.GRACE] as number,
    onLost: onLostOf(flags),
    queue: fields[at.QUEUE] as string,
    tags: fields[at.TAGS] as string[],
    message: messageOf(row),
    ...(Array.isArray(occurrence) ? { occurrence: occurrenceOf(occurrence) } : {}),
    attempts: fields[at.ATTEMPTS] as number,
    token: fields[at.TOKEN] as number,
    createdMs: fields[at.CREATED] as number,
    ...number("claimedMs", fields[at.CLAIMED]),
    ...number("leaseUntilMs", fields[at.LEASE]),
    ...number("endedMs", fields[at.ENDED]),
    ...(reason === undefined ? {} : { reason }),
  };
}

export function claimOf(row: Row): Claim {
  const callback = callbackOf(row);
  return {
    callback,
    token: callback.token,
    attempt: callback.attempts,
    leaseUntilMs: row.fields[at.LEASE] as number,
  };
}

/** The fields of a message that have no column. */
function moreOf(message: ParkedMessage): string | false {
  const { task: _task, body: _body, retries: _retries, ...more } = message;
  const text = JSON.stringify(more);
  return text === "{}" ? false : text;
}

function messageOf({ fields, body }: Row): ParkedMessage {
  const more = fields[at.MORE];
  return {
    task: fields[at.TASK] as string,
    body: (fields[at.BODY] === false ? body : fields[at.BODY]) as string,
    retries: fields[at.RETRIES] as number,
    ...(typeof more === "string" ? (JSON.parse(more) as Partial<ParkedMessage>) : undefined),
  };
}

function occurrenceOf([recurrence, generation, nominalMs, overlap]: Unpacked[]): Occurrence {
  return {
    recurrence: recurrence as string,
    generation: generation as number,
    nominalMs: nominalMs as number,
    overlap: OVERLAPS[overlap as number] as Overlap,
  };
}

/** The words for a rule are those of `rules.ts`, asked again about the row as it was when it ended. */
function reasonOf(fields: readonly Unpacked[]): string | undefined {
  const kept = fields[at.REASON];
  if (typeof kept === "string") return kept;
  if (!Array.isArray(kept)) return undefined;
  const [rule, text = ""] = kept as [number, string?];
  switch (rule) {
    case REASONS.due:
      return fateWhenDue(dueRowOf(fields), fields[at.ENDED] as number)?.reason ?? "";
    case REASONS.overlap:
      return wordsOfOverlap(fields);
    case REASONS.crash:
      return fateOfCrash(...lostRowOf(fields), text).reason ?? text;
    case REASONS.loss:
      return (text === "" ? fateOfLoss(...lostRowOf(fields)) : fateOfLoss(...lostRowOf(fields), text)).reason ?? text;
    case REASONS.unwanted:
      return fateOfRetry(true).reason ?? "";
    default:
      return "it was cancelled before it ran again";
  }
}

function wordsOfOverlap(fields: readonly Unpacked[]): string {
  const [, , , overlap] = fields[at.OCCURRENCE] as Unpacked[];
  const row = { ...dueRowOf(fields), overlap: OVERLAPS[overlap as number] as Overlap };
  const fate = fateOfOverlap(row, true, fields[at.ENDED] as number);
  return fate === undefined || fate.state === "held" ? "" : (fate.reason ?? "");
}

function dueRowOf(fields: readonly Unpacked[]): DueRow {
  const [expiresMs, occurrence] = [fields[at.EXPIRES], fields[at.OCCURRENCE]];
  return {
    attempts: fields[at.ATTEMPTS] as number,
    dueMs: fields[at.DUE] as number,
    expiresMs: expiresMs === false ? null : (expiresMs as number),
    misfire: misfireOf(fields[at.FLAGS] as number),
    graceMs: fields[at.GRACE] as number,
    nominalMs: Array.isArray(occurrence) ? (occurrence[2] as number) : null,
  };
}

/** With limits that it met: it was at its own, whatever that was in the process that ended it. */
function lostRowOf(fields: readonly Unpacked[]): [LostRow, StoreLimits] {
  const [crashes, losses] = [fields[at.CRASHES] as number, fields[at.LOSSES] as number];
  const row = { onLost: onLostOf(fields[at.FLAGS] as number), crashes, losses, unwanted: false };
  return [row, { ...DEFAULT_LIMITS, crashLimit: crashes, lostLimit: losses }];
}

function misfireOf(flags: number): Misfire {
  return (flags & FLAG_SKIP) === 0 ? "fire" : "skip";
}

function onLostOf(flags: number): Callback["onLost"] {
  return (flags & FLAG_FAIL_WHEN_LOST) === 0 ? "rerun" : "fail";
}

function text<Name extends string>(name: Name, value: Unpacked | undefined): { [K in Name]?: string } {
  return typeof value === "string" ? ({ [name]: value } as { [K in Name]: string }) : {};
}

function number<Name extends string>(name: Name, value: Unpacked | undefined): { [K in Name]?: number } {
  return typeof value === "number" ? ({ [name]: value } as { [K in Name]: number }) : {};
}
