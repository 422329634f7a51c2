/** What recurs, in Redis: parameters are checked and packed here, and answers made into recurrences. */
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
import { withoutPrefix } from "../../ids.ts";
import {
  callbackOfOccurrence,
  type NewRecurrence,
  type Plan,
  type PutRecurrenceAnswer,
  type Recurrence,
} from "../../recurrence.ts";
import { answerOfCancelRecurrence, CANCELLED, PAUSED, REPLACED } from "../../recurrence-rules.ts";
import type { ChangeAnswer, RecurrencePage, RecurrenceQuery, RecurrenceStore } from "../../recurrence-store.ts";
import { newSalt } from "../../salt.ts";
import type { Target } from "../../store.ts";
import { CHANGES, PUT_RECURRENCE, RECURRENCE_COLUMNS, RECURRENCE_STATES } from "./lua/recurrences.ts";
import type { Packable, Packer, Unpacked } from "./pack.ts";
import { idOf, limitsItem, numberOf, OVERLAPS, packTemplate, parseId } from "./rows.ts";
import { type Script, scripts } from "./scripts.ts";
import type { Session } from "./session.ts";

/** Recurrences that one step of a list reads. */
const STEP = 200;
/** Recurrences that one look finds due; the next look finds the others. */
const MOST_DUE = 200;

type Column = (typeof RECURRENCE_COLUMNS)[number];
const at = Object.fromEntries(RECURRENCE_COLUMNS.map((name, i) => [name, i])) as Readonly<Record<Column, number>>;

export class RedisRecurrences implements RecurrenceStore {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** A plan of 1,000 occurrences is one script, which keeps Redis busy for some 20 ms. */
  async put(recurrence: NewRecurrence): Promise<PutRecurrenceAnswer> {
    this.#session.refuseIfClosed();
    checkNewRecurrence(recurrence);
    const { key, onConflict = "replace", fingerprint, definition, plan } = recurrence;
    const { limits } = this.#session;
    const writeParams = (packer: Packer) => {
      packer.value(limitsItem(limits));
      packer.number(limits.maxPending);
      packer.value(key ?? false);
      packer.number(["keep", "replace", "reject"].indexOf(onConflict));
      packer.number(newSalt());
      packer.text(fingerprint);
      packer.text(JSON.stringify(definition));
      packer.number(OVERLAPS.indexOf(definition.overlap));
      packTemplate(packer, callbackOfOccurrence(definition, NO_TIME));
      packer.value(planItem(plan));
      packer.text(REPLACED);
    };
    const answer = await this.#session.send(scripts.putRecurrence, 11, writeParams, "putting the recurrence");
    if (answer === false) throw new BackpressureError(limits.maxPending);
    const [put, number, salt, generation, nextMs] = answer as [number, string, number, number, number | false];
    return {
      put: PUT_RECURRENCE[put] as PutRecurrenceAnswer["put"],
      id: recurrenceIdOf(number, salt),
      generation,
      ...(nextMs === false ? {} : { nextMs }),
    };
  }

  async get(target: Target): Promise<Recurrence | undefined> {
    checkTarget(target);
    const named = recurrenceTarget(target);
    if (named === undefined) return undefined;
    const answer = await this.#session.ask(scripts.getRecurrence, named);
    return recurrencesOf(answer)[0];
  }

  async list(query: RecurrenceQuery): Promise<RecurrencePage> {
    let after = checkRecurrenceQuery(query);
    const states = statesOf(query);
    const found: Recurrence[] = [];
    for (;;) {
      const answer = await this.#session.ask(scripts.listRecurrences, [after, STEP]);
      const step = recurrencesOf(answer);
      found.push(...step.filter(({ state }) => states.includes(state)));
      const last = (answer as [string, Unpacked][]).at(-1);
      if (last === undefined || step.length < STEP || found.length > query.limit) break;
      after = numberOf(last[0]);
    }
    if (found.length <= query.limit) return { recurrences: found };
    const recurrences = found.slice(0, query.limit);
    return { recurrences, next: String(placeOf(recurrences.at(-1)?.id ?? "")) };
  }

  async due(limit: number): Promise<Recurrence[]> {
    checkDueLimit(limit);
    if (limit === 0) return [];
    return recurrencesOf(await this.#session.ask(scripts.dueRecurrences, [Math.min(limit, MOST_DUE)]));
  }

  async advance(
    id: string,
    from: { readonly generation: number; readonly nextMs: number },
    plan: Plan,
  ): Promise<ChangeAnswer> {
    checkTarget({ id });
    checkAdvance(from, plan);
    return this.#change(scripts.advance, { id }, [from.generation, from.nextMs, planItem(plan)]);
  }

  async pause(target: Target): Promise<ChangeAnswer> {
    checkTarget(target);
    return this.#change(scripts.pause, target, [PAUSED]);
  }

  async resume(target: Target, generation: number, plan: Plan): Promise<ChangeAnswer> {
    checkTarget(target);
    checkResume(generation, plan);
    return this.#change(scripts.resume, target, [generation, planItem(plan)]);
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    checkTarget(target);
    const named = recurrenceTarget(target);
    if (named === undefined) return { answer: "unknown" };
    const params = [limitsItem(this.#session.limits), ...named, options.abort === true, CANCELLED];
    const answer = await this.#session.ask(scripts.cancelRecurrence, params, "cancelling the recurrence");
    if (answer === false) return { answer: "unknown" };
    const [number, salt, state, started, running] = answer as [string, number, number, boolean, boolean];
    const found = { state: RECURRENCE_STATES[state] ?? "ended", started, running };
    return answerOfCancelRecurrence(recurrenceIdOf(number, salt), found);
  }

  async #change(script: Script, target: Target, params: readonly Packable[]): Promise<ChangeAnswer> {
    const named = recurrenceTarget(target);
    if (named === undefined) return { answer: "unknown" };
    const all = [limitsItem(this.#session.limits), ...named, ...params];
    const answer = await this.#session.ask(script, all, "changing the recurrence");
    if (answer === false) return { answer: "unknown" };
    const [change, number, salt] = answer as [number, string, number];
    return { answer: CHANGES[change] as (typeof CHANGES)[number], id: recurrenceIdOf(number, salt) };
  }
}

const NO_TIME = { nominalMs: 0, dueMs: 0, misfire: "fire", graceMs: 0 } as const;

/** See lua/recurrences.ts. */
function planItem({ nextMs, occurrences }: Plan): Packable {
  const items = occurrences.map(({ nominalMs, dueMs, expiresMs, misfire, graceMs }) => [
    nominalMs,
    dueMs,
    expiresMs ?? false,
    misfire === "skip",
    graceMs,
    newSalt(),
  ]);
  return [nextMs ?? false, items];
}

function recurrenceIdOf(number: string, salt: number): string {
  return `r-${idOf(number, salt)}`;
}

/** What names a recurrence to a script; undefined: none has that id. */
function recurrenceTarget(target: Target): readonly [name: string, salt: number | false] | undefined {
  if ("key" in target) return [target.key, false];
  const id = withoutPrefix(target.id);
  return id === undefined ? undefined : parseId(id);
}

/** Its place among all. */
function placeOf(id: string): number {
  return numberOf(parseId(withoutPrefix(id) ?? "")?.[0] ?? "");
}

function recurrencesOf(answer: Unpacked): Recurrence[] {
  return (answer as [string, Unpacked[]][]).map(([number, fields]) => recurrenceOf(number, fields));
}

function recurrenceOf(number: string, fields: readonly Unpacked[]): Recurrence {
  const [key, nextMs, endedMs] = [fields[at.R_KEY], fields[at.R_NEXT], fields[at.R_ENDED]];
  return {
    id: recurrenceIdOf(number, fields[at.R_SALT] as number),
    ...(typeof key === "string" ? { key } : {}),
    state: RECURRENCE_STATES[fields[at.R_STATE] as number] ?? "ended",
    definition: JSON.parse(fields[at.R_DEFINITION] as string),
    generation: fields[at.R_GENERATION] as number,
    ...(typeof nextMs === "number" ? { nextMs } : {}),
    started: fields[at.R_STARTED] as boolean,
    createdMs: fields[at.R_CREATED] as number,
    ...(typeof endedMs === "number" ? { endedMs } : {}),
  };
}
