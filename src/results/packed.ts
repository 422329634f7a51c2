/**
 * A result document as our own backends keep it: its JSON texts (result, args, kwargs) as they are, the rest as one more. So a
 * result of a megabyte is stored, read and told without being parsed; only who wants the value pays for that.
 */
import { decodeJson, encodeJson } from "../protocol/json.ts";
import { DEFAULT_LIMITS, type JsonLimits } from "../protocol/limits.ts";
import type { ResultDocument } from "../protocol/result.ts";

export type PackedResult = readonly [rest: string, result: string, args: string | null, kwargs: string | null];

/** Of text that we wrote ourselves: a task may have sent 10^6 others, and each is one of its children. */
const LIMITS: JsonLimits = {
  ...DEFAULT_LIMITS,
  maxBytes: Number.POSITIVE_INFINITY,
  maxKeysInAll: Number.POSITIVE_INFINITY,
};

/** @throws {EncodeError} `children` or another field cannot be sent as JSON */
export function packResult(document: ResultDocument): PackedResult {
  const { result, args, kwargs, ...rest } = document;
  return [encodeJson(rest, "the result document", LIMITS), result, args ?? null, kwargs ?? null];
}

export function unpackResult([rest, result, args, kwargs]: PackedResult): ResultDocument {
  return {
    ...(decodeJson(rest, LIMITS) as Omit<ResultDocument, "result">),
    result,
    ...(args === null ? {} : { args }),
    ...(kwargs === null ? {} : { kwargs }),
  };
}

/** About how many bytes it takes. */
export function sizeOf([rest, result, args, kwargs]: PackedResult): number {
  return rest.length + result.length + (args?.length ?? 0) + (kwargs?.length ?? 0);
}
