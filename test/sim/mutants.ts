/** Stores that are wrong in one way each, as a store under development may be: what the simulation must find. */
import { InvalidInputError } from "../../src/kit/errors.ts";
import type { Claim, Overlap } from "../../src/schedule/callback.ts";
import type { RecurrenceStore } from "../../src/schedule/recurrence-store.ts";
import type { ScheduleStore } from "../../src/schedule/store.ts";

type Mutate = (store: ScheduleStore) => ScheduleStore;

/** The store, with some of its operations done otherwise. */
function but(store: ScheduleStore, change: Partial<ScheduleStore>): ScheduleStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(change, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function butRecurrences(store: ScheduleStore, change: Partial<RecurrenceStore>): ScheduleStore {
  const recurrences = new Proxy(store.recurrences, {
    get(target, name) {
      const value: unknown = Reflect.get(change, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return but(store, { recurrences });
}

/** The claim as it would be if whoever has the newest token were meant. */
async function asHeldNow(store: ScheduleStore, claim: Claim): Promise<Claim> {
  const row = await store.get({ id: claim.callback.id });
  return row?.state === "running" ? { ...claim, token: row.token } : claim;
}

export const MUTANTS: Readonly<Record<string, Mutate>> = {
  "settle looks at the state only, not at the token": (store) =>
    but(store, { settle: async (claim, end) => store.settle(await asHeldNow(store, claim), end) }),

  "renew looks at the state only, not at the token": (store) =>
    but(store, {
      renew: async (claims, leaseMs) =>
        store.renew(await Promise.all(claims.map((claim) => asHeldNow(store, claim))), leaseMs),
    }),

  "a claim is not written": (store) =>
    but(store, {
      async claimDue(owner, limit, leaseMs) {
        const claimed = await store.claimDue(owner, limit, leaseMs);
        await store.release(claimed.claims);
        return claimed;
      },
    }),

  "cancel says cancelled of one that ran and waits to run again": (store) =>
    but(store, {
      async cancel(target, options) {
        const answer = await store.cancel(target, options);
        return answer.answer === "stopped" ? { answer: "cancelled", id: answer.id } : answer;
      },
    }),

  "cancel says cancelled of one that was just claimed": (store) =>
    but(store, {
      async cancel(target, options) {
        const answer = await store.cancel(target, options);
        return answer.answer === "running" ? { answer: "cancelled", id: answer.id } : answer;
      },
    }),

  "advance does not compare what it was worked out from": (store) =>
    butRecurrences(store, {
      async advance(id, from, plan) {
        const now = await store.recurrences.get({ id });
        const { generation = from.generation, nextMs = from.nextMs } = now ?? {};
        try {
          return await store.recurrences.advance(id, { generation, nextMs }, plan);
        } catch (error) {
          // The memory store looks at the plan as well: this one does not.
          if (error instanceof InvalidInputError) return { answer: "changed", id };
          throw error;
        }
      },
    }),

  "occurrences that must not overlap do": (store) => {
    // Kept as if they were allowed to, and shown as what they are.
    const wanted = new Map<string, Overlap>();
    const shown = (claim: Claim): Claim => {
      const { occurrence } = claim.callback;
      if (occurrence === undefined) return claim;
      const overlap = wanted.get(`${occurrence.recurrence}/${occurrence.generation}`) ?? occurrence.overlap;
      return { ...claim, callback: { ...claim.callback, occurrence: { ...occurrence, overlap } } };
    };
    const recurring = butRecurrences(store, {
      async put(recurrence) {
        const { definition } = recurrence;
        const answer = await store.recurrences.put({ ...recurrence, definition: { ...definition, overlap: "allow" } });
        wanted.set(`${answer.id}/${answer.generation}`, definition.overlap);
        return answer;
      },
    });
    return but(recurring, {
      async claimDue(owner, limit, leaseMs) {
        const claimed = await store.claimDue(owner, limit, leaseMs);
        return { ...claimed, claims: claimed.claims.map(shown) };
      },
    });
  },

  "what waits to run again is forgotten in what comes next": (store) => {
    const scheduled = async () => {
      const { callbacks } = await store.list({ states: ["scheduled"], limit: 1 });
      return { dueMs: callbacks[0]?.dueMs, nowMs: await store.nowMs() };
    };
    return but(store, {
      upcoming: scheduled,
      claimDue: async (...args) => ({ ...(await store.claimDue(...args)), upcoming: await scheduled() }),
    });
  },

  "one put in ten is acknowledged and not kept": (store) => {
    let count = 0;
    return but(store, {
      async put(callbacks) {
        const answers = await store.put(callbacks);
        const [first] = answers;
        if (first?.put === "added" && ++count % 10 === 0) await store.cancel({ id: first.id });
        return answers;
      },
    });
  },

  "a callback is claimed some milliseconds early": (store) =>
    but(store, {
      async claimDue(owner, limit, leaseMs) {
        const { dueMs, nowMs } = await store.upcoming(owner);
        const claimed = await store.claimDue(owner, limit, leaseMs);
        if (dueMs === undefined || dueMs <= nowMs || dueMs > nowMs + 20 || claimed.claims.length > 0) return claimed;
        const [early] = (await store.list({ states: ["scheduled"], dueFromMs: dueMs, limit: 1 })).callbacks;
        if (early === undefined) return claimed;
        await store.reschedule({ id: early.id }, { dueMs: nowMs });
        const again = await store.claimDue(owner, limit, leaseMs);
        return { ...again, claims: again.claims.map((claim) => asDue(claim, early.id, dueMs)) };
      },
    }),
};

function asDue(claim: Claim, id: string, dueMs: number): Claim {
  return claim.callback.id === id ? { ...claim, callback: { ...claim.callback, dueMs } } : claim;
}
