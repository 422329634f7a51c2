/**
 * Asks the worker, from a pool process. Every ask has a deadline: a worker that does not answer is not waited for for ever,
 * and of a change whose answer is lost it is said that it may have been made. (SEMANTICS G2, I16)
 */
import type { Clock, Timeout } from "../kit/clock.ts";
import { ClosedError, OutcomeUnknownError, TimeoutError } from "../kit/errors.ts";
import { Fifo } from "../kit/fifo.ts";
import { type Ask, type AskOp, changesSomething, waitsForNews } from "../pool/asks.ts";
import { fromRemoteError, type RemoteError } from "../pool/prefork/remote-error.ts";

export interface AskClientOptions {
  readonly clock: Clock;
  readonly send: (ask: { readonly ask: number; readonly op: string; readonly params: unknown }) => void;
  /** Default 30 s. Waiting for a result has its own time, and this on top. */
  readonly deadlineMs?: number;
  /** Asks on their way at once; further ones wait here and not in the worker. Default 1,000. Waits for results do not count. */
  readonly window?: number;
}

interface Pending {
  readonly op: AskOp;
  readonly params: unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  timeout: Timeout | undefined;
}

const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export class AskClient {
  readonly #options: AskClientOptions;
  readonly #deadlineMs: number;
  readonly #window: number;
  readonly #pending = new Map<number, Pending>();
  readonly #queue = new Fifo<Pending>();
  #lastId = 0;
  #inWindow = 0;
  #closed: string | undefined;

  constructor(options: AskClientOptions) {
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    this.#window = options.window ?? 1_000;
  }

  readonly ask: Ask = (op, params) =>
    new Promise((resolve, reject) => {
      const pending: Pending = { op, params, resolve: resolve as (value: unknown) => void, reject, timeout: undefined };
      if (this.#closed !== undefined) reject(new ClosedError(this.#closed));
      // Results may be waited for for hours: they must not hold up what those tasks themselves ask for.
      else if (waitsForNews(op) || this.#inWindow < this.#window) this.#send(pending);
      else this.#queue.push(pending);
    });

  answer(id: number, value: unknown): void {
    this.#take(id)?.resolve(value);
  }

  refuse(id: number, error: RemoteError): void {
    this.#take(id)?.reject(fromRemoteError(error));
  }

  /** Nobody answers any more. Of changes on their way it is unknown whether they were made. */
  close(why: string): void {
    this.#closed = why;
    const pending = [...this.#pending.values()];
    const queued = [...this.#queue];
    this.#pending.clear();
    this.#queue.clear();
    for (const each of pending) {
      each.timeout?.cancel();
      each.reject(changesSomething(each.op) ? unknownOutcome(each) : new ClosedError(why));
    }
    for (const each of queued) each.reject(new ClosedError(why));
  }

  #send(pending: Pending): void {
    const { clock, send } = this.#options;
    this.#lastId += 1;
    const id = this.#lastId;
    try {
      send({ ask: id, op: pending.op, params: pending.params });
    } catch (error) {
      // It is no JSON, or too large: it was not sent.
      pending.reject(error as Error);
      return;
    }
    if (!waitsForNews(pending.op)) this.#inWindow += 1;
    this.#pending.set(id, pending);
    pending.timeout = clock.timeout(() => this.#onDeadline(id), this.#deadlineOf(pending));
  }

  /** The entry, which is settled now; it makes room for the next. Undefined: it was given up before. */
  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    this.#pending.delete(id);
    pending.timeout?.cancel();
    if (!waitsForNews(pending.op)) {
      this.#inWindow -= 1;
      const next = this.#queue.shift();
      if (next !== undefined) this.#send(next);
    }
    return pending;
  }

  #onDeadline(id: number): void {
    // A task that blocked this process kept the answer from being read: timers run before the pipe is looked at.
    setImmediate(() => {
      const pending = this.#take(id);
      pending?.reject(
        changesSomething(pending.op)
          ? unknownOutcome(pending)
          : new TimeoutError(`the worker did not answer ${pending.op} within ${this.#deadlineOf(pending) / 1_000} s`),
      );
    });
  }

  #deadlineOf({ op, params }: Pending): number {
    if (!waitsForNews(op)) return this.#deadlineMs;
    const { timeoutMs } = params as { readonly timeoutMs: number };
    return Math.min(LONGEST_TIMEOUT_MS, Math.max(0, timeoutMs) + this.#deadlineMs);
  }
}

function unknownOutcome({ op, params }: Pending): OutcomeUnknownError {
  return new OutcomeUnknownError(`${op}, asked of the worker,`, keyOf(params));
}

/** The key by which a lost `schedule.put` of one callback, or a lost `recurrence.put`, may be repeated. */
function keyOf(params: unknown): string | undefined {
  const { callbacks, recurrence } = params as { readonly callbacks?: unknown; readonly recurrence?: unknown };
  if (typeof recurrence === "object" && recurrence !== null && "key" in recurrence) {
    return typeof recurrence.key === "string" ? recurrence.key : undefined;
  }
  if (!Array.isArray(callbacks) || callbacks.length !== 1) return undefined;
  const [{ key }] = callbacks as [{ readonly key?: unknown }];
  return typeof key === "string" ? key : undefined;
}
