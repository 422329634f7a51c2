/**
 * How often a message ended the process that ran it, in whatever worker of the schedule that was. A late-acknowledged message that goes back
 * each time would go on for ever, and cost every worker a process (lavinmq#2191); the schedule counts the crashes of callbacks itself.
 *
 * The count is kept where revoked ids are: one tombstone for each loss, under an id that no task has. So it survives restarts and is shared; a
 * store that is away is made up for by this process's own memory.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import { runOf } from "./past.ts";

export interface LossesOptions {
  readonly store: Pick<ScheduleStore, "revoke" | "revoked">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** As for callbacks: the crash limit of the schedule's stores. */
export const LOSS_LIMIT = 3;
const KEEP_MS = 24 * 3_600_000;
const MAX_REMEMBERED = 10_000;

export class Losses {
  readonly #options: LossesOptions;
  readonly #own = new Map<string, number>();

  constructor(options: LossesOptions) {
    this.#options = options;
  }

  /** Count one more; answers how many there are now, at most `LOSS_LIMIT`. Never rejects. */
  async count(message: TaskMessage): Promise<number> {
    const { store, clock, log } = this.#options;
    const run = runOf(message);
    const ids = Array.from({ length: LOSS_LIMIT }, (_, i) => tombstoneOf(run, i + 1));
    let before = this.#own.get(run) ?? 0;
    try {
      const known = await store.revoked(ids);
      before = Math.max(before, ids.findLastIndex((id) => known.has(id)) + 1);
      const id = ids[before];
      if (id !== undefined) await store.revoke(id, clock.wallMs() + KEEP_MS);
    } catch (error) {
      log.warn(
        `That a process was lost with ${message.task}[${message.id}] is counted here alone: ${messageOf(error)}`,
      );
    }
    const count = Math.min(LOSS_LIMIT, before + 1);
    this.#remember(run, count);
    return count;
  }

  #remember(run: string, count: number): void {
    this.#own.delete(run);
    this.#own.set(run, count);
    const [oldest] = this.#own.keys();
    if (this.#own.size > MAX_REMEMBERED && oldest !== undefined) this.#own.delete(oldest);
  }
}

function tombstoneOf(run: string, n: number): string {
  return `lovage:lost:${n}:${createHash("sha256").update(run).digest("base64url")}`;
}
