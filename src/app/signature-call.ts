/**
 * From a signature that came in a message to the message that it is sent as (PROTOCOL 11.1): what goes before its arguments, its
 * `apply_async` options by Celery's names, and what it inherits from the task that sends it.
 */
import { newTaskId } from "../kit/ids.ts";
import { decodeJson, encodeJson } from "../protocol/json.ts";
import type { TaskMessage } from "../protocol/message.ts";
import { pyTupleRepr } from "../protocol/repr.ts";
import { type Embed, NO_EMBED, readEmbed, type Signature } from "../protocol/signature.ts";
import { type Addressed, type Addressing, type ApplyOptions, addressCall } from "./send.ts";
import type { TaskOptions } from "./task-options.ts";

export interface SignatureCall {
  readonly signature: Signature;
  /** JSON texts, put before its arguments unless it is immutable; as they are, so that nothing of a number is lost. */
  readonly before: readonly string[];
  /** The task that sends it. */
  readonly parent: TaskMessage;
  /** Steps that are left after it, reversed. Default: those of its own options. */
  readonly chain?: readonly Signature[];
  /** The group that it is sent in. Default: that of its own options. */
  readonly group?: { readonly id: string; readonly index: number };
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

/**
 * @param taskOptions the task's own, when it is registered here
 * @throws {InvalidInputError} an option is not what it must be, or there is no such queue
 * @throws {DecodeError} its own links are no signatures
 */
export function callOfSignature(call: SignatureCall, taskOptions: TaskOptions, addressing: Addressing): Addressed {
  const { signature, parent, group } = call;
  const { options, kwargs, immutable } = signature;
  const before = immutable ? [] : call.before;
  const args = [...before, ...signature.args.map((each, i) => encodeJson(each, `args[${i}]`))];
  const addressed = addressCall(
    { task: signature.task, args: [], kwargs },
    applyOptions(signature, parent, addressing.config.taskInheritParentPriority),
    taskOptions,
    addressing,
  );
  const embed = embedOf(options, call.chain);
  const groupId = group?.id ?? textOf(options.group_id);
  const groupIndex = group?.index ?? indexOf(options.group_index);
  const message: Mutable<TaskMessage> = {
    ...addressed.message,
    body: `[[${args.join(", ")}], ${encodeJson(kwargs, "kwargs")}, ${encodeJson(embed, "embed")}]`,
    argsRepr: reprOf(before, signature.args, args),
  };
  if (groupId !== undefined) message.group = groupId;
  if (groupIndex !== undefined) message.groupIndex = groupIndex;
  const headers = { ...message.headers, ...carriedOf(options) };
  if (Object.keys(headers).length > 0) message.headers = headers;
  return { ...addressed, message };
}

const REPR_CHARS = 1_024;
/** Of a longer result the beginning of its text is shown: to read a megabyte for a thousand characters is not worth it. */
const READ_CHARS = 8_192;

function reprOf(before: readonly string[], args: readonly unknown[], texts: readonly string[]): string {
  try {
    if (before.every((text) => text.length <= READ_CHARS)) {
      return pyTupleRepr([...before.map((text) => decodeJson(text)), ...args], REPR_CHARS);
    }
  } catch {
    // A result that only looks like one of kombu's typed values: its text says as much.
  }
  const shown = texts.join(", ");
  return shown.length > REPR_CHARS - 5 ? `(${shown.slice(0, REPR_CHARS - 5)}...)` : `(${shown})`;
}

/** Celery's names for options that are ours in camelCase. What neither knows is Python's own, and passed over as kombu would. */
const SAME: Readonly<Record<string, keyof ApplyOptions>> = {
  countdown: "countdown",
  queue: "queue",
  exchange: "exchange",
  routing_key: "routingKey",
  priority: "priority",
  delivery_mode: "deliveryMode",
  time_limit: "timeLimit",
  soft_time_limit: "softTimeLimit",
  ignore_result: "ignoreResult",
  shadow: "shadow",
  reply_to: "replyTo",
  eta: "eta",
  expires: "expires",
  headers: "headers",
};

function applyOptions({ options, task: _ }: Signature, parent: TaskMessage, inheritsPriority: boolean): ApplyOptions {
  const given: Record<string, unknown> = {};
  for (const [name, ours] of Object.entries(SAME)) {
    const value = options[name];
    // Celery's client writes what was not said as null; and a countdown wins over an eta.
    if (value === undefined || value === null || value === "") continue;
    if (name === "eta" && given.countdown !== undefined) continue;
    given[ours] = value;
  }
  if (given.priority === undefined && inheritsPriority && parent.priority !== undefined) {
    given.priority = parent.priority;
  }
  return {
    ...(given as ApplyOptions),
    taskId: textOf(options.task_id) ?? newTaskId(),
    rootId: parent.rootId ?? parent.id,
    parentId: parent.id,
  };
}

function embedOf(options: Signature["options"], chain: readonly Signature[] | undefined): Embed {
  const { link = null, link_error: errbacks = null, chain: own = null, chord = null } = options;
  if (link === null && errbacks === null && own === null && chord === null && chain === undefined) return NO_EMBED;
  const embed = readEmbed({ callbacks: link, errbacks, chain: chain ?? own, chord });
  return embed.chain?.length === 0 ? { ...embed, chain: null } : embed;
}

/** Stamps (PROTOCOL 11.7), and how often it replaced itself. */
function carriedOf(options: Signature["options"]): Record<string, unknown> {
  const { stamped_headers: names, replaced_task_nesting: nesting } = options;
  const carried: Record<string, unknown> = {};
  if (typeof nesting === "number" && nesting > 0) carried.replaced_task_nesting = nesting;
  if (!Array.isArray(names) || names.length === 0) return carried;
  const stamps: Record<string, unknown> = {};
  for (const name of names) {
    if (typeof name === "string" && name !== "__proto__" && Object.hasOwn(options, name)) stamps[name] = options[name];
  }
  return { ...carried, stamped_headers: names.filter((each) => typeof each === "string"), stamps };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function indexOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}
