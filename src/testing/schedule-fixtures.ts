/** Callbacks and small helpers for the tests of schedule stores. */
import assert from "node:assert/strict";
import type { Claim, NewCallback, ParkedMessage, RunEnd } from "../schedule/callback.ts";
import type { Ended, Owner, ScheduleStore, StoreLimits } from "../schedule/store.ts";
import type { FakeClock } from "./fake-clock.ts";

/** A store, empty, with a clock that the test owns. */
export interface ScheduleUnderTest {
  readonly store: ScheduleStore;
  readonly clock: FakeClock;
  /** The same schedule as another process has it open; the memory store is its own other. */
  other(): Promise<ScheduleStore>;
  close(): Promise<void>;
}

export type OpenSchedule = (options?: { readonly limits?: Partial<StoreLimits> }) => Promise<ScheduleUnderTest>;

/** Give the test a fresh store, whose invariants are checked after each operation, and which is closed when the test has ended. */
export type Opened = (options?: {
  readonly limits?: Partial<StoreLimits>;
}) => Promise<ScheduleUnderTest & { readonly unwatched: ScheduleStore }>;

export const ok: RunEnd = { kind: "succeeded" };
export const failed: RunEnd = { kind: "failed", reason: "ValueError: no" };
export const stopped: RunEnd = { kind: "stopped", reason: "asked to" };
export const crashed: RunEnd = { kind: "crashed", reason: "SIGSEGV" };

export const ALICE: Owner = { id: "alice" };
export const BOB: Owner = { id: "bob" };
export const LEASE_MS = 10_000;

export function message(of: Partial<ParkedMessage> = {}): ParkedMessage {
  return { task: "demo.scream", body: '[["foo"], {}, {}]', retries: 0, ...of };
}

export function dueAt(dueMs: number, of: Partial<NewCallback> = {}): NewCallback {
  return { dueMs, queue: "celery", message: message(), ...of };
}

export function retryAt(dueMs: number, of: Partial<ParkedMessage> = {}): RunEnd {
  return { kind: "retry", dueMs, reason: "again", message: message({ retries: 1, ...of }) };
}

/** Put one that makes a row; its id. */
export async function add(store: ScheduleStore, callback: NewCallback): Promise<string> {
  const [answer] = await store.put([callback]);
  assert.equal(answer?.put, "added");
  return answer.id;
}

/** Claim the one that is due. */
export async function claimOne(store: ScheduleStore, owner: Owner = ALICE, leaseMs = LEASE_MS): Promise<Claim> {
  const { claims } = await store.claimDue(owner, 1, leaseMs);
  assert.equal(claims.length, 1, "nothing was due");
  return claims[0] as Claim;
}

/** Put one that is due now, and claim it. */
export async function running(under: ScheduleUnderTest, of: Partial<NewCallback> = {}, owner = ALICE): Promise<Claim> {
  const id = await add(under.store, dueAt(under.clock.wallMs(), of));
  const claim = await claimOne(under.store, owner);
  assert.equal(claim.callback.id, id);
  return claim;
}

/** Put one, and let its first run ask for a retry then: it waits. */
export async function waitingUntil(
  under: ScheduleUnderTest,
  dueMs: number,
  of: Partial<NewCallback> = {},
): Promise<string> {
  const claim = await running(under, of);
  await under.store.settle(claim, retryAt(dueMs));
  return claim.callback.id;
}

export async function stateOf(store: ScheduleStore, id: string): Promise<string | undefined> {
  return (await store.get({ id }))?.state;
}

/** When the first of all that waits is due. */
export async function nextDue(store: ScheduleStore): Promise<number | undefined> {
  return (await store.upcoming()).dueMs;
}

/** What a sweep gives back or ends. */
export async function swept(store: ScheduleStore, limit: number, owner: Owner = ALICE): Promise<Ended[]> {
  return (await store.sweep(owner, limit)).ended;
}
