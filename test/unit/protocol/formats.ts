/** What the tests of formats share: a message in JSON, and the way there and back. */
import type { ContentFormat } from "../../../src/protocol/content/format.ts";
import { dress, jsonTextOf, payloadOf } from "../../../src/protocol/content.ts";
import { decodeJson } from "../../../src/protocol/json.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";

export function jsonMessage(text: string): WireMessage {
  return {
    body: Buffer.from(text),
    properties: { contentType: "application/json", contentEncoding: "utf-8" },
    headers: Object.assign(Object.create(null), { task: "t", id: "1" }),
  };
}

/** The value of what came in this format. */
export function readAs(format: ContentFormat, bytes: Uint8Array | string): unknown {
  return decodeJson(jsonTextOf(Buffer.from(bytes), format.contentType, acceptOnly(format)));
}

/** The value after a way through the format. */
export function thereAndBack(format: ContentFormat, text: string): unknown {
  return readAs(format, payloadOf(dress(jsonMessage(text), format)));
}

export function acceptOnly(format: ContentFormat): ReadonlyMap<string, ContentFormat> {
  return new Map([[format.contentType, format]]);
}
