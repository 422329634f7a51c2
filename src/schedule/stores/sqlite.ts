/**
 * The durable schedule in the embedded file: every process of the machine may open it. What is done to a row is done in the
 * file's thread (`sqlite/`); here parameters are checked and made small, and answers made into callbacks.
 */
import { type Clock, systemClock } from "../../kit/clock.ts";
import { ClosedError, InvalidInputError, OutcomeUnknownError } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import { openSqliteFile, type SqliteCaller, type SqliteFile } from "../../sqlite/file.ts";
import { enlistOwner, ownersTables, resignOwner, sweepOwners } from "../../sqlite/owners.ts";
import type {
  Callback,
  CallbackState,
  CancelAnswer,
  Claim,
  EndState,
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
  reasonOf,
} from "../check.ts";
import { BackpressureError, LeaseLostError } from "../errors.ts";
import { limitsOf } from "../limits.ts";
import { newSalt } from "../salt.ts";
import type {
  Change,
  Claimed,
  Durability,
  Ended,
  ListPage,
  ListQuery,
  Owner,
  ScheduleStore,
  StoreLimits,
  Swept,
  Target,
  Upcoming,
} from "../store.ts";
import type { PutRow } from "./sqlite/put.ts";
import { SqliteRecurrences } from "./sqlite/recurrence-store.ts";
import {
  callbackOf,
  idOf,
  moreOf,
  parseId,
  putTupleOf,
  type RowTuple,
  STATE_NAMES,
  type TargetTuple,
} from "./sqlite/rows.ts";
import type { ClaimTuple, EndTuple } from "./sqlite/settle.ts";
import { tables } from "./sqlite/tables.ts";

export interface SqliteScheduleOptions {
  /** Keys are unique, and claims are made, within it. Default "lovage". */
  readonly namespace?: string;
  /** Default "strict". */
  readonly durability?: "strict" | "process";
  readonly limits?: Partial<StoreLimits>;
  readonly log?: Pick<Logger, "warn">;
  /** The store's clock. Default: the machine's, read in the file's thread when the operation has its lock. */
  readonly clock?: Clock;
  /** How long to wait for another process's lock, ms. */
  readonly lockWaitMs?: number;
}

/**
 * @throws {StorePathError} {StoreCorruptError} {StoreSchemaError} {StoreUnavailableError} {StoreFullError} the file is left as it is
 */
export async function openSqliteSchedule(
  path: string,
  options: SqliteScheduleOptions = {},
): Promise<SqliteScheduleStore> {
  const limits = limitsOf(options.limits);
  const namespace = options.namespace ?? "lovage";
  if (namespace === "" || !namespace.isWellFormed()) {
    throw new InvalidInputError(`the namespace of a schedule must be a text, not ${JSON.stringify(namespace)}`);
  }
  const file = await openSqliteFile(path, {
    tables: [ownersTables, tables],
    durability: options.durability ?? "strict",
    ...(options.log === undefined ? {} : { log: options.log }),
    ...(options.lockWaitMs === undefined ? {} : { lockWaitMs: options.lockWaitMs }),
  });
  try {
    const ns = await file.use(tables).call("open", namespace);
    return new SqliteScheduleStore(file, ns, limits, options.clock);
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

/** What a put writes beside the body. */
const ROW_BYTES = 128;

export class SqliteScheduleStore implements ScheduleStore {
  readonly url: string;
  readonly recurrences: SqliteRecurrences;
  readonly #file: SqliteFile;
  readonly #ops: SqliteCaller<(typeof tables)["ops"]>;
  readonly #ns: number;
  readonly #limits: StoreLimits;
  /** Undefined: the machine's, read in the thread. */
  readonly #clock: Clock | undefined;
  /** The owners were looked at once, whether or not they held anything: their orphans may still run. */
  #swept = false;
  #closed = false;

  constructor(file: SqliteFile, ns: number, limits: StoreLimits, clock: Clock | undefined) {
    this.url = `sqlite:${file.path}`;
    this.#file = file;
    this.#ops = file.use(tables);
    this.#ns = ns;
    this.#limits = limits;
    this.#clock = clock;
    this.recurrences = new SqliteRecurrences(this.#ops, ns, limits, () => this.#now());
  }

  get durability(): Durability {
    return this.#file.durability;
  }

  async nowMs(): Promise<number> {
    if (this.#closed) throw new ClosedError(`the schedule ${this.url} was closed`);
    return (this.#clock ?? systemClock).wallMs();
  }

  async put(callbacks: readonly NewCallback[]): Promise<PutAnswer[]> {
    checkNewCallbacks(callbacks);
    const params = {
      ns: this.#ns,
      maxPending: this.#limits.maxPending,
      callbacks: callbacks.map((callback) => putTupleOf(callback, newSalt())),
    };
    let bytes = 0;
    for (const { message } of callbacks) bytes += ROW_BYTES + message.body.length;
    try {
      const rows = await this.#ops.call("put", params, { ...this.#now(), bytes });
      if (rows === "full") throw new BackpressureError(this.#limits.maxPending);
      return rows.map(putAnswerOf);
    } catch (thrown) {
      const key = callbacks.length === 1 ? callbacks[0]?.key : undefined;
      if (!(thrown instanceof OutcomeUnknownError) || key === undefined) throw thrown;
      throw new OutcomeUnknownError("scheduling the callback", key, { cause: thrown });
    }
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    const tuple = targetTupleOf(target);
    if (tuple === undefined) return { answer: "unknown" };
    const params = { ns: this.#ns, target: tuple, abort: options.abort === true, limits: this.#limits };
    return await this.#ops.call("cancel", params, this.#now());
  }

  async reschedule(
    target: Target,
    to: { readonly dueMs: number } | { readonly byMs: number },
  ): Promise<RescheduleAnswer> {
    checkMove(to);
    const tuple = targetTupleOf(target);
    if (tuple === undefined) return { answer: "unknown" };
    return await this.#ops.call("reschedule", { ns: this.#ns, target: tuple, lastMs: LAST_MS, ...to }, this.#now());
  }

  async get(target: Target): Promise<Callback | undefined> {
    const tuple = targetTupleOf(target);
    if (tuple === undefined) return undefined;
    const row = await this.#ops.call("get", { ns: this.#ns, target: tuple });
    return row === null ? undefined : callbackOf(row);
  }

  /** In steps, between which others get their turn: what moves meanwhile may be met twice, or not at all. */
  async list(query: ListQuery): Promise<ListPage> {
    checkList(query);
    let after = placeOf(query.cursor) ?? null;
    const rows: RowTuple[] = [];
    do {
      // One more than the page has, to know whether another follows.
      const limit = query.limit + 1 - rows.length;
      const step = await this.#ops.call("list", { ns: this.#ns, query, after, limit });
      rows.push(...step.rows);
      after = step.at;
    } while (after !== null && rows.length <= query.limit);
    const page = rows.slice(0, query.limit);
    const last = page.at(-1);
    const callbacks = page.map(callbackOf);
    if (last === undefined || rows.length <= page.length) return { callbacks };
    return { callbacks, next: cursorOf({ dueMs: last[3], row: last[0] }) };
  }

  async counts(): Promise<Partial<Record<CallbackState, number>>> {
    const counts = await this.#ops.call("counts", { ns: this.#ns });
    return Object.fromEntries(
      counts.map((count, state) => [STATE_NAMES[state], count] as const).filter(([, count]) => count > 0),
    );
  }

  async upcoming(owner?: Owner): Promise<Upcoming> {
    if (owner !== undefined) checkOwner(owner);
    const params = { ns: this.#ns, queues: owner?.queues ?? null, sendsOn: owner?.sendsOn ?? true };
    const [dueMs, nowMs] = await this.#ops.call("upcoming", params, this.#now());
    return { dueMs: dueMs ?? undefined, nowMs };
  }

  async claimDue(owner: Owner, limit: number, leaseMs: number): Promise<Claimed> {
    checkClaiming(owner, limit, leaseMs);
    const params = {
      ns: this.#ns,
      owner: owner.id,
      queues: owner.queues ?? null,
      sendsOn: owner.sendsOn ?? true,
      limit,
      leaseMs,
      limits: this.#limits,
    };
    const { claimed, ended, upcoming } = await this.#ops.call("claimDue", params, this.#now());
    const [dueMs, nowMs] = upcoming;
    return {
      claims: claimed.map(claimOf),
      ended: ended.map(endedOf),
      upcoming: { dueMs: dueMs ?? undefined, nowMs },
    };
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<(number | undefined)[]> {
    checkLease(leaseMs);
    if (claims.length === 0) return [];
    const params = { ns: this.#ns, claims: claims.map(claimTupleOf), leaseMs };
    const renewed = await this.#ops.call("renew", params, this.#now());
    return renewed.map((untilMs) => untilMs ?? undefined);
  }

  async settle(claim: Claim, end: RunEnd): Promise<Callback> {
    checkEnd(end);
    const params = { ns: this.#ns, claim: claimTupleOf(claim), end: endTupleOf(end), limits: this.#limits };
    const settled = await this.#ops.call("settle", params, this.#now());
    if (settled === null) throw new LeaseLostError(claim.callback.id);
    return typeof settled === "number" ? endedCallback(claim.callback, end, settled) : callbackOf(settled);
  }

  async release(claims: readonly Claim[]): Promise<void> {
    if (claims.length === 0) return;
    const params = { ns: this.#ns, claims: claims.map(claimTupleOf), limits: this.#limits };
    await this.#ops.call("release", params, this.#now());
  }

  async sweep(owner: Owner, limit: number): Promise<Swept> {
    // Asked each second, on an idle machine too: who lives is looked at only when something is held, or when this owner leaves queues
    // to those that serve them.
    const asked = { ns: this.#ns, queues: owner.queues ?? null };
    const { held, lost, old, owners } = await this.#ops.call("unswept", asked, this.#now());
    const buried = held || owner.queues !== undefined || !this.#swept ? await sweepOwners(this.#file, systemClock) : 0;
    this.#swept = true;
    const [recovered, forgotten] = await Promise.all([
      lost || buried > 0
        ? this.#ops.call("recoverLost", { ns: this.#ns, limit, limits: this.#limits }, this.#now())
        : [],
      old ? this.#ops.call("forget", { ns: this.#ns, limit }, this.#now()) : 0,
    ]);
    return { ended: recovered.map(endedOf), more: recovered.length >= limit || forgotten >= limit, owners };
  }

  async takeAborts(owner: Owner): Promise<{ readonly id: string; readonly token: number }[]> {
    return await this.#ops.call("takeAborts", { ns: this.#ns, owner: owner.id });
  }

  async revoke(taskId: string, untilMs: number, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    checkTaskId(taskId);
    const params = { ns: this.#ns, taskId, untilMs, abort: options.abort === true, limits: this.#limits };
    return await this.#ops.call("revoke", params, this.#now());
  }

  async revoked(taskIds: readonly string[]): Promise<Set<string>> {
    return new Set(await this.#ops.call("revoked", { ns: this.#ns, taskIds }, this.#now()));
  }

  async enlist(owner: Owner, childPids: readonly number[]): Promise<void> {
    checkOwner(owner);
    const serve = { ns: this.#ns, owner: owner.id, queues: owner.queues ?? null };
    // Asked for in one turn: one change.
    await Promise.all([enlistOwner(this.#file, owner.id, childPids), this.#ops.call("serve", serve)]);
  }

  async resign(owner: Owner): Promise<void> {
    await Promise.all([
      this.#ops.call("serveNone", { ns: this.#ns, owner: owner.id }),
      resignOwner(this.#file, owner.id),
    ]);
  }

  onChange(listener: (change: Change) => void): () => void {
    return this.#file.onChange(() => listener({}));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#file.close();
  }

  #now(): { nowMs?: number } {
    return this.#clock === undefined ? {} : { nowMs: this.#clock.wallMs() };
  }
}

function putAnswerOf([put, n, salt, dueMs]: PutRow): PutAnswer {
  switch (put) {
    case "revoked":
      return { put };
    case "too_late":
    case "conflict":
      return { put, id: idOf(n, salt) };
    default:
      return { put, id: idOf(n, salt), dueMs };
  }
}

/** Undefined: an id that no callback of ours can have. */
function targetTupleOf(target: Target): TargetTuple | undefined {
  checkTarget(target);
  return "id" in target ? parseId(target.id) : [target.key];
}

function claimOf(row: RowTuple): Claim {
  const callback = callbackOf(row);
  return { callback, token: row[4], attempt: row[5], leaseUntilMs: row[11] as number };
}

function claimTupleOf({ callback, token }: Claim): ClaimTuple {
  const [n, salt] = parseId(callback.id) ?? [0, 0]; // row 0 is nobody's
  return [n, salt, token, callback.occurrence?.recurrence ?? null];
}

function endTupleOf(end: RunEnd): EndTuple {
  switch (end.kind) {
    case "succeeded":
      return ["succeeded"];
    case "retry":
      return ["retry", end.dueMs, end.message.task, end.message.retries, moreOf(end.message), end.message.body];
    default:
      return [end.kind, reasonOf(end.reason)];
  }
}

/** A run that simply ended changed nothing else of its callback. */
function endedCallback(callback: Callback, end: RunEnd, endedMs: number): Callback {
  const { leaseUntilMs: _, ...rest } = callback;
  const state = end.kind as EndState;
  return { ...rest, state, endedMs, ...("reason" in end ? { reason: reasonOf(end.reason) } : {}) };
}

function endedOf(row: RowTuple): Ended {
  const callback = callbackOf(row);
  return { callback, state: callback.state as Ended["state"] };
}
