/**
 * Names of options, as callers give them. A misspelt one would be passed over in silence, and mean its default: a dry run that is none, a
 * callback without its key.
 */
import { InvalidInputError } from "../kit/errors.ts";
import { suggest } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";

/** @throws {InvalidInputError} it is no object, or one of its names is not known */
export function checkNames(given: object, known: readonly string[], what: string): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new InvalidInputError(`${what} takes its options as an object, not ${textOf(given, 80)}`);
  }
  const name = Object.keys(given).find((each) => !known.includes(each));
  if (name === undefined) return;
  throw new InvalidInputError(`${what} has no option ${textOf(JSON.stringify(name), 80)}${suggest(name, known)}`);
}

/** @throws {InvalidInputError} it is neither "abort" nor left out */
export function checkRunning(running: unknown, what: string): void {
  if (running === undefined || running === "abort") return;
  throw new InvalidInputError(
    `${what}'s running must be "abort", or left out, not ${textOf(JSON.stringify(running), 80)}`,
  );
}
