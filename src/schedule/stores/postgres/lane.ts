/**
 * What is asked in one turn of the event loop, made into one statement; and while that one is under way, what is asked meanwhile into the next.
 *
 * A lane waits one more turn before it goes: what settles runs frees slots, and the claim for them comes a moment later, in time for the
 * same trip and the same commit. A statement that the server refuses is rolled back whole; then each of its operations is tried
 * alone, beside the lane, so that none can harm its neighbours or hold up what comes after them.
 */
import { type ClosedError, OutcomeUnknownError } from "../../../kit/errors.ts";
import { StoreFullError } from "../../../kit/store-errors.ts";
import { AnswerLostError, isRolledBack } from "./failure.ts";

/** One operation that waits for the lane. */
export interface Op {
  /** Subject of a sentence, should its outcome be unknown: "scheduling the callback". */
  readonly what: string;
  /** Repeating it with this key is safe. */
  readonly key?: string | undefined;
  /** About how much it sends, in bytes. */
  readonly bytes: number;
}

interface Waiting<O> {
  readonly op: O;
  readonly resolve: (answer: never) => void;
  readonly reject: (error: unknown) => void;
}

/** A statement stays short: others wait for what it locks. */
const MAX_OPS = 1_000;
const MAX_BYTES = 1_000_000;

export class Lane<O extends Op> {
  readonly #run: (ops: readonly O[]) => Promise<unknown[]>;
  readonly #refusal: () => ClosedError;
  readonly #running = new Set<Promise<void>>();
  #waiting: Waiting<O>[] = [];
  #isSet = false;
  #isBusy = false;
  #closed = false;

  /** @param run do the operations, all or none; an answer for each. An answer that is an Error rejects its operation alone */
  constructor(run: (ops: readonly O[]) => Promise<unknown[]>, refusal: () => ClosedError) {
    this.#run = run;
    this.#refusal = refusal;
  }

  /** @throws {OutcomeUnknownError} the answer was lost */
  do<Answer>(op: O): Promise<Answer> {
    if (this.#closed) return Promise.reject(this.#refusal());
    return new Promise<Answer>((resolve, reject) => {
      this.#waiting.push({ op, resolve: resolve as (answer: never) => void, reject });
      if (this.#isSet || this.#isBusy) return;
      this.#isSet = true;
      setImmediate(() => setImmediate(() => this.#go()));
    });
  }

  /** Do what was asked, and nothing more. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#waiting.length > 0 || this.#running.size > 0) {
      this.#go();
      await Promise.all(this.#running);
    }
  }

  #go(): void {
    this.#isSet = false;
    if (this.#isBusy || this.#waiting.length === 0) return;
    this.#isBusy = true;
    this.#track(
      this.#runGroup(this.#next(), () => {
        this.#isBusy = false;
        this.#go();
      }),
    );
  }

  /** As many as one statement takes. */
  #next(): Waiting<O>[] {
    const waiting = this.#waiting;
    let to = 0;
    for (let bytes = 0; to < waiting.length && to < MAX_OPS; to++) {
      bytes += (waiting[to] as Waiting<O>).op.bytes;
      if (bytes > MAX_BYTES && to > 0) break;
    }
    this.#waiting = waiting.slice(to);
    return waiting.slice(0, to);
  }

  async #runGroup(group: readonly Waiting<O>[], then: () => void): Promise<void> {
    let alone = false;
    try {
      const answers = await this.#run(group.map(({ op }) => op));
      for (const [i, { resolve, reject }] of group.entries()) {
        const answer = answers[i];
        if (answer instanceof Error) reject(answer);
        else resolve(answer as never);
      }
    } catch (error) {
      if (error instanceof AnswerLostError) {
        for (const { op, reject } of group) reject(new OutcomeUnknownError(op.what, op.key, { cause: error }));
      } else if (group.length > 1 && isOfOne(error)) alone = true;
      else for (const { reject } of group) reject(error);
    }
    then();
    if (alone) for (const each of group) await this.#runGroup([each], () => undefined);
  }

  #track(running: Promise<void>): void {
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }
}

/** The server refused the statement, perhaps for one of its operations. What is away or full is so for all of them. */
function isOfOne(error: unknown): boolean {
  return error instanceof Error && isRolledBack(error.cause) && !(error instanceof StoreFullError);
}
