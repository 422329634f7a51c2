/**
 * Celery's signed content (its serializer `auth`): the body inside, in another format, with the name and the RSA-PSS signature of its sender.
 * The body alone is signed. Who can write to the broker can still send it again, to another queue, under another task's name, with another
 * eta: it shows who wrote the arguments, and replaces no access control of the broker.
 *
 * Two envelopes are about. Celery's of today has signer and signature in base64; the older one has them as they are, and the length of a
 * signature follows from the key. Both are read; which is written is a setting, for neither Celery reads the other's.
 */
import { constants, type KeyObject, sign, verify } from "node:crypto";
import { InvalidInputError } from "../../kit/errors.ts";
import { DecodeError, quoted } from "../refusal.ts";
import type { Certificate } from "./certificate.ts";
import type { ContentFormat } from "./format.ts";
import { JSON_FORMAT } from "./json.ts";

export interface AuthOptions {
  /** Who signs here. Undefined: nothing is written. */
  readonly signer: { readonly id: string; readonly key: KeyObject } | undefined;
  /** Whom to believe, by id. Undefined: nothing is read. */
  readonly trusted: ReadonlyMap<string, Certificate> | undefined;
  /** Celery's `security_digest`: "sha256". */
  readonly digest: string;
  readonly envelope: "base64" | "raw";
  /** What the body may be written in, by content type. */
  readonly inner: ReadonlyMap<string, ContentFormat>;
  readonly nowMs: () => number;
}

const SEPARATOR = Buffer.from([0x00, 0x01]);
const PADDING = constants.RSA_PKCS1_PSS_PADDING;
const BASE64 = /^[A-Za-z0-9+/\r\n]*={0,2}\s*$/;

export function authFormat(options: AuthOptions): ContentFormat {
  return {
    name: "auth",
    contentType: "application/data",
    contentEncoding: "utf-8",
    toJsonText(bytes, limits) {
      const { body, contentType } = verified(bytes, options);
      const format = options.inner.get(contentType);
      if (format !== undefined) return format.toJsonText(body, limits);
      const known = [...options.inner.keys()].map((each) => quoted(each)).join(" or ");
      throw new DecodeError("ERR_CONTENT_TYPE", `the signed content is ${quoted(contentType)}; send ${known}`);
    },
    fromJsonText(text) {
      const { signer, digest, envelope } = options;
      if (signer === undefined) {
        throw new InvalidInputError('to sign, set securityKey and securityCertificate (the serializer is "auth")');
      }
      const body = JSON_FORMAT.fromJsonText(text);
      const key = { key: signer.key, padding: PADDING, saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN };
      const head = [Buffer.from(signer.id), sign(digest, body, key)].map((part) =>
        envelope === "raw" ? part : Buffer.from(part.toString("base64")),
      );
      const types = [JSON_FORMAT.contentType, JSON_FORMAT.contentEncoding].map((each) => Buffer.from(each));
      const fields = [...head, ...types, Buffer.from(body)];
      return Buffer.from(joined(fields).toString("base64"));
    },
  };
}

interface Signed {
  readonly body: Uint8Array;
  readonly contentType: string;
}

/** What is signed, once its signature has been found good. @throws {DecodeError} ERR_SIGNATURE, ERR_SIGNER, ERR_SIGNER_EXPIRED */
function verified(bytes: Uint8Array, { trusted, digest, nowMs }: AuthOptions): Signed {
  if (trusted === undefined) throw new DecodeError("ERR_SIGNER", "no signer is trusted here: set securityCertStore");
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!BASE64.test(text)) throw noEnvelope("it is not base64");
  const raw = Buffer.from(text, "base64");
  const [first, afterFirst] = cut(raw);
  const plainly = trusted.get(first.toString("utf8"));
  const signer = plainly ?? trusted.get(Buffer.from(first.toString("latin1"), "base64").toString("utf8"));
  if (signer === undefined) throw unknown(first);
  if (signer.notAfterMs <= nowMs()) {
    const ended = new Date(signer.notAfterMs).toISOString();
    throw new DecodeError(
      "ERR_SIGNER_EXPIRED",
      `the signer's certificate ${quoted(signer.id, 200)} has expired on ${ended}`,
    );
  }
  const [signature, rest] = plainly === undefined ? encodedSignature(afterFirst) : plainSignature(afterFirst, signer);
  const [contentType, afterType] = cut(rest);
  const [, body] = cut(afterType);
  const key = { key: signer.publicKey, padding: PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO };
  if (!isGood(() => verify(digest, body, key, signature))) {
    throw new DecodeError("ERR_SIGNATURE", `the signature is not that of ${quoted(signer.id, 200)} over this body`);
  }
  return { body, contentType: contentType.toString("latin1") };
}

function encodedSignature(rest: Buffer): [Buffer, Buffer] {
  const [field, after] = cut(rest);
  return [Buffer.from(field.toString("latin1"), "base64"), after];
}

/** Its bytes may hold a separator: the key says how many they are. */
function plainSignature(rest: Buffer, { publicKey }: Certificate): [Buffer, Buffer] {
  const length = (publicKey.asymmetricKeyDetails?.modulusLength ?? 0) >> 3;
  if (!rest.subarray(length, length + SEPARATOR.length).equals(SEPARATOR))
    throw noEnvelope("its signature is cut short");
  return [rest.subarray(0, length), rest.subarray(length + SEPARATOR.length)];
}

function isGood(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}

/** What stands before the next separator, and after it. */
function cut(bytes: Buffer): [Buffer, Buffer] {
  const at = bytes.indexOf(SEPARATOR);
  if (at < 0) throw noEnvelope("a part is missing");
  return [bytes.subarray(0, at), bytes.subarray(at + SEPARATOR.length)];
}

function joined(fields: readonly Buffer[]): Buffer {
  return Buffer.concat(fields.flatMap((field, i) => (i === 0 ? [field] : [SEPARATOR, field])));
}

/** Read as today's envelope has it, where it can be. */
function unknown(field: Buffer): DecodeError {
  const text = field.toString("utf8");
  const decoded = Buffer.from(text, "base64");
  const id = decoded.toString("base64") === text ? decoded.toString("utf8") : text;
  return new DecodeError("ERR_SIGNER", `no certificate of ${quoted(id, 200)} is in the store`);
}

function noEnvelope(why: string): DecodeError {
  return new DecodeError("ERR_SIGNATURE", `the body is no signed content of Celery's: ${why}`);
}
