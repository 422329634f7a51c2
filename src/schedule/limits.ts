/** The limits of a store, with their defaults. The same in every store. */
import { InvalidInputError } from "../kit/errors.ts";
import type { StoreLimits } from "./store.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

export const DEFAULT_LIMITS: StoreLimits = {
  crashLimit: 3,
  lostLimit: 10,
  keepMs: DAY_MS,
  keepKeyedMs: 7 * DAY_MS,
  maxPending: 0,
};

/** @throws {InvalidInputError} one of them is not what it may be */
export function limitsOf(given: Partial<StoreLimits> = {}): StoreLimits {
  const limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, least] of [
    ["crashLimit", 1],
    ["lostLimit", 1],
    ["keepMs", 0],
    ["keepKeyedMs", 0],
    ["maxPending", 0],
  ] as const) {
    if (Number.isSafeInteger(limits[name]) && limits[name] >= least) continue;
    throw new InvalidInputError(`${name} must be a whole number from ${least} on, not ${String(limits[name])}`);
  }
  return limits;
}
