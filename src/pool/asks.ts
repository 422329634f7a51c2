/**
 * What a task may ask of its worker, with the answer to each. This is the seed's pair of queues between the
 * sub-process and the timer's process, as one typed table: a pool child opens no broker and no store.
 * Parameters and answers are JSON data.
 */
import type { WireProperties } from "../protocol/message.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { Callback, CancelAnswer, NewCallback, PutAnswer, RescheduleAnswer } from "../schedule/callback.ts";
import type { ListPage, ListQuery, Target } from "../schedule/store.ts";

export interface Asks {
  "schedule.put": { params: { callbacks: readonly NewCallback[] }; answer: PutAnswer[] };
  "schedule.cancel": { params: { target: Target; abort: boolean }; answer: CancelAnswer };
  "schedule.reschedule": {
    params: { target: Target; to: { dueMs: number } | { byMs: number } };
    answer: RescheduleAnswer;
  };
  "schedule.get": { params: { target: Target }; answer: Callback | null };
  "schedule.list": { params: { query: ListQuery }; answer: ListPage };
  "schedule.revoke": { params: { taskId: string; untilMs: number; abort: boolean }; answer: CancelAnswer };
  /** Publish a task message; `body` is text (JSON). */
  publish: {
    params: {
      exchange: string;
      routingKey: string;
      properties: WireProperties;
      headers: Record<string, unknown>;
      body: string;
    };
    answer: null;
  };
  "result.get": { params: { taskId: string }; answer: ResultDocument | null };
  /** Answers the final document, or null when the time (ms) ran out. */
  "result.wait": { params: { taskId: string; timeoutMs: number }; answer: ResultDocument | null };
  "result.store": { params: { document: ResultDocument }; answer: null };
  "result.forget": { params: { taskId: string }; answer: null };
}

export type AskOp = keyof Asks;
export type AskParams<Op extends AskOp> = Asks[Op]["params"];
export type AskAnswer<Op extends AskOp> = Asks[Op]["answer"];

/** Ask, and wait for the answer. Errors keep their `code`. */
export type Ask = <Op extends AskOp>(op: Op, params: AskParams<Op>) => Promise<AskAnswer<Op>>;

/** What each operation does when its answer is lost: `reads` may be asked again, of a `change` it is unknown whether it was made. */
const KINDS: { readonly [Op in AskOp]: "reads" | "change" } = {
  "schedule.put": "change",
  "schedule.cancel": "change",
  "schedule.reschedule": "change",
  "schedule.get": "reads",
  "schedule.list": "reads",
  "schedule.revoke": "change",
  publish: "change",
  "result.get": "reads",
  "result.wait": "reads",
  "result.store": "change",
  "result.forget": "change",
};

export const ASK_OPS: ReadonlySet<string> = new Set(Object.keys(KINDS));

export function changesSomething(op: AskOp): boolean {
  return KINDS[op] === "change";
}
