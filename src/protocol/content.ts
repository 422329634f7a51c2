/**
 * From the bytes of a message to the JSON text that they mean, and back: content types, encodings, compression (`content/`). What is not
 * known, or not in the list that the application accepts, is refused before it is looked at.
 *
 * pickle has no row and cannot get one by configuration: reading it runs code of the sender's choice.
 */
import { isUtf8 } from "node:buffer";
import { InvalidInputError } from "../kit/errors.ts";
import { compress, decompress } from "./content/compression.ts";
import type { ContentFormat } from "./content/format.ts";
import { DEFAULT_LIMITS, type JsonLimits } from "./limits.ts";
import type { WireMessage } from "./message.ts";
import { DecodeError, quoted } from "./refusal.ts";

export const JSON_TYPE = "application/json";

const JSON_FORMAT: ContentFormat = {
  name: "json",
  contentType: JSON_TYPE,
  contentEncoding: "utf-8",
  toJsonText: utf8Text,
  fromJsonText: (text) => Buffer.from(text, "utf8"),
};

/** Of libraries that are loaded when an app first names them. */
const LOADERS: Readonly<Record<string, () => Promise<ContentFormat>>> = {
  yaml: async () => (await import("./content/yaml.ts")).loadYaml(),
  msgpack: async () => (await import("./content/msgpack.ts")).loadMsgpack(),
};
const NAMES_OF_TYPES: Readonly<Record<string, string>> = {
  [JSON_TYPE]: "json",
  "application/x-yaml": "yaml",
  "application/x-msgpack": "msgpack",
};

/** Those that are loaded, by content type. */
const loaded = new Map<string, ContentFormat>([[JSON_TYPE, JSON_FORMAT]]);

/**
 * Make these formats usable: Celery's `accept_content` and `task_serializer`, names or MIME types. Answers their content types.
 * @throws {InvalidInputError} one is not known here
 * @throws {MissingPeerError} its package is not installed
 */
export async function loadFormats(names: readonly string[]): Promise<ReadonlySet<string>> {
  const types = new Set<string>();
  for (const each of names) types.add((await load(each)).contentType);
  return types;
}

async function load(given: string): Promise<ContentFormat> {
  const name = NAMES_OF_TYPES[given] ?? given;
  const known = [...loaded.values()].find((format) => format.name === name);
  if (known !== undefined) return known;
  const loader = Object.hasOwn(LOADERS, name) ? LOADERS[name] : undefined;
  if (loader === undefined) {
    const why = /pickle|python-serialize/.test(name) ? "; pickle runs code of the sender, it is never accepted" : "";
    throw new InvalidInputError(
      `content ${quoted(given)} is not known here: use "json", ${Object.keys(LOADERS)
        .map((each) => quoted(each))
        .join(" or ")}${why}`,
    );
  }
  const format = await loader();
  loaded.set(format.contentType, format);
  return format;
}

/** How a message that was written in JSON is to be written instead. */
export interface Dress {
  /** Of one that was loaded. */
  readonly serializer: string;
  readonly compression?: string | undefined;
}

/** @throws {InvalidInputError} the format or the compression is not known, or has no word for a value */
export function dress(wire: WireMessage, { serializer, compression }: Dress): WireMessage {
  const format = [...loaded.values()].find((each) => each.name === serializer || each.contentType === serializer);
  if (format === undefined) throw new InvalidInputError(`serializer ${quoted(serializer)} was not loaded`);
  if (format === JSON_FORMAT && compression === undefined) return wire;
  const plain = format === JSON_FORMAT ? wire.body : format.fromJsonText(Buffer.from(wire.body).toString("utf8"));
  const packed = compression === undefined ? undefined : compress(plain, compression);
  const { contentType, contentEncoding } = format;
  return {
    body: packed?.bytes ?? plain,
    properties: { ...wire.properties, contentType, contentEncoding },
    headers:
      packed === undefined
        ? wire.headers
        : Object.assign(Object.create(null), wire.headers, { compression: packed.type }),
  };
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
  return decompress(body, compression, limits.maxBytes);
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
  const format = accept.has(contentType) ? loaded.get(contentType) : undefined;
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
