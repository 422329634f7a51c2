/**
 * The URL of a broker in Redis, as kombu takes it (PROTOCOL 8.8), and its TLS:
 *
 *   redis://user:password@host:6379/0            rediss://…?ssl_cert_reqs=required&ssl_ca_certs=/file
 *   sentinel://:password@h1:26379/0;sentinel://h2    with the transport options master_name and sentinel_kwargs
 *   redis+sentinel://user:password@h1,h2/NAME/0  Lovage's own form of the same, and rediss+sentinel://
 */
import type { ConnectionOptions } from "node:tls";
import { InvalidInputError } from "../../kit/errors.ts";
import { redactUrl } from "../../kit/redact.ts";
import { SSL_NAMES, tlsOptions } from "../../kit/tls.ts";
import { parseRedisUrl, type RedisUrl } from "../../redis/url.ts";

export interface Place {
  readonly url: RedisUrl;
  readonly tls: ConnectionOptions;
  /** Certificates are not checked: anybody could be at the other end. */
  readonly isUnchecked: boolean;
}

export interface PlaceOptions {
  /** `brokerUseSsl`. */
  readonly useSsl?: boolean | Readonly<Record<string, unknown>> | undefined;
  /** `brokerTransportOptions`. */
  readonly transport?: Readonly<Record<string, unknown>> | undefined;
}

/** @throws {InvalidInputError} says what is wrong with which URL, without its password */
export function parseBrokerUrl(text: string, { useSsl, transport = {} }: PlaceOptions = {}): Place {
  const urls = text.split(";").map((each) => each.trim());
  const [first = ""] = urls;
  const isKombuSentinel = /^sentinel:/i.test(first);
  if (!isKombuSentinel && urls.length > 1) {
    throw new InvalidInputError(
      `the broker URL ${JSON.stringify(redactUrl(text))} is several: only those of Sentinels are one broker`,
    );
  }
  const [plain, parameters] = withoutSsl(isKombuSentinel ? sentinels(urls, transport, text) : first, text);
  const parsed = parseRedisUrl(plain, "broker");
  if (parsed.kind === "cluster") {
    throw new InvalidInputError(
      `${parsed.shown} is a Cluster: kombu's keys are in many slots, so a broker cannot be in one`,
    );
  }
  const isTls = parsed.tls || (useSsl !== undefined && useSsl !== false);
  const table = typeof useSsl === "object" ? useSsl : {};
  const tls = { ...tlsOptions(table, "brokerUseSsl"), ...tlsOptions(parameters, "the broker URL") };
  const shown = redactUrl(text);
  return { url: { ...parsed, tls: isTls, shown }, tls, isUnchecked: isTls && tls.rejectUnauthorized === false };
}

/** The parameters of TLS apart from the others, of which there are none here but the Sentinels'. */
function withoutSsl(text: string, whole: string): [string, Record<string, string>] {
  const at = text.indexOf("?");
  if (at < 0) return [text, {}];
  const rest = new URLSearchParams();
  const parameters: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(text.slice(at + 1))) {
    if ((SSL_NAMES as readonly string[]).includes(name)) parameters[name] = value;
    else if (name.startsWith("ssl_")) {
      throw new InvalidInputError(
        `the broker URL ${JSON.stringify(redactUrl(whole))} has the unknown parameter ${JSON.stringify(name)}: there are ${SSL_NAMES.join(", ")}`,
      );
    } else rest.append(name, value);
  }
  const query = rest.toString();
  return [text.slice(0, at) + (query === "" ? "" : `?${query}`), parameters];
}

const FORM = /^sentinel:\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i;

/** kombu's list of URLs as one of ours: user, password and database are the first's that names any, and are Redis' own. */
function sentinels(urls: readonly string[], transport: Readonly<Record<string, unknown>>, whole: string): string {
  const shown = JSON.stringify(redactUrl(whole));
  const option = (name: string, camel: string) => transport[name] ?? transport[camel];
  const master = option("master_name", "masterName");
  if (typeof master !== "string" || master === "") {
    throw new InvalidInputError(
      `the broker URL ${shown} needs to know its master: brokerTransportOptions { master_name: "mymaster" }`,
    );
  }
  let login: string | undefined;
  let database: string | undefined;
  let query: string | undefined;
  const hosts = urls
    .filter((url) => url !== "")
    .map((url) => {
      const match = FORM.exec(url);
      if (match === null) {
        throw new InvalidInputError(
          `the broker URL ${shown} is no list of Sentinels: sentinel://host:26379;sentinel://host:26379`,
        );
      }
      const [, user, host = "", path, parameters] = match;
      login ||= user;
      database ||= path;
      query ||= parameters;
      return host;
    });
  const kwargs = option("sentinel_kwargs", "sentinelKwargs") as Readonly<Record<string, unknown>> | undefined;
  const parameters = new URLSearchParams(query);
  for (const [name, parameter] of [
    ["username", "sentinel_user"],
    ["password", "sentinel_password"],
  ] as const) {
    const value = kwargs?.[name];
    if (typeof value === "string" && value !== "") parameters.set(parameter, value);
  }
  const at = login === undefined ? "" : `${login}@`;
  return `redis+sentinel://${at}${hosts.join(",")}/${encodeURIComponent(master)}/${database ?? ""}?${parameters}`;
}
