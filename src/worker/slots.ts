/**
 * Shares the pool's slots between messages, which wait here in the order they came, and callbacks, which wait in the
 * store until they are claimed. A claim takes a trip to the store, so its slots are set aside meanwhile. When both want
 * slots they take turns: a flood of the one does not starve the other.
 */
import { Fifo } from "../kit/fifo.ts";
import type { Pool } from "../pool/pool.ts";

export interface Waiting {
  /** A slot is set aside for it until this resolves: when its job is with the pool, or needs no slot. Must not reject. */
  start(): Promise<void>;
}

export class Slots {
  readonly #pool: Pool;
  readonly #waiting = new Fifo<Waiting>();
  readonly #stopListening: () => void;
  #onCallbackTurn: () => void = () => undefined;
  #onRoom: () => void = () => undefined;
  /** Set aside: for claims on their way, and for requests that are not yet with the pool. */
  #reserved = 0;
  #callbacksWant = false;
  #turn: "message" | "callback" = "message";
  #closed = false;

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#stopListening = pool.onFree(() => this.#pump());
  }

  /** Requests that wait for a slot. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Slots that are free and that nothing here waits for. */
  get room(): number {
    return this.#closed ? 0 : Math.max(0, this.#available() - this.#waiting.length);
  }

  /** Called when `room` may have changed. One listener; another takes its place. */
  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  /** Called when callbacks were refused slots before, and may have some now. */
  onCallbackTurn(listener: () => void): void {
    this.#onCallbackTurn = listener;
  }

  add(request: Waiting): void {
    this.#waiting.push(request);
    this.#pump();
  }

  /** Set slots aside for callbacks: as many as may be claimed. Each is ended by `release`. */
  reserve(): number {
    if (this.#closed) return 0;
    const available = this.#available();
    if (available === 0) {
      this.#callbacksWant = true;
      return 0;
    }
    const share = this.#waiting.length === 0 ? available : Math.ceil(available / 2);
    this.#reserved += share;
    this.#turn = "message";
    this.#onRoom();
    return share;
  }

  /** These were set aside and are not needed any more: nothing was claimed for them, or the run is with the pool. */
  release(count: number): void {
    this.#reserved -= count;
    this.#pump();
  }

  /** Callbacks are due for which there was no slot. */
  wantForCallbacks(): void {
    this.#callbacksWant = true;
  }

  /** No request starts any more; answers those that wait. */
  close(): Waiting[] {
    this.#closed = true;
    this.#stopListening();
    return this.drain();
  }

  /** Take out all that wait. */
  drain(): Waiting[] {
    const left: Waiting[] = [];
    for (let each = this.#waiting.shift(); each !== undefined; each = this.#waiting.shift()) left.push(each);
    return left;
  }

  #available(): number {
    return Math.max(0, this.#pool.free - this.#reserved);
  }

  #pump(): void {
    this.#startWaiting();
    this.#onRoom();
  }

  #startWaiting(): void {
    while (!this.#closed && this.#available() > 0) {
      if (this.#callbacksWant && (this.#turn === "callback" || this.#waiting.length === 0)) {
        this.#callbacksWant = false;
        this.#turn = "message";
        this.#onCallbackTurn();
        continue;
      }
      const request = this.#waiting.shift();
      if (request === undefined) return;
      this.#turn = "callback";
      this.#reserved += 1;
      void request.start().finally(() => this.release(1));
    }
  }
}
