/** Signed content of this app: its key, its certificate and those it trusts, from the settings (Celery's `setup_security`). */
import type { Clock } from "../kit/clock.ts";
import { authFormat } from "../protocol/content/auth.ts";
import { readCertificate, readCertStore, readKey } from "../protocol/content/certificate.ts";
import type { ContentFormat } from "../protocol/content/format.ts";
import { ACCEPT_JSON, type ContentFormats } from "../protocol/content.ts";
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
