/** Whether a callback is one that a query asks for. Pure; the same in every store. */
import type { Callback, CallbackState } from "./callback.ts";
import type { ListQuery } from "./store.ts";

/** What of a callback a query looks at. */
export interface Candidate extends Pick<Callback, "queue" | "tags" | "dueMs" | "state"> {
  readonly key: string | undefined;
  readonly task: string;
  /** Of an occurrence: id of its recurrence. */
  readonly recurrence: string | undefined;
}

/** The query as a function; its patterns are taken apart once. */
export function matcherOf(query: ListQuery): (candidate: Candidate) => boolean {
  const { keyPrefix, tags, queue, recurrence, dueFromMs, dueBeforeMs } = query;
  const states: ReadonlySet<CallbackState> | undefined = query.states === undefined ? undefined : new Set(query.states);
  const isTask = query.task === undefined ? undefined : globOf(query.task);
  return (candidate) =>
    (states === undefined || states.has(candidate.state)) &&
    (queue === undefined || candidate.queue === queue) &&
    (recurrence === undefined || candidate.recurrence === recurrence) &&
    (keyPrefix === undefined || candidate.key?.startsWith(keyPrefix) === true) &&
    (dueFromMs === undefined || candidate.dueMs >= dueFromMs) &&
    (dueBeforeMs === undefined || candidate.dueMs < dueBeforeMs) &&
    (tags === undefined || tags.every((tag) => candidate.tags.includes(tag))) &&
    (isTask === undefined || isTask(candidate.task));
}

/** `*` stands for any characters, and nothing else is special. Linear: each piece is looked for once, from left to right. */
export function globOf(pattern: string): (text: string) => boolean {
  const pieces = pattern.split("*");
  const head = pieces[0] ?? "";
  if (pieces.length === 1) return (text) => text === head;
  const tail = pieces[pieces.length - 1] ?? "";
  const middle = pieces.slice(1, -1).filter((piece) => piece !== "");
  return (text) => {
    if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
    const end = text.length - tail.length;
    let at = head.length;
    for (const piece of middle) {
      const found = text.indexOf(piece, at);
      if (found < 0 || found + piece.length > end) return false;
      at = found + piece.length;
    }
    return true;
  };
}
