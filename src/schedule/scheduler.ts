/**
 * The engine: store + hub timer + the `fire` function that it is given. It knows nothing of pools and brokers.
 *
 * One timer of the hub is armed for the store's next due time. A claim is made when it is due, for no more callbacks than
 * there are free slots; what is claimed starts now. Every look reads the store's index from its beginning, so a hint that
 * was lost, a clock that stepped, a callback that another process put in: each costs a second at most (SEMANTICS I8, I9).
 *
 * Slots that become free in one turn of the event loop are claimed for together, in the turn in which their runs are
 * settled: a store that commits in groups writes both at once. Of many workers on one store each has its share of the claims that the
 * store should have to answer (`claim-pace.ts`).
 */
import type { HubEntry } from "../hub/hub.ts";
import { type BackoffOptions, backoffMs, type Random } from "../kit/backoff.ts";
import { withDeadline } from "../kit/deadline.ts";
import { TimeoutError } from "../kit/errors.ts";
import { Aborts } from "./scheduler/aborts.ts";
import { ClaimPace } from "./scheduler/claim-pace.ts";
import type { SchedulerOptions } from "./scheduler/options.ts";
import { planByRule, Recurring } from "./scheduler/recurring.ts";
import { Runs } from "./scheduler/runs.ts";
import { StoreClock } from "./scheduler/store-clock.ts";
import { Sweeper } from "./scheduler/sweeper.ts";
import { Telling } from "./scheduler/telling.ts";
import type { Change, Ended, Upcoming } from "./store.ts";

export type { SchedulerOptions } from "./scheduler/options.ts";

/** The longest that a lost hint can delay. Workers of a fleet tick at different moments: each wait is up to a quarter shorter. */
const TICK_MS = 1_000;
const TICK_JITTER = 0.25;
const DEFAULT_LEASE_MS = 30_000;
/** After a claim of something due that brought nothing. */
const IN_VAIN: BackoffOptions = { firstMs: 4, capMs: 128, jitter: false };
/** After a run that could not begin: what is wrong with the pool must not become a loop of claims. */
const PAUSE_MS = 100;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #random: Random;
  readonly #leaseMs: number;
  readonly #runs: Runs;
  readonly #storeClock: StoreClock;
  readonly #pace: ClaimPace;
  readonly #recurring: Recurring;
  readonly #sweeper: Sweeper;
  readonly #aborts: Aborts;
  readonly #telling: Telling;
  #armed: HubEntry | undefined;
  /** By our wall. */
  #armedForMs = Number.POSITIVE_INFINITY;
  #paced: HubEntry | undefined;
  #tick: HubEntry | undefined;
  #stopHints: () => void = () => undefined;
  #stopRenewing: () => void = () => undefined;
  /** The end of the look that goes on, or that comes at the end of this turn. */
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  /** Something is due as far as we know: claim without asking first. */
  #isDue = false;
  /** Something changed, and we do not know what: ask. */
  #isUnsure = false;
  /** Claims in a row that brought nothing of what was due. */
  #inVain = 0;
  /** What changed may be that an abort was requested. */
  #mayAbort = false;
  #claiming = false;
  /** No claim before then, by the monotonic clock. */
  #pausedUntilMs = Number.NEGATIVE_INFINITY;
  #started = false;
  #stopping = false;
  /** The store did not answer last time: said once, and once more when it does. */
  #away = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { store, owner, hub, clock, log, fire } = options;
    const random = options.random ?? Math.random;
    this.#random = random;
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    this.#storeClock = new StoreClock(clock);
    this.#pace = new ClaimPace(random);
    this.#telling = new Telling(options);
    const storeNowMs = () => this.#storeClock.nowMs();
    const onError = (error: unknown) => this.#unreachable(error);
    const onDue = (dueMs: number) => this.noticeDue(dueMs);
    this.#runs = new Runs({
      store,
      clock,
      random,
      log,
      leaseMs: this.#leaseMs,
      storeNowMs,
      fire,
      onStarted: (claim, lateMs) => this.#telling.started(claim, lateMs),
      onSettled: (callback, claim, end) => {
        // What waited for this one has its turn.
        if (callback.occurrence?.overlap === "queue") this.wake();
        return this.#telling.settled(callback, claim, end);
      },
      onDue,
      onReleased: () => this.#pause(),
    });
    this.#recurring = new Recurring({
      store,
      log,
      nowMs: storeNowMs,
      planNext: options.planNext ?? planByRule,
      onDue,
    });
    this.#sweeper = new Sweeper({
      store,
      owner,
      hub,
      random,
      isClaiming: () => this.#claiming,
      onEnded: (ended) => this.#noticeEnded(ended),
      onOwners: (owners) => {
        this.#reached();
        this.#pace.setWorkers(owners, clock.monoMs());
      },
      onError,
    });
    this.#aborts = new Aborts({ store, owner, onAbort: (id, token) => options.onAbort?.(id, token), onError });
  }

  /** Claims that run now. */
  get active(): number {
    return this.#runs.size;
  }

  /**
   * Recover what dead workers held, bring what recurs up to date, then fire what is due.
   * @throws {StoreUnavailableError} the store does not answer
   */
  async start(): Promise<void> {
    const { store, hub, clock } = this.#options;
    await this.#sweeper.recover();
    const askedMs = clock.wallMs();
    this.#storeClock.learn(await store.nowMs(), askedMs);
    await this.#recurring.catchUp();
    if (this.#stopping) return;
    this.#started = true;
    const stopChanges = store.onChange((change) => this.#noticeChange(change));
    const stopSteps = hub.onClockStep((stepMs) => {
      this.#telling.clockStep(stepMs);
      this.wake();
    });
    this.#stopHints = () => {
      stopChanges();
      stopSteps();
    };
    this.#scheduleTick();
    this.#stopRenewing = this.#runs.keepRenewing(hub, (error) => this.#unreachable(error));
    this.wake();
  }

  /** Something changed, and it is not known what: look at the store at the end of this turn. */
  wake(): void {
    this.#isUnsure = true;
    this.#lookSoon();
  }

  /** Slots are free again: claim, at the end of this turn, what is known to be due. */
  noticeFree(): void {
    if (this.#isDue || this.#isUnsure) this.#lookSoon();
  }

  /** There is a callback that is due then, by the store's clock: arm for it in the same turn, without a trip to the store. */
  noticeDue(dueMs: number): void {
    if (!this.#started || this.#stopping) return;
    if (dueMs > this.#storeClock.nowMs()) {
      this.#arm(dueMs);
      return;
    }
    this.#claimSoon();
  }

  /**
   * Claim no more; let what runs end, and record it. Twice is once.
   * @param options.deadlineMs how long to wait for what runs; without it, as long as it takes
   */
  async stop(options: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.#stopping = true;
    this.#stopHints();
    this.#sweeper.stop();
    for (const entry of [this.#armed, this.#paced, this.#tick]) entry?.cancel();
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
      this.#stopRenewing();
    }
  }

  async #afterRuns(): Promise<void> {
    await this.#looking;
    await this.#runs.ended();
  }

  /** A hint of another process. What a queue gets that we do not serve is no business of ours; if nobody serves it, the tick finds it. */
  #noticeChange({ dueMs, queue, abort }: Change): void {
    if (abort === true) void this.#takeAborts();
    if (dueMs !== undefined) {
      const { queues } = this.#options.owner;
      if (queue === undefined || queues === undefined || queues.includes(queue)) this.noticeDue(dueMs);
    } else if (abort !== true) {
      this.#mayAbort = true;
      this.wake();
    }
  }

  #noticeEnded(ended: readonly Ended[]): void {
    for (const each of ended) void this.#telling.ended(each);
    if (!ended.some(({ state }) => state === "waiting")) return;
    this.#isDue = true;
    this.#lookSoon();
  }

  /** Something is due: claim it, when it is our turn. */
  #claimSoon(): void {
    this.#isDue = true;
    const waitMs = this.#pace.stepBackMs(this.#options.clock.monoMs());
    if (waitMs > 0) this.#lookIn(waitMs);
    else this.#lookSoon();
  }

  #lookSoon(): void {
    if (!this.#started || this.#stopping) return;
    this.#lookAgain = true;
    this.#looking ??= this.#lookAtEndOfTurn();
  }

  async #lookAtEndOfTurn(): Promise<void> {
    await new Promise<void>((resolve) => this.#options.hub.nextTurn(resolve));
    try {
      while (this.#lookAgain && !this.#stopping) {
        this.#lookAgain = false;
        if (this.#runs.stalled) await this.#runs.renew();
        await this.#look();
      }
    } catch (error) {
      this.#isUnsure = true;
      this.#unreachable(error);
    } finally {
      this.#looking = undefined;
    }
  }

  async #look(): Promise<void> {
    const { store, owner, clock } = this.#options;
    const waitMs = this.#pace.waitMs(clock.monoMs());
    if (waitMs > 0) return this.#lookIn(waitMs);
    if (this.#mayAbort) {
      this.#mayAbort = false;
      void this.#takeAborts();
    }
    if (!this.#isDue) {
      if (!this.#isUnsure) return;
      this.#isUnsure = false;
      const askedMs = clock.wallMs();
      const upcoming = await store.upcoming(owner);
      this.#pace.looked(clock.monoMs());
      const aheadMs = this.#aheadOf(upcoming, askedMs);
      if (aheadMs === undefined) return;
      if (aheadMs > 0) return this.#arm(upcoming.nowMs + aheadMs);
      this.#isDue = true;
    }
    await this.#claim();
  }

  async #claim(): Promise<void> {
    const { store, owner, slots, clock } = this.#options;
    if (this.#stopping || clock.monoMs() < this.#pausedUntilMs) return;
    const limit = slots.reserve();
    // None is free: whoever shares them out says so when one is.
    if (limit === 0) return;
    let used = 0;
    this.#claiming = true;
    try {
      this.#isUnsure = false;
      const askedMs = clock.monoMs();
      const askedWallMs = clock.wallMs();
      const { claims, ended, upcoming } = await store.claimDue(owner, limit, this.#leaseMs);
      const found = claims.length + ended.length;
      this.#pace.claimed(found, limit, clock.monoMs());
      const aheadMs = this.#aheadOf(upcoming, askedWallMs);
      this.#noticeEnded(ended);
      const held = await this.#runs.startable(claims, askedMs, () => this.#stopping);
      if (this.#stopping) {
        await store.release(held);
        return;
      }
      used = held.length;
      for (const claim of held) this.#runs.start(claim);
      this.#after(upcoming.nowMs, aheadMs, found > 0);
      if ([...claims, ...ended].some(({ callback }) => callback.occurrence !== undefined)) void this.#catchUp();
    } finally {
      this.#claiming = false;
      slots.release(limit - used);
    }
  }

  #after(nowMs: number, aheadMs: number | undefined, found: boolean): void {
    this.#isDue = aheadMs !== undefined && aheadMs <= 0;
    this.#inVain = this.#isDue && !found ? this.#inVain + 1 : 0;
    if (this.#isDue && found) this.#lookAgain = true;
    // Due, and not to be had: another worker's claim of it is not committed yet, or the clock stepped between two readings of it. Looked at
    // again in a moment, then in a longer one; never dropped.
    else if (aheadMs !== undefined)
      this.#arm(nowMs + (this.#isDue ? backoffMs(this.#inVain - 1, IN_VAIN, this.#random) : aheadMs));
  }

  /** How far ahead the next one is due; not above 0: it is due. */
  #aheadOf({ dueMs, nowMs }: Upcoming, askedMs: number): number | undefined {
    this.#reached();
    this.#storeClock.learn(nowMs, askedMs);
    return dueMs === undefined ? undefined : dueMs - nowMs;
  }

  /** No claim for a moment. */
  #pause(): void {
    const { clock, hub } = this.#options;
    this.#pausedUntilMs = clock.monoMs() + PAUSE_MS;
    if (!this.#stopping) hub.afterMs(PAUSE_MS, () => this.wake());
  }

  /** It is not our turn yet. */
  #lookIn(waitMs: number): void {
    if (this.#paced?.active || this.#stopping) return;
    this.#paced = this.#options.hub.afterMs(waitMs, () => this.#lookSoon());
  }

  /** Wake at `dueMs` by the store's clock, or before. */
  #arm(dueMs: number): void {
    const wallMs = this.#storeClock.wallOf(dueMs);
    if (this.#stopping || wallMs >= this.#armedForMs) return;
    this.#armed?.cancel();
    this.#armedForMs = wallMs;
    this.#armed = this.#options.hub.atWallMs(wallMs, () => {
      this.#armedForMs = Number.POSITIVE_INFINITY;
      this.#claimSoon();
    });
  }

  /** Each second, whatever was missed: look, recover what dead workers held, advance what recurs, take abort requests. */
  #scheduleTick(): void {
    this.#tick = this.#options.hub.afterMs(TICK_MS * (1 - TICK_JITTER * this.#random()), async () => {
      if (this.#stopping) return;
      // Armed first: the next one must not wait for a store that does not answer.
      this.#scheduleTick();
      this.wake();
      await Promise.all([this.#tried(this.#sweeper.sweep()), this.#takeAborts(), this.#catchUp()]);
    });
  }

  #catchUp(): Promise<void> {
    return this.#tried(this.#recurring.catchUp());
  }

  /** What the store does not answer is said, and tried again at the next tick. */
  async #tried(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#unreachable(error);
    }
  }

  async #takeAborts(): Promise<void> {
    if (this.#runs.size > 0) await this.#aborts.take();
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
