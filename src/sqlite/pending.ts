/** The calls that wait for the file's thread, in the order they were made, which is the order of the answers. */
import { errorOf, type Failure } from "./errors.ts";

interface Call {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly what: string;
}

interface Waiter {
  readonly target: number;
  readonly resolve: () => void;
}

/** Answered entries at the head of the array after which it is cut. */
const CUT = 4_096;

export class Pending {
  #calls: (Call | undefined)[] = [];
  #head = 0;
  /** Calls made, and calls answered, since the beginning. */
  #made = 0;
  #done = 0;
  #waiters: Waiter[] = [];

  /** Add a call at the end. */
  push(what: string): Promise<unknown> {
    this.#made += 1;
    return new Promise((resolve, reject) => this.#calls.push({ resolve, reject, what }));
  }

  /** The next calls were answered; `failures` by their place in `answers`. */
  answer(answers: readonly unknown[], failures: readonly (readonly [number, Failure])[] = []): void {
    const failed = new Map(failures);
    for (let i = 0; i < answers.length; i++) {
      const call = this.#shift();
      const failure = failed.get(i);
      if (failure === undefined) call?.resolve(answers[i]);
      else call?.reject(errorOf(failure, call.what));
    }
    this.#settle(answers.length);
  }

  /** The last `count` calls were never made. */
  failLast(count: number, message: string): void {
    for (const call of this.#calls.splice(this.#calls.length - count, count)) {
      call?.reject(errorOf({ code: "ERR_STORE_OPERATION", message }, call.what));
    }
    this.#settle(count);
  }

  /** The thread is gone, and with it the knowledge of what it did. */
  failAll(reason: string): void {
    const count = this.#calls.length - this.#head;
    for (let i = 0; i < count; i++) {
      const call = this.#shift();
      call?.reject(errorOf({ code: "ERR_OUTCOME_UNKNOWN", message: reason, cause: reason }, call.what));
    }
    this.#settle(count);
  }

  /** Resolves when all calls made so far are answered. */
  drained(): Promise<void> {
    if (this.#done === this.#made) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ target: this.#made, resolve }));
  }

  #shift(): Call | undefined {
    const call = this.#calls[this.#head];
    this.#calls[this.#head] = undefined;
    this.#head += 1;
    if (this.#head === this.#calls.length || this.#head >= CUT) {
      this.#calls = this.#calls.slice(this.#head);
      this.#head = 0;
    }
    return call;
  }

  #settle(count: number): void {
    this.#done += count;
    if (this.#waiters.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => {
      if (waiter.target > this.#done) return true;
      waiter.resolve();
      return false;
    });
  }
}
