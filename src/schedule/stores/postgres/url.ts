/**
 * PostgreSQL's URL, as libpq reads it: `postgres://user:password@host:port/database?sslmode=…`. What is missing is taken from PG… variables
 * and PostgreSQL's own defaults. `schema` is ours: where the tables are. So is `listen=off`: no connection for hints.
 *
 * A parameter that we do not know is refused: an option that is silently ignored is worse than one that is missing.
 */
import { readFileSync } from "node:fs";
import type { ClientConfig } from "pg";
import { InvalidInputError, messageOf } from "../../../kit/errors.ts";
import { redactUrl } from "../../../kit/redact.ts";

export interface PostgresUrl {
  /** For pg. */
  readonly client: ClientConfig;
  readonly schema: string;
  readonly listen: boolean;
  /** Without the password. */
  readonly shown: string;
  /** `host:port`, for messages. */
  readonly place: string;
}

const SCHEMES = new Set(["postgres:", "postgresql:"]);
const DEFAULT_SCHEMA = "lovage";
const DEFAULT_PORT = 5432;
const MAX_NAME_BYTES = 63;
const SSL_MODES = ["disable", "require", "verify-ca", "verify-full"];
const PARAMETERS = [
  "sslmode",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "host",
  "port",
  "user",
  "application_name",
  "schema",
  "listen",
];

/** @throws {InvalidInputError} says what is wrong with which URL, without its password */
export function parsePostgresUrl(text: string): PostgresUrl {
  const refuse = (why: string) => new InvalidInputError(`the schedule URL ${JSON.stringify(redactUrl(text))} ${why}`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse(
      "cannot be read: it has the form postgres://user:password@host:5432/database, and characters such as @ : / # ? % in user or password are written percent-encoded",
    );
  }
  if (!SCHEMES.has(url.protocol)) {
    throw refuse(
      `has the scheme ${JSON.stringify(url.protocol.slice(0, -1))}: PostgreSQL's are postgres and postgresql`,
    );
  }
  if (url.hash !== "") throw refuse('has a part behind "#": write # as %23');
  const decode = (part: string, what: string): string => {
    try {
      const decoded = decodeURIComponent(part);
      if (decoded.includes("\0")) throw new Error("NUL");
      return decoded;
    } catch {
      throw refuse(`has a ${what} that is not percent-encoded UTF-8: write % as %25`);
    }
  };
  const query = queryOf(url.searchParams, refuse);
  const host =
    query.get("host") ?? (decode(url.hostname, "host").replace(/^\[|\]$/g, "") || process.env.PGHOST || "localhost");
  const port = portOf(query.get("port") ?? (url.port || process.env.PGPORT || String(DEFAULT_PORT)), refuse);
  const user = query.get("user") ?? (decode(url.username, "user") || undefined);
  const password = decode(url.password, "password") || undefined;
  const database = decode(url.pathname.slice(1), "database") || undefined;
  const schema = query.get("schema") ?? DEFAULT_SCHEMA;
  // Functions are quoted by dollars, and the schema's name stands in them.
  if (schema === "" || Buffer.byteLength(schema) > MAX_NAME_BYTES || /^pg_|[$\0]/.test(schema)) {
    throw refuse(
      `has schema=${schema}: it is a name of 1 to ${MAX_NAME_BYTES} bytes, without "$", that does not begin with pg_`,
    );
  }
  const listen = query.get("listen") ?? "on";
  if (listen !== "on" && listen !== "off") throw refuse(`has listen=${listen}: it is on or off`);
  const client: ClientConfig = {
    host,
    port,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    application_name: query.get("application_name") ?? "lovage",
    ssl: sslOf(query, host, refuse),
  };
  return { client, schema, listen: listen === "on", shown: shownUrl(client, schema), place: placeOf(host, port) };
}

function queryOf(given: URLSearchParams, refuse: (why: string) => Error): Map<string, string> {
  const query = new Map<string, string>();
  for (const [name, value] of given) {
    if (!PARAMETERS.includes(name)) {
      throw refuse(`has the unknown parameter ${JSON.stringify(name)}: those that there are: ${PARAMETERS.join(", ")}`);
    }
    query.set(name, value);
  }
  return query;
}

function portOf(text: string, refuse: (why: string) => Error): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw refuse(`has port ${text}: it is 1 to 65535`);
  return port;
}

/**
 * libpq's modes. "allow" and "prefer" are refused: a connection that is encrypted only if nobody minds is what its reader does not expect.
 * Default: PGSSLMODE, else no TLS.
 */
function sslOf(query: Map<string, string>, host: string, refuse: (why: string) => Error): ClientConfig["ssl"] {
  const mode = query.get("sslmode") ?? process.env.PGSSLMODE ?? "disable";
  if (!SSL_MODES.includes(mode)) throw refuse(`has sslmode=${mode}: it is one of ${SSL_MODES.join(", ")}`);
  const files = ["sslrootcert", "sslcert", "sslkey"].filter((name) => query.has(name));
  if (mode === "disable") {
    if (files.length > 0) throw refuse(`has ${files[0]} without TLS: add sslmode=verify-full`);
    return false;
  }
  const [ca, cert, key] = ["sslrootcert", "sslcert", "sslkey"].map((name) => fileOf(query.get(name), name, refuse));
  return {
    rejectUnauthorized: mode !== "require" || ca !== undefined,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    // With "verify-ca" whoever has a certificate of that authority will do.
    ...(mode === "verify-full" ? {} : { checkServerIdentity: () => undefined }),
    ...(host.startsWith("/") || /^[\d.:]+$/.test(host) ? {} : { servername: host }),
  };
}

function fileOf(path: string | undefined, name: string, refuse: (why: string) => Error): string | undefined {
  if (path === undefined || path === "system") return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw refuse(`has ${name}=${path}, which cannot be read: ${messageOf(error)}`);
  }
}

/** `postgres://user:**@host:5432/database`. */
function shownUrl({ user, password, host = "", port = DEFAULT_PORT, database }: ClientConfig, schema: string): string {
  const name = user === undefined ? "" : encodeURIComponent(user);
  const login = password === undefined ? (name === "" ? "" : `${name}@`) : `${name}:**@`;
  const path = database === undefined ? "" : `/${encodeURIComponent(database)}`;
  const query = [
    ...(host.startsWith("/") ? [`host=${host}`] : []),
    ...(schema === DEFAULT_SCHEMA ? [] : [`schema=${encodeURIComponent(schema)}`]),
  ].join("&");
  return `postgres://${login}${host.startsWith("/") ? "" : placeOf(host, port)}${path}${query === "" ? "" : `?${query}`}`;
}

function placeOf(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
