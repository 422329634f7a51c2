/** What recurs, in the embedded file. What is done is done in the file's thread; here parameters are checked, and rows made into recurrences. */
import { OutcomeUnknownError } from "../../../kit/errors.ts";
import type { SqliteCaller } from "../../../sqlite/file.ts";
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
import type { NewRecurrence, Plan, PutRecurrenceAnswer, Recurrence } from "../../recurrence.ts";
import type { ChangeAnswer, RecurrencePage, RecurrenceQuery, RecurrenceStore } from "../../recurrence-store.ts";
import { newSalt } from "../../salt.ts";
import type { StoreLimits, Target } from "../../store.ts";
import { parseRecurrenceId, RECURRENCE_STATES, recurrenceFrom } from "./recurrence-rows.ts";
import type { SaltedPlan } from "./recurrences.ts";
import type { TargetTuple } from "./rows.ts";
import type { tables } from "./tables.ts";

/** What an occurrence writes beside its body. */
const ROW_BYTES = 192;

export class SqliteRecurrences implements RecurrenceStore {
  readonly #ops: SqliteCaller<(typeof tables)["ops"]>;
  readonly #ns: number;
  readonly #limits: StoreLimits;
  /** The clock to send along, if it is not the machine's. */
  readonly #now: () => { nowMs?: number };

  constructor(
    ops: SqliteCaller<(typeof tables)["ops"]>,
    ns: number,
    limits: StoreLimits,
    now: () => { nowMs?: number },
  ) {
    this.#ops = ops;
    this.#ns = ns;
    this.#limits = limits;
    this.#now = now;
  }

  async put(recurrence: NewRecurrence): Promise<PutRecurrenceAnswer> {
    checkNewRecurrence(recurrence);
    const { key, onConflict, fingerprint, definition, plan } = recurrence;
    const text = JSON.stringify(definition);
    const params = {
      ...this.#common(),
      salt: newSalt(),
      key: key ?? null,
      onConflict: onConflict ?? "replace",
      fingerprint,
      definition: text,
      plan: salted(plan),
    };
    try {
      const bytes = text.length + bytesOf(plan, definition.call.message.body.length);
      const answer = await this.#ops.call("putRecurrence", params, { ...this.#now(), bytes });
      if (answer === "full") throw new BackpressureError(this.#limits.maxPending);
      return answer;
    } catch (thrown) {
      if (!(thrown instanceof OutcomeUnknownError) || key === undefined) throw thrown;
      throw new OutcomeUnknownError("putting the recurrence", key, { cause: thrown });
    }
  }

  async get(target: Target): Promise<Recurrence | undefined> {
    const tuple = targetTupleOf(target);
    if (tuple === undefined) return undefined;
    const row = await this.#ops.call("getRecurrence", { ns: this.#ns, target: tuple });
    return row === null ? undefined : recurrenceFrom(row);
  }

  async list(query: RecurrenceQuery): Promise<RecurrencePage> {
    const after = checkRecurrenceQuery(query);
    // In the order of the numbers, each once.
    const wanted = statesOf(query);
    const states = RECURRENCE_STATES.flatMap((state, n) => (wanted.includes(state) ? [n] : []));
    // One more than the page has, to know whether another follows.
    const limit = query.limit + 1;
    const rows = await this.#ops.call("listRecurrences", { ns: this.#ns, states, after, limit });
    const page = rows.slice(0, query.limit);
    const recurrences = page.map(recurrenceFrom);
    return rows.length > page.length ? { recurrences, next: String(page.at(-1)?.n) } : { recurrences };
  }

  async due(limit: number): Promise<Recurrence[]> {
    checkDueLimit(limit);
    return (await this.#ops.call("dueRecurrences", { ns: this.#ns, limit }, this.#now())).map(recurrenceFrom);
  }

  async advance(
    id: string,
    from: { readonly generation: number; readonly nextMs: number },
    plan: Plan,
  ): Promise<ChangeAnswer> {
    checkAdvance(from, plan);
    const target = targetTupleOf({ id });
    if (target === undefined) return { answer: "unknown" };
    const params = { ...this.#common(), target, from, plan: salted(plan) };
    return await this.#ops.call("advance", params, { ...this.#now(), bytes: bytesOf(plan, 0) });
  }

  async pause(target: Target): Promise<ChangeAnswer> {
    const tuple = targetTupleOf(target);
    if (tuple === undefined) return { answer: "unknown" };
    return await this.#ops.call("pause", { ...this.#common(), target: tuple }, this.#now());
  }

  async resume(target: Target, generation: number, plan: Plan): Promise<ChangeAnswer> {
    checkResume(generation, plan);
    const tuple = targetTupleOf(target);
    if (tuple === undefined) return { answer: "unknown" };
    const params = { ...this.#common(), target: tuple, generation, plan: salted(plan) };
    return await this.#ops.call("resume", params, { ...this.#now(), bytes: bytesOf(plan, 0) });
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    const tuple = targetTupleOf(target);
    if (tuple === undefined) return { answer: "unknown" };
    const params = { ...this.#common(), target: tuple, abort: options.abort === true };
    return await this.#ops.call("cancelRecurrence", params, this.#now());
  }

  #common() {
    return { ns: this.#ns, limits: this.#limits };
  }
}

/** Undefined: an id that no recurrence of ours can have. */
function targetTupleOf(target: Target): TargetTuple | undefined {
  checkTarget(target);
  return "id" in target ? parseRecurrenceId(target.id) : [target.key];
}

function salted({ nextMs, occurrences }: Plan): SaltedPlan {
  return { nextMs, occurrences, salts: occurrences.map(newSalt) };
}

function bytesOf({ occurrences }: Plan, bodyLength: number): number {
  return occurrences.length * (ROW_BYTES + bodyLength);
}
