/** `app.schedule`: durable callbacks, for every process: clients, tasks, bootsteps. */
import { countdownMs, type Duration, parseDurationMs, parseOffsetMs } from "../kit/duration.ts";
import { ContractError, InvalidInputError, LostError } from "../kit/errors.ts";
import { type Moment, parseMomentMs } from "../kit/moment.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type {
  Callback,
  CallbackState,
  CancelAnswer,
  Misfire,
  NewCallback,
  OnConflict,
  OnLost,
  ParkedMessage,
  PutAnswer,
} from "../schedule/callback.ts";
import type { ListQuery, Target } from "../schedule/store.ts";
import { AsyncResult, type ResultSource } from "./async-result.ts";
import { type Addressed, type ApplyOptions, expiresMsOf } from "./send.ts";
import type { Signature } from "./signature.ts";

export interface CallbackOptions {
  /** Your name for it: one live callback has it at a time, and cancel and reschedule find it by it. */
  readonly key?: string;
  /** What happens when a live callback has the key: "keep" (default) answers that one, "replace" moves it, "reject" throws. */
  readonly onConflict?: OnConflict;
  readonly tags?: readonly string[];
  /** Latest start: a duration from now, or a moment. After it the callback ends as expired. */
  readonly expires?: Duration | Date;
  /** Claimed later than `misfireGrace` after its time (the workers were down): "fire" (default) or "skip". */
  readonly misfire?: Misfire;
  /** Default 0 s. */
  readonly misfireGrace?: Duration;
  /** A run that was lost with its process: "rerun" (default; at least once) or "fail" (at most once). */
  readonly onLost?: OnLost;
  readonly queue?: string;
  readonly priority?: number;
  /** IANA zone of a moment without an offset. */
  readonly timezone?: string;
}

export interface ListOptions {
  readonly states?: readonly CallbackState[];
  /** Task name; `*` stands for any characters. */
  readonly task?: string;
  readonly keyPrefix?: string;
  readonly tags?: readonly string[];
  readonly queue?: string;
  readonly dueFrom?: Moment;
  readonly dueBefore?: Moment;
}

/** A callback's id, or its key. A text is taken as an id first, then as a key. */
export type CallbackRef = string | Target;

/** "cancelled": it never started and never will. The other words: `docs/semantics.md`, section 4. */
export type CancelWord = CancelAnswer["answer"];

/** `onConflict: "reject"`, and a live callback has the key. */
export class KeyTakenError extends ContractError {
  readonly code = "ERR_KEY_TAKEN";
  readonly id: string;

  constructor(key: string, id: string) {
    super(
      `key ${JSON.stringify(key)} belongs to callback ${id}; cancel that one, or use onConflict "keep" or "replace"`,
    );
    this.id = id;
  }
}

/** It was to be moved or replaced, and has started already. */
export class TooLateError extends LostError {
  readonly code = "ERR_TOO_LATE";
  readonly id: string;

  constructor(id: string) {
    super(`callback ${id} has started already; it was left as it is`);
    this.id = id;
  }
}

export class UnknownCallbackError extends ContractError {
  readonly code = "ERR_UNKNOWN_CALLBACK";

  constructor(ref: CallbackRef) {
    super(`no callback has the id or key ${JSON.stringify(ref)}; it may be past retention`);
  }
}

/** The task id was revoked before the callback could be added. */
export class RevokedBeforeError extends LostError {
  readonly code = "ERR_REVOKED_BEFORE";
}

export interface ScheduleSource extends ResultSource {
  address(signature: Signature, options: ApplyOptions): Addressed;
}

export class Schedule {
  readonly #source: ScheduleSource;

  constructor(source: ScheduleSource) {
    this.#source = source;
  }

  /**
   * Run `signature` once, `countdown` from now. Resolves when it is on disk (at the durability level in force).
   *
   * @throws {KeyTakenError} onConflict "reject", and the key is taken
   * @throws {TooLateError} onConflict "replace", and the key's callback has started
   * @throws {OutcomeUnknownError} repeat it with the same key: that is safe
   */
  async callAfter<Result>(
    countdown: Duration,
    signature: Signature<Result>,
    options: CallbackOptions = {},
  ): Promise<CallbackHandle<Result>> {
    const delayMs = countdownMs(countdown, { maxMs: this.#source.config().maxCountdownMs });
    return this.#put(this.#source.clock.wallMs() + delayMs, signature, options);
  }

  /** Run `signature` once, at `eta`. A moment that has passed is due at once. */
  async callAt<Result>(
    eta: Moment,
    signature: Signature<Result>,
    options: CallbackOptions = {},
  ): Promise<CallbackHandle<Result>> {
    const { timezone } = options;
    return this.#put(
      parseMomentMs(eta, { what: "eta", ...(timezone === undefined ? {} : { timezone }) }),
      signature,
      options,
    );
  }

  /**
   * Take it back. "cancelled" means that it never started and never will.
   * @param options.running "abort": one that runs is asked to end; the answer is still "running"
   */
  async cancel(ref: CallbackRef, { running }: { readonly running?: "abort" } = {}): Promise<CancelWord> {
    const abort = running === "abort";
    const answer = await this.#byIdOrKey(ref, (target) => this.#source.ask("schedule.cancel", { target, abort }));
    return answer.answer;
  }

  /**
   * Move one that has not started: to `countdown` from now, to the moment `eta`, or by `by` from when it is due (a text
   * with a sign, such as "+2h", or seconds).
   *
   * @returns when it is due now
   * @throws {TooLateError} it has started, or ran before
   * @throws {UnknownCallbackError} there is none
   */
  async reschedule(
    ref: CallbackRef,
    to:
      | { readonly countdown: Duration }
      | { readonly eta: Moment; readonly timezone?: string }
      | { readonly by: Duration },
  ): Promise<Date> {
    const where = this.#newDue(to);
    const answer = await this.#byIdOrKey(ref, (target) =>
      this.#source.ask("schedule.reschedule", { target, to: where }),
    );
    if (answer.answer === "unknown") throw new UnknownCallbackError(ref);
    if (answer.answer === "too_late") throw new TooLateError(answer.id);
    return new Date(answer.dueMs);
  }

  /** The record, also for some time after it ended; undefined when there is none. */
  async get(ref: CallbackRef): Promise<Callback | undefined> {
    const { ask } = this.#source;
    if (typeof ref !== "string") return (await ask("schedule.get", { target: ref })) ?? undefined;
    const byId = await ask("schedule.get", { target: { id: ref } });
    return byId ?? (await ask("schedule.get", { target: { key: ref } })) ?? undefined;
  }

  /** In due order; read in pages, so that a million cost no memory. Default states: those that have not ended. */
  async *list(options: ListOptions = {}): AsyncGenerator<Callback, void, undefined> {
    const { dueFrom, dueBefore, states = ["scheduled", "waiting", "running"], ...rest } = options;
    const query: ListQuery = {
      ...rest,
      states,
      limit: 200,
      ...(dueFrom === undefined ? {} : { dueFromMs: parseMomentMs(dueFrom, { what: "dueFrom" }) }),
      ...(dueBefore === undefined ? {} : { dueBeforeMs: parseMomentMs(dueBefore, { what: "dueBefore" }) }),
    };
    let page = await this.#source.ask("schedule.list", { query });
    for (;;) {
      yield* page.callbacks;
      if (page.next === undefined) return;
      page = await this.#source.ask("schedule.list", { query: { ...query, cursor: page.next } });
    }
  }

  async #put<Result>(
    dueMs: number,
    signature: Signature<Result>,
    options: CallbackOptions,
  ): Promise<CallbackHandle<Result>> {
    const { key, onConflict, misfireGrace, expires, tags, misfire, onLost, queue, priority } = options;
    if (key === "") throw new InvalidInputError("key is empty; give a non-empty text, or none");
    const { clock } = this.#source;
    const addressed = this.#source.address(signature, {
      ...withoutTime(signature.options),
      ...(queue === undefined ? {} : { queue }),
      ...(priority === undefined ? {} : { priority }),
    });
    const { message, expiresMs } = parkedCall(addressed.message);
    const latestMs = expires === undefined ? expiresMs : expiresMsOf(expires, clock.wallMs());
    const callback: NewCallback = {
      dueMs,
      queue: addressed.queue,
      message,
      ...(key === undefined ? {} : { key }),
      ...(onConflict === undefined ? {} : { onConflict }),
      ...(latestMs === undefined ? {} : { expiresMs: latestMs }),
      ...(misfire === undefined ? {} : { misfire }),
      ...(misfireGrace === undefined ? {} : { graceMs: parseDurationMs(misfireGrace, "misfireGrace") }),
      ...(onLost === undefined ? {} : { onLost }),
      ...(tags === undefined ? {} : { tags }),
    };
    const [answer] = await this.#source.ask("schedule.put", { callbacks: [callback] });
    return this.#handle<Result>(answer, key);
  }

  #handle<Result>(answer: PutAnswer | undefined, key: string | undefined): CallbackHandle<Result> {
    if (answer === undefined) throw new InvalidInputError("the schedule store gave no answer for the callback");
    switch (answer.put) {
      case "conflict":
        throw new KeyTakenError(key ?? "", answer.id);
      case "too_late":
        throw new TooLateError(answer.id);
      case "revoked":
        throw new RevokedBeforeError("the callback's task id was revoked before it was scheduled; give it another id");
      default:
        return new CallbackHandle<Result>(answer.id, key, new Date(answer.dueMs), answer.put, this, this.#source);
    }
  }

  #newDue(to: { countdown: Duration } | { eta: Moment; timezone?: string } | { by: Duration }) {
    if ("by" in to) return { byMs: parseOffsetMs(to.by, "by") };
    if ("countdown" in to) {
      const delayMs = countdownMs(to.countdown, { maxMs: this.#source.config().maxCountdownMs });
      return { dueMs: this.#source.clock.wallMs() + delayMs };
    }
    return {
      dueMs: parseMomentMs(to.eta, { what: "eta", ...(to.timezone === undefined ? {} : { timezone: to.timezone }) }),
    };
  }

  /** An id carries random text of the store's, so that a key that looks like another's id is no accident that happens. */
  async #byIdOrKey<Answer extends { answer: string }>(
    ref: CallbackRef,
    ask: (target: Target) => Promise<Answer>,
  ): Promise<Answer> {
    if (typeof ref !== "string") return ask(ref);
    const byId = await ask({ id: ref });
    return byId.answer === "unknown" ? ask({ key: ref }) : byId;
  }
}

/** One callback that was scheduled. */
export class CallbackHandle<Result = unknown> {
  readonly id: string;
  readonly key: string | undefined;
  /** When it was due when it was put; `reschedule` moves the callback, not this. */
  readonly due: Date;
  /** "existing": a live callback had the key, and stands unchanged. */
  readonly put: "added" | "existing" | "replaced";
  readonly #schedule: Schedule;
  readonly #source: ResultSource;

  constructor(
    id: string,
    key: string | undefined,
    due: Date,
    put: "added" | "existing" | "replaced",
    schedule: Schedule,
    source: ResultSource,
  ) {
    this.id = id;
    this.key = key;
    this.due = due;
    this.put = put;
    this.#schedule = schedule;
    this.#source = source;
  }

  /** As `app.schedule.cancel`. */
  cancel(options: { readonly running?: "abort" } = {}): Promise<CancelWord> {
    return this.#schedule.cancel({ id: this.id }, options);
  }

  /** As `app.schedule.reschedule`. */
  reschedule(to: Parameters<Schedule["reschedule"]>[1]): Promise<Date> {
    return this.#schedule.reschedule({ id: this.id }, to);
  }

  /** Its record as it stands. */
  get(): Promise<Callback | undefined> {
    return this.#schedule.get({ id: this.id });
  }

  /** What its run returns; its id is its task id. */
  get result(): AsyncResult<Result> {
    return new AsyncResult<Result>(this.id, this.#source);
  }

  toJSON(): string {
    return this.id;
  }
}

/** What is stored of a call: what can be made again from the rest is left out. The store gives the id. */
function parkedCall(call: TaskMessage): { message: ParkedMessage; expiresMs: number | undefined } {
  const { id, etaMs: _eta, expiresMs, argsRepr: _args, kwargsRepr: _kwargs, rootId, ...message } = call;
  return { message: rootId === undefined || rootId === id ? message : { ...message, rootId }, expiresMs };
}

/** A signature's own time is for sending it; the schedule is told its own. */
function withoutTime({ countdown: _c, eta: _e, taskId: _t, ...rest }: ApplyOptions): ApplyOptions {
  return rest;
}
