/**
 * Whether two definitions ask for the same: a hash over the canonical JSON of what was asked for. Each process may declare what recurs when it
 * starts; the same again must change nothing, whoever says it, and whenever.
 */
import { createHash } from "node:crypto";
import type { Definition } from "../recurrence.ts";

/**
 * Equal for equal definitions; 32 hexadecimal digits. Left out is what says who declared it and when, and not what was asked for:
 *
 * - of the message: `origin`, `rootId`, `parentId`, `replyTo` and `correlationId`;
 * - of `every`: the anchor, which is the time of the declaration unless a start was asked for, and that is in `fromMs`.
 *
 * Tags are a set: their order does not count.
 */
export function fingerprint(definition: Definition): string {
  const { rule, call, ...rest } = definition;
  const { origin: _o, rootId: _r, parentId: _p, replyTo: _t, correlationId: _c, ...message } = call.message;
  const asked = {
    ...rest,
    rule: rule.kind === "every" ? { kind: rule.kind, everyMs: rule.everyMs } : rule,
    call: { ...call, tags: [...new Set(call.tags)].sort(), message },
  };
  return createHash("sha256").update(canonical(asked)).digest("hex").slice(0, 32);
}

/** JSON with the names of each object in order, as it would be after a trip through JSON. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, each: unknown) => {
    if (typeof each !== "object" || each === null || Array.isArray(each)) return each;
    return Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
