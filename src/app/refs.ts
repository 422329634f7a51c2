/**
 * How callers name what they mean: a callback or a recurrence, by its id or by its key. Pure, but for the asks that it is given.
 *
 * An id carries random text of the store's, so that a key that looks like another's id is no accident that happens.
 */
import { InvalidInputError } from "../kit/errors.ts";
import { textOf } from "../kit/printable.ts";
import type { Target } from "../schedule/store.ts";

/** An id, or a key. A text is taken as an id first, then as a key. */
export type Ref = string | Target;

/** No callback's id begins so. */
const RECURRENCE_ID = "r-";

export function isRecurrenceId(ref: unknown): boolean {
  return typeof ref === "string" && ref.startsWith(RECURRENCE_ID);
}

/** @throws {InvalidInputError} it is neither a text nor `{ id }` nor `{ key }` */
export function checkRef(ref: Ref): void {
  if (typeof ref === "string" || isTarget(ref)) return;
  throw new InvalidInputError(`an id or a key is a text, { id } or { key }; it was ${textOf(ref, 80)}`);
}

/** The targets that a reference may mean, in the order in which they are tried. */
export function targetsOf(ref: Ref): readonly Target[] {
  checkRef(ref);
  return typeof ref === "string" ? [{ id: ref }, { key: ref }] : [ref];
}

/** The first answer that is not "unknown"; that one when all are. */
export async function firstKnown<Answer extends { readonly answer: string }>(
  targets: readonly Target[],
  ask: (target: Target) => Promise<Answer>,
): Promise<Answer> {
  const [first, ...others] = targets;
  if (first === undefined) throw new InvalidInputError("nothing was named: give an id or a key");
  let answer = await ask(first);
  for (const target of others) {
    if (answer.answer !== "unknown") return answer;
    answer = await ask(target);
  }
  return answer;
}

/** The first that is found. */
export async function firstFound<Found>(
  targets: readonly Target[],
  find: (target: Target) => Promise<Found | null>,
): Promise<Found | undefined> {
  for (const target of targets) {
    const found = await find(target);
    if (found !== null) return found;
  }
  return undefined;
}

function isTarget(ref: unknown): ref is Target {
  if (typeof ref !== "object" || ref === null) return false;
  const { id, key } = ref as { readonly id?: unknown; readonly key?: unknown };
  return (typeof id === "string") !== (typeof key === "string");
}
