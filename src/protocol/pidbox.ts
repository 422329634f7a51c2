/** Celery's mailbox on the wire (PROTOCOL 14): commands to workers, and what they answer. Pure. */
import { globToRegExp } from "../kit/glob.ts";
import { decodeJson, encodeJson, isPlain } from "./json.ts";
import type { WireMessage } from "./message.ts";
import { DecodeError, quoted } from "./refusal.ts";

/** What is asked of workers. */
export interface ControlCommand {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** Node names. Absent: every worker, or those that `pattern` means. */
  readonly destination?: readonly string[];
  readonly pattern?: string;
  readonly matcher?: "glob" | "pcre";
}

/** Where an answer goes. */
export interface ReplyTo {
  readonly exchange: string;
  readonly routingKey: string;
  readonly ticket: string;
}

export interface ReceivedCommand extends ControlCommand {
  readonly replyTo?: ReplyTo;
  /** Lamport's clock of the sender. */
  readonly clock: number;
}

export interface ControlReply {
  readonly ticket: string;
  /** By node name. */
  readonly answers: Readonly<Record<string, unknown>>;
}

export function encodeCommand(
  { method, arguments: given, destination, pattern, matcher }: ControlCommand,
  { clock, expires, replyTo }: { readonly clock: number; readonly expires: number; readonly replyTo?: ReplyTo },
): WireMessage {
  const command = {
    method,
    arguments: given,
    destination: destination ?? null,
    pattern: pattern ?? null,
    matcher: matcher ?? null,
    ...(replyTo === undefined
      ? {}
      : { ticket: replyTo.ticket, reply_to: { exchange: replyTo.exchange, routing_key: replyTo.routingKey } }),
  };
  return message(command, 2, { clock, expires });
}

/** @throws {DecodeError} it is no command */
export function decodeCommand({ body, headers }: WireMessage): ReceivedCommand {
  const command = decodeJson(Buffer.from(body).toString("utf8"));
  if (!isPlain(command)) throw wrong(`it is ${quoted(command)}`);
  const { method, arguments: given = {}, destination, pattern, matcher, ticket, reply_to: replyTo } = command;
  if (typeof method !== "string" || method === "") throw wrong(`its method is ${quoted(method)}`);
  if (given !== null && !isPlain(given)) throw wrong(`its arguments are ${quoted(given)}`);
  const nodes = destination === null || destination === undefined ? [] : destination;
  if (!Array.isArray(nodes)) throw wrong(`its destination is ${quoted(destination)}`);
  return {
    method,
    arguments: given ?? {},
    clock: typeof headers.clock === "number" ? headers.clock : 0,
    ...(nodes.length === 0 ? {} : { destination: nodes.map(String) }),
    ...(typeof pattern === "string" && pattern !== "" ? { pattern } : {}),
    ...(matcher === "glob" || matcher === "pcre" ? { matcher } : {}),
    ...(isPlain(replyTo) && typeof ticket === "string"
      ? {
          replyTo: {
            exchange: textOf(replyTo.exchange),
            routingKey: textOf(replyTo.routing_key),
            ticket,
          },
        }
      : {}),
  };
}

/** Whether a worker of this name is meant. A destination goes before a pattern. */
export function isFor({ destination, pattern, matcher }: ControlCommand, node: string): boolean {
  if (destination !== undefined) return destination.includes(node);
  if (pattern === undefined || matcher === undefined) return true;
  if (matcher === "glob") return globToRegExp(pattern).test(node);
  try {
    return new RegExp(`^(?:${pattern})`).test(node);
  } catch {
    return false;
  }
}

export function encodeReply(node: string, answer: unknown, ticket: string, clock: number): WireMessage {
  return message({ [node]: answer ?? null }, 1, { ticket, clock });
}

/** @throws {DecodeError} it is no reply */
export function decodeReply({ body, headers }: WireMessage): ControlReply {
  const answers = decodeJson(Buffer.from(body).toString("utf8"));
  if (!isPlain(answers)) throw wrong(`the reply is ${quoted(answers)}`);
  return { ticket: textOf(headers.ticket), answers };
}

function message(value: unknown, deliveryMode: 1 | 2, headers: Record<string, unknown>): WireMessage {
  return {
    body: Buffer.from(encodeJson(value, "the command")),
    properties: { contentType: "application/json", contentEncoding: "utf-8", deliveryMode, priority: 0 },
    headers: Object.assign(Object.create(null), headers),
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function wrong(why: string): DecodeError {
  return new DecodeError("ERR_PROTO", `not a control command: ${why}`);
}
