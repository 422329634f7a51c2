/** `app.schedule`: durable callbacks, for every process: clients, tasks, bootsteps. */
import { countdownMs, type Duration, parseDurationMs, parseOffsetMs } from "../kit/duration.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { type Moment, parseMomentMs } from "../kit/moment.ts";
import {
  CALLBACK_STATES,
  type Callback,
  type CallbackState,
  type CancelAnswer,
  type Misfire,
  type NewCallback,
  type OnConflict,
  type OnLost,
  type PutAnswer,
} from "../schedule/callback.ts";
import type { CancelCounts } from "../schedule/cancel-page.ts";
import type { ScheduleEvents } from "../schedule/events.ts";
import type { Recurrence } from "../schedule/recurrence.ts";
import type { ListPage, ListQuery } from "../schedule/store.ts";
import type { Transaction } from "../schedule/stores/postgres/tx.ts";
import type { ResultSource } from "./async-result.ts";
import { CallbackHandle } from "./callback-handle.ts";
import { type CancelAllOptions, cancelAll } from "./cancel-all.ts";
import { putWithin } from "./open.ts";
import { checkNames, checkRunning } from "./option-names.ts";
import { parkedCall, withoutTime } from "./parked-call.ts";
import type { RecurrenceHandle } from "./recurrence-handle.ts";
import type { Recurs } from "./recurrence-options.ts";
import {
  type PreviewOptions,
  type PreviewTime,
  type RecurrencesOptions,
  Recurring,
  type RepeatOptions,
} from "./recurring.ts";
import { firstFound, firstKnown, type Ref, targetsOf } from "./refs.ts";
import { KeyTakenError, RevokedBeforeError, TooLateError, UnknownCallbackError } from "./schedule-errors.ts";
import { type CallbackFilter, type PageOptions, pageQueryOf, whereOf } from "./schedule-find.ts";
import { type Addressed, type ApplyOptions, expiresMsOf } from "./send.ts";
import type { Signature } from "./signature.ts";
import { takeBack } from "./take-back.ts";

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
  /**
   * A transaction of your own, with a schedule in PostgreSQL: the callback is there if it commits, and never was if not. The client of pg
   * that sent BEGIN, or the `sql` that `sql.begin` of postgres.js gives.
   */
  readonly tx?: Transaction;
}

const OPTION_NAMES = [
  "key",
  "onConflict",
  "tags",
  "expires",
  "misfire",
  "misfireGrace",
  "onLost",
  "queue",
  "priority",
  "timezone",
  "tx",
] as const satisfies readonly (keyof CallbackOptions)[];

/** "cancelled": it never started and never will. The other words: `docs/semantics.md`. */
export type CancelWord = CancelAnswer["answer"];

/** Where a callback is moved: so long from now, to a moment, or by so much from when it is due ("+2h", "-30m", or seconds). */
export type MoveTo =
  | { readonly countdown: Duration }
  | { readonly eta: Moment; readonly timezone?: string }
  | { readonly by: Duration };

export interface ScheduleSource extends ResultSource {
  readonly events: ScheduleEvents;
  address(signature: Signature, options: ApplyOptions): Addressed;
}

/** A page of `list`. In a task's process it is smaller where the calls are so large that the channel does not carry so many. */
const LIST_PAGE = 200;

export class Schedule {
  /** What this process does and runs; see `ScheduleEvents`. */
  readonly events: ScheduleEvents;
  readonly #source: ScheduleSource;
  readonly #recurring: Recurring;

  constructor(source: ScheduleSource) {
    this.#source = source;
    this.events = source.events;
    this.#recurring = new Recurring(source, this);
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
   * Run `signature` again and again: `when` is `{ every: "10m" }`, `{ cron: "0 9 * * 1-5", timezone: "Europe/Berlin" }` (5 fields, or 6 with
   * seconds first), or a rule of `lovage/rrule`. Its next occurrence waits in the schedule, like any other callback.
   *
   * With a key each process may declare it when it starts: the same again changes nothing, another definition replaces what stood
   * there. Without one, each call makes another recurrence.
   *
   * ```ts
   * await app.schedule.callRepeatedly({ cron: "0 9 * * 1-5", timezone: "Europe/Berlin" }, report.s(), { key: "daily-report" });
   * ```
   *
   * @throws {InvalidInputError} `when` or an option is wrong, or there is no such moment: "0 0 30 2 *"
   * @throws {KeyTakenError} onConflict "reject", and a recurrence that has not ended has the key
   * @throws {OutcomeUnknownError} repeat it with the same key: that is safe
   */
  callRepeatedly(when: Recurs, signature: Signature, options: RepeatOptions = {}): Promise<RecurrenceHandle> {
    return this.#recurring.callRepeatedly(when, signature, options);
  }

  /**
   * Take back a callback, or a recurrence with the occurrences that have not started. "cancelled" means that it never started and never
   * will. What the other words say: `docs/semantics.md`; of a recurrence they hold for all of its occurrences.
   *
   * @param ref an id, or a key: then the one that has not ended, of callbacks and recurrences; a callback goes first
   * @param options.running "abort": one that runs is asked to end; the answer is still "running"
   * @throws {OutcomeUnknownError} to cancel again is safe
   */
  async cancel(ref: Ref, options: { readonly running?: "abort" } = {}): Promise<CancelWord> {
    checkNames(options, ["running"], "cancel");
    const { running } = options;
    checkRunning(running, "cancel");
    return (await takeBack(this.#source.ask, ref, running === "abort")).answer;
  }

  /**
   * Take back all callbacks that the filter finds, as `cancel` does each; answers how many were answered by which word. Those that were
   * added after it began are left. Of a recurrence it takes back the occurrences that wait; to end it, `cancel` it.
   *
   * In pages of 200: to break off, or to fail half-way, leaves done what was done, and to call it again goes on.
   *
   * ```ts
   * const { cancelled, running } = await app.schedule.cancelAll({ tags: ["customer:7"], dueBefore: tomorrow });
   * ```
   *
   * @throws {InvalidInputError} the filter leaves nothing out (without `everything: true`), or a name or value in it is wrong
   */
  cancelAll(filter: CallbackFilter, options: CancelAllOptions = {}): Promise<CancelCounts> {
    return cancelAll(this.#source.ask, filter, options);
  }

  /**
   * Move one that has not started: to `countdown` from now, to the moment `eta`, or by `by` from when it is due (a text
   * with a sign, such as "+2h", or seconds). A moment that has passed is due at once.
   *
   * @returns when it is due now
   * @throws {TooLateError} it has started, or ran before
   * @throws {UnknownCallbackError} there is none
   */
  async reschedule(ref: Ref, to: MoveTo): Promise<Date> {
    const where = this.#newDue(to);
    const answer = await firstKnown(targetsOf(ref), (target) =>
      this.#source.ask("schedule.reschedule", { target, to: where }),
    );
    if (answer.answer === "unknown") throw new UnknownCallbackError(ref);
    if (answer.answer === "too_late") throw new TooLateError(answer.id);
    return new Date(answer.dueMs);
  }

  /** The record of a callback, also for some time after it ended; undefined when there is none. */
  get(ref: Ref): Promise<Callback | undefined> {
    return firstFound(targetsOf(ref), (target) => this.#source.ask("schedule.get", { target }));
  }

  /** In due order; read in pages, so that a million cost no memory. Default states: those that have not ended. */
  async *list(filter: CallbackFilter = {}): AsyncGenerator<Callback, void, undefined> {
    const { ask } = this.#source;
    let query: ListQuery = { ...(await whereOf(filter, ask, "list")), limit: LIST_PAGE };
    for (;;) {
      let page: ListPage;
      try {
        page = await ask("schedule.list", { query });
      } catch (error) {
        if (!isTooLarge(error) || query.limit === 1) throw error;
        query = { ...query, limit: Math.ceil(query.limit / 8) };
        continue;
      }
      yield* page.callbacks;
      if (page.next === undefined) return;
      query = { ...query, cursor: page.next };
    }
  }

  /**
   * One page of `list`, for those who page themselves: `{ callbacks, next }`. `next` goes into the `cursor` of the following call; it is absent
   * on the last page, and holds for the same filter only.
   */
  async listPage(options: PageOptions = {}): Promise<ListPage> {
    const { ask } = this.#source;
    return ask("schedule.list", { query: await pageQueryOf(options, ask) });
  }

  /** How many callbacks there are in each state, also of ended ones that are still kept. Cheap, however many there are. */
  async counts(): Promise<Record<CallbackState, number>> {
    const counts = await this.#source.ask("schedule.counts", {});
    const all = CALLBACK_STATES.map((state) => [state, counts[state] ?? 0] as const);
    return Object.fromEntries(all) as Record<CallbackState, number>;
  }

  /**
   * No further occurrence until it is resumed; those that have not started are cancelled.
   * @returns false: it was paused already
   * @throws {UnknownRecurrenceError} there is none
   * @throws {RecurrenceEndedError} it has ended
   */
  pause(ref: Ref): Promise<boolean> {
    return this.#recurring.pause(ref);
  }

  /**
   * Go on from now. What was missed while it was paused is not made up for.
   * @returns the next occurrence's time; undefined: its rule has none any more, and it has ended
   * @throws {UnknownRecurrenceError} there is none
   * @throws {RecurrenceEndedError} it had ended before
   */
  resume(ref: Ref): Promise<Date | undefined> {
    return this.#recurring.resume(ref);
  }

  /**
   * The next times of a rule, or of a recurrence that there is. Nothing is stored.
   * @param options.count how many. Default 10
   * @throws {InvalidInputError} the rule is wrong, or has no such time
   */
  preview(of: Recurs | Ref, options: PreviewOptions = {}): Promise<PreviewTime[]> {
    return this.#recurring.preview(of, options);
  }

  /** The record of a recurrence, by its id, or by its key: the one that has not ended, else the last that had it. */
  recurrence(ref: Ref): Promise<Recurrence | undefined> {
    return this.#recurring.get(ref);
  }

  /** What recurs, in the order it was added; read in pages. Default states: active and paused. */
  recurrences(options: RecurrencesOptions = {}): AsyncGenerator<Recurrence, void, undefined> {
    return this.#recurring.list(options);
  }

  async #put<Result>(
    dueMs: number,
    signature: Signature<Result>,
    options: CallbackOptions,
  ): Promise<CallbackHandle<Result>> {
    checkNames(options, OPTION_NAMES, "a callback");
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
    const [answer] =
      options.tx === undefined
        ? await this.#source.ask("schedule.put", { callbacks: [callback] })
        : await putWithin(options.tx, await this.#source.ask("schedule.place", {}), [callback]);
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

  #newDue(to: MoveTo): { dueMs: number } | { byMs: number } {
    checkNames(to, ["countdown", "eta", "by", "timezone"], "reschedule");
    const { countdown, eta, by, timezone } = to as {
      countdown?: Duration;
      eta?: Moment;
      by?: Duration;
      timezone?: string;
    };
    if ([countdown, eta, by].filter((each) => each !== undefined).length !== 1) {
      throw new InvalidInputError("reschedule takes one of countdown, eta and by");
    }
    if (by !== undefined) return { byMs: parseOffsetMs(by, "by") };
    if (eta !== undefined) {
      return { dueMs: parseMomentMs(eta, { what: "eta", ...(timezone === undefined ? {} : { timezone }) }) };
    }
    const delayMs = countdownMs(countdown as Duration, { maxMs: this.#source.config().maxCountdownMs });
    return { dueMs: this.#source.clock.wallMs() + delayMs };
  }
}

function isTooLarge(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_FRAME_TOO_LARGE";
}
