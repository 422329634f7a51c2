/** Certificates and keys of signed content, in PEM. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

export interface Certificate {
  /** By which a signer is named: what Celery makes of the issuer and the serial number. */
  readonly id: string;
  readonly publicKey: KeyObject;
  readonly notAfterMs: number;
}

/** @throws {Error} it is no certificate; {TypeError} not of an RSA key */
export function certificateOf(pem: Uint8Array): Certificate {
  const certificate = new X509Certificate(pem);
  checkRsa(certificate.publicKey);
  return {
    id: `${issuerOf(certificate)} ${BigInt(`0x${certificate.serialNumber}`)}`,
    publicKey: certificate.publicKey,
    notAfterMs: Date.parse(certificate.validTo),
  };
}

/** @throws {Error} it is no key, or has another password; {TypeError} it is no RSA key */
export function privateKeyOf(pem: Buffer, password: string | undefined): KeyObject {
  const key = createPrivateKey(password === undefined ? pem : { key: pem, passphrase: password });
  checkRsa(key);
  return key;
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
