/**
 * The process's side of a file's thread: sends calls, hands out answers, and keeps the process alive while one is awaited.
 */
import { basename } from "node:path";
import { Worker } from "node:worker_threads";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Call, Durability, FromThread, ThreadData, ToThread } from "./channel.ts";
import { errorOf, type Failure } from "./errors.ts";
import { Pending } from "./pending.ts";
import type { SqliteTables } from "./tables.ts";

export type NoteLog = Pick<Logger, "warn">;

export interface JoinOptions {
  readonly tables: readonly SqliteTables[];
  readonly durability: Durability;
  readonly log: NoteLog | undefined;
}

/** How long `process.exit` may be held up by what was asked. */
const EXIT_WAIT_MS = 2_000;

/** Threads of this process, by real path. */
const threads = new Map<string, SharedThread>();

/** The thread of this file, started if need be. Say `join` next, and `leave` in the end. */
export function threadOf(path: string, durability: Durability, lockWaitMs: number): SharedThread {
  let thread = threads.get(path);
  if (thread === undefined || thread.ended) {
    thread = new SharedThread(path, durability, lockWaitMs);
    threads.set(path, thread);
  }
  return thread;
}

export class SharedThread {
  readonly path: string;
  ended = false;
  durability: Durability;
  readonly #worker: Worker;
  readonly #answered = new Int32Array(new SharedArrayBuffer(4));
  readonly #opened = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  readonly #pending = new Pending();
  readonly #loads = new Map<string, PromiseWithResolvers<void>>();
  readonly #ops = new Map<string, ReadonlyMap<string, number>>();
  readonly #listeners = new Set<() => void>();
  readonly #logs = new Set<NoteLog>();
  /** Said before anybody could hear it. */
  #notes: string[] = [];
  #unsent: Call[] = [];
  #sent = 0;
  #users = 0;
  #awaited = 0;
  #why: Failure | undefined;

  constructor(path: string, durability: Durability, lockWaitMs: number) {
    this.path = path;
    this.durability = durability;
    const data: ThreadData = { path, durability, lockWaitMs, answered: this.#answered };
    // No flags of the process: a loader or an inspector of the user's has no business in this thread.
    this.#worker = new Worker(threadUrl(), { workerData: data, execArgv: [], name: `lovage sqlite ${basename(path)}` });
    this.#worker.on("message", (message: FromThread) => this.#onMessage(message));
    this.#worker.on("error", (error) => this.#onEnd(`its thread failed: ${error.message}`));
    this.#worker.on("exit", () => this.#onEnd("its thread has ended"));
    this.#await(1); // for `opened`
    this.#opened.promise.catch(() => undefined);
    watchExit();
  }

  /** One user more. @throws why the file cannot be used; then it has left again */
  async join(options: JoinOptions): Promise<void> {
    this.#users += 1;
    if (options.log !== undefined) this.#logs.add(options.log);
    try {
      await this.#opened.promise;
      this.#flushNotes();
      if (options.durability === "strict" && this.durability === "process") {
        this.durability = "strict";
        this.#post({ kind: "durability", durability: "strict" });
      }
      for (const tables of options.tables) await this.#load(tables);
    } catch (thrown) {
      await this.leave(options.log);
      throw thrown;
    }
  }

  /** Index of each operation of these tables; undefined when they were never loaded. */
  opsOf(url: string): ReadonlyMap<string, number> | undefined {
    return this.#ops.get(url);
  }

  /** @param what the operation's name, for errors */
  call(op: number, params: unknown, nowMs: number | undefined, bytes: number, what: string): Promise<unknown> {
    if (this.#why !== undefined) return Promise.reject(errorOf(this.#why, what));
    if (this.#unsent.length === 0) setImmediate(() => this.#send());
    this.#unsent.push([op, params, nowMs, bytes]);
    this.#await(1);
    return this.#pending.push(what);
  }

  listen(listener: () => void): () => void {
    const entry = () => listener();
    if (this.#listeners.size === 0) this.#post({ kind: "watch", on: true });
    this.#listeners.add(entry);
    return () => {
      if (this.#listeners.delete(entry) && this.#listeners.size === 0) this.#post({ kind: "watch", on: false });
    };
  }

  /** One user less; the last one ends the thread. Resolves when what was asked is done. */
  async leave(log: NoteLog | undefined): Promise<void> {
    this.#users -= 1;
    if (log !== undefined && this.#users === 0) this.#logs.delete(log);
    if (this.#users > 0) {
      await this.#pending.drained();
      return;
    }
    if (threads.get(this.path) === this) threads.delete(this.path);
    if (!this.ended) {
      this.ended = true; // whoever opens the file from now on starts another thread
      this.#await(1);
      this.#send();
      this.#post({ kind: "close" });
    }
    await this.#exited.promise;
  }

  /** At the end of the process: hand over what was asked, and wait for it without the event loop. */
  finish(): void {
    this.#send();
    for (;;) {
      const answered = Atomics.load(this.#answered, 0);
      if (answered === (this.#sent | 0) || this.#why !== undefined) return;
      if (Atomics.wait(this.#answered, 0, answered, EXIT_WAIT_MS) === "timed-out") return;
    }
  }

  async #load(tables: SqliteTables): Promise<void> {
    let load = this.#loads.get(tables.url);
    if (load === undefined) {
      load = Promise.withResolvers<void>();
      this.#loads.set(tables.url, load);
      this.#await(1);
      this.#post({ kind: "load", url: tables.url });
    }
    await load.promise;
  }

  #send(): void {
    if (this.#unsent.length === 0 || this.#why !== undefined) return;
    const calls = this.#unsent;
    this.#unsent = [];
    this.#sent += calls.length;
    try {
      this.#post({ kind: "calls", calls });
    } catch (thrown) {
      // A value that cannot be cloned: a bug in one of the operations' callers.
      this.#sent -= calls.length;
      this.#await(-calls.length);
      this.#pending.failLast(calls.length, `a value cannot be handed to the file's thread: ${messageOf(thrown)}`);
    }
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #onMessage(message: FromThread): void {
    switch (message.kind) {
      case "answers":
        this.#await(-message.answers.length);
        this.#pending.answer(message.answers, message.failures);
        break;
      case "changed":
        for (const listener of this.#listeners) listener();
        break;
      case "opened":
        this.#await(-1);
        this.#opened.resolve();
        break;
      case "refused":
        this.#why = message.failure;
        this.#opened.reject(errorOf(message.failure, "opening"));
        break;
      case "loaded": {
        this.#await(-1);
        const load = this.#loads.get(message.url);
        if (message.failure === undefined) {
          this.#ops.set(message.url, new Map((message.ops ?? []).map((name, index) => [name, message.base + index])));
          load?.resolve();
        } else {
          this.#loads.delete(message.url);
          load?.reject(errorOf(message.failure, "opening"));
        }
        break;
      }
      case "note":
        this.#notes.push(message.text);
        this.#flushNotes();
        break;
      case "closed":
        break; // "exit" follows
    }
  }

  #flushNotes(): void {
    if (this.#logs.size === 0) return;
    for (const note of this.#notes.splice(0)) for (const log of this.#logs) log.warn(note);
  }

  #onEnd(reason: string): void {
    this.ended = true;
    if (threads.get(this.path) === this) threads.delete(this.path);
    this.#why ??= { code: "ERR_STORE_UNAVAILABLE", message: `${this.path} cannot be used: ${reason}; open it again` };
    this.#opened.reject(errorOf(this.#why, "opening"));
    for (const load of this.#loads.values()) load.reject(errorOf(this.#why, "opening"));
    this.#awaited = 0;
    this.#unsent = [];
    this.#pending.failAll(reason);
    this.#exited.resolve();
  }

  /** The process stays alive while answers are awaited, and no longer. */
  #await(count: number): void {
    const before = this.#awaited;
    this.#awaited += count;
    if (before === 0 && this.#awaited > 0) this.#worker.ref();
    else if (before > 0 && this.#awaited === 0) this.#worker.unref();
  }
}

/** A worker's address is not rewritten by the compiler, as an import's is. */
function threadUrl(): URL {
  return new URL(import.meta.url.endsWith(".ts") ? "./thread.ts" : "./thread.js", import.meta.url);
}

let exitWatched = false;

function watchExit(): void {
  if (exitWatched) return;
  exitWatched = true;
  process.on("exit", () => {
    for (const thread of threads.values()) thread.finish();
  });
}
