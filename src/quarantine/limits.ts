/** How much a quarantine keeps. The same in every one. */
import { InvalidInputError } from "../kit/errors.ts";

export interface QuarantineLimits {
  /** Default 10,000. */
  readonly maxRecords: number;
  /** Of all records together. Default 64 MiB. */
  readonly maxBytes: number;
  /** Of one body; what is longer is cut. Default 1 MiB. */
  readonly maxBodyBytes: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_LIMITS: QuarantineLimits = { maxRecords: 10_000, maxBytes: 64 * MIB, maxBodyBytes: MIB };

/** @throws {InvalidInputError} one of them is not what it may be */
export function limitsOf(given: Partial<QuarantineLimits> = {}): QuarantineLimits {
  const limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, least] of [
    ["maxRecords", 1],
    ["maxBodyBytes", 0],
    // The one that comes must fit when all others have gone.
    ["maxBytes", limits.maxBodyBytes],
  ] as const) {
    if (Number.isSafeInteger(limits[name]) && limits[name] >= least) continue;
    throw new InvalidInputError(
      `${name} of a quarantine must be a whole number from ${least} on, not ${String(limits[name])}`,
    );
  }
  return limits;
}
