/**
 * Where a Redis is, in Celery's words too: kombu's list of Sentinels, its parameters for TLS in the URL, and settings that complete the
 * URL (`redis_username`, `redis_backend_use_ssl`, `master_name`).
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { InvalidInputError, messageOf } from "../kit/errors.ts";
import { redactUrl } from "../kit/redact.ts";
import { parseRedisUrl, type RedisUrl } from "./url.ts";

export interface PlaceOptions {
  /** What is there, for errors: "result backend". */
  readonly what: string;
  /** The setting that `masterName` is from, for the error when it is missing. */
  readonly masterSetting?: string;
  readonly masterName?: string | undefined;
  readonly sentinelUsername?: string | undefined;
  readonly sentinelPassword?: string | undefined;
  /** Where the URL has none. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** True, Node's names (`ca`, `cert`, `key`, …), or kombu's (`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`), which are files. */
  readonly ssl?: boolean | Readonly<Record<string, unknown>> | undefined;
}

export interface Place {
  readonly url: RedisUrl;
  readonly tls: ConnectionOptions;
}

const TLS_PARAMETERS = ["ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"] as const;

/**
 * @param text `redis://…`, `rediss://…?ssl_ca_certs=FILE`, `redis+sentinel://…/MASTER/0`; or kombu's
 *   `sentinel://host:26379/0;sentinel://host` with a `masterName`
 * @throws {InvalidInputError} what is wrong with which URL or file, without its password
 */
export function placeOf(text: string, options: PlaceOptions): Place {
  const { bare, parameters } = withoutTlsParameters(text);
  const asked = typeof options.ssl === "object" ? options.ssl : {};
  const parsed = /^sentinel:/i.test(bare) ? sentinels(bare, options) : parseRedisUrl(bare, options.what);
  const tls = parsed.tls || options.ssl === true || typeof options.ssl === "object";
  if (!tls && Object.keys(parameters).length > 0) {
    throw new InvalidInputError(
      `the ${options.what} URL ${JSON.stringify(redactUrl(text))} has parameters for TLS and does not begin with rediss: begin it with rediss://, or leave them out`,
    );
  }
  const url = {
    ...parsed,
    tls,
    username: parsed.username ?? options.username,
    password: parsed.password ?? options.password,
    shown: redactUrl(text),
  };
  return { url, tls: tlsOptions({ ...parameters, ...asked }) };
}

/** As Celery reads it: user, password and database are those of the first part. */
function sentinels(text: string, options: PlaceOptions): RedisUrl {
  const { what, masterName, masterSetting = "master_name" } = options;
  if (masterName === undefined) {
    throw new InvalidInputError(
      `the ${what} URL ${JSON.stringify(redactUrl(text))} names Sentinels, but not whose: set ${masterSetting}, or write redis+sentinel://host:26379/MASTER`,
    );
  }
  const hosts: string[] = [];
  let login = "";
  let database = "";
  for (const [i, part] of text.split(";").entries()) {
    const [, user, host = "", path = ""] =
      /^(?:([^@/]*)@)?([^/?]*)((?:\/[^?]*)?)/.exec(part.trim().replace(/^sentinel:\/\//i, "")) ?? [];
    hosts.push(host);
    if (i > 0) continue;
    if (user !== undefined) login = `${user}@`;
    database = path;
  }
  const url = `redis+sentinel://${login}${hosts.join(",")}/${encodeURIComponent(masterName)}${database}`;
  const { sentinelUsername, sentinelPassword } = options;
  return { ...parseRedisUrl(url, what), sentinelUsername, sentinelPassword };
}

function withoutTlsParameters(text: string): { bare: string; parameters: Record<string, string> } {
  const at = text.indexOf("?");
  const parameters: Record<string, string> = {};
  if (at < 0) return { bare: text, parameters };
  const query = new URLSearchParams(text.slice(at + 1));
  for (const name of TLS_PARAMETERS) {
    const value = query.get(name);
    if (value !== null) parameters[name] = value;
    query.delete(name);
  }
  return { bare: text.slice(0, at) + (query.size === 0 ? "" : `?${query}`), parameters };
}

function tlsOptions(given: Readonly<Record<string, unknown>>): ConnectionOptions {
  const { ssl_cert_reqs: checked, ssl_ca_certs: ca, ssl_certfile: cert, ssl_keyfile: key, ...node } = given;
  if (checked !== undefined && !/^(?:cert_)?(?:required|2)$/i.test(String(checked).replace(/^.*\./, ""))) {
    throw new InvalidInputError(
      `ssl_cert_reqs is ${JSON.stringify(checked)}: a certificate that is not checked protects from nobody; name its authority by ssl_ca_certs, and require it`,
    );
  }
  return {
    ...(node as ConnectionOptions),
    ...(ca === undefined || ca === null ? {} : { ca: fileText(ca, "ssl_ca_certs") }),
    ...(cert === undefined || cert === null ? {} : { cert: fileText(cert, "ssl_certfile") }),
    ...(key === undefined || key === null ? {} : { key: fileText(key, "ssl_keyfile") }),
  };
}

function fileText(path: unknown, name: string): string {
  try {
    return readFileSync(String(path), "utf8");
  } catch (error) {
    throw new InvalidInputError(`${name}: the file ${JSON.stringify(path)} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
