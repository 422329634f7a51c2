/** What a `retry()` changes of its message and of where it goes, checked where the task asks for it. */
import { parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { textOf } from "../kit/printable.ts";
import type { Destination } from "../pool/asks.ts";
import type { RetryChanges } from "../pool/pool.ts";
import { FIELD_HEADERS } from "../protocol/headers.ts";
import type { TaskMessage } from "../protocol/message.ts";
import { quoted } from "../protocol/refusal.ts";
import { pyRepr, pyTupleRepr } from "../protocol/repr.ts";
import type { RetryOptions } from "./context.ts";
import { checkNames } from "./option-names.ts";
import { expiresMsOf, priorityOf } from "./send.ts";

export interface RetryOverrides {
  readonly changes?: RetryChanges;
  readonly to?: Destination;
}

const NAMES: readonly string[] = [
  ...["countdown", "eta", "args", "kwargs", "maxRetries", "cause", "queue", "exchange", "routingKey", "priority"],
  ...["expires", "timeLimit", "softTimeLimit", "headers", "ignoreResult", "shadow"],
];

/** @throws {InvalidInputError} an option is unknown, or not what it must be */
export function retryOverrides(options: RetryOptions, message: TaskMessage, nowMs: number): RetryOverrides {
  checkNames(options, NAMES, `a retry of ${message.task}`);
  const changes = changesOf(options, message, nowMs);
  const to: { -readonly [Name in keyof Destination]: Destination[Name] } = {};
  for (const name of ["queue", "exchange", "routingKey"] as const) {
    const given = options[name];
    if (given === undefined) continue;
    if (typeof given !== "string" || given === "") {
      throw new InvalidInputError(`${name} of a retry must be a non-empty text, not ${textOf(given, 80)}`);
    }
    to[name] = given;
  }
  return {
    ...(Object.keys(changes).length === 0 ? {} : { changes }),
    ...(Object.keys(to).length === 0 ? {} : { to }),
  };
}

function changesOf(options: RetryOptions, message: TaskMessage, nowMs: number): RetryChanges {
  const { args, kwargs, expires, timeLimit, softTimeLimit, headers, ignoreResult, shadow } = options;
  const hard = timeLimit === undefined ? undefined : parseDurationMs(timeLimit, "timeLimit");
  const soft = softTimeLimit === undefined ? undefined : parseDurationMs(softTimeLimit, "softTimeLimit");
  const priority = priorityOf(options.priority);
  checkLimits(hard ?? message.hardLimitMs, soft ?? message.softLimitMs);
  return {
    // What is shown of the arguments goes with them.
    ...(args === undefined ? {} : { argsRepr: pyTupleRepr(args) }),
    ...(kwargs === undefined ? {} : { kwargsRepr: pyRepr(kwargs) }),
    ...(expires === undefined ? {} : { expiresMs: expiresMsOf(expires, nowMs) }),
    ...(hard === undefined ? {} : { hardLimitMs: hard }),
    ...(soft === undefined ? {} : { softLimitMs: soft }),
    ...(priority === undefined ? {} : { priority }),
    ...(headers === undefined ? {} : { headers: { ...message.headers, ...ownHeaders(headers) } }),
    ...(ignoreResult === undefined ? {} : { ignoreResult: ignoreResult === true }),
    ...(shadow === undefined ? {} : { shadow: String(shadow) }),
  };
}

function checkLimits(hard: number | undefined, soft: number | undefined): void {
  if (hard === undefined || soft === undefined || hard === 0 || soft <= hard) return;
  throw new InvalidInputError(
    `softTimeLimit (${soft / 1_000} s) is longer than timeLimit (${hard / 1_000} s): the soft limit comes first`,
  );
}

function ownHeaders(headers: unknown): Readonly<Record<string, unknown>> {
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    throw new InvalidInputError(`headers of a retry must be an object, not ${textOf(headers, 80)}`);
  }
  for (const name of Object.keys(headers)) {
    if (FIELD_HEADERS.has(name) || name === "__proto__") {
      throw new InvalidInputError(`headers has ${quoted(name)}, which is not free to use; give it another name`);
    }
  }
  return { ...headers };
}
