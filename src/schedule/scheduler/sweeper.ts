/**
 * Gives back what dead or stalled workers hold, and removes what is past retention, in small steps: a step that met its limit is followed by
 * another after some milliseconds, and not while a claim is on its way. So one worker removes some 20,000 rows a second, and no
 * claim waits behind more than one step.
 */
import type { Hub } from "../../hub/hub.ts";
import type { Random } from "../../kit/backoff.ts";
import type { Ended, Owner, ScheduleStore } from "../store.ts";

export interface SweeperOptions {
  readonly store: Pick<ScheduleStore, "sweep">;
  readonly owner: Owner;
  readonly hub: Pick<Hub, "afterMs">;
  readonly random: Random;
  /** A claim is on its way. */
  readonly isClaiming: () => boolean;
  readonly onEnded: (ended: readonly Ended[]) => void;
  /** How many live owners share a queue with this one; undefined: the store does not say. */
  readonly onOwners: (owners: number | undefined) => void;
  readonly onError: (error: unknown) => void;
}

/** Rows of a step: a few milliseconds in any store. */
const STEP = 200;
const PAUSE_MS = 5;
/** A worker that always has a claim on its way must sweep all the same. */
const MOST_PUT_OFF = 20;

export class Sweeper {
  readonly #options: SweeperOptions;
  #sweeping = false;
  #stopped = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /** Give back all that dead workers hold, before anything is claimed; what is past retention can wait for the steps. */
  async recover(): Promise<void> {
    while (!this.#stopped) {
      const { ended, more } = await this.#step();
      if (!more) return;
      if (ended === 0) return this.#goOn(0);
    }
  }

  /** Sweep now, and go on in steps as long as there is more. Nothing, if it is being done. @throws what the first step throws */
  async sweep(): Promise<void> {
    if (this.#sweeping || this.#stopped) return;
    this.#sweeping = true;
    try {
      const { more } = await this.#step();
      if (more) this.#goOn(0);
    } finally {
      this.#sweeping = false;
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  #goOn(putOff: number): void {
    const { hub, random, isClaiming, onError } = this.#options;
    if (this.#stopped) return;
    this.#sweeping = true;
    hub.afterMs(PAUSE_MS * (1 + random()), async () => {
      if (this.#stopped) return;
      if (isClaiming() && putOff < MOST_PUT_OFF) return this.#goOn(putOff + 1);
      try {
        const { more } = await this.#step();
        this.#sweeping = false;
        if (more) this.#goOn(0);
      } catch (error) {
        this.#sweeping = false;
        onError(error);
      }
    });
  }

  async #step(): Promise<{ readonly ended: number; readonly more: boolean }> {
    const { store, owner, onEnded, onOwners } = this.#options;
    const { ended, more, owners } = await store.sweep(owner, STEP);
    onOwners(owners);
    onEnded(ended);
    return { ended: ended.length, more };
  }
}
