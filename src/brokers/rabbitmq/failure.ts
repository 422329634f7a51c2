/** What amqplib and the system say when something fails, as one line that names who, why, and what to look at. */
import { messageOf } from "../../kit/errors.ts";
import { BrokerUnavailableError } from "../errors.ts";
import type { RabbitmqUrl } from "./url.ts";

/** AMQP reply codes. */
export const ACCESS_REFUSED = 403;
export const NOT_FOUND = 404;
export const RESOURCE_LOCKED = 405;
export const PRECONDITION_FAILED = 406;
export const NOT_IMPLEMENTED = 540;

/** AMQP's class of exchange methods: which of the two a refused declaration is about. */
export const EXCHANGE_CLASS = 40;

/** The AMQP reply code, or undefined where the failure is none of the broker's. */
export function replyCode(error: unknown): number | undefined {
  return numberAt(error, "code");
}

/** The class of the AMQP method that was refused. */
export function classId(error: unknown): number | undefined {
  return numberAt(error, "classId");
}

export function connectFailure(error: unknown, url: RabbitmqUrl): BrokerUnavailableError {
  return new BrokerUnavailableError(`cannot connect to ${url.shown}: ${whyNot(error, url)}`, { cause: error });
}

/** amqplib's wrapping taken off: `404 NOT_FOUND - no queue 'x' in vhost '/'`. */
export function brokersWords(error: unknown): string {
  const text = messageOf(error);
  const said = /(\d{3}) \([A-Z_-]+\) with message "([\s\S]*)"$/.exec(text);
  return oneLine(said === null ? text : `${said[1]} ${said[2]}`);
}

function whyNot(error: unknown, url: RabbitmqUrl): string {
  const place = `${url.hostname}:${url.port}`;
  const text = messageOf(error);
  switch (systemCode(error)) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the host name ${JSON.stringify(url.hostname)} is not known: check it, and the name service`;
    case "ECONNREFUSED":
      return `nothing listens on ${place}: check that RabbitMQ runs there, and the port`;
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
      return `${place} cannot be reached: check the address and the network`;
    case "ECONNRESET":
    case "EPIPE":
      return `${place} ended the connection before it was open: check that RabbitMQ listens there${tlsHint(url)}`;
    default:
      break;
  }
  if (/ACCESS[_-]REFUSED/.test(text)) {
    return `user ${JSON.stringify(url.username)} was refused: check user name and password (guest may come from localhost only)`;
  }
  if (/ConnectionOpenOk; got <ConnectionClose/.test(text)) {
    return `the virtual host ${JSON.stringify(url.vhost)} does not exist, is full, or user ${JSON.stringify(url.username)} may not use it`;
  }
  if (/Handshake terminated by server/.test(text)) return `refused: ${brokersWords(error)}`;
  if (/closed abruptly/.test(text)) {
    return `${place} ended the connection before it was open: check that RabbitMQ listens there${tlsHint(url)}`;
  }
  if (/Invalid frame|exceeds maxFrameSize|Unknown frame type|Expected \w+; got|Frame on channel/.test(text)) {
    return `what listens on ${place} does not speak AMQP 0-9-1: check the port${tlsHint(url)}`;
  }
  return oneLine(text);
}

function tlsHint(url: RabbitmqUrl): string {
  return url.tls ? ", and that it is the TLS one" : " (amqps:// if it is the TLS one)";
}

function systemCode(error: unknown): string | undefined {
  // A name with several addresses gives one error for each.
  const one = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
  const code = (one as { code?: unknown } | undefined)?.code ?? (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

function numberAt(error: unknown, name: "code" | "classId"): number | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const value = (error as Record<string, unknown>)[name];
  return typeof value === "number" ? value : undefined;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, 400);
}
