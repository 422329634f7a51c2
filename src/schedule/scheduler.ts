/**
 * The engine: store + hub timer + the `fire` function that it is given. It knows nothing of pools and brokers.
 *
 * One timer of the hub is armed for the store's next due time. A claim is made when it is due, for no more callbacks than
 * there are free slots; what is claimed starts now. Every look reads the store's index from its beginning, so a hint that
 * was lost, a clock that stepped, a callback that another process put in: each costs a second at most (SEMANTICS I8, I9).
 *
 * Slots that become free in one turn of the event loop are claimed for together, in the turn in which their runs are
 * settled: a store that commits in groups writes both at once.
 */
import type { Hub, HubEntry } from "../hub/hub.ts";
import type { Clock } from "../kit/clock.ts";
import { withDeadline } from "../kit/deadline.ts";
import { TimeoutError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Callback, Claim, RunEnd } from "./callback.ts";
import { Runs } from "./runs.ts";
import type { Ended, Owner, ScheduleStore, Upcoming } from "./store.ts";

export interface SchedulerOptions {
  readonly store: ScheduleStore;
  readonly owner: Owner;
  readonly hub: Pick<Hub, "afterMs" | "atWallMs" | "onClockStep">;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a claim holds without being renewed, ms. Renewed every third of it. Default 30,000. */
  readonly leaseMs?: number;
  /** Slots for runs: `reserve` sets aside as many as may be claimed now; those that no claim came for are released. */
  readonly slots: { reserve(): number; release(count: number): void };
  /**
   * Run the claim, in one of the slots set aside; "release" when it never began.
   * @param lateMs how long after its due time it starts
   */
  readonly fire: (claim: Claim, lateMs: number) => Promise<RunEnd | "release">;
  /** Told of callbacks that ended, or were given back, without a run of this process. */
  readonly onEnded?: (ended: Ended) => Promise<void> | void;
  /** Told how the store settled a run of this process. */
  readonly onSettled?: (callback: Callback, end: RunEnd) => Promise<void> | void;
  /** Somebody asked that this run end. */
  readonly onAbort?: (id: string, token: number) => void;
}

/** The longest that a lost hint can delay. */
const TICK_MS = 1_000;
const SWEEP_LIMIT = 200;
const DEFAULT_LEASE_MS = 30_000;
/** After a run that could not begin: what is wrong with the pool must not become a loop of claims. */
const PAUSE_MS = 100;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #leaseMs: number;
  readonly #runs: Runs;
  #armed: HubEntry | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;
  #tick: HubEntry | undefined;
  #renewal: HubEntry | undefined;
  #stopHints: () => void = () => undefined;
  /** The end of the look that goes on, or that comes at the end of this turn. */
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  /** Something is due as far as we know: claim without asking first. */
  #isDue = false;
  /** No claim before then, by the monotonic clock. */
  #pausedUntilMs = Number.NEGATIVE_INFINITY;
  #takingAborts = false;
  #started = false;
  #stopping = false;
  /** The store did not answer last time: said once, and once more when it does. */
  #away = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    this.#runs = new Runs({
      store: options.store,
      clock: options.clock,
      log: options.log,
      leaseMs: this.#leaseMs,
      fire: options.fire,
      onSettled: async (callback, end) => options.onSettled?.(callback, end),
      onDue: (dueMs) => this.noticeDue(dueMs),
      onReleased: () => this.#pause(),
    });
  }

  /** Claims that run now. */
  get active(): number {
    return this.#runs.size;
  }

  /** Recover what dead workers held, then fire what is due. @throws {StoreUnavailableError} the store does not answer */
  async start(): Promise<void> {
    const { store, hub } = this.#options;
    while (await this.#sweep());
    if (this.#stopping) return;
    this.#started = true;
    const stopChanges = store.onChange(() => {
      this.wake();
      void this.#takeAborts();
    });
    const stopSteps = hub.onClockStep(() => this.wake());
    this.#stopHints = () => {
      stopChanges();
      stopSteps();
    };
    this.#scheduleTick();
    this.#scheduleRenewal();
    this.wake();
  }

  /** Slots are free again, or something changed: look at the store at the end of this turn. */
  wake(): void {
    if (!this.#started || this.#stopping) return;
    this.#lookAgain = true;
    this.#looking ??= this.#lookAtEndOfTurn();
  }

  /** This process put a callback that is due then: arm for it in the same turn, without a trip to the store. */
  noticeDue(dueMs: number): void {
    if (!this.#started || this.#stopping) return;
    if (dueMs > this.#options.clock.wallMs()) {
      this.#arm(dueMs);
      return;
    }
    this.#isDue = true;
    this.wake();
  }

  /**
   * Claim no more; let what runs end, and record it. Twice is once.
   * @param options.deadlineMs how long to wait for what runs; without it, as long as it takes
   */
  async stop(options: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.#stopping = true;
    this.#stopHints();
    this.#armed?.cancel();
    this.#tick?.cancel();
    const ended = this.#afterRuns();
    try {
      await withDeadline(
        ended,
        options.deadlineMs ?? Number.POSITIVE_INFINITY,
        this.#options.clock,
        "the end of what runs",
      );
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      this.#options.log.warn(`${this.#runs.size} callbacks still run; their leases are left to end`);
    } finally {
      this.#renewal?.cancel();
    }
  }

  async #afterRuns(): Promise<void> {
    await this.#looking;
    await this.#runs.ended();
  }

  async #lookAtEndOfTurn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    try {
      while (this.#lookAgain && !this.#stopping) {
        this.#lookAgain = false;
        if (this.#runs.stalled) await this.#runs.renew();
        await this.#look();
        this.#reached();
      }
    } catch (error) {
      this.#unreachable(error);
    } finally {
      this.#looking = undefined;
    }
  }

  async #look(): Promise<void> {
    if (!this.#isDue) {
      const aheadMs = aheadOf(await this.#options.store.upcoming(this.#options.owner));
      if (aheadMs === undefined) return;
      if (aheadMs > 0) return this.#armIn(aheadMs);
      this.#isDue = true;
    }
    await this.#claim();
  }

  async #claim(): Promise<void> {
    const { store, owner, slots, clock } = this.#options;
    if (this.#stopping || clock.monoMs() < this.#pausedUntilMs) return;
    const limit = slots.reserve();
    // None is free: whoever shares them out wakes us.
    if (limit === 0) return;
    let used = 0;
    try {
      const askedMs = clock.monoMs();
      const { claims, ended, upcoming } = await store.claimDue(owner, limit, this.#leaseMs);
      for (const each of ended) void this.#tellEnded(each);
      const held = clock.monoMs() - askedMs > this.#leaseMs / 2 ? await this.#runs.stillHeld(claims) : claims;
      if (this.#stopping) {
        await store.release(held);
        return;
      }
      used = held.length;
      for (const claim of held) this.#runs.start(claim);
      this.#after(aheadOf(upcoming), claims.length > 0 || ended.length > 0);
    } finally {
      slots.release(limit - used);
    }
  }

  #after(aheadMs: number | undefined, found: boolean): void {
    this.#isDue = aheadMs !== undefined && aheadMs <= 0;
    if (this.#isDue && found) this.#lookAgain = true;
    // Due by one reading of the clock and not by another: it stepped. Looked at again in a moment, never dropped.
    else if (aheadMs !== undefined) this.#armIn(Math.max(1, aheadMs));
  }

  /** No claim for a moment. */
  #pause(): void {
    const { clock, hub } = this.#options;
    this.#pausedUntilMs = clock.monoMs() + PAUSE_MS;
    if (!this.#stopping) hub.afterMs(PAUSE_MS, () => this.wake());
  }

  #armIn(aheadMs: number): void {
    this.#arm(this.#options.clock.wallMs() + aheadMs);
  }

  /** Wake at `dueMs`, or before. */
  #arm(dueMs: number): void {
    if (this.#stopping || dueMs >= this.#armedForMs) return;
    this.#armed?.cancel();
    this.#armedForMs = dueMs;
    this.#armed = this.#options.hub.atWallMs(dueMs, () => {
      this.#armedForMs = Number.POSITIVE_INFINITY;
      this.#isDue = true;
      this.wake();
    });
  }

  /** Each second, whatever was missed: look, recover what dead workers held, take abort requests. */
  #scheduleTick(): void {
    this.#tick = this.#options.hub.afterMs(TICK_MS, async () => {
      if (this.#stopping) return;
      this.wake();
      try {
        await this.#sweep();
        await this.#takeAborts();
      } catch (error) {
        this.#unreachable(error);
      } finally {
        if (!this.#stopping) this.#scheduleTick();
      }
    });
  }

  #scheduleRenewal(): void {
    this.#renewal = this.#options.hub.afterMs(this.#leaseMs / 3, async () => {
      // Armed first: the next one must not wait for a store that does not answer.
      if (!this.#stopping || this.#runs.size > 0) this.#scheduleRenewal();
      try {
        await this.#runs.renew();
      } catch (error) {
        this.#unreachable(error);
      }
    });
  }

  /** Answers whether there may be more. */
  async #sweep(): Promise<boolean> {
    const { store, owner } = this.#options;
    const { ended, more } = await store.sweep(owner, SWEEP_LIMIT);
    for (const each of ended) void this.#tellEnded(each);
    if (ended.some(({ state }) => state === "waiting")) this.wake();
    return more;
  }

  async #takeAborts(): Promise<void> {
    if (this.#runs.size === 0 || this.#takingAborts) return;
    this.#takingAborts = true;
    try {
      const aborts = await this.#options.store.takeAborts(this.#options.owner);
      for (const { id, token } of aborts) this.#options.onAbort?.(id, token);
    } catch (error) {
      this.#unreachable(error);
    } finally {
      this.#takingAborts = false;
    }
  }

  async #tellEnded(ended: Ended): Promise<void> {
    try {
      await this.#options.onEnded?.(ended);
    } catch (error) {
      this.#options.log.error(`What became of callback ${ended.callback.id} could not be told`, { error });
    }
  }

  /** Nothing starts without its claim; each tick tries again. */
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

/** How far ahead the next one is due, by the store's clock; not above 0: it is due. */
function aheadOf({ dueMs, nowMs }: Upcoming): number | undefined {
  return dueMs === undefined ? undefined : dueMs - nowMs;
}
