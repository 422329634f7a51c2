/** What `unacked` holds of a message: `[envelope, exchange, routing_key]` as JSON. The envelope is cut out as it was written. Pure. */
import { isUtf8 } from "node:buffer";
import { readText } from "./envelope.ts";

export interface UnackedRecord {
  readonly raw: Buffer;
  readonly exchange: string;
  readonly routingKey: string;
}

/** Undefined when it is none. */
export function readRecord(bytes: Buffer): UnackedRecord | undefined {
  if (!isUtf8(bytes)) return undefined;
  const text = bytes.toString();
  const value = readText(text);
  if (!Array.isArray(value) || value.length !== 3) return undefined;
  const [, exchange, routingKey] = value as unknown[];
  if (typeof exchange !== "string" || typeof routingKey !== "string") return undefined;
  // The two texts at the end are passed over backwards: the envelope may be large, and is left as it is.
  const second = textBefore(text, text.lastIndexOf("]"));
  const first = textBefore(text, text.lastIndexOf(",", second));
  const raw = text.slice(text.indexOf("[") + 1, text.lastIndexOf(",", first)).trim();
  return { raw: Buffer.from(raw), exchange, routingKey };
}

/** Where the string begins that ends before `at`: within one, every quote has an odd number of backslashes before it. */
function textBefore(text: string, at: number): number {
  let open = text.lastIndexOf('"', text.lastIndexOf('"', at) - 1);
  while (open > 0 && isEscaped(text, open)) open = text.lastIndexOf('"', open - 1);
  return open;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes += 1;
  return slashes % 2 === 1;
}
