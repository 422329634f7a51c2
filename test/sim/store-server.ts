/**
 * The store as a server of a simulated world: the memory store behind requests, which it takes up one by one. It may be slow, away or killed; what it
 * acknowledged is kept ("process"). It tells others of changes, as a hint, and holds owners that it does not hear of for dead, as
 * every store does that cannot see processes.
 */
import { StoreUnavailableError } from "../../src/kit/store-errors.ts";
import type { RecurrenceStore } from "../../src/schedule/recurrence-store.ts";
import type { Change, Owner, ScheduleStore } from "../../src/schedule/store.ts";
import type { Loop } from "./loop.ts";

/** An operation of the contract, those on recurrences with "recurrences." before them. */
export type Op =
  | Exclude<keyof ScheduleStore, "url" | "durability" | "recurrences" | "onChange" | "close">
  | `recurrences.${keyof RecurrenceStore}`;

/** Sees each operation in the moment in which it is done, with its answer. */
export type Watch = (call: {
  readonly from: string;
  readonly op: Op;
  readonly args: readonly unknown[];
  readonly answer: unknown;
}) => void;

export interface StoreServerOptions {
  readonly store: ScheduleStore;
  readonly loop: Loop;
  readonly watch: Watch;
  /** Tell the others; `from` made the change. */
  readonly hint: (from: string, change: Change) => void;
  /** An owner that is not heard of for so long is dead. */
  readonly ownerTimeoutMs: number;
}

export class StoreServer {
  readonly #options: StoreServerOptions;
  readonly #owners = new Map<string, { owner: Owner; seenMs: number; dead: boolean }>();
  /** It takes no connection. */
  away = false;
  /** How long it takes for each request, ms of true time. */
  slowMs = 0;

  constructor(options: StoreServerOptions) {
    this.#options = options;
  }

  /** Do it now. Rejects with what the store says. */
  async execute(from: string, op: Op, args: readonly unknown[]): Promise<unknown> {
    if (this.away) throw new StoreUnavailableError("the store is away");
    const { store, watch } = this.#options;
    this.#see(op, args);
    this.#bury();
    const [name, inner] = op.split(".") as [keyof ScheduleStore, keyof RecurrenceStore | undefined];
    const target: object = inner === undefined ? store : store.recurrences;
    const method = Reflect.get(target, inner ?? name) as (...args: unknown[]) => Promise<unknown>;
    try {
      const answer = await method.apply(target, [...args]);
      watch({ from, op, args, answer });
      const change = changeOf(op, args, answer);
      if (change !== undefined) this.#options.hint(from, change);
      return answer;
    } catch (error) {
      watch({ from, op, args, answer: error });
      throw error;
    }
  }

  #see(op: Op, args: readonly unknown[]): void {
    if (op !== "claimDue" && op !== "sweep" && op !== "enlist") return;
    const owner = args[0] as Owner;
    const seen = this.#owners.get(owner.id);
    // It lives after all.
    if (seen?.dead && op !== "enlist") void this.#options.store.enlist(owner, []);
    this.#owners.set(owner.id, { owner, seenMs: this.#options.loop.nowMs, dead: false });
  }

  #bury(): void {
    for (const each of this.#owners.values()) {
      if (each.dead || this.#options.loop.nowMs - each.seenMs < this.#options.ownerTimeoutMs) continue;
      each.dead = true;
      void this.#options.store.resign(each.owner);
    }
  }
}

/** What is told to others of a change; some stores can say more, some less. */
function changeOf(op: Op, args: readonly unknown[], answer: unknown): Change | undefined {
  switch (op) {
    case "put": {
      const [callback] = args[0] as readonly { dueMs: number; queue: string }[];
      return callback === undefined ? undefined : { dueMs: callback.dueMs, queue: callback.queue };
    }
    case "cancel":
    case "revoke":
      return (answer as { answer: string }).answer === "running" ? { abort: true } : undefined;
    case "reschedule":
    case "release":
    case "recurrences.put":
    case "recurrences.advance":
    case "recurrences.resume":
      return {};
    default:
      return undefined;
  }
}
