/**
 * Notices commits of other processes, without polling. Runs in the file's thread.
 *
 * The directory is watched (the log is removed by whoever closes the file last, and made again), and an event of the file or its
 * log is answered by a look at `data_version`, which other connections' commits change and ours do not. The event comes
 * with the write, but the commit is visible only after its fsync: so we look again, in growing steps, for half a second.
 * A slow poll stands behind it for file systems that tell nothing.
 */
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { type Clock, systemClock, type Timeout } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";

const FIRST_LOOK_MS = 2;
const LAST_LOOK_MS = 256;
const POLL_MS = 1_000;
/** At most one notice in this time: a busy writer elsewhere must not keep our hub busy. */
const GAP_MS = 10;

export class ChangeWatch {
  readonly #path: string;
  readonly #version: () => number | undefined;
  readonly #onChange: () => void;
  readonly #note: (text: string) => void;
  readonly #clock: Clock;
  #watcher: FSWatcher | undefined;
  #seen: number | undefined;
  #look: Timeout | undefined;
  #lookStepMs = FIRST_LOOK_MS;
  #poll: Timeout | undefined;
  #gap: Timeout | undefined;
  #again = false;
  #on = false;

  /** @param version the file's data version now; undefined while there is no connection */
  constructor(
    path: string,
    version: () => number | undefined,
    onChange: () => void,
    note: (text: string) => void,
    clock: Clock = systemClock,
  ) {
    this.#path = path;
    this.#version = version;
    this.#onChange = onChange;
    this.#note = note;
    this.#clock = clock;
  }

  start(): void {
    if (this.#on) return;
    this.#on = true;
    this.#seen = this.#version();
    this.#armPoll();
    const ours = new Set([basename(this.#path), `${basename(this.#path)}-wal`]);
    try {
      this.#watcher = watch(dirname(this.#path), { persistent: false }, (_, name) => {
        if (name === null || ours.has(name)) this.#onEvent();
      });
      this.#watcher.on("error", (error) => this.#unwatched(error));
    } catch (thrown) {
      this.#unwatched(thrown);
    }
  }

  stop(): void {
    this.#on = false;
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#look?.cancel();
    this.#poll?.cancel();
    this.#gap?.cancel();
    this.#look = undefined;
    this.#gap = undefined;
    this.#again = false;
  }

  /** Look now: the thread calls it between groups, where it costs next to nothing. */
  check(): void {
    if (!this.#on) return;
    const version = this.#version();
    if (version === undefined || version === this.#seen) return;
    this.#seen = version;
    this.#tell();
  }

  #tell(): void {
    if (this.#gap !== undefined) {
      this.#again = true;
      return;
    }
    this.#onChange();
    this.#gap = this.#clock.timeout(
      () => {
        this.#gap = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.#tell();
      },
      GAP_MS,
      { ref: false },
    );
  }

  #onEvent(): void {
    this.check();
    // From the beginning, also when a late look is pending: it may be a quarter of a second away.
    this.#look?.cancel();
    this.#lookStepMs = FIRST_LOOK_MS;
    this.#armLook();
  }

  #armLook(): void {
    this.#look = this.#clock.timeout(
      () => {
        this.#look = undefined;
        this.check();
        this.#lookStepMs *= 2;
        if (this.#on && this.#lookStepMs <= LAST_LOOK_MS) this.#armLook();
      },
      this.#lookStepMs,
      { ref: false },
    );
  }

  #armPoll(): void {
    this.#poll = this.#clock.timeout(
      () => {
        this.check();
        if (this.#on) this.#armPoll();
      },
      POLL_MS,
      { ref: false },
    );
  }

  #unwatched(thrown: unknown): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#note(
      `${dirname(this.#path)} cannot be watched (${messageOf(thrown)}): changes of other processes are noticed within 1 s only`,
    );
  }
}
