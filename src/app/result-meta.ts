/** A result document as users read it: camelCase, values decoded. */
import { parseIso8601 } from "../kit/iso8601.ts";
import { decodeJson } from "../protocol/json.ts";
import type { ResultDocument, ResultTuple, TaskState } from "../protocol/result.ts";

/** What is stored of a task. The second part only with `resultExtended`. */
export interface ResultMeta {
  readonly id: string;
  readonly status: TaskState;
  /** The return value; the exception as data (`exc_type`, `exc_message`, `exc_module`); the meta of a custom state. */
  readonly result: unknown;
  readonly traceback: string | null;
  /** When it ended. */
  readonly dateDone?: Date;
  /** A tuple for each task that it sent (PROTOCOL 10.2); null when it was stored outside of any run. */
  readonly children: readonly ResultTuple[] | null;
  readonly groupId?: string;
  readonly parentId?: string;

  readonly name?: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Node name. */
  readonly worker?: string;
  readonly retries?: number;
  readonly queue?: string;
  readonly stamps?: Readonly<Record<string, unknown>>;
}

/** @throws {DecodeError} one of its texts is not JSON, or too large or too deep to read */
export function metaOf(document: ResultDocument): ResultMeta {
  const { task_id, status, result, traceback, group_id, parent_id, name, args, kwargs, worker } = document;
  const { retries, queue, stamps } = document;
  const done = dateDoneOf(document);
  return {
    id: task_id,
    status,
    result: decodeJson(result),
    traceback,
    ...(done === undefined ? {} : { dateDone: done }),
    children: childrenOf(document),
    ...(group_id === undefined ? {} : { groupId: group_id }),
    ...(parent_id === undefined ? {} : { parentId: parent_id }),
    ...(name === undefined ? {} : { name }),
    ...(args === undefined ? {} : { args: decodeJson(args) as readonly unknown[] }),
    ...(kwargs === undefined ? {} : { kwargs: decodeJson(kwargs) as Readonly<Record<string, unknown>> }),
    ...(worker === undefined ? {} : { worker }),
    ...(retries === undefined ? {} : { retries }),
    ...(queue === undefined ? {} : { queue }),
    ...(stamps === undefined ? {} : { stamps }),
  };
}

/** Old releases write it without an offset: it is UTC. */
export function dateDoneOf({ date_done }: Pick<ResultDocument, "date_done">): Date | undefined {
  if (date_done === null) return undefined;
  const read = parseIso8601(date_done);
  return "ms" in read ? new Date(read.ms) : undefined;
}

/** What is no tuple is passed over. */
export function childrenOf({ children }: Pick<ResultDocument, "children">): readonly ResultTuple[] | null {
  return children === null ? null : children.filter((each): each is ResultTuple => Array.isArray(each));
}
