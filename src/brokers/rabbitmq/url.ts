/**
 * RabbitMQ's URL, as Celery reads it: `amqp://user:password@host:port/vhost`. What is missing is guest, guest, localhost,
 * 5672 (amqps: 5671) and the virtual host "/". `//` at the end means "/" too. Parts are percent-decoded.
 *
 * A parameter that we do not know is refused: an option that is silently ignored is worse than one that is missing.
 */
import { InvalidInputError } from "../../kit/errors.ts";
import { redactUrl } from "../../kit/redact.ts";

export interface RabbitmqUrl {
  readonly tls: boolean;
  readonly hostname: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly vhost: string;
  /** Seconds; 0 = none. */
  readonly heartbeat?: number;
  /** Without the password. */
  readonly shown: string;
}

/** kombu's names for the same transport. */
const PLAIN = new Set(["amqp:", "pyamqp:"]);
const TLS = new Set(["amqps:"]);
/** AMQP's is a 16-bit number of seconds. */
const MAX_HEARTBEAT = 65_535;

/** @throws {InvalidInputError} says what is wrong with which URL, without its password */
export function parseRabbitmqUrl(text: string): RabbitmqUrl {
  const refuse = (why: string) => new InvalidInputError(`the broker URL ${JSON.stringify(redactUrl(text))} ${why}`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse(
      "cannot be read: it has the form amqp://user:password@host:5672/vhost, and characters such as @ : / # ? % in user or password are written percent-encoded",
    );
  }
  if (!PLAIN.has(url.protocol) && !TLS.has(url.protocol)) {
    throw refuse(`has the scheme ${JSON.stringify(url.protocol.slice(0, -1))}: RabbitMQ's are amqp and amqps`);
  }
  if (url.hash !== "") throw refuse('has a part behind "#": write # as %23');
  const decode = (part: string, what: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      throw refuse(`has a ${what} that is not percent-encoded UTF-8: write % as %25`);
    }
  };

  const tls = TLS.has(url.protocol);
  const hostname = decode(url.hostname, "host").replace(/^\[|\]$/g, "") || "localhost";
  const port = url.port === "" ? (tls ? 5671 : 5672) : Number(url.port);
  const username = decode(url.username, "user") || "guest";
  const password = decode(url.password, "password") || "guest";
  const vhost = decode(url.pathname.slice(1), "virtual host") || "/";
  const heartbeat = heartbeatOf(url.searchParams, refuse);
  return {
    tls,
    hostname,
    port,
    username,
    password,
    vhost,
    ...(heartbeat === undefined ? {} : { heartbeat }),
    shown: shownUrl(tls, username, hostname, port, vhost),
  };
}

function heartbeatOf(query: URLSearchParams, refuse: (why: string) => Error): number | undefined {
  let heartbeat: number | undefined;
  for (const [name, value] of query) {
    if (name !== "heartbeat")
      throw refuse(`has the unknown parameter ${JSON.stringify(name)}: the one there is is heartbeat`);
    if (!/^\d{1,5}$/.test(value) || Number(value) > MAX_HEARTBEAT) {
      throw refuse(`has heartbeat=${value}: it is whole seconds, 0 (none) … ${MAX_HEARTBEAT}`);
    }
    heartbeat = Number(value);
  }
  return heartbeat;
}

/** As Celery shows it: `amqp://guest:**@127.0.0.1:5672//`. */
function shownUrl(tls: boolean, username: string, hostname: string, port: number, vhost: string): string {
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const path = vhost === "/" ? "/" : encodeURIComponent(vhost);
  return `${tls ? "amqps" : "amqp"}://${encodeURIComponent(username)}:**@${host}:${port}/${path}`;
}
