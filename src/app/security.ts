/** Signed content of this app: its key, its certificate and those it trusts, from the files that its settings name (Celery's `setup_security`). */
import type { KeyObject } from "node:crypto";
import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../kit/clock.ts";
import { InvalidInputError, messageOf } from "../kit/errors.ts";
import { authFormat } from "../protocol/content/auth.ts";
import { type Certificate, certificateOf, privateKeyOf } from "../protocol/content/certificate.ts";
import type { ContentFormat } from "../protocol/content/format.ts";
import { ACCEPT_JSON, type ContentFormats } from "../protocol/content.ts";
import { quoted } from "../protocol/refusal.ts";
import type { Config } from "./config.ts";

/**
 * @param formats of the app: a signed body may be written in whatever of these the app accepts
 * @throws {InvalidInputError} a file cannot be used
 */
export async function authOf(config: Config, clock: Clock, formats: ContentFormats): Promise<ContentFormat> {
  const { securityKey, securityCertificate, securityCertStore, securityKeyPassword } = config;
  const others = config.acceptContent.filter((name) => name !== "auth" && name !== "application/data");
  return authFormat({
    signer:
      securityKey === undefined || securityCertificate === undefined
        ? undefined
        : { id: readCertificate(securityCertificate).id, key: readKey(securityKey, securityKeyPassword) },
    trusted: securityCertStore === undefined ? undefined : readCertStore(securityCertStore, clock.wallMs()),
    digest: config.securityDigest,
    envelope: config.securityEnvelope,
    inner: new Map([...ACCEPT_JSON, ...(await formats.accept(others))]),
    nowMs: () => clock.wallMs(),
  });
}

/** @throws {InvalidInputError} it cannot be read, or is no certificate of an RSA key */
export function readCertificate(path: string): Certificate {
  return reading("certificate", path, certificateOf);
}

/** @throws {InvalidInputError} it cannot be read, is no RSA key, or has another password */
export function readKey(path: string, password: string | undefined): KeyObject {
  return reading("private key", path, (pem) => privateKeyOf(pem, password));
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
    const { id, notAfterMs } = certificate;
    if (notAfterMs <= nowMs) {
      const ended = new Date(notAfterMs).toISOString();
      throw new InvalidInputError(
        `the certificate ${quoted(file, 200)} has expired on ${ended}; take it out of the store`,
      );
    }
    if (store.has(id)) {
      throw new InvalidInputError(`the certificate ${quoted(file, 200)} is in the store twice: ${quoted(id, 200)}`);
    }
    store.set(id, certificate);
  }
  if (store.size === 0) throw new InvalidInputError(`there is no certificate at ${quoted(path, 200)}`);
  return store;
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

function filesOf(path: string): string[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const found = globSync(isFolder ? join(path, "*") : path);
  return found.filter((file) => statSync(file).isFile());
}
