/** JSON as it stands: what every other format is translated to and from. */
import { isUtf8 } from "node:buffer";
import { DecodeError } from "../refusal.ts";
import type { ContentFormat } from "./format.ts";

export const JSON_TYPE = "application/json";

export const JSON_FORMAT: ContentFormat = {
  name: "json",
  contentType: JSON_TYPE,
  contentEncoding: "utf-8",
  toJsonText: utf8Text,
  fromJsonText: (text) => Buffer.from(text, "utf8"),
};

/** UTF-8 to text, strictly; one byte order mark is passed over. @throws {DecodeError} ERR_DECODE */
export function utf8Text(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new DecodeError("ERR_DECODE", "the body is not UTF-8");
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}
