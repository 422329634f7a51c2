/**
 * Claiming. Redis cannot see our processes: an owner that was announced lives as long as it claims or sweeps.
 *
 * A claim whose answer was lost may have been made: nothing of it is started, and the next claim of that owner begins with reading it
 * back (SEMANTICS 6). Otherwise it would wait for its lease, and count as lost without ever having begun.
 */
import { OutcomeUnknownError } from "../../../kit/errors.ts";
import type { Claim } from "../../callback.ts";
import type { Claimed, Ended, Owner, Upcoming } from "../../store.ts";
import { STEP } from "./lua/claim.ts";
import type { Packable, Unpacked } from "./pack.ts";
import { callbackOf, claimItem, claimOf, limitsItem, rowsOf } from "./rows.ts";
import { scripts } from "./scripts.ts";
import type { Session } from "./session.ts";

/** What one claim may end or pass over beside what it claims. */
const PASS = 1_000;
/** Calls without an answer that are remembered for one owner. */
const UNHEARD = 100;

export class Claims {
  readonly #session: Session;
  /** Those that this process announced, and with which queues. */
  readonly #announced = new Map<string, Owner>();
  /** Names of claiming calls whose answer was lost, by the owner. */
  readonly #unheard = new Map<string, Set<string>>();
  #calls = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  announced(owner: Owner): void {
    this.#announced.set(owner.id, owner);
  }

  resigned({ id }: Owner): void {
    this.#announced.delete(id);
    this.#unheard.delete(id);
  }

  /** Whether a claim or sweep keeps the owner alive, and with which queues. */
  alive({ id }: Owner): readonly [boolean, Packable] {
    const owner = this.#announced.get(id);
    return [owner !== undefined, owner?.queues ?? false];
  }

  /** In steps of 200. What was claimed before a step failed is answered, not lost. */
  async claimDue(owner: Owner, limit: number, leaseMs: number): Promise<Claimed> {
    const claims = limit === 0 ? [] : await this.#readBack(owner, limit, leaseMs);
    const ended: Ended[] = [];
    let upcoming: Upcoming | undefined;
    for (let passed = 0; ; passed += STEP) {
      const wanted = Math.min(limit - claims.length, STEP);
      let step: Step;
      try {
        step = await this.#claimStep(owner, wanted, leaseMs);
      } catch (thrown) {
        if (upcoming === undefined && claims.length === 0) throw thrown;
        // As far as we know there is more to claim.
        const nowMs = (claims[0]?.leaseUntilMs ?? 0) - leaseMs;
        return { claims, ended, upcoming: upcoming ?? { dueMs: nowMs, nowMs } };
      }
      claims.push(...step.claims);
      ended.push(...step.ended);
      upcoming = step.upcoming;
      const isFull = step.claims.length === STEP && claims.length < limit;
      if (!(step.more || isFull) || passed >= PASS + limit) return { claims, ended, upcoming };
    }
  }

  async #claimStep(owner: Owner, limit: number, leaseMs: number): Promise<Step> {
    const name = this.#newName();
    const { limits } = this.#session;
    const params = [
      owner.id,
      owner.queues ?? false,
      limit,
      leaseMs,
      limitsItem(limits),
      ...this.alive(owner),
      name,
      owner.sendsOn ?? true,
    ];
    try {
      return stepOf(await this.#session.ask(scripts.claim, params, "claiming"));
    } catch (thrown) {
      if (thrown instanceof OutcomeUnknownError && limit > 0) this.#noteUnheard(owner.id, name);
      throw thrown;
    }
  }

  /** What earlier calls of this owner claimed without our hearing of it. What is too much for the slots is given back. */
  async #readBack({ id }: Owner, limit: number, leaseMs: number): Promise<Claim[]> {
    const names = this.#unheard.get(id) ?? new Set();
    const claims: Claim[] = [];
    try {
      for (const name of names) {
        const rows = rowsOf(await this.#session.ask(scripts.readBack, [id, name, leaseMs], "reading the claims back"));
        names.delete(name);
        claims.push(...rows.map(claimOf));
      }
      if (claims.length > limit) {
        const tooMany = claims.splice(limit).map(claimItem);
        await this.#session.ask(scripts.release, [limitsItem(this.#session.limits), tooMany], "giving the claims back");
      }
    } catch (thrown) {
      // What we did hear of is to be started; the rest is asked for again, or runs out of its lease.
      if (claims.length === 0) throw thrown;
    }
    return claims;
  }

  #noteUnheard(owner: string, name: string): void {
    const names = this.#unheard.get(owner) ?? new Set();
    this.#unheard.set(owner, names.add(name));
    // The oldest has run out of its lease long ago.
    if (names.size > UNHEARD) names.delete(names.values().next().value ?? "");
  }

  #newName(): string {
    this.#calls += 1;
    return `${this.#session.me}-${this.#calls.toString(36)}`;
  }
}

interface Step extends Claimed {
  readonly more: boolean;
}

function stepOf(answer: Unpacked): Step {
  const [claimed = [], lost = [], over = [], dueMs, nowMs, more] = answer as [
    Unpacked,
    Unpacked,
    Unpacked,
    number | false,
    number,
    boolean,
  ];
  return {
    claims: rowsOf(claimed).map(claimOf),
    ended: [...endedOf(lost), ...endedOf(over)],
    upcoming: { dueMs: dueMs === false ? undefined : dueMs, nowMs },
    more,
  };
}

export function endedOf(answer: Unpacked): Ended[] {
  return rowsOf(answer).map((row) => {
    const callback = callbackOf(row);
    return { callback, state: callback.state as Ended["state"] };
  });
}
