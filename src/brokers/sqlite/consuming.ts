/**
 * The consuming side of a connection: claims messages for its consumers, as many as the prefetch window has room for, and
 * keeps what is in hand.
 *
 * One claim is asked at a time, for all queues. It is asked when there may be something: behind a publish or a return of this
 * process (it shares their commit), when the lookout has found something, and when a claim ended at its limit. So an empty
 * queue costs nothing, whatever is acknowledged meanwhile.
 */
import { FullJitterBackoff } from "../../kit/backoff.ts";
import type { Clock, Timeout } from "../../kit/clock.ts";
import { messageOf, toError } from "../../kit/errors.ts";
import type { SqliteFile } from "../../sqlite/file.ts";
import type { Consumer, Delivery } from "../broker.ts";
import { SqliteDelivery } from "./delivery.ts";
import { Lookout } from "./lookout.ts";
import { hint, moveIn, moveOut } from "./neighbours.ts";
import { BACK, BACK_UNSEEN, type ClaimAnswer, type Fate, type SettleRow } from "./rows.ts";
import { Settler } from "./settler.ts";
import { tables } from "./tables.ts";
import type { Trouble } from "./trouble.ts";

/** Messages in one claim, and so in one turn of the event loop. */
const CLAIM_ROWS = 256;
const CLAIM_BYTES = 1024 * 1024;
/** How long others leave alone what we hold, where they cannot see whether we live. */
const LEASE_MS = 30_000;
const RENEW_MS = LEASE_MS / 3;
const RETRY = { firstMs: 50, capMs: 2_000 } as const;
const DONE = Promise.resolve();

const CLAIMING = "messages cannot be claimed";
const SETTLING = "acknowledgements cannot be written";
const RENEWING = "the hold on messages cannot be renewed";
const LOOKING = "messages of other processes cannot be looked for";

export interface ConsumingOptions {
  readonly file: SqliteFile;
  /** Name under which messages are held. */
  readonly owner: string;
  readonly clock: Clock;
  readonly now: () => { readonly nowMs?: number };
  readonly trouble: Trouble;
  /** The file did not do what was asked. True: it never will, and the connection has ended. */
  readonly onError: (error: unknown) => boolean;
  /** The connection cannot go on. */
  readonly lose: (cause: Error) => void;
}

interface Line {
  readonly n: number;
  readonly name: string;
  /** In turn: the one that was served last is last. */
  readonly consumers: Set<FileConsumer>;
}

export class Consuming {
  readonly #options: ConsumingOptions;
  readonly #ops;
  readonly #settler: Settler;
  readonly #lookout: Lookout;
  /** By number of the queue; in turn. */
  readonly #lines = new Map<number, Line>();
  /** Of every queue that was ever consumed here. */
  readonly #names = new Map<number, string>();
  readonly #held = new Set<SqliteDelivery>();
  readonly #backoff = new FullJitterBackoff(RETRY);
  #window = 0;
  /** There may be something to claim. */
  #hinted = false;
  #poked = false;
  #claiming = false;
  #claims = 1;
  /** The last claim has no answer: it may hold messages for us. */
  #again = false;
  #retry: Timeout | undefined;
  #renewal: Timeout | undefined;
  #ended = false;

  constructor(options: ConsumingOptions) {
    const { file, clock, now, trouble, onError } = options;
    this.#options = options;
    this.#ops = file.use(tables);
    this.#settler = new Settler({
      ops: this.#ops,
      clock,
      onSent: (back) => hint(file.path, back),
      onTrouble: (error) => this.#fail(SETTLING, error),
      onRecovery: () => {
        trouble.end(SETTLING);
        this.#poke(); // there is room again
      },
    });
    this.#lookout = new Lookout({
      file,
      clock,
      now,
      wanted: () => (this.#room > 0 ? [...this.#lines.keys()] : undefined),
      onFound: () => this.hint(undefined),
      onRecovered: () => hint(file.path),
      onTrouble: (error) => {
        if (!onError(error)) trouble.add(LOOKING, error);
      },
      onRecovery: () => trouble.end(LOOKING),
    });
  }

  add(queue: { readonly n: number; readonly name: string }, onDelivery: (delivery: Delivery) => void): Consumer {
    let line = this.#lines.get(queue.n);
    if (line === undefined) {
      line = { ...queue, consumers: new Set() };
      this.#lines.set(queue.n, line);
      this.#names.set(queue.n, queue.name);
    }
    const consumer = new FileConsumer(onDelivery, () => this.#drop(line, consumer));
    line.consumers.add(consumer);
    moveIn(this.#options.file.path, this);
    this.#lookout.start();
    this.hint(undefined);
    return consumer;
  }

  setWindow(count: number): void {
    this.#window = count;
    this.#poke();
  }

  hint(queues: ReadonlySet<string> | undefined): void {
    for (const line of this.#lines.values()) {
      if (queues !== undefined && !queues.has(line.name)) continue;
      this.#hinted = true;
      this.#poke();
      return;
    }
  }

  settle(delivery: SqliteDelivery, fate: Fate): Promise<void> {
    if (!this.#held.delete(delivery)) return DONE;
    const told = this.#settler.add(delivery.row(fate), fate === BACK ? delivery.queue : undefined);
    this.#poke();
    return told;
  }

  /** Nothing more is delivered or tried. Answers what of the settled is not known to be told. */
  end(): SettleRow[] {
    this.#ended = true;
    this.#held.clear();
    this.#lines.clear();
    this.#idle();
    this.#retry?.cancel();
    this.#renewal?.cancel();
    return this.#settler.end();
  }

  get #room(): number {
    if (this.#window === 0) return CLAIM_ROWS;
    return Math.min(CLAIM_ROWS, this.#window - this.#held.size - this.#settler.troubled);
  }

  #drop(line: Line, consumer: FileConsumer): void {
    if (!line.consumers.delete(consumer) || line.consumers.size > 0) return;
    this.#lines.delete(line.n);
    if (this.#lines.size === 0) this.#idle();
  }

  #idle(): void {
    this.#lookout.stop();
    moveOut(this.#options.file.path, this);
  }

  /** Claim at the end of this turn's work, if there is reason to: many acknowledgements make one claim. */
  #poke(): void {
    if (this.#poked || !this.#hinted) return;
    this.#poked = true;
    queueMicrotask(() => {
      this.#poked = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#ended || this.#claiming || !this.#hinted || this.#retry !== undefined || this.#lines.size === 0) return;
    const limit = this.#room;
    if (limit <= 0) return;
    // What is settled goes first: it is what made the room.
    this.#settler.flush();
    this.#hinted = false;
    this.#claiming = true;
    const { owner, now } = this.#options;
    const claim = this.#claims;
    const params = {
      owner,
      claim,
      again: this.#again,
      queues: [...this.#lines.keys()],
      limit,
      maxBytes: CLAIM_BYTES,
      leaseMs: LEASE_MS,
    };
    this.#ops.call("claim", params, now()).then(
      (answer) => this.#onClaimed(claim, answer),
      (error: unknown) => this.#onUnclaimed(error),
    );
  }

  #onClaimed(claim: number, answer: ClaimAnswer): void {
    this.#claiming = false;
    if (this.#ended) return; // what it claimed is given back behind it
    this.#claims += 1;
    this.#again = false;
    this.#backoff.reset();
    this.#options.trouble.end(CLAIMING);
    if (answer.more) this.#hinted = true;
    let from = 0;
    for (const row of answer.rows) {
      const bytes = row[6];
      // A copy: a view would keep the bodies of the whole claim for as long as one message is in hand.
      const body = new Uint8Array(answer.bodies.subarray(from, from + bytes));
      from += bytes;
      const line = this.#lines.get(row[1]);
      const name = this.#names.get(row[1]) as string; // only what is consumed is claimed
      const delivery = new SqliteDelivery(this, answer.owner, claim, name, row, body);
      // Cancelled meanwhile: as if it had never been taken.
      if (line === undefined) void this.#settler.add(delivery.row(row[2] === 1 ? BACK : BACK_UNSEEN), name);
      else this.#deliver(line, delivery);
      if (this.#ended) return;
    }
    this.#poke();
  }

  #deliver(line: Line, delivery: SqliteDelivery): void {
    const [consumer] = line.consumers;
    if (consumer === undefined) return;
    // Served: behind the others, so that queues and consumers take turns.
    line.consumers.delete(consumer);
    line.consumers.add(consumer);
    this.#lines.delete(line.n);
    this.#lines.set(line.n, line);
    this.#held.add(delivery);
    if (this.#renewal === undefined) this.#armRenewal();
    try {
      consumer.onDelivery(delivery);
    } catch (error) {
      this.#options.lose(
        new Error(`the consumer of queue ${line.name} threw: ${messageOf(error)}`, { cause: toError(error) }),
      );
    }
  }

  /** It may have been done: the same claim is asked again, until its answer is known. */
  #onUnclaimed(error: unknown): void {
    this.#claiming = false;
    if (this.#ended) return;
    this.#again = true;
    this.#hinted = true;
    if (this.#fail(CLAIMING, error)) return;
    this.#retry = this.#options.clock.timeout(
      () => {
        this.#retry = undefined;
        this.#pump();
      },
      this.#backoff.nextMs(),
      { ref: false },
    );
  }

  #armRenewal(): void {
    this.#renewal = this.#options.clock.timeout(
      () => {
        this.#renewal = undefined;
        if (this.#held.size === 0 && this.#settler.troubled === 0) return;
        this.#armRenewal();
        const { owner, now, trouble } = this.#options;
        // Where we can be seen nobody needs it; where not, the next one may still be in time.
        this.#ops.call("renew", { owner, leaseMs: LEASE_MS }, now()).then(
          () => trouble.end(RENEWING),
          (error: unknown) => this.#fail(RENEWING, error),
        );
      },
      RENEW_MS,
      { ref: false },
    );
  }

  /** True: the connection has ended. */
  #fail(what: string, error: unknown): boolean {
    if (this.#ended || this.#options.onError(error)) return true;
    this.#options.trouble.add(what, error);
    return false;
  }
}

class FileConsumer implements Consumer {
  readonly onDelivery: (delivery: Delivery) => void;
  readonly #drop: () => void;

  constructor(onDelivery: (delivery: Delivery) => void, drop: () => void) {
    this.onDelivery = onDelivery;
    this.#drop = drop;
  }

  async cancel(): Promise<void> {
    this.#drop();
  }
}
