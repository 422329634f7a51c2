/**
 * How a TLS connection is made, from what Celery is told: `broker_use_ssl` and `redis_backend_use_ssl` (true, or a table in redis-py's
 * or py-amqp's names or in those of Node's `tls.connect`), and the `ssl_…` parameters of a Redis URL (PROTOCOL 8.8).
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { InvalidInputError, messageOf } from "./errors.ts";

/** Fields of Node's that are taken as they are. */
const NODES = [
  "ca",
  "cert",
  "key",
  "passphrase",
  "pfx",
  "servername",
  "rejectUnauthorized",
  "minVersion",
  "maxVersion",
];

/** redis-py's names. */
export const SSL_NAMES = [
  "ssl_cert_reqs",
  "ssl_ca_certs",
  "ssl_ca_path",
  "ssl_ca_data",
  "ssl_certfile",
  "ssl_keyfile",
  "ssl_password",
  "ssl_keyfile_password",
  "ssl_check_hostname",
] as const;

/**
 * @param given by name; also without `ssl_`, as py-amqp has them
 * @param what the setting, for an error: "brokerUseSsl"
 * @throws {InvalidInputError} a name that is not known, a file that cannot be read
 */
export function tlsOptions(given: Readonly<Record<string, unknown>>, what: string): ConnectionOptions {
  const tls: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (NODES.includes(name)) tls[name] = value;
    else Object.assign(tls, fromPython(name.startsWith("ssl_") ? name : `ssl_${name}`, value, name, what));
  }
  return tls as ConnectionOptions;
}

function fromPython(name: string, value: unknown, shown: string, what: string): ConnectionOptions {
  switch (name) {
    case "ssl_cert_reqs":
      return certReqs(value, what);
    case "ssl_ca_certs":
      return { ca: file(value, shown, what) };
    case "ssl_ca_data":
      return { ca: String(value) };
    case "ssl_certfile":
      return { cert: file(value, shown, what) };
    case "ssl_keyfile":
      return { key: file(value, shown, what) };
    case "ssl_password":
    case "ssl_keyfile_password":
      return { passphrase: String(value) };
    case "ssl_check_hostname":
      return /^(?:false|0|no)$/i.test(String(value)) ? { checkServerIdentity: () => undefined } : {};
    default:
      throw new InvalidInputError(
        `${what} has ${JSON.stringify(shown)}, which is not known here: there are ${[...SSL_NAMES.filter((each) => each !== "ssl_ca_path"), ...NODES].join(", ")}`,
      );
  }
}

/** Python's `ssl.CERT_REQUIRED`, its number or any of its names. */
function certReqs(value: unknown, what: string): ConnectionOptions {
  const word = String(value)
    .toLowerCase()
    .replace(/^(?:ssl\.)?(?:verifymode\.)?cert_/, "");
  if (["required", "2", "optional", "1"].includes(word)) return {};
  if (["none", "0"].includes(word)) return { rejectUnauthorized: false };
  throw new InvalidInputError(
    `${what} has ssl_cert_reqs ${JSON.stringify(String(value))}: it is "required", "optional" or "none"`,
  );
}

function file(path: unknown, name: string, what: string): Buffer {
  try {
    return readFileSync(String(path));
  } catch (error) {
    throw new InvalidInputError(`${what} names a file in ${name} that cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
