/** Outcomes as they cross the channel: whether what a child calls one is one, and the one of what cannot cross it. */
import { messageOf } from "../../kit/errors.ts";
import type { Outcome, RetryChanges } from "../pool.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A child may say only what a handler can do: it cannot crash or time out by word. */
const CHECKS: { readonly [Kind in Outcome["kind"]]: ((outcome: Fields) => boolean) | null } = {
  succeeded: ({ result }) => typeof result === "string",
  failed: ({ error, expected }) => isFailure(error) && typeof expected === "boolean",
  retry: ({ etaMs, body, retries, error, changes, to }) =>
    Number.isSafeInteger(etaMs) &&
    typeof body === "string" &&
    isRetries(retries) &&
    isFailure(error) &&
    (changes === undefined || fits(changes, CHANGES)) &&
    (to === undefined || fits(to, TO)),
  ignored: () => true,
  rejected: ({ requeue, reason }) => typeof requeue === "boolean" && typeof reason === "string",
  aborted: ({ reason }) => typeof reason === "string",
  crashed: null,
  "timed-out": null,
};

type Field = (value: unknown) => boolean;

const isText: Field = (value) => typeof value === "string";
const isCount: Field = (value) => Number.isSafeInteger(value) && (value as number) >= 0;

const CHANGES: { readonly [Name in keyof RetryChanges]-?: Field } = {
  argsRepr: isText,
  kwargsRepr: isText,
  expiresMs: (value) => Number.isSafeInteger(value),
  hardLimitMs: isCount,
  softLimitMs: isCount,
  priority: (value) => isCount(value) && (value as number) <= 255,
  headers: isRecord,
  ignoreResult: (value) => typeof value === "boolean",
  shadow: isText,
};

/** What a task may say of where its next run goes. */
const TO: Readonly<Record<string, Field>> = {
  queue: isText,
  exchange: isText,
  exchangeType: isText,
  routingKey: isText,
};

function fits(value: unknown, fields: Readonly<Record<string, Field>>): boolean {
  if (!isRecord(value)) return false;
  return Object.entries(value).every(([name, each]) => Object.hasOwn(fields, name) && fields[name]?.(each) === true);
}

export function isOutcome(value: unknown): value is Outcome {
  if (!isRecord(value) || typeof value.kind !== "string" || !Object.hasOwn(CHECKS, value.kind)) return false;
  if (value.children !== undefined && !(Array.isArray(value.children) && value.children.every(Array.isArray)))
    return false;
  return CHECKS[value.kind as Outcome["kind"]]?.(value) ?? false;
}

/** The job, or its result, cannot be carried. */
export function failedOutcome(error: unknown): Outcome {
  const message = messageOf(error);
  const name = error instanceof Error ? error.name : "Error";
  return {
    kind: "failed",
    error: {
      exception: { exc_type: name, exc_message: [message], exc_module: null },
      text: `${name}: ${message}`,
      traceback: null,
    },
    expected: false,
  };
}

function isFailure(value: unknown): boolean {
  if (!isRecord(value) || !isRecord(value.exception)) return false;
  const { exc_type, exc_message, exc_module } = value.exception;
  return (
    typeof value.text === "string" &&
    (value.traceback === null || typeof value.traceback === "string") &&
    typeof exc_type === "string" &&
    Array.isArray(exc_message) &&
    (exc_module === null || typeof exc_module === "string")
  );
}

function isRetries(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
