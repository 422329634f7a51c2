/**
 * Task messages out in protocol 1, for workers that are older than Celery 4 (`taskProtocol: 1`): everything in the body, no headers but the
 * caller's own (PROTOCOL 2.2). What the body has no place for is lost, as in Celery: root, parent, shadow, ignore_result, stamps.
 */
import { isoFromMs } from "../kit/iso8601.ts";
import { encodeTask } from "./encode.ts";
import { FIELD_HEADERS, isBrokerHeader } from "./headers.ts";
import { jsonElements, jsonMembers } from "./json.ts";
import type { TaskMessage, WireMessage } from "./message.ts";

/**
 * The message for a broker, its arguments as the text that they are.
 *
 * A message with the rest of a chain goes out in protocol 2, which every worker reads as well: protocol 1 has no place for it, and
 * Celery drops it there.
 *
 * @param nowMs to say how long the message still lives; without it the broker is not told
 */
export function encodeTaskV1(message: TaskMessage, nowMs?: number): WireMessage {
  const wire = encodeTask(message, nowMs);
  const [args = "[]", kwargs = "{}", embedText = "null"] = jsonElements(message.body);
  const embed = embedText.startsWith("{") ? jsonMembers(embedText) : new Map<string, string>();
  if ((embed.get("chain") ?? "null") !== "null") return wire;
  const fields: readonly (readonly [name: string, text: string])[] = [
    ["task", JSON.stringify(message.task)],
    ["id", JSON.stringify(message.id)],
    ["args", args],
    ["kwargs", kwargs],
    ["group", textOrNull(message.group)],
    ["group_index", String(message.groupIndex ?? null)],
    ["retries", String(message.retries)],
    ["eta", momentOrNull(message.etaMs)],
    ["expires", momentOrNull(message.expiresMs)],
    ["utc", "true"],
    ["callbacks", embed.get("callbacks") ?? "null"],
    ["errbacks", embed.get("errbacks") ?? "null"],
    ["timelimit", `[${secondsOrNull(message.hardLimitMs)}, ${secondsOrNull(message.softLimitMs)}]`],
    ["taskset", textOrNull(message.group)],
    ["chord", embed.get("chord") ?? "null"],
  ];
  const body = `{${fields.map(([name, text]) => `"${name}": ${text}`).join(", ")}}`;
  return { body: Buffer.from(body, "utf8"), properties: wire.properties, headers: ownHeaders(message) };
}

/** The caller's own; a header of Celery's name would make protocol 2 of it. */
function ownHeaders({ headers = {} }: TaskMessage): Record<string, unknown> {
  const own: Record<string, unknown> = Object.create(null);
  for (const name of Object.keys(headers)) {
    if (!FIELD_HEADERS.has(name) && !isBrokerHeader(name) && !STAMPS.has(name)) own[name] = headers[name];
  }
  return own;
}

const STAMPS = new Set(["stamps", "stamped_headers", "replaced_task_nesting"]);

function textOrNull(value: string | undefined): string {
  return value === undefined ? "null" : JSON.stringify(value);
}

function momentOrNull(ms: number | undefined): string {
  return ms === undefined ? "null" : JSON.stringify(isoFromMs(ms));
}

function secondsOrNull(ms: number | undefined): string {
  return ms === undefined ? "null" : String(ms / 1_000);
}
