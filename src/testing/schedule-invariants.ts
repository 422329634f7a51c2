/**
 * What must hold in a schedule after every step, whatever the step was (SEMANTICS 5). Looks at the store through its own
 * contract, and remembers what it saw.
 */
import assert from "node:assert/strict";
import { type Callback, type CallbackState, isLive } from "../schedule/callback.ts";
import type { Recurrence } from "../schedule/recurrence.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import { nextDue } from "./schedule-fixtures.ts";

const NEVER_STARTED: ReadonlySet<CallbackState> = new Set(["scheduled", "cancelled", "expired", "skipped"]);
const PAGE = 1_000;

/** Operations after which there is nothing to look at, or nothing has changed. */
const QUIET: ReadonlySet<PropertyKey> = new Set(["url", "durability", "nowMs", "onChange", "close"]);

export class ScheduleInvariants {
  readonly #seen = new Map<string, Callback>();
  readonly #recurrences = new Map<string, Recurrence>();
  /** Ids, of callbacks and recurrences, that were told to be cancelled: none of them may start. */
  readonly #cancelled = new Set<string>();
  /** Operations that go on. */
  #busy = 0;

  /** Everything that the store holds, in due order; checked. */
  async check(store: ScheduleStore): Promise<readonly Callback[]> {
    // At once: a store behind a network answers them in one trip.
    const [all, recurrences, dueMs, counted] = await Promise.all([
      everything(store),
      everyRecurrence(store),
      nextDue(store),
      store.counts(),
    ]);
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
      if (this.#cancelled.has(id) || this.#cancelled.has(callback.occurrence?.recurrence ?? ""))
        assert.equal(callback.attempts, 0, `I11: ${id} started after its cancel was promised`);
    }
    this.#checkRecurrences(recurrences, all);
    assert.equal(dueMs, nextDueMs, "I6: the due index and the rows differ");
    assert.deepEqual(counted, counts, "I14: the counters and the rows differ");
    return all;
  }

  /** Do it, and check; of several at once, after the last: a look is several questions, between which nothing may change. */
  async checkedAfter<T>(store: ScheduleStore, run: () => Promise<T>): Promise<T> {
    this.#busy += 1;
    try {
      return await run();
    } finally {
      this.#busy -= 1;
      if (this.#busy === 0) await this.check(store);
    }
  }

  /** Remember the promise that this one never starts. */
  promiseCancelled(id: string): void {
    this.#cancelled.add(id);
  }

  #checkRecurrences(recurrences: readonly Recurrence[], all: readonly Callback[]): void {
    const liveKeys = new Set<string>();
    for (const recurrence of recurrences) {
      const { id, key, state } = recurrence;
      this.#checkRecurrence(recurrence);
      if (key !== undefined && state !== "ended") {
        assert.ok(!liveKeys.has(key), `I1: two recurrences that have not ended have the key ${key}`);
        liveKeys.add(key);
      }
      assert.match(id, /^r-/);
    }
    const byId = new Map(recurrences.map((each) => [each.id, each]));
    const names = new Set<string>();
    const underWay = new Set<string>();
    for (const { id, state, attempts, occurrence } of all) {
      assert.doesNotMatch(id, /^r-/, "so begins the id of a recurrence");
      if (occurrence === undefined) continue;
      const { recurrence, generation, nominalMs, overlap } = occurrence;
      const name = `${recurrence} ${generation} ${nominalMs}`;
      assert.ok(!names.has(name), `G12: two rows are the occurrence ${name}`);
      names.add(name);
      if (overlap !== "allow" && (state === "running" || state === "waiting")) {
        assert.ok(!underWay.has(recurrence), `two occurrences of ${recurrence} have started and not ended`);
        underWay.add(recurrence);
      }
      const of = byId.get(recurrence);
      if (of === undefined) continue;
      if (attempts > 0) assert.ok(of.started, `${id} has started, and its recurrence says that none has`);
      if (state === "scheduled") {
        assert.equal(generation, of.generation, `${id} waits, and its recurrence ${recurrence} was replaced`);
        assert.notEqual(of.state, "paused", `${id} waits, and its recurrence ${recurrence} is paused`);
      }
    }
  }

  #checkRecurrence(recurrence: Recurrence): void {
    const { id, state, generation, nextMs, started, endedMs } = recurrence;
    assert.equal(nextMs !== undefined, state === "active", `${id} is ${state}, and its next time says otherwise`);
    assert.equal(endedMs !== undefined, state === "ended", `${id} is ${state}, and its end says otherwise`);
    const before = this.#recurrences.get(id);
    this.#recurrences.set(id, recurrence);
    if (before === undefined) return;
    assert.ok(started || !before.started, `${id} had started`);
    assert.ok(generation >= before.generation, `${id} went from generation ${before.generation} to ${generation}`);
    if (generation === before.generation && nextMs !== undefined && before.nextMs !== undefined) {
      assert.ok(nextMs >= before.nextMs, `I15: ${id} went from ${before.nextMs} to ${nextMs}`);
    }
    // Its last occurrence may start when it has ended already.
    if (before.state === "ended")
      assert.deepEqual(recurrence, { ...before, started }, `I2: ${id} had ended, and changed`);
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

/** The store, with every invariant checked after each of its operations, and each of its recurrences'. */
export function watched(store: ScheduleStore, invariants = new ScheduleInvariants()): ScheduleStore {
  const watch = <T extends object>(part: T): T =>
    new Proxy(part, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (name === "recurrences") return watch(value as object);
        if (typeof value !== "function") return value;
        if (QUIET.has(name)) return value.bind(target);
        return (...args: unknown[]) =>
          invariants.checkedAfter(store, async () => {
            const answer: unknown = await value.apply(target, args);
            if (isCancelled(answer)) invariants.promiseCancelled(answer.id);
            return answer;
          });
      },
    });
  return watch(store);
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

/** Every recurrence of the store, ended ones too, page by page. */
export async function everyRecurrence(store: ScheduleStore): Promise<Recurrence[]> {
  const all: Recurrence[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.recurrences.list({
      states: ["active", "paused", "ended"],
      limit: PAGE,
      ...(cursor === undefined ? {} : { cursor }),
    });
    all.push(...page.recurrences);
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
