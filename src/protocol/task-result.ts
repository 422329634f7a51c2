/** The result document of a run, made of the message that asked for it (PROTOCOL 10.2). */
import { jsonElements } from "./json.ts";
import type { TaskMessage } from "./message.ts";
import { pythonTimestamp, READY_STATES, type ResultDocument, type ResultTuple, type TaskState } from "./result.ts";

export interface RunState {
  readonly status: TaskState;
  /** JSON text: what the state is stored with. */
  readonly result: string;
  readonly traceback?: string | null;
  /** What the run sent so far. */
  readonly children?: readonly ResultTuple[];
  /** Now, ms UTC. */
  readonly nowMs: number;
}

/** What Celery adds with `result_extended`. */
export interface RunPlace {
  /** Node name of the worker. */
  readonly hostname: string;
  /** Routing key of the delivery. */
  readonly queue?: string | undefined;
}

/** @param extended only with `resultExtended`: then name, arguments, worker, retries, queue and stamps are in it */
export function taskResult(message: TaskMessage, state: RunState, extended?: RunPlace): ResultDocument {
  const { status, result, traceback = null, children = [], nowMs } = state;
  return {
    task_id: message.id,
    status,
    result,
    traceback,
    children,
    date_done: READY_STATES.has(status) ? pythonTimestamp(nowMs) : null,
    ...(message.group === undefined ? {} : { group_id: message.group }),
    ...(message.parentId === undefined ? {} : { parent_id: message.parentId }),
    ...(extended === undefined ? {} : extendedFields(message, extended)),
  };
}

function extendedFields(message: TaskMessage, { hostname, queue }: RunPlace): Partial<ResultDocument> {
  // As the producer wrote them: what a number of ours does not hold is not changed.
  const [args, kwargs] = message.body.startsWith("[") ? jsonElements(message.body) : [];
  const stamps = stampsOf(message.headers);
  return {
    name: message.task,
    ...(args === undefined || kwargs === undefined ? {} : { args, kwargs }),
    worker: hostname,
    retries: message.retries,
    ...(queue === undefined ? {} : { queue }),
    ...(stamps === undefined ? {} : { stamps }),
  };
}

/** Those that the message names; Celery leaves the fields out where there is none. */
function stampsOf(headers: TaskMessage["headers"]): Record<string, unknown> | undefined {
  const { stamped_headers: names, stamps: values } = headers ?? {};
  if (!Array.isArray(names) || names.length === 0 || typeof values !== "object" || values === null) return undefined;
  const stamps: Record<string, unknown> = {};
  for (const name of names) {
    if (typeof name !== "string" || name === "__proto__" || !Object.hasOwn(values, name)) continue;
    stamps[name] = (values as Record<string, unknown>)[name];
  }
  return stamps;
}
