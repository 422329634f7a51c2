/**
 * What a task may ask of its worker, with the answer to each. This is the seed's pair of queues between the
 * sub-process and the timer's process, as one typed table: a pool child opens no broker and no store.
 * Parameters and answers are JSON data.
 */
import type { TaskMessage } from "../protocol/message.ts";
import type { ControlCommand } from "../protocol/pidbox.ts";
import type { ResultDocument } from "../protocol/result.ts";
import type { ResultAddress } from "../results/backend.ts";
import type {
  Callback,
  CallbackState,
  CancelAnswer,
  NewCallback,
  PutAnswer,
  RescheduleAnswer,
} from "../schedule/callback.ts";
import type { CancelPageAnswer, CancelPageRequest } from "../schedule/cancel-page.ts";
import type { NewRecurrence, Plan, PutRecurrenceAnswer, Recurrence } from "../schedule/recurrence.ts";
import type { ChangeAnswer, RecurrencePage, RecurrenceQuery } from "../schedule/recurrence-store.ts";
import type { ListPage, ListQuery, Target } from "../schedule/store.ts";

export interface SchedulePlace {
  /** Its URL without the password. */
  readonly url: string;
  readonly namespace: string;
  /** Live callbacks allowed; 0 = no limit. */
  readonly maxPending: number;
}

/**
 * Where a task message goes, and how it is sent. The exchange and key are the queue's own unless both are given; exchange "" with a key is the
 * queue of that name, and no other (PROTOCOL 4.1).
 */
export interface Destination {
  readonly queue?: string;
  readonly exchange?: string;
  /** Of an exchange that no queue of the app has. Default: the queue's. */
  readonly exchangeType?: string;
  readonly routingKey?: string;
  /** 2: it survives a restart of the broker. Default: the queue's, else `taskDefaultDeliveryMode`. */
  readonly deliveryMode?: 1 | 2;
  /** Default: `taskPublishRetry`. */
  readonly retry?: boolean;
  /** Over `taskPublishRetryPolicy`. */
  readonly retryPolicy?: PublishRetryPolicy;
}

/** Times in ms; what is left out is the app's. */
export interface PublishRetryPolicy {
  readonly maxRetries?: number;
  readonly intervalStartMs?: number;
  readonly intervalStepMs?: number;
  readonly intervalMaxMs?: number;
}

/** How the body of a message is written. Default: `taskSerializer` and `taskCompression`. */
export interface Content {
  readonly serializer?: string;
  readonly compression?: string;
}

export interface Asks {
  "schedule.put": { params: { callbacks: readonly NewCallback[] }; answer: PutAnswer[] };
  "schedule.cancel": { params: { target: Target; abort: boolean }; answer: CancelAnswer };
  /** One page of cancelling many: the callbacks themselves do not cross the channel. */
  "schedule.cancelPage": { params: CancelPageRequest; answer: CancelPageAnswer };
  "schedule.reschedule": {
    params: { target: Target; to: { dueMs: number } | { byMs: number } };
    answer: RescheduleAnswer;
  };
  "schedule.get": { params: { target: Target }; answer: Callback | null };
  "schedule.list": { params: { query: ListQuery }; answer: ListPage };
  "schedule.counts": { params: Record<never, never>; answer: Partial<Record<CallbackState, number>> };
  /** Where the schedule is, for who schedules in a transaction of its own. */
  "schedule.place": { params: Record<string, never>; answer: SchedulePlace };
  "schedule.revoke": { params: { taskId: string; untilMs: number; abort: boolean }; answer: CancelAnswer };
  /** Revoke every task that carries the stamp. */
  "schedule.revokeStamp": {
    params: { header: string; value: string; untilMs: number; abort: boolean };
    answer: null;
  };
  "recurrence.put": { params: { recurrence: NewRecurrence }; answer: PutRecurrenceAnswer };
  "recurrence.get": { params: { target: Target }; answer: Recurrence | null };
  "recurrence.list": { params: { query: RecurrenceQuery }; answer: RecurrencePage };
  "recurrence.pause": { params: { target: Target }; answer: ChangeAnswer };
  "recurrence.resume": { params: { target: Target; generation: number; plan: Plan }; answer: ChangeAnswer };
  "recurrence.cancel": { params: { target: Target; abort: boolean }; answer: CancelAnswer };
  /** Send a task message. Answers when the broker has taken it. */
  publish: { params: { message: TaskMessage; to: Destination; content?: Content }; answer: null };
  /** Tell workers: Celery's control command (PROTOCOL 14), to be answered by nobody. */
  "control.cast": { params: { command: ControlCommand }; answer: null };
  /** Ask workers; answers by node name what came within `timeoutMs` of one another. */
  "control.call": { params: { command: ControlCommand; timeoutMs: number }; answer: Record<string, unknown> };
  "result.get": { params: { taskId: string }; answer: ResultDocument | null };
  /** Answers the final document, or null when the time (ms) ran out. */
  "result.wait": { params: { taskId: string; timeoutMs: number }; answer: ResultDocument | null };
  /** Follow some tasks: answers the name of the watch. With `endsOnly` no state is told but the last. */
  "result.watch": { params: { taskIds: readonly string[]; endsOnly: boolean }; answer: string };
  /** Documents that came since, as soon as there is one; none when the time (ms) ran out; null: the watch was given up. */
  "result.changes": { params: { watch: string; timeoutMs: number }; answer: ResultDocument[] | null };
  "result.unwatch": { params: { watch: string }; answer: null };
  "result.store": { params: { document: ResultDocument; address?: ResultAddress }; answer: null };
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
  "schedule.cancelPage": "change",
  "schedule.reschedule": "change",
  "schedule.get": "reads",
  "schedule.list": "reads",
  "schedule.counts": "reads",
  "schedule.place": "reads",
  "schedule.revoke": "change",
  "schedule.revokeStamp": "change",
  "recurrence.put": "change",
  "recurrence.get": "reads",
  "recurrence.list": "reads",
  "recurrence.pause": "change",
  "recurrence.resume": "change",
  "recurrence.cancel": "change",
  publish: "change",
  "control.cast": "change",
  "control.call": "change",
  "result.get": "reads",
  "result.wait": "reads",
  "result.watch": "reads",
  "result.changes": "reads",
  "result.unwatch": "reads",
  "result.store": "change",
  "result.forget": "change",
};

/** Operations that wait for something to happen, as long as their `timeoutMs` says. */
const WAITS: ReadonlySet<AskOp> = new Set(["result.wait", "result.changes"]);

export function waitsForNews(op: AskOp): boolean {
  return WAITS.has(op);
}

export const ASK_OPS: ReadonlySet<string> = new Set(Object.keys(KINDS));

export function changesSomething(op: AskOp): boolean {
  return KINDS[op] === "change";
}
