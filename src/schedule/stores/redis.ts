/**
 * The durable schedule in Redis 7: any number of processes, on any number of machines, share it. What is done to a row is done by one
 * script of the server (`redis/lua/`); here parameters are checked and packed, and answers made into callbacks.
 *
 * URLs: `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://` (`redis/url.ts`). A put of more than 200 callbacks is several
 * scripts: each adds its 200 or none of them.
 */
import type { Clock } from "../../kit/clock.ts";
import type { Logger } from "../../kit/log.ts";
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
  LAST_MS,
} from "../check.ts";
import { limitsOf } from "../limits.ts";
import { answerOfRevoke } from "../rules.ts";
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
import { Changes } from "./redis/changes.ts";
import { Claims, endedOf } from "./redis/claims.ts";
import { listPage } from "./redis/list.ts";
import { STEP } from "./redis/lua/claim.ts";
import type { Unpacked } from "./redis/pack.ts";
import { RedisRecurrences } from "./redis/recurrences.ts";
import { callbackOf, claimItem, idOf, limitsItem, parseId, rowsOf, stateOf, targetOf } from "./redis/rows.ts";
import { scripts } from "./redis/scripts.ts";
import { Session } from "./redis/session.ts";

export interface RedisScheduleOptions {
  /** Keys are unique, and claims are made, within it. Default "lovage". */
  readonly namespace?: string;
  readonly limits?: Partial<StoreLimits>;
  readonly log?: Pick<Logger, "info" | "warn" | "error">;
  /** The store's clock. Default: the server's, read inside each script. */
  readonly clock?: Clock;
  /** How long the server may take to let us in, ms. Default 4,000. */
  readonly connectMs?: number;
  /** How long it may take to answer, ms. Default 5,000. */
  readonly answerMs?: number;
}

/**
 * @throws {StoreUnavailableError} nobody answers there
 * @throws {StorePolicyError} it evicts, is a replica, refuses our user
 * @throws {StoreSchemaError} it is too old, or what lies there is newer than this Lovage
 * @throws {InvalidInputError} the URL; {MissingPeerError} ioredis
 */
export async function openRedisSchedule(url: string, options: RedisScheduleOptions = {}): Promise<RedisScheduleStore> {
  const session = new Session(url, {
    namespace: options.namespace ?? "lovage",
    limits: limitsOf(options.limits),
    log: options.log ?? NO_LOG,
    clock: options.clock,
    connectMs: options.connectMs ?? 4_000,
    answerMs: options.answerMs ?? 5_000,
  });
  await session.line.open();
  return new RedisScheduleStore(session);
}

export class RedisScheduleStore implements ScheduleStore {
  readonly url: string;
  readonly recurrences: RedisRecurrences;
  readonly #session: Session;
  readonly #changes: Changes;
  readonly #claims: Claims;

  /** Not open yet: `openRedisSchedule`. */
  constructor(session: Session) {
    this.url = session.line.shown;
    this.#session = session;
    this.#changes = new Changes(session);
    this.#claims = new Claims(session);
    this.recurrences = new RedisRecurrences(session);
  }

  get durability(): Durability {
    return this.#session.line.durability;
  }

  async nowMs(): Promise<number> {
    return (await this.#session.ask(scripts.now, [])) as number;
  }

  async put(callbacks: readonly NewCallback[]): Promise<PutAnswer[]> {
    this.#session.refuseIfClosed();
    checkNewCallbacks(callbacks);
    return this.#changes.put(callbacks);
  }

  async cancel(target: Target, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    this.#session.refuseIfClosed();
    checkTarget(target);
    const named = targetOf(target);
    return named === undefined ? UNKNOWN : this.#changes.cancel(named, options.abort === true);
  }

  async reschedule(
    target: Target,
    to: { readonly dueMs: number } | { readonly byMs: number },
  ): Promise<RescheduleAnswer> {
    checkTarget(target);
    checkMove(to);
    const named = targetOf(target);
    if (named === undefined) return UNKNOWN;
    const move = "dueMs" in to ? [to.dueMs, false] : [false, to.byMs];
    const answer = await this.#session.ask(
      scripts.reschedule,
      [...named, ...move, LAST_MS],
      "rescheduling the callback",
    );
    if (answer === false) return UNKNOWN;
    const [state, member, salt, dueMs] = answer as [number, string, number, number];
    const id = idOf(member, salt);
    const found = stateOf(state);
    return found === "scheduled" ? { answer: "rescheduled", id, dueMs } : { answer: "too_late", id, state: found };
  }

  async get(target: Target): Promise<Callback | undefined> {
    checkTarget(target);
    const named = targetOf(target);
    if (named === undefined) return undefined;
    const [row] = rowsOf(await this.#session.ask(scripts.get, named));
    return row === undefined ? undefined : callbackOf(row);
  }

  async list(query: ListQuery): Promise<ListPage> {
    checkList(query);
    this.#session.refuseIfClosed();
    return listPage((script, params) => this.#session.ask(script, params), query);
  }

  async counts(): Promise<Partial<Record<CallbackState, number>>> {
    const [rows = 0, ...counts] = (await this.#session.ask(scripts.counts, [])) as number[];
    counts[0] = counts.reduce((left, count) => left - count, rows);
    return Object.fromEntries(counts.map((count, state) => [stateOf(state), count]).filter(([, count]) => count !== 0));
  }

  async upcoming(owner?: Owner): Promise<Upcoming> {
    if (owner !== undefined) checkOwner(owner);
    const params = [owner?.queues ?? false, owner?.sendsOn ?? true];
    const [dueMs, nowMs] = (await this.#session.ask(scripts.upcoming, params)) as [number | false, number];
    return { dueMs: dueMs === false ? undefined : dueMs, nowMs };
  }

  async claimDue(owner: Owner, limit: number, leaseMs: number): Promise<Claimed> {
    checkClaiming(owner, limit, leaseMs);
    return this.#claims.claimDue(owner, limit, leaseMs);
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<(number | undefined)[]> {
    checkLease(leaseMs);
    const renewed: (number | undefined)[] = [];
    for (const some of inSteps(claims)) {
      const answer = await this.#session.ask(scripts.renew, [leaseMs, some.map(claimItem)], "renewing the leases");
      renewed.push(...(answer as (number | false)[]).map((untilMs) => (untilMs === false ? undefined : untilMs)));
    }
    return renewed;
  }

  async settle(claim: Claim, end: RunEnd): Promise<Callback> {
    this.#session.refuseIfClosed();
    checkEnd(end);
    return this.#changes.settle(claim, end);
  }

  async release(claims: readonly Claim[]): Promise<void> {
    for (const some of inSteps(claims)) {
      await this.#session.ask(
        scripts.release,
        [limitsItem(this.#session.limits), some.map(claimItem)],
        "giving the claims back",
      );
    }
  }

  async sweep(owner: Owner, limit: number): Promise<Swept> {
    const ended: Ended[] = [];
    let [removed, forgotten, owners] = [0, 0, 0];
    for (let left = limit; left > 0; left -= STEP) {
      const step = Math.min(left, STEP);
      const params = [
        owner.id,
        step,
        limitsItem(this.#session.limits),
        ...this.#claims.alive(owner),
        owner.queues ?? false,
      ];
      const answer = await this.#session.ask(scripts.sweep, params, "sweeping");
      const [rows = [], gone, goneRecurrences, sharing] = answer as [Unpacked, number, number, number];
      owners = sharing;
      const some = endedOf(rows);
      ended.push(...some);
      removed += gone;
      forgotten += goneRecurrences;
      if (Math.max(some.length, gone, goneRecurrences) < step) break;
    }
    return { ended, more: limit > 0 && Math.max(ended.length, removed, forgotten) >= limit, owners };
  }

  async takeAborts(owner: Owner): Promise<{ readonly id: string; readonly token: number }[]> {
    const asked = (await this.#session.ask(scripts.takeAborts, [owner.id], "taking the aborts")) as [
      string,
      number,
      number,
    ][];
    return asked.map(([member, salt, token]) => ({ id: idOf(member, salt), token }));
  }

  async revoke(taskId: string, untilMs: number, options: { readonly abort?: boolean } = {}): Promise<CancelAnswer> {
    checkTaskId(taskId);
    const own = parseId(taskId) ?? [false, false];
    const params = [limitsItem(this.#session.limits), taskId, untilMs, options.abort === true, ...own];
    const found = (await this.#session.ask(scripts.revoke, params, "revoking the task")) as [
      number,
      string,
      number,
      number,
    ][];
    return answerOfRevoke(
      found.map(([state, member, salt, attempts]) => ({ id: idOf(member, salt), state: stateOf(state), attempts })),
    );
  }

  async revoked(taskIds: readonly string[]): Promise<Set<string>> {
    this.#session.refuseIfClosed();
    const standing = new Set<string>();
    for (const some of inSteps(taskIds)) {
      const answer = (await this.#session.ask(scripts.revoked, [some])) as boolean[];
      for (const [i, stands] of answer.entries()) if (stands) standing.add(some[i] as string);
    }
    return standing;
  }

  async enlist(owner: Owner, _childPids: readonly number[]): Promise<void> {
    checkOwner(owner);
    await this.#session.ask(scripts.enlist, [owner.id, owner.queues ?? false], "announcing this process");
    this.#claims.announced(owner);
  }

  async resign(owner: Owner): Promise<void> {
    this.#claims.resigned(owner);
    await this.#session.ask(scripts.resign, [owner.id], "resigning");
  }

  onChange(listener: (change: Change) => void): () => void {
    return this.#session.hints.listen(listener);
  }

  async close(): Promise<void> {
    this.#session.beginClosing();
    this.#session.hints.close();
    await this.#changes.finish();
    await this.#session.line.close();
  }
}

const UNKNOWN = { answer: "unknown" } as const;
const NO_LOG = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** As many at a time as one script takes. */
function* inSteps<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < all.length; from += STEP) yield all.slice(from, from + STEP);
}
