/**
 * The claims that this process runs: their leases are renewed here, and their ends recorded.
 *
 * The parent renews, so that its children may block their own loop freely. A claim whose lease was lost is left to run (its
 * handler may be half-way), but what it ends with is refused by the store, and not insisted on.
 */
import type { Hub, HubEntry } from "../../hub/hub.ts";
import { FullJitterBackoff, type Random } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import { sleep } from "../../kit/deadline.ts";
import { ContractError, messageOf, OutcomeUnknownError } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import type { Callback, Claim, RunEnd } from "../callback.ts";
import { LeaseLostError } from "../errors.ts";
import type { ScheduleStore } from "../store.ts";

export interface RunsOptions {
  readonly store: ScheduleStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Pick<Logger, "warn" | "error">;
  readonly leaseMs: number;
  /** By the store's clock, as far as we know it. */
  readonly storeNowMs: () => number;
  readonly fire: (claim: Claim, lateMs: number) => Promise<RunEnd | "release">;
  readonly onStarted: (claim: Claim, lateMs: number) => void;
  /** Told how the store settled a run. */
  readonly onSettled: (callback: Callback, claim: Claim, end: RunEnd) => Promise<void>;
  /** One waits to run again then. */
  readonly onDue: (dueMs: number) => void;
  /** One never began, and was given back. */
  readonly onReleased: () => void;
}

interface Held {
  readonly claim: Claim;
  /** By the store's clock. */
  leaseUntilMs: number;
  lost: boolean;
  /** It has ended, and that is being recorded. */
  ending: boolean;
}

const SETTLE_RETRY = { firstMs: 20, capMs: 2_000 } as const;

export class Runs {
  readonly #options: RunsOptions;
  readonly #held = new Map<string, Held>();
  readonly #ending = new Set<Promise<void>>();
  #renewedMs: number;

  constructor(options: RunsOptions) {
    this.#options = options;
    this.#renewedMs = options.clock.monoMs();
  }

  /** Claims that run, or whose end is being recorded. */
  get size(): number {
    return this.#held.size;
  }

  /** This process stood still for so long that its leases may be over: nothing new is started before they are renewed. */
  get stalled(): boolean {
    const { clock, leaseMs } = this.#options;
    return this.#held.size > 0 && clock.monoMs() - this.#renewedMs > leaseMs / 2;
  }

  /** Renew every third of a lease. Answers how to stop. */
  keepRenewing(hub: Pick<Hub, "afterMs">, onError: (error: unknown) => void): () => void {
    let entry: HubEntry | undefined;
    const arm = () => {
      entry = hub.afterMs(this.#options.leaseMs / 3, () => {
        // Armed first: the next one must not wait for a store that does not answer.
        arm();
        return this.renew().catch(onError);
      });
    };
    arm();
    return () => entry?.cancel();
  }

  /** Run the claim now, and record its end. */
  start(claim: Claim): void {
    if (this.#held.size === 0) this.#renewedMs = this.#options.clock.monoMs();
    const held = heldOf(claim);
    const name = `${claim.callback.id}/${claim.token}`;
    this.#held.set(name, held);
    const ending = this.#run(held).finally(() => {
      this.#held.delete(name);
      this.#ending.delete(ending);
    });
    this.#ending.add(ending);
  }

  /** Extend the leases of all that runs. @throws {StoreUnavailableError} the store does not answer; they may still hold */
  async renew(): Promise<void> {
    const standing = [...this.#held.values()].filter((held) => !held.lost);
    await this.#extend(standing);
    this.#renewedMs = this.#options.clock.monoMs();
  }

  /**
   * Of claims that were asked for at `askedMs`: those that may start now. An answer that was long on its way is not believed: the leases may
   * be over, and what was claimed stopped for good since. So it is asked whether they stand, until an answer comes soon enough.
   *
   * @param isGivenUp nothing is to start any more: what may stand is answered
   */
  async startable(claims: readonly Claim[], askedMs: number, isGivenUp: () => boolean): Promise<Claim[]> {
    const { clock, leaseMs } = this.#options;
    let held = claims.map(heldOf);
    let sinceMs = askedMs;
    while (held.length > 0 && !isGivenUp() && clock.monoMs() - sinceMs > leaseMs / 2) {
      sinceMs = clock.monoMs();
      await this.#extend(held);
      held = held.filter(({ lost }) => !lost);
    }
    return held.map(({ claim, leaseUntilMs }) => ({ ...claim, leaseUntilMs }));
  }

  /** Resolves when everything that runs has ended, and its end is recorded or given up. */
  async ended(): Promise<void> {
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  async #extend(all: readonly Held[]): Promise<void> {
    if (all.length === 0) return;
    const { store, leaseMs, log } = this.#options;
    const answers = await store.renew(
      all.map(({ claim }) => claim),
      leaseMs,
    );
    for (const [i, held] of all.entries()) {
      const untilMs = answers[i];
      if (untilMs !== undefined) {
        held.leaseUntilMs = untilMs;
        continue;
      }
      held.lost = true;
      if (held.ending) continue; // just settled, perhaps; the store tells
      const { id } = held.claim.callback;
      log.warn(`The lease on callback ${id} was lost: it may run twice, and this run's end will be refused`);
    }
  }

  async #run(held: Held): Promise<void> {
    const { fire, onStarted, log, storeNowMs } = this.#options;
    const { claim } = held;
    const lateMs = storeNowMs() - claim.callback.dueMs;
    onStarted(claim, lateMs);
    let end: RunEnd | "release";
    try {
      end = await fire(claim, lateMs);
    } catch (error) {
      log.error(`Callback ${claim.callback.id} could not be run`, { error });
      end = { kind: "crashed", reason: messageOf(error) };
    }
    held.ending = true;
    await this.#record(held, end);
  }

  /** Again and again, until the store answers or the lease is over: then it is another worker's. */
  async #record(held: Held, end: RunEnd | "release"): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = new FullJitterBackoff(SETTLE_RETRY, random);
    const { id } = held.claim.callback;
    let unknown = false;
    for (;;) {
      try {
        await this.#recordOnce(held.claim, end);
        return;
      } catch (error) {
        if (isLeaseLost(error)) {
          // After an answer that was lost it may be our own earlier attempt that stands there.
          if (unknown && end !== "release" && (await this.#stands(held.claim, end))) return;
          log.warn(`The end of callback ${id} (token ${held.claim.token}) is refused: its lease was lost`);
          return;
        }
        if (error instanceof ContractError && end !== "release" && end.kind !== "failed") {
          // Such an end cannot be recorded, however often it is tried: a message that the store refuses, say.
          await this.#record(held, { kind: "failed", reason: messageOf(error) });
          return;
        }
        unknown ||= error instanceof OutcomeUnknownError;
        if ((await this.#nowMs()) >= held.leaseUntilMs) {
          log.error(`The end of callback ${id} could not be recorded while its lease held`, { error });
          return;
        }
        await sleep(Math.max(1, backoff.nextMs()), clock);
      }
    }
  }

  async #recordOnce(claim: Claim, end: RunEnd | "release"): Promise<void> {
    const { store, onReleased } = this.#options;
    if (end === "release") {
      await store.release([claim]);
      onReleased();
      return;
    }
    await this.#tell(await store.settle(claim, end), claim, end);
  }

  /** Our own end of this claim is recorded. */
  async #stands(claim: Claim, end: RunEnd): Promise<boolean> {
    const now = await this.#options.store.get({ id: claim.callback.id }).catch(() => undefined);
    if (now === undefined || now.token !== claim.token || now.state === "running") return false;
    await this.#tell(now, claim, end);
    return true;
  }

  async #tell(settled: Callback, claim: Claim, end: RunEnd): Promise<void> {
    const { onSettled, onDue } = this.#options;
    if (settled.state === "waiting") onDue(settled.dueMs);
    await onSettled(settled, claim, end);
  }

  /** By the store's clock; by ours when the store does not say. */
  async #nowMs(): Promise<number> {
    const { store, storeNowMs } = this.#options;
    return store.nowMs().catch(storeNowMs);
  }
}

function heldOf(claim: Claim): Held {
  return { claim, leaseUntilMs: claim.leaseUntilMs, lost: false, ending: false };
}

/** By its code: the error may come from another copy of this package. */
function isLeaseLost(error: unknown): boolean {
  return (
    error instanceof LeaseLostError || (error instanceof Error && "code" in error && error.code === "ERR_LEASE_LOST")
  );
}
