/**
 * A process's connection to the store, and the network between. Requests of one connection arrive in their order, so do answers; between
 * connections there is no order. What is lost shows as it does to a real client: it waits until its deadline and does not know; or the
 * connection is reset, and it knows no more. A request that was held back may be done long after its sender gave up.
 */
import { OutcomeUnknownError } from "../../src/kit/errors.ts";
import { StoreUnavailableError } from "../../src/kit/store-errors.ts";
import type { Change, ScheduleStore } from "../../src/schedule/store.ts";
import type { Loop } from "./loop.ts";
import type { SimProcess } from "./process.ts";
import type { Chance } from "./random.ts";
import type { Op, StoreServer } from "./store-server.ts";

/** How bad the network is; faults change it. */
export interface Network {
  /** Least and most of one way, ms. */
  delayMs: readonly [number, number];
  /** Probabilities of each message. */
  loseRequest: number;
  loseAnswer: number;
  holdRequest: number;
  loseHint: number;
}

interface Pending {
  readonly op: Op;
  readonly epoch: number;
  done: boolean;
  arrived: boolean;
  fail(error: Error): void;
}

const READS: ReadonlySet<string> = new Set<Op>([
  "nowMs",
  "get",
  "list",
  "counts",
  "upcoming",
  "revoked",
  "recurrences.get",
  "recurrences.list",
  "recurrences.due",
]);
const HOLD_MS = 8_000;

export interface LinkOptions {
  readonly loop: Loop;
  readonly process: SimProcess;
  readonly server: StoreServer;
  readonly network: Network;
  readonly chance: Chance;
  readonly deadlineMs: number;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #pending = new Set<Pending>();
  readonly #listeners = new Set<(change: Change) => void>();
  /** Counts connections: a new one after each loss. */
  #epoch = 0;
  #requestMs = 0;
  #answerMs = 0;
  /** Nothing gets there, or back, until then (true time). */
  blockedOutMs = 0;
  blockedInMs = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get process(): SimProcess {
    return this.#options.process;
  }

  call(op: Op, args: readonly unknown[]): Promise<unknown> {
    const { process, deadlineMs } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = process.post(deadlineMs, () => {
        if (pending.epoch === this.#epoch) this.#reconnect();
        pending.fail(lostError(op));
      });
      const end = () => {
        pending.done = true;
        timer.cancel();
        this.#pending.delete(pending);
      };
      const pending: Pending = {
        op,
        epoch: this.#epoch,
        done: false,
        arrived: false,
        fail: (error) => {
          if (pending.done) return;
          end();
          reject(error);
        },
      };
      this.#pending.add(pending);
      this.#send(pending, args, (answer) => {
        if (pending.done) return;
        end();
        resolve(answer);
      });
    });
  }

  /** The connection is reset: whoever waits for an answer is told so, and does not know. */
  cut(): void {
    const { process, chance } = this.#options;
    for (const pending of this.#pending) {
      process.post(chance.between(0, 2), () => pending.fail(lostError(pending.op)));
    }
    this.#reconnect();
  }

  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  hint(change: Change): void {
    const { loop, network, chance, process } = this.#options;
    if (chance.of(network.loseHint) || this.blockedInMs > loop.nowMs) return;
    process.post(this.#delay(), () => {
      for (const listener of this.#listeners) listener(change);
    });
  }

  #reconnect(): void {
    this.#epoch += 1;
    this.#requestMs = this.#answerMs = 0;
  }

  #send(pending: Pending, args: readonly unknown[], answered: (answer: unknown) => void): void {
    const { loop, network, chance, server, process } = this.#options;
    const isBlocked = this.blockedOutMs > loop.nowMs;
    if (chance.of(network.loseRequest)) return;
    // In a partition it is lost, or it waits in some buffer until that is over.
    if (isBlocked && chance.of(0.5)) return;
    let atMs = Math.max(isBlocked ? this.blockedOutMs : loop.nowMs, this.#requestMs) + this.#delay();
    if (chance.of(network.holdRequest)) atMs += chance.between(0, HOLD_MS);
    this.#requestMs = atMs;
    const arrive = () => {
      // A connection that was reset may have taken it along, or not.
      if (pending.epoch !== this.#epoch && chance.of(0.5)) return;
      pending.arrived = true;
      const work = () => {
        server.execute(process.name, pending.op, args).then(
          (answer) => this.#answer(pending, () => answered(answer)),
          (error: Error) => this.#answer(pending, () => pending.fail(error)),
        );
      };
      if (server.slowMs === 0) work();
      else loop.at(loop.nowMs + chance.between(0, server.slowMs), 0, work);
    };
    loop.at(atMs, 0, arrive);
  }

  #answer(pending: Pending, deliver: () => void): void {
    const { loop, network, chance, process } = this.#options;
    if (pending.epoch !== this.#epoch || chance.of(network.loseAnswer)) return;
    const isBlocked = this.blockedInMs > loop.nowMs;
    if (isBlocked && chance.of(0.5)) return;
    const atMs = Math.max(isBlocked ? this.blockedInMs : loop.nowMs, this.#answerMs) + this.#delay();
    this.#answerMs = atMs;
    process.post(atMs - loop.nowMs, () => {
      if (pending.epoch === this.#epoch) deliver();
    });
  }

  #delay(): number {
    const [least, most] = this.#options.network.delayMs;
    return this.#options.chance.between(least, most);
  }
}

function lostError(op: Op): Error {
  return READS.has(op) ? new StoreUnavailableError(`no answer to ${op}`) : new OutcomeUnknownError(op);
}

const OPS = [
  "nowMs",
  "put",
  "cancel",
  "reschedule",
  "get",
  "list",
  "counts",
  "upcoming",
  "claimDue",
  "renew",
  "settle",
  "release",
  "sweep",
  "takeAborts",
  "revoke",
  "revoked",
  "enlist",
  "resign",
] as const satisfies readonly Op[];
const RECURRENCE_OPS = ["put", "get", "list", "due", "advance", "pause", "resume", "cancel"] as const;

/** The store, as a process has it at the other end of its link. */
export function storeOver(link: Link): ScheduleStore {
  const call = (op: Op) => [op, (...args: readonly unknown[]) => link.call(op, args)] as const;
  const recurrences = Object.fromEntries(
    RECURRENCE_OPS.map((op) => [op, (...args: readonly unknown[]) => link.call(`recurrences.${op}`, args)]),
  );
  return {
    url: "sim://",
    durability: "process",
    ...Object.fromEntries(OPS.map(call)),
    recurrences,
    onChange: (listener: (change: Change) => void) => link.listen(listener),
    close: async () => undefined,
  } as unknown as ScheduleStore;
}
