/** What recurs, in PostgreSQL. What is decided about it is decided where the rows are (schema/recurrences.ts). */
import { OutcomeUnknownError } from "../../../kit/errors.ts";
import type { CancelAnswer } from "../../callback.ts";
import { checkTarget } from "../../check.ts";
import {
  checkAdvance,
  checkDueLimit,
  checkNewRecurrence,
  checkRecurrenceQuery,
  checkResume,
  statesOf,
} from "../../check-recurrence.ts";
import { BackpressureError } from "../../errors.ts";
import {
  callbackOfOccurrence,
  type Definition,
  type NewRecurrence,
  type Plan,
  type PutRecurrenceAnswer,
  type Recurrence,
  type RecurrenceState,
} from "../../recurrence.ts";
import { answerOfCancelRecurrence, CANCELLED, PAUSED, REPLACED } from "../../recurrence-rules.ts";
import type { ChangeAnswer, RecurrencePage, RecurrenceQuery, RecurrenceStore } from "../../recurrence-store.ts";
import type { Target } from "../../store.ts";
import { AnswerLostError } from "./failure.ts";
import { indexed, newSalt, parseRecurrenceId, recurrenceIdOf } from "./names.ts";
import { callItemOf, flagsOf, OVERLAPS } from "./rows.ts";
import type { Params, Session } from "./session.ts";

const STATES: readonly RecurrenceState[] = ["active", "paused", "ended"];
const PUTS: readonly PutRecurrenceAnswer["put"][] = ["added", "existing", "replaced", "conflict"];

/** As `recurrence_of` builds it. */
type RecurrenceTuple = readonly [
  n: number,
  salt: number,
  state: number,
  generation: number,
  next: number | null,
  started: boolean,
  created: number,
  ended: number | null,
  key: string | null,
  definition: string,
];

export class PostgresRecurrences implements RecurrenceStore {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async put(recurrence: NewRecurrence): Promise<PutRecurrenceAnswer> {
    checkNewRecurrence(recurrence);
    const { key, definition, fingerprint, plan, onConflict = "replace" } = recurrence;
    const k = key === undefined ? null : indexed(key);
    const { maxPending } = this.#session.limits;
    const answer = (await this.#change("scheduling what recurs", key, "put_recurrence", {
      k,
      whole: k === key ? null : (key ?? null),
      conflict: onConflict,
      salt: newSalt(),
      fingerprint,
      definition: JSON.stringify(definition),
      call: JSON.stringify(callOf(definition)),
      plan: planItemOf(plan),
      max: maxPending,
      why: REPLACED,
    })) as readonly [number, number, number, number, number | null] | null;
    if (answer === null) throw new BackpressureError(maxPending);
    const [put, n, salt, generation, nextMs] = answer;
    return {
      put: PUTS[put] as PutRecurrenceAnswer["put"],
      id: recurrenceIdOf(n, salt),
      generation,
      ...(nextMs === null ? {} : { nextMs }),
    };
  }

  async get(target: Target): Promise<Recurrence | undefined> {
    const item = targetOf(target);
    if (item === undefined) return undefined;
    const row = (await this.#session.read("get_recurrence", item)) as RecurrenceTuple | null;
    return row === null ? undefined : recurrenceOf(row);
  }

  async list(query: RecurrenceQuery): Promise<RecurrencePage> {
    const after = checkRecurrenceQuery(query);
    const states = statesOf(query).map((state) => STATES.indexOf(state));
    const rows = (await this.#session.read("list_recurrences", {
      after,
      states,
      limit: query.limit + 1,
    })) as RecurrenceTuple[];
    const page = rows.slice(0, query.limit);
    const recurrences = page.map(recurrenceOf);
    return rows.length > page.length ? { recurrences, next: String(page.at(-1)?.[0]) } : { recurrences };
  }

  async due(limit: number): Promise<Recurrence[]> {
    checkDueLimit(limit);
    return ((await this.#session.read("due_recurrences", { limit })) as RecurrenceTuple[]).map(recurrenceOf);
  }

  async advance(
    id: string,
    from: { readonly generation: number; readonly nextMs: number },
    plan: Plan,
  ): Promise<ChangeAnswer> {
    checkAdvance(from, plan);
    return this.#changeOne("advancing what recurs", { id }, "advance", {
      generation: from.generation,
      next: from.nextMs,
      plan: planItemOf(plan),
    });
  }

  async pause(target: Target): Promise<ChangeAnswer> {
    return this.#changeOne("pausing what recurs", target, "pause", { why: PAUSED });
  }

  async resume(target: Target, generation: number, plan: Plan): Promise<ChangeAnswer> {
    checkResume(generation, plan);
    return this.#changeOne("resuming what recurs", target, "resume", { generation, plan: planItemOf(plan) });
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    const item = targetOf(target);
    if (item === undefined) return { answer: "unknown" };
    const params = { ...item, abort: options.abort === true, why: CANCELLED };
    const found = (await this.#change("cancelling what recurs", undefined, "cancel_recurrence", params)) as
      | readonly [n: number, salt: number, state: number, started: boolean, running: boolean]
      | null;
    if (found === null) return { answer: "unknown" };
    const [n, salt, state, started, running] = found;
    return answerOfCancelRecurrence(recurrenceIdOf(n, salt), {
      state: STATES[state] as RecurrenceState,
      started,
      running,
    });
  }

  async #changeOne(what: string, target: Target, op: string, params: Params): Promise<ChangeAnswer> {
    const item = targetOf(target);
    if (item === undefined) return { answer: "unknown" };
    const answer = (await this.#change(what, undefined, op, { ...item, ...params })) as
      | readonly [word: "changed" | "unchanged" | "ended" | "stale", n: number, salt: number]
      | null;
    if (answer === null) return { answer: "unknown" };
    return { answer: answer[0], id: recurrenceIdOf(answer[1], answer[2]) };
  }

  async #change(what: string, key: string | undefined, op: string, params: Params): Promise<unknown> {
    try {
      return (await this.#session.change([{ op, params }]))[0];
    } catch (error) {
      if (error instanceof AnswerLostError) throw new OutcomeUnknownError(what, key, { cause: error });
      throw error;
    }
  }
}

/** What all occurrences have in common. */
function callOf(definition: Definition) {
  const any = { nominalMs: 0, dueMs: 0, misfire: "fire", graceMs: 0 } as const;
  return { ...callItemOf(callbackOfOccurrence(definition, any)), o: OVERLAPS.indexOf(definition.overlap) };
}

/** Its letters are those of OCCURRENCE in schema/recurrences.ts. */
function planItemOf({ nextMs, occurrences }: Plan) {
  return {
    next: nextMs,
    occurrences: occurrences.map(({ nominalMs, dueMs, expiresMs, misfire, graceMs }, i) => ({
      i,
      s: newSalt(),
      d: dueMs,
      f: flagsOf({ misfire }),
      r: graceMs,
      x: expiresMs ?? null,
      o: nominalMs,
    })),
  };
}

/** Undefined: an id that no recurrence of ours can have. */
function targetOf(target: Target): { readonly n: number; readonly s: number } | { readonly k: string } | undefined {
  checkTarget(target);
  if ("key" in target) return { k: indexed(target.key) };
  const parsed = parseRecurrenceId(target.id);
  return parsed === undefined ? undefined : { n: parsed[0], s: parsed[1] };
}

function recurrenceOf(row: RecurrenceTuple): Recurrence {
  const [n, salt, state, generation, next, started, created, ended, key, definition] = row;
  return {
    id: recurrenceIdOf(n, salt),
    ...(key === null ? {} : { key }),
    state: STATES[state] as RecurrenceState,
    definition: JSON.parse(definition) as Definition,
    generation,
    ...(next === null ? {} : { nextMs: next }),
    started,
    createdMs: created,
    ...(ended === null ? {} : { endedMs: ended }),
  };
}
