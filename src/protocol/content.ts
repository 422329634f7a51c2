/**
 * From the bytes of a message to the JSON text that they mean, and back: content types, encodings, compression (`content/`). What is not
 * known, or not in the list that the application accepts, is refused before it is looked at.
 *
 * pickle has no row and cannot get one by configuration: reading it runs code of the sender's choice.
 */
import { InvalidInputError } from "../kit/errors.ts";
import { compress, decompress } from "./content/compression.ts";
import type { ContentFormat } from "./content/format.ts";
import { JSON_FORMAT, JSON_TYPE } from "./content/json.ts";
import { MSGPACK_FORMAT } from "./content/msgpack.ts";
import { DEFAULT_LIMITS, type JsonLimits } from "./limits.ts";
import type { WireMessage } from "./message.ts";
import { DecodeError, quoted } from "./refusal.ts";

/** What is read, by content type. */
export type Accepted = ReadonlyMap<string, ContentFormat>;

export const ACCEPT_JSON: Accepted = new Map([[JSON_TYPE, JSON_FORMAT]]);

type Loader = () => ContentFormat | Promise<ContentFormat>;

/** Each known from its library, which is imported when an app first names it. */
const LOADERS: Readonly<Record<string, Loader>> = {
  json: () => JSON_FORMAT,
  yaml: async () => (await import("./content/yaml.ts")).loadYaml(),
  msgpack: () => MSGPACK_FORMAT,
};
const NAMES_OF_TYPES: Readonly<Record<string, string>> = {
  [JSON_TYPE]: "json",
  "application/x-yaml": "yaml",
  "application/x-msgpack": "msgpack",
  "application/data": "auth",
};

/** The formats of one app, each loaded once. */
export class ContentFormats {
  readonly #loaders: Readonly<Record<string, Loader>>;
  readonly #loaded = new Map<string, Promise<ContentFormat>>();

  /** @param auth makes the format of signed content, whose keys are the app's */
  constructor(auth?: Loader) {
    this.#loaders = auth === undefined ? LOADERS : { ...LOADERS, auth };
  }

  /**
   * By Celery's name or by content type.
   * @throws {InvalidInputError} it is not known here; of "auth": a key cannot be used
   * @throws {MissingPeerError} its package is not installed
   */
  load(given: string): Promise<ContentFormat> {
    const name = NAMES_OF_TYPES[given] ?? given;
    const known = this.#loaded.get(name);
    if (known !== undefined) return known;
    const loading = this.#load(name, given);
    this.#loaded.set(name, loading);
    // A package that is missing now may be there later.
    loading.catch(() => this.#loaded.delete(name));
    return loading;
  }

  /** Celery's `accept_content`: names or content types. */
  async accept(names: readonly string[]): Promise<Accepted> {
    const formats = await Promise.all(names.map((name) => this.load(name)));
    return new Map(formats.map((format) => [format.contentType, format]));
  }

  async #load(name: string, given: string): Promise<ContentFormat> {
    const loader = Object.hasOwn(this.#loaders, name) ? this.#loaders[name] : undefined;
    if (loader !== undefined) return loader();
    const why = /pickle|python-serialize/.test(name) ? "; pickle runs code of the sender, it is never accepted" : "";
    const known = Object.keys(this.#loaders).map((each) => quoted(each));
    throw new InvalidInputError(
      `content ${quoted(given)} is not known here: use ${known.slice(0, -1).join(", ")} or ${known.at(-1)}${why}`,
    );
  }
}

/**
 * A message that was written in JSON, in another format or compressed.
 * @param compression kombu's name
 * @throws {InvalidInputError} the compression is not known, or the format has no word for a value
 */
export function dress(wire: WireMessage, format: ContentFormat, compression?: string): WireMessage {
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
  accept: Accepted = ACCEPT_JSON,
  limits: JsonLimits = DEFAULT_LIMITS,
): string {
  if (contentType === undefined || contentType === "") {
    throw new DecodeError("ERR_CONTENT_TYPE", `there is no content type; send ${quoted(JSON_TYPE)}`);
  }
  const format = accept.get(contentType);
  if (format === undefined) {
    const accepted = [...accept.keys()].map((each) => quoted(each)).join(" or ");
    throw new DecodeError("ERR_CONTENT_TYPE", `content type ${quoted(contentType)} is not accepted; send ${accepted}`);
  }
  return format.toJsonText(payload, limits);
}
