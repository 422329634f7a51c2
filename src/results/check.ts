/** What a result backend is given, checked before it touches anything: the same refusals, in the same words, in every backend. */
import { InvalidInputError } from "../kit/errors.ts";
import type { ResultDocument } from "../protocol/result.ts";

/** Ids of messages have 255 bytes at most; a peer that stores by another way may have longer ones. */
const MAX_TASK_ID = 1_024;
/** The last moment that JavaScript's Date knows; from any present on, half of it can still be added. */
const MAX_EXPIRES_MS = 4_320_000_000_000_000;

/** @throws {InvalidInputError} */
export function checkTaskId(taskId: string): void {
  if (typeof taskId === "string" && taskId !== "" && taskId.length <= MAX_TASK_ID && taskId.isWellFormed()) return;
  throw new InvalidInputError(
    `a task id is a text of 1 to ${MAX_TASK_ID} characters, without lone surrogates, not ${shown(taskId)}`,
  );
}

/** @throws {InvalidInputError} names the first that is wrong, and why */
export function checkStore(document: ResultDocument, expiresMs: number): void {
  checkTaskId(document.task_id);
  if (typeof document.status !== "string" || document.status === "") {
    throw new InvalidInputError(`the status of a result must be a text, not ${shown(document.status)}`);
  }
  for (const name of ["result", "args", "kwargs"] as const) {
    const text = document[name];
    if (name !== "result" && text === undefined) continue;
    // Whether it is JSON is the producer's affair: to parse a megabyte here would only find what its reader finds too.
    if (typeof text === "string" && text !== "" && !text.includes("\0")) continue;
    throw new InvalidInputError(`the field ${name} of a result must be JSON text, not ${shown(text)}`);
  }
  if (!Number.isSafeInteger(expiresMs) || expiresMs < 0 || expiresMs > MAX_EXPIRES_MS) {
    throw new InvalidInputError(
      `expiresMs must be a whole number of milliseconds from 0 (for ever) to ${MAX_EXPIRES_MS}, not ${shown(expiresMs)}`,
    );
  }
}

/** @throws {InvalidInputError} */
export function checkSweep(limit: number): void {
  if (Number.isSafeInteger(limit) && limit >= 0) return;
  throw new InvalidInputError(`limit must be a whole number from 0 on, not ${shown(limit)}`);
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value);
}
