/** What travels between the broker and the file's thread: plain arrays, and the bodies of a batch as one run of bytes. */

/** A message on its way in. */
export type PublishRow = readonly [
  queue: string,
  exchange: string,
  rank: number,
  properties: string,
  headers: string,
  bodyBytes: number,
];

export interface PublishParams {
  readonly rows: readonly PublishRow[];
  /** Of all rows, one after the other. */
  readonly bodies: Uint8Array;
}

export interface ClaimParams {
  /** Name of the owner. */
  readonly owner: string;
  /** Number of this claim: rises with each of the owner's. */
  readonly claim: number;
  /** It was asked before, and its answer was lost: what it claimed then is its answer now. */
  readonly again: boolean;
  /** Numbers of the queues, in turn. */
  readonly queues: readonly number[];
  readonly limit: number;
  readonly maxBytes: number;
  readonly leaseMs: number;
}

/** A message on its way out. */
export type ClaimedRow = readonly [
  n: number,
  queue: number,
  redelivered: 0 | 1,
  exchange: string,
  properties: string,
  headers: string,
  bodyBytes: number,
];

export interface ClaimAnswer {
  /** Number of the owner. */
  readonly owner: number;
  readonly rows: readonly ClaimedRow[];
  readonly bodies: Uint8Array;
  /** Perhaps there are more: it ended at a limit. */
  readonly more: boolean;
}

/** What becomes of a message in hand. Back: 0 as it came, 1 as one that was in somebody's hands. */
export const BACK_UNSEEN = 0;
export const BACK = 1;
export const DROP = 2;
export type Fate = typeof BACK_UNSEEN | typeof BACK | typeof DROP;

export type SettleRow = readonly [owner: number, n: number, claim: number, fate: Fate];

/** Somebody who holds messages, and whose lease is over. */
export interface StaleOwner {
  readonly n: number;
  readonly name: string;
  readonly pid: number;
  readonly started: string;
  readonly boot: string;
}

export interface LookAnswer {
  /** Something waits in one of the queues. */
  readonly waiting: boolean;
  /** Owners that hold messages and are known to be dead. */
  readonly dead: readonly number[];
  readonly stale: readonly StaleOwner[];
}
