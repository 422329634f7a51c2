/**
 * The durable schedule in PostgreSQL, shared by any number of machines. What is done to a row is done on the server (`postgres/schema/`), by one
 * statement for each operation or for all of a turn; here parameters are checked and made small, and answers made into callbacks.
 */
import type { Clock } from "../../kit/clock.ts";
import { ClosedError, OutcomeUnknownError } from "../../kit/errors.ts";
import type {
  Callback,
  CallbackState,
  CancelAnswer,
  Claim,
  NewCallback,
  PutAnswer,
  RescheduleAnswer,
  RunEnd,
} from "../callback.ts";
import {
  checkClaiming,
  checkEnd,
  checkLease,
  checkList,
  checkMove,
  checkNewCallbacks,
  checkOwner,
  checkTarget,
  checkTaskId,
  cursorOf,
  LAST_MS,
  placeOf,
} from "../check.ts";
import type { RecurrenceStore } from "../recurrence-store.ts";
import { answerOfCancel, answerOfRevoke } from "../rules.ts";
import type {
  Change,
  Claimed,
  Durability,
  ListPage,
  ListQuery,
  Owner,
  ScheduleStore,
  Swept,
  Target,
  Upcoming,
} from "../store.ts";
import { AnswerLostError } from "./postgres/failure.ts";
import { type CancelOp, type PutOp, runCancels, runPuts, runWork, type WorkOp } from "./postgres/groups.ts";
import { Lane } from "./postgres/lane.ts";
import { listStatement } from "./postgres/list.ts";
import { idOf, indexed, parseId } from "./postgres/names.ts";
import { openConnections, type PostgresConnections, type PostgresScheduleOptions } from "./postgres/open.ts";
import { PostgresRecurrences } from "./postgres/recurrence-store.ts";
import {
  callbackOf,
  claimItemOf,
  endedOf,
  endItemOf,
  isPlain,
  putItemOf,
  type RowTuple,
  stateName,
  targetItemOf,
} from "./postgres/rows.ts";
import type { Params, Session } from "./postgres/session.ts";

export type { PostgresScheduleOptions } from "./postgres/open.ts";

/** What an operation sends beside a body, in bytes. */
const ITEM_BYTES = 200;

/**
 * @throws {InvalidInputError} the URL is not PostgreSQL's
 * @throws {StorePathError} {StoreSchemaError} {StorePolicyError} {StoreUnavailableError} one line says what to correct
 */
export async function openPostgresSchedule(
  url: string,
  options: PostgresScheduleOptions = {},
): Promise<PostgresScheduleStore> {
  return new PostgresScheduleStore(await openConnections(url, options), options.clock);
}

export class PostgresScheduleStore implements ScheduleStore {
  readonly url: string;
  readonly recurrences: RecurrenceStore;
  readonly #connections: PostgresConnections;
  readonly #session: Session;
  /** Undefined: the server's. */
  readonly #clock: Clock | undefined;
  /** What a worker does waits for nobody; a new row neither. What finds a key or a row in somebody's hands may wait, and so goes apart. */
  readonly #work: Lane<WorkOp>;
  readonly #puts: Lane<PutOp>;
  readonly #keyedPuts: Lane<PutOp>;
  readonly #cancels: Lane<CancelOp>;
  #closed = false;

  constructor(connections: PostgresConnections, clock: Clock | undefined) {
    const { session } = connections;
    this.url = connections.shown;
    this.#connections = connections;
    this.#session = session;
    this.#clock = clock;
    this.recurrences = new PostgresRecurrences(session);
    const refusal = () => this.#closedError();
    this.#work = new Lane((ops) => runWork(session, ops), refusal);
    this.#puts = new Lane((ops) => runPuts(session, ops), refusal);
    this.#keyedPuts = new Lane((ops) => runPuts(session, ops), refusal);
    this.#cancels = new Lane((ops) => runCancels(session, ops), refusal);
  }

  get durability(): Durability {
    return this.#connections.durability;
  }

  async nowMs(): Promise<number> {
    if (this.#closed) throw this.#closedError();
    if (this.#clock !== undefined) return this.#clock.wallMs();
    return (await this.upcoming()).nowMs;
  }

  async put(callbacks: readonly NewCallback[]): Promise<PutAnswer[]> {
    checkNewCallbacks(callbacks);
    if (callbacks.length === 0) return [];
    let bytes = 0;
    for (const { message } of callbacks) bytes += ITEM_BYTES + message.body.length;
    return (callbacks.every(isPlain) ? this.#puts : this.#keyedPuts).do({
      what: callbacks.length === 1 ? "scheduling the callback" : "scheduling the callbacks",
      key: callbacks.length === 1 ? callbacks[0]?.key : undefined,
      bytes,
      items: callbacks.map(putItemOf),
    });
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    checkTarget(target);
    const item = targetItemOf(target);
    if (item === undefined) return { answer: "unknown" };
    const what = "cancelling the callback";
    const found = await this.#cancels.do<FoundTuple | null>({
      what,
      bytes: ITEM_BYTES,
      item: { ...item, a: options.abort === true },
    });
    return found === null ? { answer: "unknown" } : answerOfCancel(idOf(found[0], found[1]), stateName(found[2]));
  }

  async reschedule(
    target: Target,
    to: { readonly dueMs: number } | { readonly byMs: number },
  ): Promise<RescheduleAnswer> {
    checkTarget(target);
    checkMove(to);
    const item = targetItemOf(target);
    if (item === undefined) return { answer: "unknown" };
    const where = "dueMs" in to ? { due: to.dueMs } : { move: to.byMs };
    const params = { ...item, ...where, last: LAST_MS };
    const found = (await this.#change("moving the callback", "reschedule", params)) as
      | readonly [n: number, salt: number, state: number, due: number]
      | null;
    if (found === null) return { answer: "unknown" };
    const id = idOf(found[0], found[1]);
    const state = stateName(found[2]);
    return state === "scheduled" ? { answer: "rescheduled", id, dueMs: found[3] } : { answer: "too_late", id, state };
  }

  async get(target: Target): Promise<Callback | undefined> {
    checkTarget(target);
    const item = targetItemOf(target);
    if (item === undefined) return undefined;
    const row = (await this.#session.read("get", item)) as RowTuple | null;
    return row === null ? undefined : callbackOf(row);
  }

  async list(query: ListQuery): Promise<ListPage> {
    checkList(query);
    // One more than the page has, to know whether another follows.
    const statement = listStatement(this.#session.ns, query, placeOf(query.cursor), query.limit + 1);
    if (statement === undefined) return { callbacks: [] };
    const rows = (await this.#session.select(statement.text, statement.values)).map(({ tuple }) => tuple as RowTuple);
    const page = rows.slice(0, query.limit);
    const last = page.at(-1);
    const callbacks = page.map(callbackOf);
    if (last === undefined || rows.length <= page.length) return { callbacks };
    return { callbacks, next: cursorOf({ dueMs: last[3], row: last[0] }) };
  }

  async counts(): Promise<Partial<Record<CallbackState, number>>> {
    const counts = (await this.#session.read("counts", {})) as (number | null)[];
    const named = counts.map((count, state) => [stateName(state), count ?? 0] as const);
    return Object.fromEntries(named.filter(([, count]) => count > 0));
  }

  async upcoming(owner?: Owner): Promise<Upcoming> {
    if (owner !== undefined) checkOwner(owner);
    const params = owner === undefined ? {} : ownerParams(owner);
    const [dueMs, nowMs] = (await this.#session.read("upcoming", params)) as readonly [number | null, number];
    return { dueMs: dueMs ?? undefined, nowMs };
  }

  async claimDue(owner: Owner, limit: number, leaseMs: number): Promise<Claimed> {
    checkClaiming(owner, limit, leaseMs);
    return this.#work.do({
      what: "claiming what is due",
      bytes: ITEM_BYTES,
      kind: "claim",
      params: { ...ownerParams(owner), limit, lease: leaseMs },
    });
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<(number | undefined)[]> {
    checkLease(leaseMs);
    if (claims.length === 0) return [];
    const items = claims.map(claimItemOf);
    const bytes = ITEM_BYTES * items.length;
    return this.#work.do({ what: "renewing the leases", bytes, kind: "renew", items, leaseMs });
  }

  async settle(claim: Claim, end: RunEnd): Promise<Callback> {
    checkEnd(end);
    const bytes = ITEM_BYTES + (end.kind === "retry" ? end.message.body.length : 0);
    const item = endItemOf(claim, end, 0);
    return this.#work.do({ what: "recording the end of the run", bytes, kind: "settle", claim, end, item });
  }

  async release(claims: readonly Claim[]): Promise<void> {
    if (claims.length === 0) return;
    const items = claims.map(claimItemOf);
    const bytes = ITEM_BYTES * items.length;
    await this.#work.do({ what: "giving the claims back", bytes, kind: "release", items });
  }

  async sweep(owner: Owner, limit: number): Promise<Swept> {
    const params = { ...ownerParams(owner), limit };
    const answer = await this.#change("sweeping", "sweep", params);
    const { ended, more, owners } = answer as Omit<Required<Swept>, "ended"> & { readonly ended: readonly RowTuple[] };
    return { ended: ended.map(endedOf), more, owners };
  }

  async takeAborts(owner: Owner): Promise<{ readonly id: string; readonly token: number }[]> {
    const taken = (await this.#change("taking abort requests", "take_aborts", {
      owner: indexed(owner.id),
    })) as (readonly [n: number, salt: number, token: number])[];
    return taken.map(([n, salt, token]) => ({ id: idOf(n, salt), token }));
  }

  async revoke(taskId: string, untilMs: number, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    checkTaskId(taskId);
    const [n, s] = parseId(taskId) ?? [null, null];
    const params = { task: indexed(taskId), n, s, until: untilMs, abort: options.abort === true };
    const found = (await this.#change("revoking the task", "revoke", params)) as (readonly [
      n: number,
      salt: number,
      state: number,
      attempts: number,
    ])[];
    return answerOfRevoke(
      found.map(([row, salt, state, attempts]) => ({ id: idOf(row, salt), state: stateName(state), attempts })),
    );
  }

  async revoked(taskIds: readonly string[]): Promise<Set<string>> {
    const asked = new Map(taskIds.map((taskId) => [indexed(taskId), taskId]));
    const found = (await this.#session.read("revoked", { tasks: [...asked.keys()] })) as string[];
    return new Set(found.map((each) => asked.get(each) as string));
  }

  /** Of the children nothing is kept: on another machine nobody could end them. */
  async enlist(owner: Owner, _childPids: readonly number[]): Promise<void> {
    checkOwner(owner);
    await this.#change("announcing the worker", "enlist", ownerParams(owner));
  }

  async resign(owner: Owner): Promise<void> {
    await this.#change("taking leave of the schedule", "resign", { owner: indexed(owner.id) });
  }

  onChange(listener: (change: Change) => void): () => void {
    return this.#connections.hints?.add(listener) ?? (() => undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const lanes = [this.#work, this.#puts, this.#keyedPuts, this.#cancels];
    await Promise.all([this.#connections.hints?.close(), ...lanes.map((lane) => lane.close())]);
    await this.#connections.pool.close();
  }

  async #change(what: string, op: string, params: Params): Promise<unknown> {
    try {
      return (await this.#session.change([{ op, params }]))[0];
    } catch (error) {
      if (error instanceof AnswerLostError) throw new OutcomeUnknownError(what, undefined, { cause: error });
      throw error;
    }
  }

  #closedError(): ClosedError {
    return new ClosedError(`the schedule ${this.url} was closed`);
  }
}

/** As a row was found. */
type FoundTuple = readonly [n: number, salt: number, state: number];

function ownerParams({ id, queues, sendsOn = true }: Owner): Params {
  return {
    owner: indexed(id),
    ...(queues === undefined ? {} : { queues: queues.map(indexed) }),
    ...(sendsOn ? {} : { sendsOn }),
  };
}
