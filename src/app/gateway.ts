/**
 * Answers what tasks and clients ask (`pool/asks.ts`), on the app's own backends. A client asks its own gateway; a task in
 * a sub-process asks its worker's, over the pool's channel. Whoever asks, the same lines answer.
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../kit/clock.ts";
import { InvalidInputError } from "../kit/errors.ts";
import type { Ask, AskAnswer, AskOp, AskParams, SchedulePlace } from "../pool/asks.ts";
import { type ContentFormats, dress } from "../protocol/content.ts";
import { encodeTask } from "../protocol/encode.ts";
import { encodeTaskV1 } from "../protocol/encode-v1.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Callback, CancelAnswer, NewCallback } from "../schedule/callback.ts";
import { cancelPage } from "../schedule/cancel-page.ts";
import type { ScheduleEvents } from "../schedule/events.ts";
import type { NewOccurrence, NewRecurrence, Plan, Recurrence } from "../schedule/recurrence.ts";
import type { Target } from "../schedule/store.ts";
import type { Backends } from "./backends.ts";
import type { Mailing } from "./mailing.ts";
import type { Publishing } from "./publishing.ts";
import { ResultWatches } from "./result-watches.ts";
import type { RevokedListener, Revoking } from "./revoking.ts";

type Answers = { readonly [Op in AskOp]: (params: AskParams<Op>) => Promise<AskAnswer<Op>> };

export interface GatewayOptions {
  readonly backends: Backends;
  readonly publishing: Publishing;
  readonly revoking: Revoking;
  readonly mailing: Mailing;
  readonly clock: Clock;
  /** Told what this process changes in the schedule. */
  readonly events: ScheduleEvents;
  readonly resultExpiresMs: number;
  /** Of task messages that are sent. */
  readonly protocol: 1 | 2;
  readonly formats: ContentFormats;
  readonly serializer: string;
  readonly compression: string | undefined;
  readonly place: SchedulePlace;
  /** The result backend sends results to who sent the task. */
  readonly resultsAreSent: boolean;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #answers: Answers;
  readonly #watches: ResultWatches;
  /** Celery's oid, where results would be sent to: on every message, also where nobody listens there. */
  readonly #oid = randomUUID();
  #onDue: (dueMs: number) => void = () => undefined;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const store = () => options.backends.store();
    const results = () => options.backends.results();
    const watches = new ResultWatches(results, options.clock);
    this.#watches = watches;
    this.#answers = {
      "schedule.put": ({ callbacks }) => this.#put(callbacks),
      "schedule.cancel": async ({ target, abort }) => this.#tookBack(await (await store()).cancel(target, { abort })),
      "schedule.cancelPage": async (request) =>
        cancelPage(await store(), request, (answer) => void this.#tookBack(answer)),
      "schedule.reschedule": async ({ target, to }) => {
        const answer = await (await store()).reschedule(target, to);
        if (answer.answer !== "rescheduled") return answer;
        const { id, dueMs } = answer;
        this.#onDue(dueMs);
        options.events.listening("scheduled")?.({ change: "moved", id, dueMs });
        return answer;
      },
      "schedule.get": async ({ target }): Promise<Callback | null> => (await (await store()).get(target)) ?? null,
      "schedule.list": async ({ query }) => (await store()).list(query),
      "schedule.counts": async () => (await store()).counts(),
      "schedule.place": async () => options.place,
      "schedule.revoke": async ({ taskId, untilMs, abort }) =>
        this.#tookBack(await options.revoking.revoke(taskId, untilMs, abort)),
      "schedule.revokeStamp": async ({ header, value, untilMs, abort }) => {
        for (const each of await options.revoking.revokeStamp(header, value, untilMs, abort)) this.#tookBack(each);
        return null;
      },
      "recurrence.put": ({ recurrence }) => this.#putRecurrence(recurrence),
      "recurrence.get": async ({ target }): Promise<Recurrence | null> =>
        (await (await store()).recurrences.get(target)) ?? null,
      "recurrence.list": async ({ query }) => (await store()).recurrences.list(query),
      "recurrence.pause": async ({ target }) => (await store()).recurrences.pause(target),
      "recurrence.resume": ({ target, generation, plan }) => this.#resume(target, generation, plan),
      "recurrence.cancel": async ({ target, abort }) =>
        this.#tookBack(await (await store()).recurrences.cancel(target, { abort })),
      publish: async ({ message, to, content = {} }) => {
        const replying =
          message.replyTo === undefined ? { ...message, replyTo: await this.#replyTo(message) } : message;
        const encode = options.protocol === 1 ? encodeTaskV1 : encodeTask;
        const { serializer = options.serializer, compression = options.compression } = content;
        const format = await options.formats.load(serializer);
        const wire = dress(encode(replying, options.clock.wallMs()), format, compression);
        await options.publishing.publish(wire, to, message.etaMs);
        return null;
      },
      "control.cast": async ({ command }) => {
        await options.mailing.cast(command);
        return null;
      },
      "control.call": ({ command, timeoutMs }) => options.mailing.call(command, timeoutMs),
      "result.get": async ({ taskId }) => (await (await results()).get(taskId)) ?? null,
      "result.wait": ({ taskId, timeoutMs }) => watches.wait(taskId, timeoutMs),
      "result.watch": (request) => watches.open(request),
      "result.changes": ({ watch, timeoutMs }) => watches.changes(watch, timeoutMs),
      "result.unwatch": async ({ watch }) => {
        watches.close(watch);
        return null;
      },
      "result.store": async ({ document, address }) => {
        await (await results()).store(document, options.resultExpiresMs, address);
        return null;
      },
      "result.forget": async ({ taskId }) => {
        await (await results()).forget(taskId);
        return null;
      },
    };
  }

  readonly ask: Ask = (op, params) => this.#answers[op](params);

  /** The same for an operation whose name and parameters came over a channel. @throws {InvalidInputError} no such operation */
  readonly askUntyped = (op: string, params: unknown): Promise<unknown> => {
    if (!Object.hasOwn(this.#answers, op)) {
      return Promise.reject(new InvalidInputError(`a task asked for ${JSON.stringify(op)}, which no worker answers`));
    }
    return this.#answers[op as AskOp](params as never);
  };

  /** Who waits for a result is told that none will come. */
  close(): void {
    this.#watches.closeAll();
  }

  /** Tell `listener` (the worker's scheduler) of each due time that this process adds. */
  listenForDue(listener: (dueMs: number) => void): void {
    this.#onDue = listener;
  }

  /** Tell `listener` (the worker's requests) of what this process revokes. */
  listenForRevoked(listener: RevokedListener): void {
    this.#options.revoking.listen(listener);
  }

  /** Heard before the task is sent: its result may come at once. */
  async #replyTo({ id, ignoreResult }: TaskMessage): Promise<string> {
    if (!this.#options.resultsAreSent) return this.#oid;
    const results = await this.#options.backends.results();
    return (await results.replyTo?.(ignoreResult === true ? undefined : id)) ?? this.#oid;
  }

  /**
   * A callback's result is sent to who put it, too; whether that process lives then, nobody knows. What a broker brought has its own address. A broker
   * that is away keeps nothing from being scheduled.
   */
  async #withReplyTo(callbacks: readonly NewCallback[]): Promise<readonly NewCallback[]> {
    const isOurs = ({ taskId, message }: NewCallback) => taskId === undefined && message.replyTo === undefined;
    if (!this.#options.resultsAreSent || !callbacks.some(isOurs)) return callbacks;
    const results = await this.#options.backends.results();
    const replyTo = await results.replyTo?.().catch(() => undefined);
    if (replyTo === undefined) return callbacks;
    return callbacks.map((each) => (isOurs(each) ? { ...each, message: { ...each.message, replyTo } } : each));
  }

  async #put(given: readonly NewCallback[]) {
    const callbacks = await this.#withReplyTo(given);
    const put = await (await this.#options.backends.store()).put(callbacks);
    const answers = await this.#options.revoking.refuseStamped(callbacks, put);
    const tell = this.#options.events.listening("scheduled");
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const [i, each] of answers.entries()) {
      if (each.put !== "added" && each.put !== "replaced") continue;
      if (callbacks !== given) await (await this.#options.backends.results()).replyTo?.(each.id).catch(() => undefined);
      earliestMs = Math.min(earliestMs, each.dueMs);
      const callback = callbacks[i];
      if (tell === null || callback === undefined) continue;
      const { key, queue, tags = [], message } = callback;
      const { id, dueMs } = each;
      tell({ change: each.put, id, ...(key === undefined ? {} : { key }), task: message.task, queue, tags, dueMs });
    }
    if (earliestMs !== Number.POSITIVE_INFINITY) this.#onDue(earliestMs);
    return answers;
  }

  async #putRecurrence(recurrence: NewRecurrence) {
    const { recurrences } = await this.#options.backends.store();
    const answer = await recurrences.put(recurrence);
    if (answer.put === "added" || answer.put === "replaced") {
      this.#noticeOccurrences(recurrence.plan.occurrences);
      this.#tellRecurs({ ...recurrence, id: answer.id }, recurrence.plan);
    }
    return answer;
  }

  async #resume(target: Target, generation: number, plan: Plan) {
    const { recurrences } = await this.#options.backends.store();
    const answer = await recurrences.resume(target, generation, plan);
    if (answer.answer === "changed") {
      this.#noticeOccurrences(plan.occurrences);
      // Only who listens pays for the read that tells what recurs.
      if (this.#options.events.listening("scheduled") !== null) {
        const recurrence = await recurrences.get({ id: answer.id }).catch(() => undefined);
        if (recurrence !== undefined) this.#tellRecurs(recurrence, plan);
      }
    }
    return answer;
  }

  #noticeOccurrences(occurrences: readonly NewOccurrence[]): void {
    if (occurrences.length > 0) this.#onDue(Math.min(...occurrences.map(({ dueMs }) => dueMs)));
  }

  #tellRecurs({ id, key, definition }: Pick<Recurrence, "id" | "key" | "definition">, { nextMs }: Plan): void {
    if (nextMs === null) return;
    const { queue, tags, message } = definition.call;
    this.#options.events.listening("scheduled")?.({
      change: "recurs",
      id,
      ...(key === undefined ? {} : { key }),
      task: message.task,
      queue,
      tags,
      dueMs: nextMs,
    });
  }

  #tookBack(answer: CancelAnswer): CancelAnswer {
    if (answer.answer === "cancelled" || answer.answer === "stopped") {
      this.#options.events.listening("cancelled")?.({ id: answer.id, answer: answer.answer });
    }
    return answer;
  }
}
