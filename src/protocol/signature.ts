/** A task call as data (PROTOCOL 2.1), and the fourth part of a message that is made of them: links, chain, chord. */
import { isPlain } from "./json.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { nameProblem } from "./names.ts";
import { DecodeError, quoted } from "./refusal.ts";

export interface Signature {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** `apply_async` options by Celery's names, to be passed on when it is sent. */
  readonly options: Readonly<Record<string, unknown>>;
  /** "chain", "group", "chord" and such; null for a plain task. */
  readonly subtask_type: string | null;
  /** True: the result of the task before it is not put before its arguments. */
  readonly immutable: boolean;
  /** Of a chord's body, with backends that count. */
  readonly chord_size?: number;
}

/** What follows a task: the third element of a message's body. */
export interface Embed {
  /** `link`. */
  readonly callbacks: readonly Signature[] | null;
  /** `link_error`. */
  readonly errbacks: readonly Signature[] | null;
  /** The steps that remain, REVERSED: the next one is the last. */
  readonly chain: readonly Signature[] | null;
  /** Body of the chord that the task is a part of. */
  readonly chord: Signature | null;
}

export const NO_EMBED: Embed = { callbacks: null, errbacks: null, chain: null, chord: null };

/**
 * The signature that the value says. Keys that Celery does not define are dropped, but for those of `options`.
 *
 * @param place what the value is, for the error: `chain[2]`
 * @throws {DecodeError} ERR_CANVAS
 */
export function readSignature(value: unknown, place: string): Signature {
  if (!isPlain(value)) throw new DecodeError("ERR_CANVAS", `${place} is ${quoted(value)}; a signature was expected`);
  const { task, args = [], kwargs = {}, options = {}, subtask_type = null, immutable = false, chord_size } = value;
  const problem = nameProblem(task);
  if (problem !== undefined) throw new DecodeError("ERR_CANVAS", `${place}.task ${quoted(task)} ${problem}`);
  if (args !== null && !Array.isArray(args)) throw wrong(`${place}.args`, args, "an array");
  if (kwargs !== null && !isPlain(kwargs)) throw wrong(`${place}.kwargs`, kwargs, "an object");
  if (options !== null && !isPlain(options)) throw wrong(`${place}.options`, options, "an object");
  if (subtask_type !== null && typeof subtask_type !== "string") {
    throw wrong(`${place}.subtask_type`, subtask_type, "a text or null");
  }
  if (
    chord_size !== undefined &&
    chord_size !== null &&
    !(Number.isSafeInteger(chord_size) && Number(chord_size) >= 0)
  ) {
    throw wrong(`${place}.chord_size`, chord_size, "a whole number, 0 or more");
  }
  return {
    task: task as string,
    args: args ?? [],
    kwargs: kwargs ?? {},
    options: options ?? {},
    subtask_type,
    immutable: immutable === true,
    ...(typeof chord_size === "number" ? { chord_size } : {}),
  };
}

/**
 * The embed that the value says; null and missing parts are empty, as Celery takes them.
 * @throws {DecodeError} ERR_CANVAS, ERR_BODY_SHAPE
 */
export function readEmbed(value: unknown, maxSignatures: number = DEFAULT_LIMITS.maxSignatures): Embed {
  if (value === null || value === undefined) return NO_EMBED;
  if (!isPlain(value)) {
    throw new DecodeError(
      "ERR_BODY_SHAPE",
      `the third element of the body is ${quoted(value)}; an object was expected`,
    );
  }
  return {
    callbacks: readSignatures(value.callbacks, "callbacks", maxSignatures),
    errbacks: readSignatures(value.errbacks, "errbacks", maxSignatures),
    chain: readSignatures(value.chain, "chain", maxSignatures),
    chord: value.chord === null || value.chord === undefined ? null : readSignature(value.chord, "chord"),
  };
}

/** Old producers send a single link without its list. */
function readSignatures(value: unknown, place: string, maxSignatures: number): Signature[] | null {
  if (value === null || value === undefined) return null;
  if (isPlain(value)) return [readSignature(value, place)];
  if (!Array.isArray(value)) throw wrong(place, value, "a list of signatures");
  if (value.length > maxSignatures) {
    throw new DecodeError("ERR_CANVAS", `${place} has ${value.length} signatures; the limit is ${maxSignatures}`);
  }
  return value.map((each, index) => readSignature(each, `${place}[${index}]`));
}

function wrong(place: string, value: unknown, expected: string): DecodeError {
  return new DecodeError("ERR_CANVAS", `${place} is ${quoted(value)}; ${expected} was expected`);
}
