/** What the engine is given. */
import type { Hub } from "../../hub/hub.ts";
import type { Random } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import type { Logger } from "../../kit/log.ts";
import type { Callback, Claim, RunEnd } from "../callback.ts";
import type { ScheduleEvents } from "../events.ts";
import type { Plan, Recurrence } from "../recurrence.ts";
import type { Ended, Owner, ScheduleStore } from "../store.ts";

export interface SchedulerOptions {
  readonly store: ScheduleStore;
  /** With the queues that it serves; as it was enlisted. */
  readonly owner: Owner;
  readonly hub: Pick<Hub, "afterMs" | "atWallMs" | "nextTurn" | "onClockStep">;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a claim holds without being renewed, ms. Renewed every third of it. Default 30,000. */
  readonly leaseMs?: number;
  /** Slots for runs: `reserve` sets aside as many as may be claimed now; those that no claim came for are released. */
  readonly slots: { reserve(): number; release(count: number): void };
  /**
   * Run the claim, in one of the slots set aside; "release" when it never began.
   * @param lateMs how long after its due time it starts, by the store's clock
   */
  readonly fire: (claim: Claim, lateMs: number) => Promise<RunEnd | "release">;
  /** What follows of a recurrence whose time has come. Default: what its rule says. @throws {Error} it cannot be worked out */
  readonly planNext?: (recurrence: Recurrence, nowMs: number) => Promise<Plan>;
  /** Told of callbacks that ended, or were given back, without a run of this process. */
  readonly onEnded?: (ended: Ended) => Promise<void> | void;
  /** Told how the store settled a run of this process. */
  readonly onSettled?: (callback: Callback, end: RunEnd) => Promise<void> | void;
  /** Somebody asked that this run end. */
  readonly onAbort?: (id: string, token: number) => void;
  readonly events?: ScheduleEvents;
  /** Spreads what many workers would do at one moment. Default `Math.random`. */
  readonly random?: Random;
}
