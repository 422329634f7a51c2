/** A message of the file in somebody's hands. */
import type { WireMessage } from "../../protocol/message.ts";
import type { Delivery } from "../broker.ts";
import { BACK, type ClaimedRow, DROP, type Fate, type SettleRow } from "./rows.ts";
import { headersOf, propertiesOf } from "./text.ts";

export interface Hand {
  /** Nothing when it is not in hand any more. */
  settle(delivery: SqliteDelivery, fate: Fate): Promise<void>;
}

export class SqliteDelivery implements Delivery {
  readonly message: WireMessage;
  readonly queue: string;
  readonly exchange: string;
  readonly redelivered: boolean;
  readonly #hand: Hand;
  readonly #owner: number;
  readonly #n: number;
  readonly #claim: number;

  constructor(hand: Hand, owner: number, claim: number, queue: string, row: ClaimedRow, body: Uint8Array) {
    const [n, , redelivered, exchange, properties, headers] = row;
    this.message = { body, properties: propertiesOf(properties), headers: headersOf(headers) };
    this.queue = queue;
    this.exchange = exchange;
    this.redelivered = redelivered === 1;
    this.#hand = hand;
    this.#owner = owner;
    this.#n = n;
    this.#claim = claim;
  }

  /** A message reaches a queue by the queue's name only. */
  get routingKey(): string {
    return this.queue;
  }

  ack(): Promise<void> {
    return this.#hand.settle(this, DROP);
  }

  requeue(): Promise<void> {
    return this.#hand.settle(this, BACK);
  }

  reject(): Promise<void> {
    return this.#hand.settle(this, DROP);
  }

  row(fate: Fate): SettleRow {
    return [this.#owner, this.#n, this.#claim, fate];
  }
}
