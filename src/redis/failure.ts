/** What Redis, ioredis and the system say when something fails, as one line that names who, why, and what to do. */

import type { LovageError } from "../kit/errors.ts";
import { messageOf } from "../kit/errors.ts";
import {
  StoreFullError,
  StoreOperationError,
  StorePolicyError,
  StoreSchemaError,
  StoreUnavailableError,
} from "../kit/store-errors.ts";
import { type Address, type RedisUrl, showAddress } from "./url.ts";

/** The first word of an error that Redis answers: `NOSCRIPT`, `OOM`, `WRONGTYPE`; undefined: it is no answer of Redis. */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== "ReplyError") return undefined;
  return /^-?([A-Z][A-Z0-9_]*)/.exec(error.message)?.[1] ?? "ERR";
}

/** The error without the command that ioredis hangs on it: that has a password in it, or what somebody scheduled. */
export function withoutCommand<T>(error: T): T {
  if (error instanceof Error && "command" in error) delete error.command;
  return error;
}

/** The connection leads to the wrong server now: another one is to be looked for. */
export function isElsewhere(error: unknown): boolean {
  return ["MOVED", "ASK", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "UNBLOCKED"].includes(
    replyCode(error) ?? "",
  );
}

/** What an error that Redis answered to a script means. Nothing of the call was done. */
export function refusedCall(error: Error, url: string): LovageError {
  const said = oneLine(error.message);
  const options = { cause: error };
  switch (replyCode(error)) {
    case "OOM":
      return new StoreFullError(
        `${url} is out of memory (maxmemory), and nothing was added: give it more, or let callbacks end`,
        options,
      );
    case "MISCONF":
      return /no space left/i.test(said)
        ? new StoreFullError(`${url} cannot write to its disk, which is full: ${said}`, options)
        : new StoreUnavailableError(`${url} takes no changes because it cannot write to its disk: ${said}`, options);
    case "NOPERM":
    case "NOAUTH":
      return new StorePolicyError(
        `${url} does not let this user do what a schedule needs: ${said}: allow it ~{lovage:*}* &{lovage:*}* +@all -@dangerous`,
        options,
      );
    case "WRONGTYPE":
      return new StoreSchemaError(`a key of the schedule in ${url} belongs to another program: ${said}`, options);
    case "ERR":
      if (/max number of clients/i.test(said)) return new StoreUnavailableError(`${url} refuses us: ${said}`, options);
      return new StoreOperationError(`${url} refused a script: ${said}`, options);
    default:
      return new StoreUnavailableError(`${url} cannot do it now: ${said}`, options);
  }
}

/** Why no connection came about. Wrong credentials and wrong places do not heal with time: those are the operator's. */
export function connectFailure(error: unknown, address: Address, url: RedisUrl): LovageError {
  const place = showAddress(address);
  const cannot = `cannot use Redis at ${place}`;
  const options = { cause: error };
  const text = oneLine(messageOf(error));
  switch (replyCode(error)) {
    case "WRONGPASS":
      return new StorePolicyError(`${cannot}: user or password is wrong (WRONGPASS): check them in the URL`, options);
    case "NOAUTH":
      return new StorePolicyError(`${cannot}: it asks for a password (NOAUTH): put it into the URL`, options);
    case "NOPERM":
      return new StorePolicyError(`${cannot}: the user may not do what is needed: ${text}`, options);
    case "LOADING":
      return new StoreUnavailableError(`${cannot}: it is still loading its data: try again`, options);
    case undefined:
      break;
    default:
      if (/called without any password configured|no password is set/i.test(text)) {
        return new StorePolicyError(`${cannot}: it has no password, and the URL names one: leave it out`, options);
      }
      if (/DB index|invalid DB/i.test(text)) {
        return new StorePolicyError(`${cannot}: it has no database ${url.database}: ${text}`, options);
      }
      return new StoreUnavailableError(`${cannot}: ${text}`, options);
  }
  return new StoreUnavailableError(`${cannot}: ${whyNot(error, text, address, url.tls)}`, options);
}

function whyNot(error: unknown, text: string, { host }: Address, tls: boolean): string {
  const port = tls ? "that the port speaks TLS (redis:// if it does not)" : "the port (rediss:// if it speaks TLS)";
  const code = systemCode(error) ?? "";
  // OpenSSL's and Node's words for it, whatever stands before them.
  if (/SSL_(?:WRONG_VERSION|PACKET_LENGTH)/.test(code)) return `what listens there does not speak TLS: check ${port}`;
  if (code.includes("CERT_ALTNAME")) return `its certificate is for another name: ${text}`;
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the host name ${JSON.stringify(host)} is not known: check it, and the name service`;
    case "ECONNREFUSED":
      return "nothing listens there: check that Redis runs, and the port";
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
      return "it cannot be reached: check the address and the network";
    case "ECONNRESET":
    case "EPIPE":
      return `it ended the connection before it was open: check ${port}`;
    case "EPROTO":
      return `what listens there does not speak TLS: check ${port}`;
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
      return `its certificate is signed by nobody that we trust (${text}): name its authority by NODE_EXTRA_CA_CERTS`;
    case "CERT_HAS_EXPIRED":
      return "its certificate has expired";
    default:
      break;
  }
  if (/Connection is closed|isn't writeable|did not come within/.test(text)) {
    return `it does not answer as Redis does: check ${port}`;
  }
  if (/Protocol error/.test(text)) return `what listens there does not speak Redis' protocol: check ${port}`;
  return text;
}

function systemCode(error: unknown): string | undefined {
  // A name with several addresses gives one error for each.
  const one = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
  const code = (one as { code?: unknown } | undefined)?.code ?? (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

export function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, 400);
}
