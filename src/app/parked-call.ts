/** From a signature to the call that waits in the schedule. What is made again when it is due is left out. */
import type { TaskMessage } from "../protocol/message.ts";
import type { ParkedMessage } from "../schedule/callback.ts";
import type { ApplyOptions } from "./send.ts";

/** What is stored of a call: what can be made again from the rest is left out. The store gives the id. */
export function parkedCall(call: TaskMessage): { message: ParkedMessage; expiresMs: number | undefined } {
  const { id, etaMs: _eta, expiresMs, argsRepr: _args, kwargsRepr: _kwargs, rootId, ...message } = call;
  return { message: rootId === undefined || rootId === id ? message : { ...message, rootId }, expiresMs };
}

/** The same of a call that recurs. Its occurrences are nobody's children: the task that declared it has long ended by then. */
export function recurringCall(call: TaskMessage): ParkedMessage {
  const { rootId: _root, parentId: _parent, ...message } = parkedCall(call).message;
  return message;
}

/** A signature's own time is for sending it; the schedule is told its own. */
export function withoutTime({ countdown: _c, eta: _e, taskId: _t, ...rest }: ApplyOptions): ApplyOptions {
  return rest;
}
