/** How a publish is tried again when the broker is away: Celery's `retry_policy`, the delays as kombu counts them. */
import { InvalidConfigError, messageOf } from "../kit/errors.ts";
import { type Rule, suggest } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";
import type { PublishRetryPolicy } from "../pool/asks.ts";
import { camelCase } from "./setting-rules.ts";

/** In camelCase or Celery's spelling; what is left out is the default's. */
export interface RetryPolicy {
  /** Tries after the first; null = until the app is closed, 0 = none. Default 3. */
  readonly maxRetries?: number | null;
  /** Seconds before the first of them. Default 0. */
  readonly intervalStart?: number;
  /** Seconds more before each further one. Default 0.2. */
  readonly intervalStep?: number;
  /** The longest, in seconds, over `intervalStart`. Default 1. */
  readonly intervalMax?: number;
  readonly [celeryName: `${string}_${string}`]: unknown;
}

/** Ignored: Python's own, or of a library that is not here. */
const PASSED_OVER = ["retryErrors", "errback", "timeout"];
const INTERVALS = ["intervalStart", "intervalStep", "intervalMax"] as const;

/** @throws {InvalidConfigError} names each field that is wrong */
export const retryPolicyRule: Rule<PublishRetryPolicy> = (value, what) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidConfigError([`${what} must be an object such as { maxRetries: 3 }; it was ${textOf(value, 80)}`]);
  }
  const problems: string[] = [];
  const read: Record<string, number> = {};
  for (const [given, each] of Object.entries(value)) {
    const name = camelCase(given);
    const interval = INTERVALS.find((known) => known === name);
    try {
      if (name === "maxRetries") {
        if (each !== undefined) read.maxRetries = retries(each, `${what}.${given}`);
      } else if (interval !== undefined) {
        if (each !== undefined && each !== null) read[`${interval}Ms`] = secondsOf(each, `${what}.${given}`);
      } else if (!PASSED_OVER.includes(name)) {
        const near = suggest(name, ["maxRetries", ...INTERVALS]);
        problems.push(`${what} has no ${textOf(JSON.stringify(given), 80)}${near}`);
      }
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return read;
};

/** How long to wait before the try after `retries` tries again; undefined: no more. */
export function retryDelayMs(policy: PublishRetryPolicy, retries: number): number | undefined {
  const { maxRetries = 3, intervalStartMs = 0, intervalStepMs = 200, intervalMaxMs = 1_000 } = policy;
  if (retries >= maxRetries) return undefined;
  return Math.min(intervalStartMs + retries * intervalStepMs, intervalStartMs + intervalMaxMs);
}

function retries(value: unknown, what: string): number {
  // Not Infinity: that does not cross the channel of a pool process.
  if (value === null) return Number.MAX_SAFE_INTEGER;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TypeError(
    `${what} must be a whole number of at least 0, or null for no limit; it was ${textOf(value, 80)}`,
  );
}

function secondsOf(value: unknown, what: string): number {
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return Math.round(value * 1_000);
  throw new TypeError(`${what} must be a number of seconds; it was ${textOf(value, 80)}`);
}
