/** Messages as a hostile or broken producer may make them. */
import assert from "node:assert/strict";
import { type Decoded, decodeTask } from "../../../src/protocol/decode.ts";
import type { TaskMessage, WireMessage } from "../../../src/protocol/message.ts";

export const BODY = "[[1],{},{}]";

export function wire(headers: unknown, body: string | Uint8Array = BODY, properties = {}): WireMessage {
  return {
    body: typeof body === "string" ? Buffer.from(body) : body,
    properties: { contentType: "application/json", contentEncoding: "utf-8", ...properties },
    headers: headers as Record<string, unknown>,
  };
}

export function v2(more: object, body: string | Uint8Array = BODY): Decoded {
  return decodeTask(wire({ task: "t", id: "i", ...more }, body));
}

export function v1(more: object): Decoded {
  return decodeTask(wire({}, JSON.stringify({ task: "t", id: "i", args: [], ...more })));
}

/** "ok", or the code of a refusal that is fit to be logged. */
export function outcome(decoded: Decoded): string {
  if (decoded.ok) return "ok";
  assert.match(decoded.refusal.reason, /^[^\p{Cc}\p{Zl}\p{Zp}]{1,500}$/u, "one printable line");
  return decoded.refusal.code;
}

export function accepted(decoded: Decoded): TaskMessage {
  assert.ok(decoded.ok, decoded.ok ? "" : decoded.refusal.reason);
  return decoded.message;
}

/** After each poison: no prototype was changed. */
export function assertClean(): void {
  for (const name of ["x", "polluted", "prototype"]) assert.equal(Reflect.get({}, name), undefined, name);
}
