/**
 * Where a Redis is. The forms:
 *
 *   redis://user:password@host:6379/0                        one server; without user and password: none; without /0: database 0
 *   redis+sentinel://user:password@host:26379,host/NAME/0    the master that the Sentinels know by NAME; user and password are Redis',
 *                                                            those of the Sentinels are ?sentinel_user=…&sentinel_password=…
 *   redis+cluster://user:password@host:6379,host:6379        any nodes of a Cluster; it has no other databases
 *   rediss://, rediss+sentinel://, rediss+cluster://         the same over TLS; certificates are checked against Node's list, and
 *                                                            what NODE_EXTRA_CA_CERTS names
 *
 * `redis://:password@host` is a password without a user. User, password and name are percent-decoded. A parameter that we do not
 * know is refused: an option that is silently ignored is worse than one that is missing.
 */
import { InvalidInputError } from "../kit/errors.ts";
import { redactUrl } from "../kit/redact.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface RedisUrl {
  readonly kind: "single" | "sentinel" | "cluster";
  readonly tls: boolean;
  /** At least one. Of a "single" one: it. */
  readonly addresses: readonly Address[];
  /** Name of the master, for Sentinels. */
  readonly master: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
  readonly database: number;
  /** Without passwords. */
  readonly shown: string;
}

/** Schemes of a Redis. */
export const REDIS_SCHEMES = [
  "redis",
  "rediss",
  "redis+sentinel",
  "rediss+sentinel",
  "redis+cluster",
  "rediss+cluster",
] as const;

const FORM = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/?#]*)@)?([^/?#]*)((?:\/[^?#]*)?)((?:\?[^#]*)?)$/i;

/**
 * @param what it is of, for the error: "schedule"
 * @throws {InvalidInputError} says what is wrong with which URL, without its password
 */
export function parseRedisUrl(text: string, what: string): RedisUrl {
  const refuse = (why: string) => new InvalidInputError(`the ${what} URL ${JSON.stringify(redactUrl(text))} ${why}`);
  const decode = (part: string, which: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      throw refuse(`has a ${which} that is not percent-encoded UTF-8: write % as %25`);
    }
  };
  const [, scheme, form, login, hosts = "", path = "", query = ""] = FORM.exec(text) ?? [];
  if (scheme === undefined) {
    throw refuse(
      "cannot be read: it has the form redis://user:password@host:6379/0, and characters such as @ : / # ? % in user or password are written percent-encoded",
    );
  }
  const kind = form === undefined ? "single" : (form.toLowerCase() as "sentinel" | "cluster");
  const tls = scheme.toLowerCase() === "rediss";
  const [username, password] = loginOf(login, decode);
  const { master, database } = placeOf(kind, path, decode, refuse);
  const addresses = hosts.split(",").map((host) => addressOf(host, kind === "sentinel" ? 26_379 : 6_379, refuse));
  if (kind === "single" && addresses.length > 1) {
    throw refuse("names several servers: for Sentinels begin it with redis+sentinel, for a Cluster with redis+cluster");
  }
  const parameters = parametersOf(query, kind, refuse);
  return {
    kind,
    tls,
    addresses,
    master,
    username,
    password,
    sentinelUsername: parameters.get("sentinel_user"),
    sentinelPassword: parameters.get("sentinel_password"),
    database,
    shown: redactUrl(text),
  };
}

export function showAddress({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

type Decode = (part: string, what: string) => string;
type Refuse = (why: string) => Error;

function loginOf(login: string | undefined, decode: Decode): [string | undefined, string | undefined] {
  if (login === undefined || login === "") return [undefined, undefined];
  const colon = login.indexOf(":");
  const [user, word] = colon < 0 ? [login, ""] : [login.slice(0, colon), login.slice(colon + 1)];
  return [decode(user, "user") || undefined, decode(word, "password") || undefined];
}

function placeOf(kind: RedisUrl["kind"], path: string, decode: Decode, refuse: Refuse) {
  const parts = path.split("/").slice(1);
  const master = kind === "sentinel" ? decode(parts.shift() ?? "", "name of the master") : "";
  if (kind === "sentinel" && master === "") {
    throw refuse("names no master: it ends with /NAME, as in redis+sentinel://host:26379/mymaster");
  }
  const [number = "", ...rest] = parts;
  if (!/^\d{0,5}$/.test(number) || rest.length > 0) {
    throw refuse(`has ${JSON.stringify(path)} where a database is named: it is a whole number, as in /0`);
  }
  if (kind === "cluster" && Number(number) > 0) throw refuse("names a database: a Redis Cluster has only database 0");
  return { master, database: Number(number) };
}

function addressOf(text: string, defaultPort: number, refuse: Refuse): Address {
  const [, six, name, port] = /^(?:\[([0-9a-f:.%]+)\]|([^[\]:]*))(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const number = port === undefined ? defaultPort : Number(port);
  if ((six === undefined && name === undefined) || number < 1 || number > 65_535) {
    throw refuse(`has ${JSON.stringify(redactUrl(text))} where host:port is expected`);
  }
  return { host: six ?? (name || "localhost"), port: number };
}

function parametersOf(query: string, kind: RedisUrl["kind"], refuse: Refuse): Map<string, string> {
  const allowed = kind === "sentinel" ? ["sentinel_user", "sentinel_password"] : [];
  const parameters = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (!allowed.includes(name)) {
      const known = allowed.length === 0 ? "there are none" : `there are ${allowed.join(", ")}`;
      throw refuse(`has the unknown parameter ${JSON.stringify(name)}: ${known}`);
    }
    if (value !== "") parameters.set(name, value);
  }
  return parameters;
}
