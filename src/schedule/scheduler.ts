/**
 * The engine: store + hub timer + the `fire` function that it is given. It knows nothing of pools and brokers.
 *
 * One timer of the hub is armed for the store's next due time. A claim is made when it is due, for no more callbacks than
 * there are free slots; what is claimed starts now. Every look reads the store's index from its beginning, so a hint that
 * was lost, a clock that stepped, a callback that another process put in: each costs a second at most (SEMANTICS I8, I9).
 */

import type { Hub, HubEntry } from "../hub/hub.ts";
import { FullJitterBackoff } from "../kit/backoff.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Callback, Claim, RunEnd } from "./callback.ts";
import type { Ended, Owner, ScheduleStore } from "./store.ts";

export interface SchedulerOptions {
  readonly store: ScheduleStore;
  readonly owner: Owner;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a claim holds without being renewed, ms. Renewed every third of it. */
  readonly leaseMs: number;
  /** Slots for runs: `reserve` sets aside as many as may be claimed now; those that no claim came for are released. */
  readonly slots: { reserve(): number; release(count: number): void };
  /** Run the claim, in one of the slots set aside; "release" when it never began. */
  readonly fire: (claim: Claim) => Promise<RunEnd | "release">;
  /** Told of callbacks that ended, or were given back, without a run of this process. */
  readonly onEnded?: (ended: Ended) => Promise<void>;
  /** Told how the store settled a run of this process. */
  readonly onSettled?: (callback: Callback, end: RunEnd) => Promise<void>;
  /** Somebody asked that this run end. */
  readonly onAbort?: (id: string, token: number) => void;
}

/** The longest that a lost hint can delay. */
const TICK_MS = 1_000;
const SWEEP_LIMIT = 200;
const SETTLE_RETRY = { firstMs: 20, capMs: 2_000 } as const;

export class Scheduler {
  readonly #options: SchedulerOptions;
  /** Claims that run, or are being settled, by id and token. */
  readonly #running = new Map<string, Claim>();
  readonly #runs = new Set<Promise<void>>();
  #armed: HubEntry | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;
  #tick: HubEntry | undefined;
  #renewal: HubEntry | undefined;
  #stopListening: () => void = () => undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #stopping = false;
  /** The store did not answer last time: said once, and once more when it does. */
  #away = false;
  /** Monotonic time by which the next renewal should have been made. */
  #renewByMs = Number.POSITIVE_INFINITY;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** Claims that run now. */
  get active(): number {
    return this.#running.size;
  }

  /** Recover what dead workers held, then fire what is due. @throws {StoreUnavailableError} the store does not answer */
  async start(): Promise<void> {
    const { store, hub } = this.#options;
    while ((await this.#sweep()) >= SWEEP_LIMIT);
    this.#stopListening = store.onChange(() => this.wake());
    hub.onClockStep(() => this.wake());
    this.#scheduleTick();
    this.#scheduleRenewal();
    this.wake();
  }

  /** Look at the store now: slots are free again, or something changed. */
  wake(): void {
    if (this.#stopping) return;
    this.#lookAgain = true;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
  }

  /** This process put a callback that is due then: arm for it in the same turn, without a trip to the store. */
  noticeDue(dueMs: number): void {
    if (dueMs < this.#armedForMs) this.#arm(dueMs);
  }

  /** Claim no more; let what runs end and be settled. Twice is once. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#stopListening();
    this.#armed?.cancel();
    this.#tick?.cancel();
    await this.#looking;
    await Promise.all(this.#runs);
    this.#renewal?.cancel();
  }

  async #look(): Promise<void> {
    while (this.#lookAgain && !this.#stopping) {
      this.#lookAgain = false;
      try {
        if (this.#stalled()) await this.#renew();
        await this.#claim();
        this.#reached();
      } catch (error) {
        this.#unreachable(error);
        return;
      }
    }
  }

  async #claim(): Promise<void> {
    const { store, owner, slots, clock, leaseMs, log } = this.#options;
    const nextDueMs = await store.nextDueMs();
    if (nextDueMs === undefined || this.#stopping) return;
    if (nextDueMs > (await store.nowMs())) return this.#arm(nextDueMs);
    const count = slots.reserve();
    // None free: whoever shares the slots out wakes us.
    if (count === 0) return;
    let used = 0;
    try {
      const askedMs = clock.monoMs();
      const { claims, ended } = await store.claimDue(owner, count, leaseMs);
      for (const each of ended) this.#tell(() => this.#options.onEnded?.(each));
      const late = clock.monoMs() - askedMs > leaseMs / 2;
      const held = late ? await this.#stillHeld(claims) : claims;
      if (this.#stopping) {
        await store.release(held);
        return;
      }
      used = held.length;
      for (const claim of held) this.#run(claim);
      if (claims.length > 0 || ended.length > 0) this.#lookAgain = true;
      // Due by the store's clock a moment ago, and not any more: it stepped. Looked at again, never dropped.
      else this.#armAfterStep(nextDueMs);
    } catch (error) {
      log.warn("A claim was not answered; nothing was started for it", { error });
      throw error;
    } finally {
      slots.release(count - used);
    }
  }

  #run(claim: Claim): void {
    const name = `${claim.callback.id}/${claim.token}`;
    this.#running.set(name, claim);
    const run = this.#fireAndSettle(claim).finally(() => {
      this.#running.delete(name);
      this.#runs.delete(run);
    });
    this.#runs.add(run);
  }

  async #fireAndSettle(claim: Claim): Promise<void> {
    let end: RunEnd | "release";
    try {
      end = await this.#options.fire(claim);
    } catch (error) {
      this.#options.log.error(`Callback ${claim.callback.id} could not be run`, { error });
      end = { kind: "crashed", reason: messageOf(error) };
    }
    await this.#settle(claim, end);
  }

  /** Record the end, again and again until the store answers or the lease is over: then it is another worker's. */
  async #settle(claim: Claim, end: RunEnd | "release"): Promise<void> {
    const { store, clock, log } = this.#options;
    const backoff = new FullJitterBackoff(SETTLE_RETRY);
    for (;;) {
      try {
        if (end === "release") {
          await store.release([claim]);
          this.wake();
        } else {
          const callback = await store.settle(claim, end);
          if (callback.state === "waiting") this.noticeDue(callback.dueMs);
          await this.#tellNow(() => this.#options.onSettled?.(callback, end));
        }
        return;
      } catch (error) {
        const code = (error as { code?: unknown }).code;
        if (code === "ERR_LEASE_LOST") {
          log.warn(
            `The outcome of callback ${claim.callback.id} (token ${claim.token}) is refused: its lease was lost`,
          );
          return;
        }
        const leaseMs = this.#running.get(`${claim.callback.id}/${claim.token}`)?.leaseUntilMs ?? claim.leaseUntilMs;
        if (clock.wallMs() > leaseMs) {
          log.error(`The outcome of callback ${claim.callback.id} could not be recorded while its lease held`, {
            error,
          });
          return;
        }
        await sleep(Math.max(1, backoff.nextMs()), clock);
      }
    }
  }

  // ---- time

  #arm(dueMs: number): void {
    if (this.#stopping) return;
    this.#armed?.cancel();
    this.#armedForMs = dueMs;
    this.#armed = this.#options.hub.atWallMs(dueMs, () => {
      this.#armedForMs = Number.POSITIVE_INFINITY;
      this.wake();
    });
  }

  #armAfterStep(dueMs: number): void {
    this.#arm(Math.max(dueMs, this.#options.clock.wallMs() + 1));
  }

  /** Each second, whatever was missed: look, recover what dead workers held, take abort requests. */
  #scheduleTick(): void {
    this.#tick = this.#options.hub.afterMs(TICK_MS, async () => {
      if (this.#stopping) return;
      this.#scheduleTick();
      this.wake();
      try {
        await this.#sweep();
        await this.#takeAborts();
      } catch (error) {
        this.#unreachable(error);
      }
    });
  }

  async #sweep(): Promise<number> {
    const ended = await this.#options.store.sweep(SWEEP_LIMIT);
    for (const each of ended) this.#tell(() => this.#options.onEnded?.(each));
    if (ended.some(({ state }) => state === "waiting")) this.wake();
    return ended.length;
  }

  async #takeAborts(): Promise<void> {
    if (this.#running.size === 0) return;
    for (const { id, token } of await this.#options.store.takeAborts(this.#options.owner)) {
      this.#options.onAbort?.(id, token);
    }
  }

  // ---- leases

  #scheduleRenewal(): void {
    const everyMs = this.#options.leaseMs / 3;
    this.#renewByMs = this.#options.clock.monoMs() + everyMs;
    this.#renewal = this.#options.hub.afterMs(everyMs, async () => {
      try {
        await this.#renew();
      } catch (error) {
        this.#unreachable(error);
      } finally {
        if (!this.#stopping || this.#running.size > 0) this.#scheduleRenewal();
      }
    });
  }

  /** This process itself stood still for so long that its leases may be gone: it renews before it starts anything. */
  #stalled(): boolean {
    const { clock, leaseMs } = this.#options;
    return clock.monoMs() - this.#renewByMs > leaseMs / 6;
  }

  async #renew(): Promise<void> {
    await this.#stillHeld([...this.#running.values()]);
    this.#renewByMs = this.#options.clock.monoMs() + this.#options.leaseMs / 3;
  }

  /** Extend the leases; answers the claims that still stand. */
  async #stillHeld(claims: readonly Claim[]): Promise<Claim[]> {
    if (claims.length === 0) return [];
    const { store, leaseMs, log } = this.#options;
    const answers = await store.renew(claims, leaseMs);
    const untilMs = (await store.nowMs()) + leaseMs;
    const held: Claim[] = [];
    for (const [i, claim] of claims.entries()) {
      const name = `${claim.callback.id}/${claim.token}`;
      if (answers[i] === true) {
        const renewed = { ...claim, leaseUntilMs: untilMs };
        if (this.#running.has(name)) this.#running.set(name, renewed);
        held.push(renewed);
      } else
        log.warn(
          `The lease on callback ${claim.callback.id} (token ${claim.token}) was lost; its outcome will be refused`,
        );
    }
    return held;
  }

  // ---- telling

  #tell(listener: () => Promise<void> | undefined): void {
    void this.#tellNow(listener);
  }

  async #tellNow(listener: () => Promise<void> | undefined): Promise<void> {
    try {
      await listener();
    } catch (error) {
      this.#options.log.error("What became of a callback could not be told", { error });
    }
  }

  #unreachable(error: unknown): void {
    if (this.#away || this.#stopping) return;
    this.#away = true;
    this.#options.log.error("The schedule does not answer; nothing starts until it does", { error });
  }

  #reached(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#options.log.info("The schedule answers again");
  }
}
