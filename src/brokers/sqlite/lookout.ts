/**
 * Looks for work that nobody here told of: messages of other processes, and what the dead have left. It looks when the file
 * has changed, and once a second in case that was missed; a look takes no lock, so idle consumers keep nobody waiting.
 */
import { type Clock, systemClock, type Timeout } from "../../kit/clock.ts";
import type { SqliteFile } from "../../sqlite/file.ts";
import { aliveOwner, sweepOwners } from "../../sqlite/owners.ts";
import type { StaleOwner } from "./rows.ts";
import { tables } from "./tables.ts";

const POLL_MS = 1_000;
/** Messages of a lost owner that are returned in one go. */
const RECOVER_ROWS = 500;

export interface LookoutOptions {
  readonly file: SqliteFile;
  readonly clock: Clock;
  /** The caller's clock for the store, where it is not the machine's. */
  readonly now: () => { readonly nowMs?: number };
  /** Numbers of the queues to look at; undefined: nothing is wanted now. */
  readonly wanted: () => readonly number[] | undefined;
  readonly onFound: () => void;
  /** Something was returned that others held. */
  readonly onRecovered: () => void;
  readonly onTrouble: (error: unknown) => void;
  readonly onRecovery: () => void;
}

export class Lookout {
  readonly #options: LookoutOptions;
  #unlisten: (() => void) | undefined;
  #poll: Timeout | undefined;
  #looking = false;
  #again = false;
  #sweeping = false;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** Twice is once. */
  start(): void {
    if (this.#unlisten !== undefined) return;
    this.#unlisten = this.#options.file.onChange(() => this.#look());
    this.#arm();
    this.#sweep();
  }

  stop(): void {
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#poll?.cancel();
    this.#poll = undefined;
  }

  get #on(): boolean {
    return this.#unlisten !== undefined;
  }

  #arm(): void {
    this.#poll = this.#options.clock.timeout(
      () => {
        this.#arm();
        this.#sweep();
      },
      POLL_MS,
      { ref: false },
    );
  }

  /** Find the dead, then look. */
  #sweep(): void {
    if (this.#sweeping || this.#options.wanted() === undefined) return;
    this.#sweeping = true;
    // The machine's clock: it waits for processes to end.
    sweepOwners(this.#options.file, systemClock)
      .then(
        () => this.#look(),
        (error: unknown) => this.#fail(error),
      )
      .finally(() => {
        this.#sweeping = false;
      });
  }

  #look(): void {
    if (this.#looking) {
      this.#again = true;
      return;
    }
    if (!this.#on) return;
    const queues = this.#options.wanted();
    if (queues === undefined) {
      this.#options.onFound(); // nobody looks later: whoever gets room claims
      return;
    }
    this.#looking = true;
    this.#lookAt(queues)
      .then(
        () => {
          if (this.#on) this.#options.onRecovery();
        },
        (error: unknown) => this.#fail(error),
      )
      .finally(() => {
        this.#looking = false;
        if (!this.#again) return;
        this.#again = false;
        this.#look();
      });
  }

  async #lookAt(queues: readonly number[]): Promise<void> {
    const { file, now, onFound, onRecovered } = this.#options;
    const ops = file.use(tables);
    const { waiting, dead, stale } = await ops.call("look", queues, now());
    if (waiting && this.#on) onFound();
    const lost = [...dead, ...stale.filter(isOutOfSight).map(({ n }) => n)];
    let returned = 0;
    for (const owner of lost) {
      let step: number;
      do {
        step = await ops.call("recover", { owner, limit: RECOVER_ROWS }, now());
        returned += step;
      } while (step === RECOVER_ROWS);
    }
    if (returned > 0) onRecovered();
  }

  #fail(error: unknown): void {
    if (this.#on) this.#options.onTrouble(error);
  }
}

/** Nobody here can tell whether it lives (another container, a system without /proc): then its lease decides. */
function isOutOfSight(owner: StaleOwner): boolean {
  return owner.started === "" || aliveOwner({ ...owner, children: [] }) !== "alive";
}
