/**
 * From the bytes of a message to the JSON text that they mean: content types, encodings, compression. Two tables, open
 * to more; what is not in them, or not in the list that the application accepts, is refused before it is looked at.
 *
 * pickle has no row and cannot get one by configuration: reading it runs code of the sender's choice.
 */
import { isUtf8 } from "node:buffer";
import { inflateSync } from "node:zlib";
import { InvalidInputError, messageOf } from "../kit/errors.ts";
import { DEFAULT_LIMITS, type JsonLimits } from "./limits.ts";
import type { WireMessage } from "./message.ts";
import { DecodeError, quoted } from "./refusal.ts";

/** How the payload of one content type is read. */
export interface ContentFormat {
  /** Celery's name, as in `accept_content`. */
  readonly name: string;
  readonly contentType: string;
  /** The JSON text (Python's dialect) that means what the bytes mean. @throws {DecodeError} */
  toJsonText(bytes: Uint8Array, limits: JsonLimits): string;
}

/** What the bytes are before they were compressed. @throws {DecodeError} ERR_SIZE past `maxBytes` */
export type Decompress = (bytes: Uint8Array, maxBytes: number) => Uint8Array;

export const JSON_TYPE = "application/json";

const FORMATS: readonly ContentFormat[] = [{ name: "json", contentType: JSON_TYPE, toJsonText: utf8Text }];
const BY_TYPE = new Map(FORMATS.map((format) => [format.contentType, format]));

/** By the value of the header `compression`: MIME type, or kombu's short name. */
const DECOMPRESSORS: ReadonlyMap<string, Decompress> = new Map([
  // The name says gzip; kombu means zlib (RFC 1950). A true gzip stream is refused by Python as well.
  ["application/x-gzip", inflate],
  ["gzip", inflate],
  ["zlib", inflate],
]);

/** How many times larger than it came a payload may become once it is past `ALWAYS_BYTES`. JSON packs 5 to 20 times. */
const MAX_RATIO = 100;
const ALWAYS_BYTES = 1024 * 1024;

/**
 * The content types that an application accepts, from Celery's `accept_content`: names or MIME types.
 * @throws {InvalidInputError} one is not known here
 */
export function acceptedTypes(accept: readonly string[]): ReadonlySet<string> {
  const types = new Set<string>();
  for (const each of accept) {
    const format = FORMATS.find(({ name, contentType }) => name === each || contentType === each);
    if (format === undefined) {
      const why = /pickle|python-serialize/.test(each) ? "; pickle runs code of the sender, it is never accepted" : "";
      throw new InvalidInputError(
        `acceptContent has ${quoted(each)}, which is not known here: use ${FORMATS.map(({ name }) => quoted(name)).join(" or ")}${why}`,
      );
    }
    types.add(format.contentType);
  }
  return types;
}

export const ACCEPT_JSON: ReadonlySet<string> = new Set([JSON_TYPE]);

/**
 * The payload: decompressed, its encoding and size looked at. Celery finds these errors before it asks what the message
 * is, so they are of its class a whatever the protocol.
 * @throws {DecodeError} ERR_SIZE, ERR_COMPRESSION, ERR_CONTENT_ENCODING, ERR_DECODE
 */
export function payloadOf(wire: WireMessage, limits: JsonLimits = DEFAULT_LIMITS): Uint8Array {
  const { body } = wire;
  if (body.byteLength > limits.maxBytes) {
    throw new DecodeError("ERR_SIZE", `the body has ${body.byteLength} bytes; the limit is ${limits.maxBytes}`);
  }
  const encoding = wire.properties.contentEncoding;
  if (encoding !== undefined && encoding !== "" && !KNOWN_ENCODINGS.has(encoding.toLowerCase())) {
    throw new DecodeError("ERR_CONTENT_ENCODING", `content encoding ${quoted(encoding)} is not known; use "utf-8"`);
  }
  const compression = wire.headers.compression;
  if (compression === undefined || compression === null || compression === "") return body;
  const decompress = typeof compression === "string" ? DECOMPRESSORS.get(compression) : undefined;
  if (decompress === undefined) {
    throw new DecodeError(
      "ERR_COMPRESSION",
      `compression ${quoted(compression)} is not known here; use "zlib" (application/x-gzip)`,
    );
  }
  return decompress(body, limits.maxBytes);
}

/** Python takes any codec it has; those that are met are these. Bytes that are not UTF-8 are refused whatever they say. */
const KNOWN_ENCODINGS: ReadonlySet<string> = new Set(["utf-8", "utf8", "us-ascii", "ascii", "binary", "ascii-8bit"]);

/**
 * The JSON text of the payload. The content type is compared as it stands, as Celery does: parameters are refused, also
 * `charset=utf-8`.
 * @throws {DecodeError} ERR_CONTENT_TYPE, ERR_DECODE
 */
export function jsonTextOf(
  payload: Uint8Array,
  contentType: string | undefined,
  accept: ReadonlySet<string> = ACCEPT_JSON,
  limits: JsonLimits = DEFAULT_LIMITS,
): string {
  if (contentType === undefined || contentType === "") {
    throw new DecodeError("ERR_CONTENT_TYPE", `there is no content type; send ${quoted(JSON_TYPE)}`);
  }
  const format = accept.has(contentType) ? BY_TYPE.get(contentType) : undefined;
  if (format === undefined) {
    const accepted = [...accept].map((each) => quoted(each)).join(" or ");
    throw new DecodeError("ERR_CONTENT_TYPE", `content type ${quoted(contentType)} is not accepted; send ${accepted}`);
  }
  return format.toJsonText(payload, limits);
}

/** UTF-8 to text, strictly; one byte order mark is passed over. */
function utf8Text(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new DecodeError("ERR_DECODE", "the body is not UTF-8");
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function inflate(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const maxOutputLength = Math.min(maxBytes, Math.max(ALWAYS_BYTES, bytes.byteLength * MAX_RATIO));
  try {
    return inflateSync(bytes, { maxOutputLength });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw new DecodeError(
        "ERR_SIZE",
        `the body of ${bytes.byteLength} bytes decompresses to more than ${maxOutputLength}, which is the limit`,
        { cause: error },
      );
    }
    throw new DecodeError("ERR_COMPRESSION", `the body is not zlib data: ${messageOf(error)}`, { cause: error });
  }
}
