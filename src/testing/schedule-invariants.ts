/**
 * What must hold in a schedule after every step, whatever the step was (SEMANTICS 5). Looks at the store through its own
 * contract, and remembers what it saw.
 */
import assert from "node:assert/strict";
import { type Callback, type CallbackState, isLive } from "../schedule/callback.ts";
import type { ScheduleStore } from "../schedule/store.ts";

const NEVER_STARTED: ReadonlySet<CallbackState> = new Set(["scheduled", "cancelled", "expired", "skipped"]);
const PAGE = 1_000;

/** Operations after which there is nothing to look at, or nothing has changed. */
const QUIET: ReadonlySet<PropertyKey> = new Set(["url", "durability", "nowMs", "onChange", "close"]);

export class ScheduleInvariants {
  readonly #seen = new Map<string, Callback>();
  /** Ids that were told to be cancelled: none of them may start. */
  readonly #cancelled = new Set<string>();

  /** Everything that the store holds, in due order; checked. */
  async check(store: ScheduleStore): Promise<readonly Callback[]> {
    const all = await everything(store);
    const liveKeys = new Set<string>();
    const counts: Partial<Record<CallbackState, number>> = {};
    let nextDueMs: number | undefined;
    for (const callback of all) {
      const { id, key, state } = callback;
      counts[state] = (counts[state] ?? 0) + 1;
      this.#checkOne(callback);
      if (key !== undefined && isLive(state)) {
        assert.ok(!liveKeys.has(key), `I1: two live callbacks have the key ${key}`);
        liveKeys.add(key);
      }
      if (state === "scheduled" || state === "waiting")
        nextDueMs = Math.min(nextDueMs ?? callback.dueMs, callback.dueMs);
      if (this.#cancelled.has(id))
        assert.equal(callback.attempts, 0, `I11: ${id} started after its cancel was promised`);
    }
    assert.equal(await store.nextDueMs(), nextDueMs, "I6: the due index and the rows differ");
    assert.deepEqual(await store.counts(), counts, "I14: the counters and the rows differ");
    return all;
  }

  /** Remember the promise that this one never starts. */
  promiseCancelled(id: string): void {
    this.#cancelled.add(id);
  }

  #checkOne(callback: Callback): void {
    const { id, state, attempts, token } = callback;
    assert.equal(attempts === 0, NEVER_STARTED.has(state), `I3: ${id} is ${state} after ${attempts} attempts`);
    assert.equal(
      callback.leaseUntilMs !== undefined,
      state === "running",
      `I6: ${id} is ${state}, and its lease says otherwise`,
    );
    assert.equal(callback.endedMs !== undefined, !isLive(state), `${id} is ${state}, and its end says otherwise`);
    const before = this.#seen.get(id);
    if (before !== undefined) {
      assert.ok(token >= before.token, `I4: the token of ${id} went from ${before.token} to ${token}`);
      if (!isLive(before.state)) assert.deepEqual(callback, before, `I2: ${id} had ended, and changed`);
    }
    this.#seen.set(id, callback);
  }
}

/** The store, with every invariant checked after each of its operations. */
export function watched(store: ScheduleStore, invariants = new ScheduleInvariants()): ScheduleStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (QUIET.has(name)) return value.bind(target);
      return async (...args: unknown[]) => {
        try {
          const answer: unknown = await value.apply(target, args);
          if (isCancelled(answer)) invariants.promiseCancelled(answer.id);
          return answer;
        } finally {
          await invariants.check(target);
        }
      };
    },
  });
}

/** Every callback of the store, page by page. */
export async function everything(store: ScheduleStore): Promise<Callback[]> {
  const all: Callback[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.list({ limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
    all.push(...page.callbacks);
    cursor = page.next;
  } while (cursor !== undefined);
  return all;
}

function isCancelled(answer: unknown): answer is { readonly id: string } {
  return (
    typeof answer === "object" &&
    answer !== null &&
    "answer" in answer &&
    answer.answer === "cancelled" &&
    "id" in answer
  );
}
