/**
 * Who follows results through the gateway: a watch of any number of tasks, asked for what has changed since. A task in a sub-process, which
 * opens no backend, follows so as well as a client. A watch that nobody asks for a minute is given up: whoever opened it is gone.
 */
import { randomUUID } from "node:crypto";
import type { Clock, Timeout } from "../kit/clock.ts";
import { ClosedError } from "../kit/errors.ts";
import { READY_STATES, type ResultDocument } from "../protocol/result.ts";
import type { ResultBackend } from "../results/backend.ts";

const IDLE_MS = 60_000;
/** Whoever looks only, with no time to wait, is told what stands: for so long it is looked for. */
const LOOK_MS = 1_000;
/** About what one answer holds: a channel carries 16 MiB. */
const ANSWER_CHARS = 4 * 1024 * 1024;
/** States that wait to be asked for; older ones are passed over, as with changes that come too quickly. Ends are never. */
const MAX_STATES = 1_000;

export interface WatchRequest {
  readonly taskIds: readonly string[];
  /** Tell how they end, and no state before. */
  readonly endsOnly: boolean;
}

export class ResultWatches {
  readonly #results: () => Promise<ResultBackend>;
  readonly #clock: Clock;
  readonly #open = new Map<string, Following>();
  readonly #waiting = new Set<(why: Error) => void>();

  constructor(results: () => Promise<ResultBackend>, clock: Clock) {
    this.#results = results;
    this.#clock = clock;
  }

  /** Followed by now. */
  get size(): number {
    return this.#open.size;
  }

  /** @throws what opening the backend throws */
  async open(request: WatchRequest): Promise<string> {
    const results = await this.#results();
    const id = randomUUID();
    const following = new Following(this.#clock, () => this.#open.delete(id));
    this.#open.set(id, following);
    following.follow(results, request);
    return id;
  }

  /** The document of one task as soon as it has ended; null when the time (ms) is over. */
  async wait(taskId: string, timeoutMs: number): Promise<ResultDocument | null> {
    const results = await this.#results();
    const endMs = this.#clock.monoMs() + timeoutMs;
    const ended = Promise.withResolvers<ResultDocument | null>();
    const watching = results.watch(taskId, (document) => {
      if (READY_STATES.has(document.status)) ended.resolve(document);
    });
    this.#waiting.add(ended.reject);
    let timer = this.#clock.timeout(() => ended.resolve(null), Math.max(timeoutMs, LOOK_MS));
    watching.then(
      () => {
        // What stands was told before: now the time counts as it was given.
        timer.cancel();
        timer = this.#clock.timeout(() => ended.resolve(null), Math.max(0, endMs - this.#clock.monoMs()));
      },
      (error: unknown) => ended.reject(error),
    );
    try {
      return await ended.promise;
    } finally {
      this.#waiting.delete(ended.reject);
      timer.cancel();
      watching.then(
        (watch) => {
          timer.cancel();
          watch.stop();
        },
        () => undefined,
      );
    }
  }

  /** Documents that came since, as soon as there is one; none when the time is over. Null: there is no such watch any more. */
  async changes(id: string, timeoutMs: number): Promise<ResultDocument[] | null> {
    return (await this.#open.get(id)?.next(timeoutMs)) ?? null;
  }

  close(id: string): void {
    this.#open.get(id)?.close();
  }

  /** Nothing more is heard: who waits is told so. */
  closeAll(): void {
    const why = new ClosedError("the app was closed while a result was waited for");
    for (const refuse of [...this.#waiting]) refuse(why);
    for (const each of [...this.#open.values()]) each.fail(why);
  }
}

class Following {
  readonly #clock: Clock;
  readonly #onClose: () => void;
  readonly #watches = new Map<string, { stop(): void }>();
  /** Tasks that have ended. */
  readonly #ended = new Set<string>();
  #queue: ResultDocument[] = [];
  #states = 0;
  #problem: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;
  /** When whoever asks has no time left, and waits for what stands. */
  #onLooked: (() => void) | undefined;
  #idle: Timeout | undefined;
  #closed = false;
  /** Tasks of which what stands is not known yet. */
  #unlooked = 0;

  constructor(clock: Clock, onClose: () => void) {
    this.#clock = clock;
    this.#onClose = onClose;
    this.#armIdle();
  }

  /** Not waited for: of many each is followed as soon as it can be. */
  follow(results: ResultBackend, { taskIds, endsOnly }: WatchRequest): void {
    for (const taskId of new Set(taskIds)) {
      this.#unlooked += 1;
      results
        .watch(taskId, (document) => this.#hear(taskId, document, endsOnly))
        .then(
          (watch) => {
            this.#unlooked -= 1;
            if (this.#closed || this.#ended.has(taskId)) watch.stop();
            else this.#watches.set(taskId, watch);
            if (this.#unlooked === 0) this.#onLooked?.();
          },
          (error: unknown) => {
            this.#unlooked -= 1;
            this.fail(error);
          },
        );
    }
  }

  /** Who asks next is told, after what came before. */
  fail(error: unknown): void {
    this.#problem ??= { error };
    this.#wake?.();
  }

  async next(timeoutMs: number): Promise<ResultDocument[] | undefined> {
    this.#idle?.cancel();
    if (this.#queue.length === 0 && this.#problem === undefined && !this.#closed) {
      await this.#news(timeoutMs);
    }
    if (this.#queue.length > 0) {
      this.#armIdle();
      return this.#take();
    }
    if (this.#problem !== undefined) {
      this.close();
      throw this.#problem.error;
    }
    if (this.#closed) return undefined;
    this.#armIdle();
    return [];
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#idle?.cancel();
    for (const watch of this.#watches.values()) watch.stop();
    this.#watches.clear();
    this.#queue = [];
    this.#onClose();
    this.#wake?.();
  }

  #news(timeoutMs: number): Promise<void> {
    return new Promise<void>((resolve) => {
      const done = () => {
        timer.cancel();
        this.#wake = this.#onLooked = undefined;
        resolve();
      };
      let timer = this.#clock.timeout(() => {
        if (this.#unlooked === 0) return done();
        timer = this.#clock.timeout(done, Math.max(0, LOOK_MS - timeoutMs));
        this.#onLooked = done;
      }, timeoutMs);
      this.#wake = done;
    });
  }

  #hear(taskId: string, document: ResultDocument, endsOnly: boolean): void {
    if (this.#closed || this.#ended.has(taskId)) return;
    if (READY_STATES.has(document.status)) {
      this.#ended.add(taskId);
      this.#watches.get(taskId)?.stop();
      this.#watches.delete(taskId);
    } else {
      if (endsOnly) return;
      this.#states += 1;
      if (this.#states > MAX_STATES) this.#dropOldest();
    }
    this.#queue.push(document);
    this.#wake?.();
  }

  #dropOldest(): void {
    const at = this.#queue.findIndex(({ status }) => !READY_STATES.has(status));
    if (at < 0) return;
    this.#queue.splice(at, 1);
    this.#states -= 1;
  }

  #take(): ResultDocument[] {
    let chars = 0;
    let count = 0;
    for (const { status, result, traceback } of this.#queue) {
      chars += result.length + (traceback?.length ?? 0) + 200;
      // One that is larger goes alone.
      if (chars > ANSWER_CHARS && count > 0) break;
      count += 1;
      if (!READY_STATES.has(status)) this.#states -= 1;
    }
    return this.#queue.splice(0, count);
  }

  #armIdle(): void {
    this.#idle?.cancel();
    if (!this.#closed) this.#idle = this.#clock.timeout(() => this.close(), IDLE_MS, { ref: false });
  }
}
