/**
 * The thread that holds one file for its process: the only place where SQLite runs, so that nobody else waits for an fsync.
 * It takes what has arrived, runs it as one group, answers, and looks for more.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { Call, FromThread, ThreadData, ToThread } from "./channel.ts";
import { failureOf, Groups } from "./groups.ts";
import { Holder } from "./holder.ts";
import type { SqliteTables } from "./tables.ts";
import { ChangeWatch } from "./watch.ts";

/** After about so much was written the log is cut, whoever reads. */
const CUT_LOG_BYTES = 128 * 1024 * 1024;
/** The same where SQLite does not checkpoint by itself: see `engine.ts`. */
const CUT_LOG_BYTES_LOCKED = 4 * 1024 * 1024;

class FileThread {
  readonly #data: ThreadData;
  readonly #post: (message: FromThread) => void;
  readonly #receive: () => ToThread | undefined;
  readonly #end: () => void;
  readonly #holder: Holder;
  readonly #groups: Groups;
  readonly #watch: ChangeWatch;
  /** Messages that are not calls wait for the calls before them. */
  #inbox: ToThread[] = [];
  #calls: Call[] = [];
  #at = 0;
  #busy = false;
  #logBytes = 0;

  constructor(
    data: ThreadData,
    port: { post: (message: FromThread) => void; receive: () => ToThread | undefined; end: () => void },
  ) {
    this.#data = data;
    this.#post = port.post;
    this.#receive = port.receive;
    this.#end = port.end;
    const note = (text: string) => this.#post({ kind: "note", text });
    this.#holder = new Holder(data, note);
    this.#groups = new Groups(this.#holder);
    this.#watch = new ChangeWatch(
      data.path,
      () => this.#dataVersion(),
      () => this.#post({ kind: "changed" }),
      note,
    );
  }

  onMessage(message: ToThread): void {
    this.#inbox.push(message);
    if (!this.#busy) this.#work();
  }

  /** One group, or one other message, for each turn of the event loop. */
  #work(): void {
    this.#busy = true;
    this.#gather();
    if (this.#at < this.#calls.length) {
      this.#runGroup();
    } else {
      const message = this.#inbox.shift();
      if (message === undefined) {
        this.#busy = false;
        return;
      }
      if (message.kind === "load") {
        void this.#load(message.url).then(() => this.#work());
        return;
      }
      if (this.#handle(message)) return;
    }
    setImmediate(() => this.#work());
  }

  /** All that has arrived meanwhile: this is what makes groups. */
  #gather(): void {
    for (let next = this.#receive(); next !== undefined; next = this.#receive()) this.#inbox.push(next);
    while (this.#inbox[0]?.kind === "calls") {
      const { calls } = this.#inbox.shift() as Extract<ToThread, { kind: "calls" }>;
      if (this.#at >= this.#calls.length) {
        this.#calls = calls as Call[];
        this.#at = 0;
      } else {
        for (const call of calls) this.#calls.push(call);
      }
    }
  }

  #runGroup(): void {
    const size = this.#groups.sizeOf(this.#calls, this.#at);
    const whole = this.#at === 0 && size === this.#calls.length;
    const group = whole ? this.#calls : this.#calls.slice(this.#at, this.#at + size);
    this.#at += size;
    const { answers, failures } = this.#groups.run(group);
    this.#post(failures.length === 0 ? { kind: "answers", answers } : { kind: "answers", answers, failures });
    Atomics.add(this.#data.answered, 0, size);
    Atomics.notify(this.#data.answered, 0);
    this.#watch.check();
    this.#keepLogShort(group);
  }

  /** True: that was the last message. */
  #handle(message: Exclude<ToThread, { kind: "load" }>): boolean {
    switch (message.kind) {
      case "calls":
        break; // taken by #gather
      case "durability":
        this.#holder.setDurability(message.durability);
        break;
      case "watch":
        if (message.on) this.#watch.start();
        else this.#watch.stop();
        break;
      case "close":
        this.#watch.stop();
        this.#holder.close();
        this.#post({ kind: "closed" });
        this.#end();
        return true;
    }
    return false;
  }

  async #load(url: string): Promise<void> {
    try {
      const { tables } = (await import(url)) as { tables: SqliteTables };
      this.#holder.load(tables);
      this.#post({ kind: "loaded", url, base: this.#groups.add(tables), ops: Object.keys(tables.ops) });
    } catch (thrown) {
      this.#post({ kind: "loaded", url, base: 0, failure: failureOf(thrown) });
    }
  }

  /** Readers that never stop can keep SQLite from starting its log again; then we insist, from time to time. */
  #keepLogShort(group: readonly Call[]): void {
    for (const call of group) this.#logBytes += call[3];
    const locked = this.#holder.current?.checkpointsLocked === true;
    if (this.#logBytes < (locked ? CUT_LOG_BYTES_LOCKED : CUT_LOG_BYTES)) return;
    this.#logBytes = 0;
    try {
      this.#holder.current?.checkpoint(locked ? "RESTART" : "TRUNCATE");
    } catch {
      // Locked, or full: the next one tries again.
    }
  }

  #dataVersion(): number | undefined {
    try {
      return this.#holder.current?.dataVersion();
    } catch {
      return undefined; // locked by a recovery: the next look sees it
    }
  }
}

function main(): void {
  const port = parentPort;
  if (port === null) throw new Error("src/sqlite/thread.ts runs as a worker thread only");
  const data = workerData as ThreadData;
  try {
    const thread = new FileThread(data, {
      post: (message) => port.postMessage(message),
      receive: () => receiveMessageOnPort(port)?.message as ToThread | undefined,
      end: () => port.close(),
    });
    port.on("message", (message: ToThread) => thread.onMessage(message));
    port.postMessage({ kind: "opened" } satisfies FromThread);
  } catch (thrown) {
    port.postMessage({ kind: "refused", failure: failureOf(thrown) } satisfies FromThread);
  }
}

main();
