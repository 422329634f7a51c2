/** Certificates and keys of signed content, as files in PEM: Celery's `security_certificate`, `security_cert_store`, `security_key`. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { InvalidInputError, messageOf } from "../../kit/errors.ts";
import { quoted } from "../refusal.ts";

export interface Certificate {
  /** By which a signer is named: what Celery makes of the issuer and the serial number. */
  readonly id: string;
  readonly publicKey: KeyObject;
  readonly notAfterMs: number;
}

/** @throws {InvalidInputError} it cannot be read, or is no certificate of an RSA key */
export function readCertificate(path: string): Certificate {
  return reading("certificate", path, (pem) => {
    const certificate = new X509Certificate(pem);
    checkRsa(certificate.publicKey);
    return {
      id: `${issuerOf(certificate)} ${BigInt(`0x${certificate.serialNumber}`)}`,
      publicKey: certificate.publicKey,
      notAfterMs: Date.parse(certificate.validTo),
    };
  });
}

/**
 * Those that are trusted, by id.
 * @param path of a folder, of which all files are read, or a pattern such as `/etc/ssl/workers/*.pem`
 * @throws {InvalidInputError} there is none, two have one id, or one has expired: Celery refuses such a store as a whole
 */
export function readCertStore(path: string, nowMs: number): ReadonlyMap<string, Certificate> {
  const store = new Map<string, Certificate>();
  for (const file of filesOf(path).sort()) {
    const certificate = readCertificate(file);
    if (certificate.notAfterMs <= nowMs) {
      const ended = new Date(certificate.notAfterMs).toISOString();
      throw new InvalidInputError(
        `the certificate ${quoted(file, 200)} has expired on ${ended}; take it out of the store`,
      );
    }
    if (store.has(certificate.id)) {
      throw new InvalidInputError(
        `the certificate ${quoted(file, 200)} is in the store twice: ${quoted(certificate.id, 200)}`,
      );
    }
    store.set(certificate.id, certificate);
  }
  if (store.size === 0) throw new InvalidInputError(`there is no certificate at ${quoted(path, 200)}`);
  return store;
}

/** @throws {InvalidInputError} it cannot be read, is no RSA key, or has another password */
export function readKey(path: string, password: string | undefined): KeyObject {
  return reading("private key", path, (pem) => {
    const key = createPrivateKey(password === undefined ? pem : { key: pem, passphrase: password });
    checkRsa(key);
    return key;
  });
}

function reading<T>(what: string, path: string, read: (pem: Buffer) => T): T {
  try {
    return read(readFileSync(path));
  } catch (error) {
    throw new InvalidInputError(`the ${what} ${quoted(path, 200)} cannot be used: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function checkRsa({ asymmetricKeyType }: KeyObject): void {
  if (asymmetricKeyType === "rsa") return;
  throw new TypeError(`its key is of the type ${asymmetricKeyType ?? "unknown"}; Celery signs with RSA keys only`);
}

/** As Python's cryptography lists its parts: the values alone, in the order of the certificate. */
function issuerOf({ issuer }: X509Certificate): string {
  return issuer
    .split("\n")
    .map((line) => unescaped(line.slice(line.indexOf("=") + 1)))
    .join(" ");
}

/** Node escapes what would end a part (RFC 2253), and writes bytes that are no ASCII as they are. */
function unescaped(value: string): string {
  return value.replace(/\\([\s\S])/g, "$1");
}

function filesOf(path: string): string[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const found = globSync(isFolder ? join(path, "*") : path);
  return found.filter((file) => statSync(file).isFile());
}
