/** What recurs, as `app.schedule` offers it: from users' words to a definition and its plan, and back. */
import type { Duration } from "../kit/duration.ts";
import { InvalidInputError } from "../kit/errors.ts";
import type { Moment } from "../kit/moment.ts";
import type { OnLost } from "../schedule/callback.ts";
import { fingerprint } from "../schedule/recurrence/fingerprint.ts";
import { firstPlan, resumePlan } from "../schedule/recurrence/plan.ts";
import { preview } from "../schedule/recurrence/preview.ts";
import { evaluatorOf } from "../schedule/recurrence/rule.ts";
import type { Definition, Recurrence, RecurrenceState } from "../schedule/recurrence.ts";
import type { ChangeAnswer } from "../schedule/recurrence-store.ts";
import type { Target } from "../schedule/store.ts";
import { checkNames } from "./option-names.ts";
import { recurringCall, withoutTime } from "./parked-call.ts";
import { RecurrenceHandle } from "./recurrence-handle.ts";
import { policyOf, type RecurrencePolicy, type Recurs, recurringOf } from "./recurrence-options.ts";
import { firstFound, firstKnown, type Ref, targetsOf } from "./refs.ts";
import type { Schedule, ScheduleSource } from "./schedule.ts";
import { KeyTakenError, OvertakenError, RecurrenceEndedError, UnknownRecurrenceError } from "./schedule-errors.ts";
import type { Signature } from "./signature.ts";

/** A number is seconds; durations may be texts with a unit. */
export interface RepeatOptions extends RecurrencePolicy {
  /** Your name for it: one recurrence that has not ended has it at a time. A callback may have the same. */
  readonly key?: string;
  /**
   * What happens when a recurrence that has not ended has the key: "replace" (default; the same definition changes nothing, a paused one
   * with another definition is active then), "keep" answers the one that stands, "reject" throws.
   */
  readonly onConflict?: "keep" | "replace" | "reject";
  /** No occurrence before it; with `every`, the first. May stand in `when` instead. */
  readonly startAt?: Moment;
  /** No occurrence after it. May stand in `when` instead. */
  readonly until?: Moment;
  /** Latest start of each occurrence, counted from its nominal time; after it the occurrence ends as expired. Default: never. */
  readonly expires?: Duration;
  /** Of each occurrence: `list` and `cancelAll` find it by them. */
  readonly tags?: readonly string[];
  readonly queue?: string;
  readonly priority?: number;
  /** A run that was lost with its process: "rerun" (default; at least once) or "fail" (at most once). */
  readonly onLost?: OnLost;
}

const OPTION_NAMES = [
  "key",
  "onConflict",
  "misfire",
  "misfireGrace",
  "overlap",
  "jitter",
  "startAt",
  "until",
  "expires",
  "tags",
  "queue",
  "priority",
  "onLost",
] as const satisfies readonly (keyof RepeatOptions)[];

/** One time of a preview. */
export interface PreviewTime {
  readonly at: Date;
  /** By the clocks of the rule's zone, with their offset: "2027-03-28T03:00:00+02:00". */
  readonly text: string;
  /** The clocks leave out the time that the rule names, and this is the first moment after the gap. */
  readonly moved: boolean;
}

export interface PreviewOptions {
  /** How many. Default 10, at most 1,000. */
  readonly count?: number;
}

export interface RecurrencesOptions {
  /** Default: "active" and "paused". */
  readonly states?: readonly RecurrenceState[];
}

const LIST_PAGE = 100;
/** Each time somebody else has paused and resumed it between our look and our change: nobody does that so often. */
const MAX_TRIES = 20;

export class Recurring {
  readonly #source: ScheduleSource;
  readonly #schedule: Schedule;

  constructor(source: ScheduleSource, schedule: Schedule) {
    this.#source = source;
    this.#schedule = schedule;
  }

  async callRepeatedly(when: Recurs, signature: Signature, options: RepeatOptions): Promise<RecurrenceHandle> {
    checkOptions(options);
    const { key, onConflict } = options;
    if (key === "") throw new InvalidInputError("key is empty; give a non-empty text, or none");
    const nowMs = this.#source.clock.wallMs();
    const definition = this.#definitionOf(when, signature, options, nowMs);
    const plan = firstPlan(definition, await evaluatorOf(definition), nowMs, key);
    const answer = await this.#source.ask("recurrence.put", {
      recurrence: {
        definition,
        fingerprint: fingerprint(definition),
        plan,
        ...(key === undefined ? {} : { key }),
        ...(onConflict === undefined ? {} : { onConflict }),
      },
    });
    const { put, id, generation, nextMs } = answer;
    if (put === "conflict") throw new KeyTakenError(key ?? "", id);
    const next = nextMs === undefined ? undefined : new Date(nextMs);
    return new RecurrenceHandle({ id, key, generation, next, put }, this.#schedule);
  }

  async pause(ref: Ref): Promise<boolean> {
    const answer = await firstKnown(targetsOf(ref), (target) => this.#source.ask("recurrence.pause", { target }));
    return isChanged(answer, ref);
  }

  async resume(ref: Ref): Promise<Date | undefined> {
    const { ask, clock } = this.#source;
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const found = await this.get(ref);
      if (found === undefined) throw new UnknownRecurrenceError(ref);
      if (found.state === "ended") throw new RecurrenceEndedError(found.id);
      if (found.state === "active") return found.nextMs === undefined ? undefined : new Date(found.nextMs);
      const { id, generation, definition } = found;
      const plan = resumePlan(found, await evaluatorOf(definition), clock.wallMs());
      const answer = await ask("recurrence.resume", { target: { id }, generation, plan });
      // Somebody else was faster, and may have changed what recurs: look again.
      if (answer.answer === "stale" || answer.answer === "unchanged") continue;
      isChanged(answer, ref);
      return plan.nextMs === null ? undefined : new Date(plan.nextMs);
    }
    throw new OvertakenError(
      `the recurrence was changed by others ${MAX_TRIES} times while it was to be resumed: call it again`,
    );
  }

  async preview(of: Recurs | Ref, { count = 10 }: PreviewOptions): Promise<PreviewTime[]> {
    const nowMs = this.#source.clock.wallMs();
    const recurring = isRule(of) ? this.#recurs(of, nowMs) : await this.#definition(of);
    const times = preview(await evaluatorOf(recurring), nowMs, count);
    return times.map(({ nominalMs, text, moved }) => ({ at: new Date(nominalMs), text, moved }));
  }

  get(ref: Ref): Promise<Recurrence | undefined> {
    return firstFound(targetsOf(ref), (target: Target) => this.#source.ask("recurrence.get", { target }));
  }

  async *list({ states }: RecurrencesOptions): AsyncGenerator<Recurrence, void, undefined> {
    const query = { limit: LIST_PAGE, ...(states === undefined ? {} : { states }) };
    let page = await this.#source.ask("recurrence.list", { query });
    for (;;) {
      yield* page.recurrences;
      if (page.next === undefined) return;
      page = await this.#source.ask("recurrence.list", { query: { ...query, cursor: page.next } });
    }
  }

  #definitionOf(when: Recurs, signature: Signature, options: RepeatOptions, nowMs: number): Definition {
    const { startAt, until, expires, tags = [], queue, priority, onLost = "rerun" } = options;
    for (const [name, given] of Object.entries({ startAt, until })) {
      if (given === undefined || typeof when !== "object" || when === null || !(name in when)) continue;
      throw new InvalidInputError(`${name} stands in when and in the options; give the one that is meant`);
    }
    const recurring = this.#recurs(bounded(when, startAt, until), nowMs);
    const sent = {
      ...withoutTime(signature.options),
      ...(queue === undefined ? {} : { queue }),
      ...(priority === undefined ? {} : { priority }),
    };
    const wanted = expires ?? signature.options.expires;
    if (wanted instanceof Date) {
      throw new InvalidInputError(
        "expires of what recurs is a duration from each nominal time, not a moment: use until to end it",
      );
    }
    const addressed = this.#source.address(signature, wanted === undefined ? sent : { ...sent, expires: wanted });
    const { expiresAfterMs } = addressed;
    return {
      ...recurring,
      ...policyOf(options),
      call: {
        queue: addressed.queue,
        tags,
        message: recurringCall(addressed.message),
        onLost,
        ...(expiresAfterMs === undefined ? {} : { expiresAfterMs }),
      },
    };
  }

  #recurs(when: Recurs, nowMs: number) {
    return recurringOf(when, { nowMs, timezone: this.#source.config().timezone });
  }

  async #definition(ref: Ref): Promise<Definition> {
    const found = await this.get(ref);
    if (found === undefined) throw new UnknownRecurrenceError(ref);
    return found.definition;
  }
}

function isRule(of: Recurs | Ref): of is Recurs {
  return typeof of === "object" && of !== null && !("id" in of) && !("key" in of);
}

/** With the bounds that were given beside it. */
function bounded(when: Recurs, startAt: Moment | undefined, until: Moment | undefined): Recurs {
  if (startAt === undefined && until === undefined) return when;
  return { ...when, ...(startAt === undefined ? {} : { startAt }), ...(until === undefined ? {} : { until }) };
}

/** @throws {InvalidInputError} */
function checkOptions(options: RepeatOptions): void {
  if (typeof options === "object" && options !== null && "timezone" in options) {
    throw new InvalidInputError(
      'callRepeatedly has no option "timezone": it stands beside the cron pattern, { cron, timezone }',
    );
  }
  checkNames(options, OPTION_NAMES, "callRepeatedly");
}

/** @throws {UnknownRecurrenceError} @throws {RecurrenceEndedError} */
function isChanged(answer: ChangeAnswer, ref: Ref): boolean {
  if (answer.answer === "unknown") throw new UnknownRecurrenceError(ref);
  if (answer.answer === "ended") throw new RecurrenceEndedError(answer.id);
  return answer.answer === "changed";
}
