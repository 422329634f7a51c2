/**
 * The channel between a pool and one of its processes: every frame in one table, and how frames travel.
 *
 * A frame is a line of JSON on a pipe of its own (fd 3), so that nothing that a task prints can be taken for one. All
 * frames of a turn leave in one write: measured, 243 k frames/s at 2.6 µs, against 176 k/s on fork's JSON channel and
 * 78 k/s with its "advanced" serializer. (bench/channel.ts)
 *
 * The two sides do not trust each other alike. The parent reads a child's frames as hostile input: each is checked
 * against the table, one of an unknown kind is dropped with a log line, and one that is not JSON, or longer than
 * `MAX_FRAME_BYTES`, ends the child, because what follows it cannot be read any more. (docs/errors.md names the codes)
 */
import type { Duplex } from "node:stream";
import { ContractError, messageOf } from "../../kit/errors.ts";
import type { Job, Outcome } from "../pool.ts";
import { isOutcome } from "./outcome-data.ts";
import { isRemoteError, type RemoteError } from "./remote-error.ts";

/** The pipe's file descriptor in the child. */
export const CHANNEL_FD = 3;
/** Longest frame either side sends or takes. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** What the parent says. */
export interface ToChildFrames {
  /** Run this job; `run` counts the runs of this child. */
  readonly run: { readonly run: number; readonly job: Job };
  /** Abort the run's signal. */
  readonly abort: { readonly run: number; readonly reason: string };
  readonly answer: { readonly ask: number; readonly value: unknown };
  /** The ask failed. */
  readonly refusal: { readonly ask: number; readonly error: RemoteError };
  /** Leave, when nothing runs. */
  readonly leave: Record<never, never>;
}

/** What a child says. */
export interface ToParentFrames {
  /** The app is loaded; jobs may come. */
  readonly ready: Record<never, never>;
  /** The app could not be loaded; the child leaves. */
  readonly broken: { readonly code: string; readonly message: string; readonly stack: string };
  /** The job is here; the next thing is the handler's first instruction. */
  readonly accept: { readonly run: number };
  readonly done: { readonly run: number; readonly outcome: Outcome };
  /** `run`: the run that asks; null when none runs. */
  readonly ask: {
    readonly ask: number;
    readonly run: number | null;
    readonly op: string;
    readonly params: unknown;
  };
  /** Last words: what was thrown that nobody caught. */
  readonly fatal: { readonly message: string; readonly stack: string };
}

export type FrameOf<Frames> = {
  [Kind in keyof Frames & string]: { readonly kind: Kind } & Frames[Kind];
}[keyof Frames & string];
export type ToChild = FrameOf<ToChildFrames>;
export type ToParent = FrameOf<ToParentFrames>;

type Fields = Readonly<Record<string, unknown>>;
type Checks<Frames> = { readonly [Kind in keyof Frames & string]: (frame: Fields) => boolean };

const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const text = (value: unknown): boolean => typeof value === "string";
const record = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const TO_CHILD: Checks<ToChildFrames> = {
  run: ({ run, job }) => count(run) && record(job) && record(job.message),
  abort: ({ run, reason }) => count(run) && text(reason),
  answer: ({ ask }) => count(ask),
  refusal: ({ ask, error }) => count(ask) && isRemoteError(error),
  leave: () => true,
};

export const TO_PARENT: Checks<ToParentFrames> = {
  ready: () => true,
  broken: ({ code, message, stack }) => text(code) && text(message) && text(stack),
  accept: ({ run }) => count(run),
  done: ({ run, outcome }) => count(run) && isOutcome(outcome),
  ask: ({ ask, run, op }) => count(ask) && (run === null || count(run)) && text(op),
  fatal: ({ message, stack }) => text(message) && text(stack),
};

/** One frame would be longer than the channel carries. */
export class FrameTooLargeError extends ContractError {
  readonly code = "ERR_FRAME_TOO_LARGE";
  readonly bytes: number;

  constructor(what: string, bytes: number, maxBytes: number) {
    super(
      `${what} takes ${bytes} bytes as JSON, and the channel to a pool process carries ${maxBytes}; pass a reference (a path, a key) in its place`,
    );
    this.bytes = bytes;
  }
}

/** What was to be sent is no JSON data. */
export class FrameEncodeError extends ContractError {
  readonly code = "ERR_FRAME_ENCODE";
}

export interface ChannelEvents<In> {
  /** A frame of a known kind whose fields are what the table says. */
  onFrame(frame: In): void;
  /** A frame that was dropped: one line that says why. */
  onRefused(why: string, kind: string | undefined): void;
  /** Once: nothing more comes. Undefined: the other side closed it. Else what came that cannot be read. */
  onEnd(fault: string | undefined): void;
}

export interface ChannelOptions {
  readonly maxFrameBytes?: number;
}

const NEWLINE = 10;

export class Channel<InFrames, OutFrames> {
  readonly #stream: Duplex;
  readonly #checks: Checks<InFrames>;
  readonly #events: ChannelEvents<FrameOf<InFrames>>;
  readonly #maxFrameBytes: number;
  /** Frames of this turn that are not written yet. */
  #unsent = "";
  #flushIsDue = false;
  /** The beginning of a frame whose end has not come. */
  #partial: Buffer[] = [];
  #partialBytes = 0;
  #ended = false;

  /** @param checks the table of what comes in: `TO_CHILD` or `TO_PARENT` */
  constructor(
    stream: Duplex,
    checks: Checks<InFrames>,
    events: ChannelEvents<FrameOf<InFrames>>,
    options: ChannelOptions = {},
  ) {
    this.#stream = stream;
    this.#checks = checks;
    this.#events = events;
    this.#maxFrameBytes = options.maxFrameBytes ?? MAX_FRAME_BYTES;
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("end", () => this.#end(undefined));
    stream.on("close", () => this.#end(undefined));
    // EPIPE and ECONNRESET say no more than that the other side is gone.
    stream.on("error", () => this.#end(undefined));
  }

  /** Nothing more comes, and nothing more is sent. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes that the other side has not taken yet. */
  get unsentBytes(): number {
    return this.#unsent.length + this.#stream.writableLength;
  }

  /**
   * Send with the other frames of this turn. After the end it does nothing.
   * @throws {FrameTooLargeError} nothing was sent; the channel goes on
   * @throws {FrameEncodeError} nothing was sent; the channel goes on
   */
  send(frame: FrameOf<OutFrames>): void {
    if (this.#ended) return;
    this.#unsent += `${this.#encode(frame)}\n`;
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    // Ticks run when the promises of the turn have settled: what they send leaves in the same write.
    process.nextTick(() => this.flush());
  }

  /** Write what waits now, in place of at the end of the turn. */
  flush(): void {
    this.#flushIsDue = false;
    if (this.#unsent === "") return;
    const text = this.#unsent;
    this.#unsent = "";
    if (!this.#ended) this.#stream.write(text);
  }

  /** Resolves when all that was sent is in the pipe, or the channel has ended. */
  async drained(): Promise<void> {
    this.flush();
    if (this.#ended || this.#stream.writableLength === 0) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        for (const event of ["drain", "close", "error"]) this.#stream.off(event, done);
        resolve();
      };
      // Node says "drain" only of what passed its mark; a write of nothing is called back when all before it is gone.
      this.#stream.write("", done);
      for (const event of ["drain", "close", "error"]) this.#stream.once(event, done);
    });
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#ended) this.#stream.resume();
  }

  /** Call `listener` once when the other side has taken what was sent. */
  onceDrained(listener: () => void): void {
    this.#stream.once("drain", listener);
  }

  close(): void {
    this.flush();
    this.#stream.destroy();
    this.#ended = true;
  }

  #encode(frame: FrameOf<OutFrames>): string {
    let json: string;
    try {
      json = JSON.stringify(frame);
    } catch (error) {
      throw new FrameEncodeError(`${describe(frame)} is no JSON data: ${messageOf(error)}`, { cause: error });
    }
    // A UTF-16 unit is at most three bytes of UTF-8: most frames need no counting.
    if (json.length * 3 > this.#maxFrameBytes) {
      const bytes = Buffer.byteLength(json);
      if (bytes > this.#maxFrameBytes) throw new FrameTooLargeError(describe(frame), bytes, this.#maxFrameBytes);
    }
    return json;
  }

  #take(chunk: Buffer): void {
    let start = 0;
    while (!this.#ended) {
      const end = chunk.indexOf(NEWLINE, start);
      if (end < 0) break;
      const line = this.#line(chunk, start, end);
      start = end + 1;
      this.#read(line);
    }
    if (this.#ended || start === chunk.length) return;
    this.#partial.push(start === 0 ? chunk : chunk.subarray(start));
    this.#partialBytes += chunk.length - start;
    if (this.#partialBytes > this.#maxFrameBytes) {
      this.#end(`a frame of more than ${this.#maxFrameBytes} bytes`);
    }
  }

  #line(chunk: Buffer, start: number, end: number): string {
    if (this.#partial.length === 0) return chunk.toString("utf8", start, end);
    this.#partial.push(chunk.subarray(start, end));
    const line = Buffer.concat(this.#partial).toString("utf8");
    this.#partial = [];
    this.#partialBytes = 0;
    return line;
  }

  #read(line: string): void {
    let frame: unknown;
    try {
      frame = JSON.parse(line);
    } catch {
      this.#end(`${JSON.stringify(line.slice(0, 40))}, which is no frame`);
      return;
    }
    const kind = record(frame) && typeof frame.kind === "string" ? frame.kind : undefined;
    if (kind === undefined || !Object.hasOwn(this.#checks, kind)) {
      this.#events.onRefused(`a frame of unknown kind ${JSON.stringify(kind ?? null).slice(0, 80)} was dropped`, kind);
      return;
    }
    const check = this.#checks[kind as keyof InFrames & string];
    if (!check(frame as Fields)) {
      this.#events.onRefused(`a ${JSON.stringify(kind)} frame whose fields are wrong was dropped`, kind);
      return;
    }
    this.#events.onFrame(frame as FrameOf<InFrames>);
  }

  #end(fault: string | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#partial = [];
    this.#unsent = "";
    this.#events.onEnd(fault);
  }
}

/** How a frame is named in an error: by what the user knows of it. */
function describe(frame: { readonly kind: string }): string {
  switch (frame.kind) {
    case "run":
      return "the task's message";
    case "done":
      return "the task's result";
    case "ask":
      return "what the task asks for";
    case "answer":
      return "the answer to what the task asked for";
    default:
      return `a ${JSON.stringify(frame.kind)} frame`;
  }
}
