/** What PostgreSQL, pg and the system say when something fails, as one line that names who, why, and what to look at. */
import { messageOf } from "../../../kit/errors.ts";
import { redactText } from "../../../kit/redact.ts";
import {
  StoreCorruptError,
  StoreFullError,
  StoreOperationError,
  StorePathError,
  StorePolicyError,
  StoreSchemaError,
  StoreUnavailableError,
} from "../../../kit/store-errors.ts";
import type { PostgresUrl } from "./url.ts";

/** The answer to a statement that was sent did not come: what became of it is not known. Never leaves this folder. */
export class AnswerLostError extends Error {}

/** The place, as failures speak of it. */
export type Place = Pick<PostgresUrl, "client" | "schema" | "shown" | "place">;

/** SQLSTATE, or what the system calls it. */
export function codeOf(error: unknown): string | undefined {
  // A name with several addresses gives one error for each.
  const one = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
  const code = (one as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/**
 * The server refused the statement and rolled it back, and the connection stands. A FATAL one ends the connection, and may come when
 * the commit is done.
 */
export function isRolledBack(error: unknown): boolean {
  const severity = (error as { severity?: unknown } | null | undefined)?.severity;
  return severity === "ERROR" && /^[0-9A-Z]{5}$/.test(codeOf(error) ?? "");
}

/** Lost a race with another transaction; the same again may win. */
export function isRetryable(error: unknown): boolean {
  return codeOf(error) === "40001" || codeOf(error) === "40P01";
}

/** The statement was refused: nothing of it was done. */
export function statementFailure(error: unknown, place: Place): Error {
  const code = codeOf(error) ?? "";
  const said = wordsOf(error);
  const at = place.shown;
  const cause = { cause: error };
  switch (code) {
    case "53100":
      return new StoreFullError(`the disk of ${at} is full: nothing was done; make room (${said})`, cause);
    case "42501":
      return new StorePolicyError(rightsLine(place, said), cause);
    case "42P01":
    case "42883":
    case "42703":
    case "42704":
    case "3F000":
      return new StoreSchemaError(
        `the schema ${JSON.stringify(place.schema)} of ${at} is not what it was when it was opened: was it removed, or changed by hand? (${said})`,
        cause,
      );
    case "55P03":
      return new StoreUnavailableError(
        `another transaction keeps what was asked for locked in ${at}: nothing was done; look for one that stays open (${said})`,
        cause,
      );
    case "25006":
      return new StoreUnavailableError(`${at} is read-only at this moment: nothing was done (${said})`, cause);
    case "XX001":
    case "XX002":
      return new StoreCorruptError(`${at} is damaged: ${said}`, cause);
    default:
      break;
  }
  if (/^(40|53|57|58|08)/.test(code)) return new StoreUnavailableError(`${at} did not do it: ${said} (${code})`, cause);
  return new StoreOperationError(`${at} refused the operation: ${said} (${code})`, cause);
}

export function rightsLine({ schema, shown, client }: Place, said: string): string {
  const role = client.user === undefined ? "its role" : JSON.stringify(client.user);
  const name = `"${schema}"`;
  return (
    `${shown}: ${role} lacks a right (${said}): GRANT USAGE ON SCHEMA ${name}, SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${name} and ` +
    `USAGE ON ALL SEQUENCES IN SCHEMA ${name} to it; to make or migrate the schema it must own it, or have CREATE ON DATABASE while there is none`
  );
}

/**
 * There is no connection: nothing was done.
 * @param opening it is the first: what is wrong with the URL is the caller's to correct
 */
export function connectFailure(error: unknown, place: Place, opening: boolean): Error {
  const wrong = whyWrong(error, place);
  const text = `cannot connect to ${place.shown}: ${wrong ?? whyNot(error, place)}`;
  if (wrong !== undefined && opening) return new StorePathError(text, { cause: error });
  return new StoreUnavailableError(text, { cause: error });
}

/** What is wrong with the URL, or with what the server allows: time does not help. */
function whyWrong(error: unknown, place: Place): string | undefined {
  const user = place.client.user === undefined ? "the user" : `user ${JSON.stringify(place.client.user)}`;
  const text = messageOf(error);
  switch (codeOf(error)) {
    case "28P01":
      return `${user} was refused: check user name and password`;
    case "28000":
      return `${user} may not log in so: ${wordsOf(error)}: check the user, and the server's pg_hba.conf`;
    case "3D000":
      return `there is no such database: ${wordsOf(error)}: create it, or correct the URL`;
    case "42501":
      return `${user} may not connect to the database: GRANT CONNECT ON DATABASE … TO the user`;
    case "ENOTFOUND":
      return `the host name ${JSON.stringify(place.client.host)} is not known: check it, and the name service`;
    default:
      break;
  }
  if (/SASL|password must be a string|Password must be/i.test(text))
    return "the server asks for a password, and the URL has none: add one";
  if (/does not support SSL/.test(text))
    return "the server does not speak TLS: use sslmode=disable, or turn on ssl in its configuration";
  if (/CERT|certificate|self[- ]signed|Hostname\/IP|altnames/i.test(`${codeOf(error) ?? ""} ${text}`)) {
    return `its certificate is not accepted (${wordsOf(error)}): name its authority by sslrootcert, or use sslmode=require, which does not look`;
  }
  return undefined;
}

function whyNot(error: unknown, { place }: Place): string {
  const text = messageOf(error);
  switch (codeOf(error)) {
    case "ECONNREFUSED":
      return `nothing listens on ${place}: check that PostgreSQL runs there, and the port`;
    case "ENOENT":
      return `there is no socket in ${place}: check that PostgreSQL runs there`;
    case "EAI_AGAIN":
      return "the name service does not answer: check the network";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
      return `${place} cannot be reached: check the address and the network`;
    case "53300":
      return "the server has no connection left: raise max_connections, or use fewer";
    case "57P03":
      return "the server is starting up, or shutting down";
    default:
      break;
  }
  if (text === "timeout exceeded when trying to connect") {
    return "all connections that this process may have to it are busy: something keeps them waiting, a lock perhaps, or it may have more";
  }
  if (/timeout/i.test(text)) {
    return `${place} does not answer as PostgreSQL does within the time allowed: check host and port, and that no firewall drops what we send`;
  }
  if (
    /terminated unexpectedly|ECONNRESET|EPIPE|socket hang up|socket disconnected/.test(`${codeOf(error) ?? ""} ${text}`)
  ) {
    return `${place} ended the connection before it was open: check that PostgreSQL listens there`;
  }
  return wordsOf(error);
}

/** One line, without passwords. */
export function wordsOf(error: unknown): string {
  const one = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
  return redactText(messageOf(one)).replace(/\s+/g, " ").trim().slice(0, 400);
}
